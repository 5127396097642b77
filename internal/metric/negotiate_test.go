package metric

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/prometheus/client_golang/prometheus/promhttp/zstd" // so that promhttp offers it, too
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
)

func twoFamilies(_ context.Context, b *Batch) error {
	b.Add(NewCounter("made_reads_total", "Reads.", "a_device"), 3, "sda")
	b.Add(NewGauge("made_load", "Load."), 0.5)
	return nil
}

// withForeign adds families of names that others have too, and one that only
// people outside have.
func withForeign(ctx context.Context, b *Batch) error {
	for _, name := range []string{"made_load", "made_m", "made_seconds"} {
		f := mustNew(Spec{Name: name, Help: "Foreign.", Type: Histogram, Foreign: true})
		b.AddDistribution(f, Distribution{Bounds: []Bound{{1, 2}}, Sum: 7, Count: 3}, nil, []string{"job"}, []string{"x"})
	}
	return twoFamilies(ctx, b)
}

// The headers of requests are understood as promhttp understands them, and the
// answer is its answer.
func TestNegotiatesAsPromhttp(t *testing.T) {
	t.Parallel()
	ours := Handler(HandlerOptions{Collect: withForeign})
	theirs := promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		b := NewBatch()
		err := withForeign(t.Context(), b)
		return b.Messages(), err
	}), promhttp.HandlerOpts{EnableOpenMetrics: true})

	f := func(query, accept, encoding string) {
		t.Helper()
		ask := func(h http.Handler) (http.Header, string) {
			r := httptest.NewRequest(http.MethodGet, "/metrics"+query, nil)
			if accept != "" {
				r.Header.Set("Accept", accept)
			}
			if encoding != "" {
				r.Header.Set("Accept-Encoding", encoding)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Header(), unpacked(t, w)
		}
		want, wantBody := ask(theirs)
		got, body := ask(ours)
		for _, name := range []string{"Content-Type", "Content-Encoding", "Vary"} {
			require.Equal(t, want.Values(name), got.Values(name), "%s of %q %q", name, accept, encoding)
		}
		switch expfmt.Format(want.Get("Content-Type")).FormatType() {
		case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
			require.Equal(t, parsed(t, []byte(wantBody), want.Get("Content-Type")), parsed(t, []byte(body), got.Get("Content-Type")))
		case expfmt.TypeProtoDelim:
			require.Equal(t, wantBody, body)
		default: // prototext varies its spaces on purpose
			require.Equal(t, strings.Join(strings.Fields(wantBody), " "), strings.Join(strings.Fields(body), " "))
		}
	}
	const prometheus3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	for _, accept := range []string{
		"", "*/*", "text/*", "text/html", "text/html,*/*;q=0.1", "text/plain", "text/plain;version=1.0.0", "no type",
		"application/openmetrics-text", "application/openmetrics-text;version=0.0.1", "application/openmetrics-text;version=1.0.0",
		"application/openmetrics-text;version=2.0.0", "application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.5",
		"text/plain;q=0.1, application/openmetrics-text;version=0.0.1;q=0.7", prometheus3,
		protobuf + "delimited", protobuf + "text", protobuf + "compact-text", protobuf + "none",
		protobuf + "delimited;q=0.7," + prometheus3,
		"text/plain;escaping=dots", "text/plain;escaping=values", "text/plain;escaping=underscores", "text/plain;escaping=none",
		"application/openmetrics-text;version=1.0.0;escaping=dots", protobuf + "delimited;escaping=dots",
	} {
		f("", accept, "")
		f("", accept, "gzip")
	}
	for _, encoding := range []string{
		"gzip", "zstd", "gzip, zstd", "zstd, gzip", "zstd;q=1, gzip;q=0.5", "gzip;q=0", "identity;q=0", "*", "*;q=0", "gzip;q=0, *;q=0.5",
		"br, deflate", "identity;q=0.5, gzip;q=0.2", "gzip;q=0.2, zstd;q=0.3", "gzip;level=1", "gzip;q=2", "gzip ; q=0.5", "gzip;q=x, zstd",
	} {
		f("", "", encoding)
	}
	f("?name[]=made_load", "", "")
	f("?name[]=made_load&name[]=made_reads_total", acceptOpen, "gzip")
	f("?name[]=no_such", acceptProto, "")
	f("?name[]=made_seconds", acceptOpen, "")
	f("?name[]=made_load", "text/plain;escaping=dots", "")
	f("?other=made_load", "", "")
}

// The registry's families stand among the batch's, and never twice: the measured
// ones go first, then the program's, then those that were named outside.
func TestHandlerMergesTheRegistry(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	for _, name := range []string{"aaa", "made_load", "made_m", "zzz"} {
		registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "Own."}))
	}
	h := Handler(HandlerOptions{Collect: withForeign, Registry: registry, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	want := "aaa made_load made_m made_reads_total made_seconds zzz"
	names := func(body string) string {
		var all []string
		for line := range strings.Lines(body) {
			if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
				all = append(all, strings.Fields(rest)[0])
			}
		}
		return strings.Join(all, " ")
	}
	_, text := get(t, h)
	require.Equal(t, want, names(text))
	require.Contains(t, text, "\nmade_load 0.5\n")
	require.Contains(t, text, "\nmade_m 0\n")
	require.Contains(t, text, "\nmade_seconds_bucket{job=\"x\",le=\"+Inf\"} 3\n")
	_, text = get(t, h, "Accept", strings.ReplaceAll(acceptProto, "delimited", "text"))
	require.Less(t, strings.Index(text, "aaa"), strings.Index(text, "made_load"))
	for name := range strings.FieldsSeq(want) {
		require.Equal(t, 1, strings.Count(text, "\""+name+"\""), name)
	}
	_, open := get(t, h, "Accept", acceptOpen)
	require.Equal(t, strings.ReplaceAll(want, "_total", ""), names(open))
	_, protobuf := get(t, h, "Accept", acceptProto)
	var all []string
	for _, f := range messages(t, []byte(protobuf)) {
		all = append(all, f.GetName())
	}
	require.Equal(t, want, strings.Join(all, " "))
	_, some := get(t, Handler(HandlerOptions{Registry: registry}), "Accept", acceptOpen)
	require.Equal(t, "aaa made_load made_m zzz", names(some))
	require.Equal(t, 1, strings.Count(log.String(), "name=made_load"), log.String())
}

// The handler counts itself under promhttp's names, and what could not be
// gathered costs nothing else.
func TestHandlerCountsItself(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	bad := prometheus.Gatherers{registry, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("broken") })}
	o := HandlerOptions{Collect: twoFamilies, Registry: bad, Registerer: registry, Logger: slog.New(slog.DiscardHandler)}
	h := Handler(o)
	get(t, h)
	_, body := get(t, Handler(o)) // a second handler shares the metrics of the first
	for _, want := range []string{
		"made_load 0.5\n", `promhttp_metric_handler_requests_total{code="200"} 1` + "\n",
		"promhttp_metric_handler_requests_in_flight 1\n", `promhttp_metric_handler_errors_total{cause="gathering"} 1` + "\n",
	} {
		require.Contains(t, body, want)
	}
}
