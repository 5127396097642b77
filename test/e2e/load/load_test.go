package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fixed(urls ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return urls, nil }
}

func TestRunSendsAndCounts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if got.Add(1) == 20 {
			cancel() // enough seen
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	result, err := Run(ctx, Options{Targets: fixed(server.URL+"/a", server.URL+"/b"), Rate: 500, Duration: time.Minute})
	require.NoError(t, err)
	require.GreaterOrEqual(t, result.Sent, 20)
	require.Equal(t, int64(result.Sent), got.Load())
	require.Equal(t, result.Sent, result.Codes[http.StatusTeapot]+result.Failed)
	require.Positive(t, result.ByURL[server.URL+"/a"])
	require.Positive(t, result.ByURL[server.URL+"/b"])
}

func TestRunCountsFailures(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	result, err := Run(t.Context(), Options{Targets: fixed(url), Rate: 200, Duration: 50 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, result.Sent, result.Failed)
	if result.Sent > 0 {
		require.Error(t, result.Err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	f := func(want string, o Options) {
		t.Helper()
		_, err := Run(t.Context(), o)
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, want)
	}
	local := fixed("http://127.0.0.1:1/")
	f("rate", Options{Targets: local, Rate: MaxRate + 1, Duration: time.Second})
	f("rate", Options{Targets: local, Rate: 0, Duration: time.Second})
	f("duration", Options{Targets: local, Rate: 1, Duration: MaxDuration + 1})
	f("no targets", Options{Targets: fixed(), Rate: 1, Duration: time.Second})
	f("not a loopback or private", Options{Targets: fixed("http://192.0.2.1/"), Rate: 1, Duration: time.Second})
	f("not a loopback or private", Options{Targets: fixed("http://example.com/"), Rate: 1, Duration: time.Second})
}
