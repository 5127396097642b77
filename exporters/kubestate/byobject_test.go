package kubestate

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

// TestLinesByObject holds that another order of the lines is only that, through
// all that happens to objects, and that readers of the text format take it.
func TestLinesByObject(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		for i := range 5 * perSegmentTogether {
			api.put("pods", object("a", fmt.Sprintf("web-%02d", i), nil))
		}
		api.put("deployments", object("a", "web", replicas(1)))
		api.put("namespaces", object("", "a", nil))
		o := Options{Config: api.config(), PodWorkloads: true}
		grouped := follow(t, o)
		o.LinesByObject = true
		e := follow(t, o)
		ready(t, grouped)
		ready(t, e)
		same := func() bool {
			return slices.Equal(slices.Sorted(strings.Lines(text(grouped))), slices.Sorted(strings.Lines(text(e))))
		}
		require.True(t, same())
		api.put("deployments", object("a", "web", replicas(2)))
		api.remove("pods", object("a", "web-07", nil))
		for i := range 3 * perSegmentTogether { // into one segment
			api.put("pods", object("a", fmt.Sprintf("web-05-%02d", i), nil))
		}
		eventually(t, "changes", func() bool {
			return strings.Contains(text(e), "web-05-11") && strings.Contains(text(e), `replicas{namespace="a",deployment="web"} 2`) &&
				!strings.Contains(text(e), "web-07") && same()
		})
		readByObject(t, e)
	})
}

// readByObject reads a body as scrapers do.
func readByObject(t *testing.T, e *Exporter) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	require.Contains(t, w.Header().Get("Content-Type"), "text/plain", "OpenMetrics wants families in one piece")
	unzipped, err := gzip.NewReader(w.Body)
	require.NoError(t, err)
	body, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	require.Equal(t, text(e), string(body))

	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	require.NoError(t, err)
	samples := 0
	for _, f := range families {
		samples += len(f.Metric)
	}

	// Of a pod there is one run of lines.
	var runs []string
	p := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	for {
		kind, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if kind != textparse.EntrySeries {
			continue
		}
		samples--
		var series labels.Labels
		p.Labels(&series)
		pod := series.Get("pod")
		if pod != "" && series.Get(model.MetricNameLabel) != "kube_pod_workload" && (len(runs) == 0 || runs[len(runs)-1] != pod) {
			runs = append(runs, pod)
		}
	}
	require.Zero(t, samples, "both read as many")
	require.Len(t, runs, 5*perSegmentTogether-1+3*perSegmentTogether)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(runs))), len(runs))
}
