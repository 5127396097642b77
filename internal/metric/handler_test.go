package metric

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// escapedText is the type of the text format as promhttp names it.
const escapedText = ContentType + "; escaping=underscores"

func get(t *testing.T, h http.Handler, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body := io.Reader(w.Body)
	if w.Header().Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(w.Body)
		require.NoError(t, err)
		body = zip
	}
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	return w.Result(), string(text)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	load := NewGauge("load", "Load.")
	registry := prometheus.NewRegistry()
	own := prometheus.NewCounter(prometheus.CounterOpts{Name: "own_total", Help: "Own."})
	registry.MustRegister(own)
	h := Handler(HandlerOptions{Registry: registry, Collect: func(_ context.Context, b *Batch) error {
		b.Add(load, 0.5)
		return nil
	}})
	want := "# HELP load Load.\n# TYPE load gauge\nload 0.5\n# HELP own_total Own.\n# TYPE own_total counter\nown_total 0\n"

	f := func(encoding, accept string) {
		t.Helper()
		for range 2 { // the second scrape uses the memory of the first
			resp, body := get(t, h, "Accept-Encoding", accept)
			require.Equal(t, want, body)
			require.Equal(t, encoding, resp.Header.Get("Content-Encoding"))
			require.Equal(t, escapedText, resp.Header.Get("Content-Type"))
		}
	}
	f("", "")
	f("", "deflate, br")
	f("", "gzip;q=0")
	f("gzip", "gzip")
	f("gzip", "deflate, GZIP;q=0.5")
}

func TestHandlerStreamsRenderedText(t *testing.T) {
	t.Parallel()
	load := NewGauge("load", "Load.")
	h := Handler(HandlerOptions{
		Collect: func(_ context.Context, b *Batch) error {
			b.Add(load, 0.5)
			return nil
		},
		WriteText: func(w io.Writer) error {
			for range 3 {
				if _, err := io.WriteString(w, "kept 1\n"); err != nil {
					return err
				}
			}
			return nil
		},
	})
	want := "# HELP load Load.\n# TYPE load gauge\nload 0.5\nkept 1\nkept 1\nkept 1\n"
	for _, encoding := range []string{"", "gzip", "", "gzip"} {
		resp, body := get(t, h, "Accept-Encoding", encoding)
		require.Equal(t, want, body)
		require.Equal(t, encoding, resp.Header.Get("Content-Encoding"))
		require.Equal(t, escapedText, resp.Header.Get("Content-Type"))
	}
	resp, body := get(t, h, "Accept", acceptOpen)
	require.Equal(t, want, body, "not offered")
	require.Equal(t, escapedText, resp.Header.Get("Content-Type"))
	_, body = get(t, Handler(HandlerOptions{WriteText: func(w io.Writer) error {
		_, err := io.WriteString(w, "kept 1\n")
		return err
	}}))
	require.Equal(t, "kept 1\n", body)
}

func TestHandlerStreamsOpenMetrics(t *testing.T) {
	t.Parallel()
	asked := NewCounter("asked_total", "Asked.")
	lines := func(text string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}
	}
	h := Handler(HandlerOptions{
		Collect: func(_ context.Context, b *Batch) error {
			b.Add(asked, 1)
			return nil
		},
		WriteText:        lines("kept_text 1\n"),
		WriteOpenMetrics: lines("kept_open 1\n"),
	})
	const (
		text = "# HELP asked_total Asked.\n# TYPE asked_total counter\nasked_total 1\nkept_text 1\n"
		open = "# HELP asked Asked.\n# TYPE asked counter\nasked_total 1\nkept_open 1\n# EOF\n"
	)
	f := func(accept, contentType, want string) {
		t.Helper()
		for _, encoding := range []string{"", "gzip"} {
			resp, body := get(t, h, "Accept", accept, "Accept-Encoding", encoding)
			require.Equal(t, want, body)
			require.Contains(t, resp.Header.Get("Content-Type"), contentType)
		}
	}
	f("", "text/plain; version=0.0.4", text)
	f("*/*", "text/plain; version=0.0.4", text)
	f(acceptProto, "text/plain; version=0.0.4", text)
	f(acceptOpen, "application/openmetrics-text; version=1.0.0", open)
	f("application/openmetrics-text", "application/openmetrics-text; version=0.0.1", open)
	f(acceptProto+","+acceptOpen+";q=0.5,text/plain;q=0.2", "application/openmetrics-text; version=1.0.0", open)
}

func TestHandlerErrorAndBound(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	h := Handler(HandlerOptions{MaxInFlight: 1, Collect: func(context.Context, *Batch) error {
		entered <- struct{}{}
		<-leave
		return errors.New("nothing to read")
	}})
	done := make(chan *http.Response)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		done <- w.Result()
	}()
	<-entered
	resp, body := get(t, h)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "1 scrapes are under way already\n", body)
	close(leave)
	require.Equal(t, http.StatusInternalServerError, (<-done).StatusCode)
}

func TestHandlerKeepsToTheScrapersPatience(t *testing.T) {
	t.Parallel()
	var left time.Duration
	var bounded bool
	h := Handler(HandlerOptions{Collect: func(ctx context.Context, _ *Batch) error {
		var end time.Time
		end, bounded = ctx.Deadline()
		left = time.Until(end)
		return nil
	}})
	const header = "X-Prometheus-Scrape-Timeout-Seconds"
	get(t, h, header, "10")
	require.True(t, bounded)
	require.LessOrEqual(t, left, 9500*time.Millisecond)
	for _, none := range []string{"", "soon", "0.1", "-3", "NaN"} {
		get(t, h, header, none)
		require.False(t, bounded, none)
	}
}
