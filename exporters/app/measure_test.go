package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// An exporter without an app beside it measures handlers of its own process,
// and says nothing of an upstream that it has not.
func TestMeasure(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.App = ""
	e, err := New(o)
	require.NoError(t, err)
	h := e.Measure(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "page")
	}))
	for _, path := range []string{"/page", "/page", "/nowhere"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, w.Body.String(), `http_requests_total{code="200",method="GET",route="/page"} 2`)
	require.Contains(t, w.Body.String(), `http_requests_total{code="404",method="GET",route="other"} 1`)
	require.NotContains(t, w.Body.String(), "strata_app_upstream")
	require.NotContains(t, w.Body.String(), "strata_app_metrics")
}
