package load

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func TestFixed(t *testing.T) {
	t.Parallel()
	var asked, http2 atomic.Int64
	s, conf := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http2.Add(int64(r.ProtoMajor / 2))
		_, _ = w.Write([]byte("hello"))
	})
	c, err := NewClient(conf, nil, s.URL+"/a", s.URL+"/b")
	require.NoError(t, err)
	defer c.Close()
	r, err := Fixed(t.Context(), c, 100, 200*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	require.Equal(t, 20, r.Sent)
	require.EqualValues(t, 20, asked.Load())
	require.EqualValues(t, 20, http2.Load())
	require.Equal(t, 5, r.Bytes)
	require.Positive(t, r.Max())
	require.LessOrEqual(t, r.Quantile(0.5), r.Quantile(0.99))
}

// TestFixedCountsFromIntent holds that a stall counts for all requests that
// fell into it, not for the one that met it.
func TestFixedCountsFromIntent(t *testing.T) {
	t.Parallel()
	// The answer to the first request waits until the last one has come.
	const n = 10
	var asked atomic.Int64
	last := make(chan struct{})
	s, conf := serve(t, func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == n {
			close(last)
		}
		<-last
	})
	c, err := NewClient(conf, nil, s.URL)
	require.NoError(t, err)
	defer c.Close()
	r, err := Fixed(t.Context(), c, 100, n*10*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	require.GreaterOrEqual(t, r.Max(), 85.0)
	require.GreaterOrEqual(t, r.Quantile(0.5), 35.0)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	s, conf := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	c, err := NewClient(conf, func(status int, _ []byte) error {
		if status == http.StatusTeapot {
			return bad
		}
		return nil
	}, s.URL)
	require.NoError(t, err)
	defer c.Close()
	r, err := Closed(t.Context(), []*Client{c}, 2, 50*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, r.Sent)
	require.Equal(t, r.Sent, r.Failed)
	require.ErrorIs(t, r.Err, bad)
	require.Zero(t, r.Rate())
}

func TestNewClientStaysHere(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"https://192.0.2.1/", "https://example.com/"} {
		_, err := NewClient(nil, nil, u)
		require.ErrorIs(t, err, ErrTarget, u)
	}
	_, err := NewClient(nil, nil)
	require.Error(t, err)
}
