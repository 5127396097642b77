package app

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// answers is an app with this answer at /metrics.
func answers(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		_, _ = io.WriteString(w, body)
	}
}

func TestMetricsOfTheApp(t *testing.T) {
	t.Parallel()
	var got http.Header
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		answers("text/plain; version=0.0.4", "# TYPE jobs gauge\njobs{queue=\"a\"} 7\ngo_goroutines 12\n")(w, r)
	})
	text := b.scrape()
	require.True(t, strings.HasSuffix(text, "\n# TYPE jobs gauge\njobs{queue=\"a\"} 7\ngo_goroutines 12\n"), text)
	require.Contains(t, text, "strata_app_metrics_up 1\n")
	require.Contains(t, text, "strata_app_metrics_samples 2\n")
	require.Contains(t, text, `strata_app_metrics_dropped_lines_total{reason="broken"} 0`+"\n")
	require.Contains(t, text, "strata_app_upstream_up 1\n")
	require.Contains(t, text, "\nstrata_app_build_info{")
	require.Equal(t, accept, got.Get("Accept"))
	require.Empty(t, got.Get("Accept-Encoding"))
	require.NotContains(t, text, "http_requests_total", "a scrape is no request to the app")
}

// Families of our names are left out, whatever type they have.
func TestMetricsThatClash(t *testing.T) {
	t.Parallel()
	b := beside(t, answers("text/plain", "# TYPE http_requests_total counter\nhttp_requests_total 5\nhttp_request_duration_seconds_count 1\nx 1\n"))
	b.do("GET", "/a")
	b.shows(total("GET", "200", "/a"), "x 1")
	text := b.scrape()
	require.NotContains(t, text, "http_requests_total 5")
	require.Equal(t, 1, strings.Count(text, "# TYPE http_requests_total "))
	require.Contains(t, text, `strata_app_metrics_dropped_lines_total{reason="clash"} `)
}

// An app that sends garbage: what is right in it is passed on.
func TestAppSendsGarbage(t *testing.T) {
	t.Parallel()
	garbage := "\x00\x01\x02\xff\n{\"json\": true}\nok 1\nbad{ 2\n# TYPE ok gauge\n" + strings.Repeat("<p>\n", 1000) + "cut off 1"
	b := beside(t, answers("text/plain", garbage))
	text := b.scrape()
	require.True(t, strings.HasSuffix(text, "\nok 1\n"))
	require.Contains(t, text, `strata_app_metrics_dropped_lines_total{reason="broken"} 1005`+"\n")
	require.Contains(t, text, "strata_app_metrics_up 1\n")
}

// An app whose answer is no text format: our own families are served.
func TestAppSendsAnotherFormat(t *testing.T) {
	t.Parallel()
	f := func(app http.HandlerFunc, want string) {
		t.Helper()
		b := beside(t, app)
		for range 2 {
			text := b.scrape()
			require.Contains(t, text, "strata_app_metrics_up 0\n")
			require.Contains(t, text, "strata_app_upstream_up 1\n")
			require.Contains(t, text, "http_requests_in_flight 0\n")
			require.NotContains(t, text, "x 1")
		}
		require.Contains(t, b.log.String(), want)
		require.Equal(t, 1, strings.Count(b.log.String(), "no metrics from the app"))
	}
	f(answers("text/html; charset=utf-8", "<html>\nx 1\n"), "text/html")
	f(answers("application/openmetrics-text; version=1.0.0", "x 1\n# EOF\n"), "openmetrics")
	f(answers("a;b;;", "x 1\n"), "content type")
	f(func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "404 Not Found")
	f(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(302) }, "302 Found")
	f(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = io.WriteString(zip, "x 1\n")
		_ = zip.Close()
	}, "content encoding")
}

// An app that sends 100 MB: nothing of it is taken, and not more than the
// limit is read.
func TestAppSends100MB(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	sent := make(chan int, 1)
	b := beside(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		line := []byte(strings.Repeat("x 1\n", 16<<10))
		n := 0
		for n < size {
			m, err := w.Write(line)
			n += m
			if err != nil {
				break
			}
		}
		sent <- n
	}, func(o *Options) { o.MetricsLimit = 1 << 20 })
	text := b.scrape()
	require.Contains(t, text, "strata_app_metrics_up 0\n")
	require.NotContains(t, text, "\nx 1\n")
	require.Contains(t, b.log.String(), "--app.metrics-limit=1048576")
	require.Less(t, <-sent, size)
}

// An app that hangs: our own families are served when the time is over, be it
// the scraper's or that of the flag.
func TestAppHangs(t *testing.T) {
	t.Parallel()
	app := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	b := beside(t, app, func(o *Options) { o.MetricsTimeout = 20 * time.Millisecond })
	require.Contains(t, b.scrape(), "strata_app_metrics_up 0\n")

	b = beside(t, app, func(o *Options) { o.MetricsTimeout = time.Hour })
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "1.5")
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	require.Contains(t, w.Body.String(), "strata_app_metrics_up 0\n")
	require.Contains(t, w.Body.String(), "strata_app_upstream_up 1\n")
}

// An app that hangs in the middle of its metrics.
func TestAppHangsWithinItsMetrics(t *testing.T) {
	t.Parallel()
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		answers("text/plain", "x 1\n")(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, func(o *Options) { o.MetricsTimeout = 50 * time.Millisecond })
	text := b.scrape()
	require.Contains(t, text, "strata_app_metrics_up 0\n")
	require.NotContains(t, text, "\nx 1\n", "half of the metrics would look like vanished series")
}

// An app without metrics is still looked at, so that upstream_up is true.
func TestUpstreamUpWithoutMetrics(t *testing.T) {
	t.Parallel()
	require.Contains(t, start(t, deadAddress(t), noMetrics).scrape(), "strata_app_upstream_up 0\n")
	require.Contains(t, beside(t, answers("", ""), noMetrics).scrape(), "strata_app_upstream_up 1\n")
}

func TestCompressesForThoseWhoAsk(t *testing.T) {
	t.Parallel()
	b := beside(t, answers("text/plain", string(exposition10k())))
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	require.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
	zip, err := gzip.NewReader(w.Body)
	require.NoError(t, err)
	text, err := io.ReadAll(zip)
	require.NoError(t, err)
	require.Contains(t, string(text), "strata_app_metrics_samples 10000\n")
}

// Every family that we expose is one that an app cannot have.
func TestOwnFamiliesAreKnown(t *testing.T) {
	t.Parallel()
	b := beside(t, answers("text/plain", ""))
	b.do("GET", "/a")
	b.shows(total("GET", "200", "/a"))
	families, err := b.scraper.registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, f := range families {
		require.True(t, isOwn([]byte(f.GetName())), f.GetName())
	}
	require.NoError(t, b.Register(prometheus.NewRegistry()))
}

func BenchmarkScrape10k(b *testing.B) {
	s := beside(b, answers("text/plain", string(exposition10k())))
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(b, 200, w.Code)
	}
}

// BenchmarkProxy is a request on a kept connection, direct and through the
// sidecar.
func BenchmarkProxy(b *testing.B) {
	s := beside(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, noMetrics)
	for name, url := range map[string]string{"direct": "http://" + s.upstream.host, "sidecar": s.url} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				resp, err := s.client.Get(fmt.Sprintf("%s/orders/%d", url, i))
				require.NoError(b, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
