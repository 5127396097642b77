package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is awaited comes true after a while; what does not is named.
func TestProbe(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 1 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		result := `[{"metric":{},"value":[1,"1"]}]`
		if r.FormValue("query") == "none" {
			result = "[]"
		}
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":` + result + `}}`))
	}))
	t.Cleanup(s.Close)
	f := func(status int, want string, args ...string) {
		t.Helper()
		got, out := launch(t, t.TempDir(), append([]string{"probe", "--interval=10ms"}, args...)...).ends()
		require.Equal(t, status, got, out)
		require.Contains(t, out, want)
	}
	f(0, "ok   "+s.URL+"/-/ready\nok   up == 1\n", "--ready="+s.URL+"/-/ready", "--server="+s.URL, "--query=up == 1")
	f(1, "none: not within 100ms: ", "--server="+s.URL, "--query=none", "--timeout=100ms")
	f(1, "http://127.0.0.1:1/: not within 50ms: ", "--ready=http://127.0.0.1:1/", "--timeout=50ms")
	f(2, "nothing to probe: give --ready or --query")
	f(2, "--query needs --server", "--query=up")
	f(2, `"localhost:9090" is not a URL`, "--ready=localhost:9090")
}
