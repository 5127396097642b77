package kubestate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// scrape gets the exporter's body and checks that Prometheus would take it.
func scrape(t testing.TB, e *Exporter) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code)
	body := w.Body.String()
	checkBody(t, body)
	return body
}

// checkBody holds that a body parses, that each family is in one piece, that
// no series is there twice and that promlint has nothing against it but what
// the field's names themselves are.
func checkBody(t testing.TB, body string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err, body)
	seen := make(map[string]bool)
	for name, f := range families {
		for _, m := range f.Metric {
			id := series(name, m)
			require.False(t, seen[id], "twice: %s", id)
			seen[id] = true
		}
	}
	closed, current := make(map[string]bool), ""
	for line := range strings.Lines(body) {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), " ")
		name, _, _ = strings.Cut(name, "{")
		if name != current {
			require.False(t, closed[name], "%s is in pieces", name)
			closed[current], current = true, name
		}
	}
	problems, err := promlint.New(bytes.NewReader([]byte(body))).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
	return families
}

// series is a series' name and sorted labels.
func series(name string, m *dto.Metric) string {
	labels := make([]string, len(m.Label))
	for i, l := range m.Label {
		labels[i] = l.GetName() + "=" + strconv.Quote(l.GetValue())
	}
	sort.Strings(labels)
	return name + "{" + strings.Join(labels, ",") + "}"
}

// follow runs an exporter until the end of the test.
func follow(t testing.TB, o Options) *Exporter {
	t.Helper()
	if o.retry == 0 {
		o.retry = time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = new(logBook).logger()
	}
	e, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return e
}

// eventually waits for a condition. The limit is for a broken program only.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 2*time.Millisecond, what)
}

func ready(t testing.TB, e *Exporter) {
	t.Helper()
	eventually(t, "ready", func() bool { return e.Ready() == nil })
}

// text is the body without checks, for conditions.
func text(e *Exporter) string {
	var b bytes.Buffer
	_ = e.WriteText(&b)
	return b.String()
}

func has(e *Exporter, format string, args ...any) func() bool {
	return func() bool { return strings.Contains(text(e), fmt.Sprintf(format, args...)) }
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
