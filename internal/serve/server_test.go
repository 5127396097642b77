package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	o.Name, o.Logger = "strata-test", slog.New(slog.DiscardHandler)
	s, err := New(o)
	require.NoError(t, err)
	return s
}

func get(s *Server, path string) (int, string) {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := newServer(t, Options{Registry: registry})
	s.Handle("/metrics", "Metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	waiting := errors.New("no scrape yet")
	s.AddReady("store", func() error { return waiting })

	f := func(path string, wantCode int, want string) {
		t.Helper()
		code, body := get(s, path)
		require.Equal(t, wantCode, code, body)
		require.Contains(t, body, want)
	}
	f("/", 200, `href="/metrics"`)
	f("/", 200, "strata-test")
	f("/metrics", http.StatusTeapot, "")
	f("/nowhere", 404, "")
	f("/debug/pprof/", 404, "")
	f("/-/healthy", 200, "strata-test is healthy.")
	f("/-/ready", 503, "store: no scrape yet")
	waiting = nil
	f("/-/ready", 200, "strata-test is ready.")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP strata_http_requests_total HTTP requests served, by route and status code.
# TYPE strata_http_requests_total counter
strata_http_requests_total{code="200",handler="/-/healthy"} 1
strata_http_requests_total{code="200",handler="/-/ready"} 1
strata_http_requests_total{code="503",handler="/-/ready"} 1
strata_http_requests_total{code="418",handler="/metrics"} 1
`), "strata_http_requests_total"))
}

func TestOwnRootAndProfiles(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{PProf: true})
	s.Handle("/", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }))
	_, body := get(s, "/")
	require.Equal(t, "page", body)
	code, body := get(s, "/debug/pprof/")
	require.Equal(t, 200, code)
	require.Contains(t, body, "goroutine")
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = holder.Close() }()
	address := holder.Addr().String()
	s := newServer(t, Options{Listen: []string{"127.0.0.1:0", address}, ListenFlag: "--node.listen-address"})
	err = s.Run(t.Context())
	require.ErrorContains(t, err, address+" is in use by serve.test (pid "+fmt.Sprint(os.Getpid())+")")
	require.ErrorContains(t, err, "choose another address with --node.listen-address")
	require.Empty(t, s.Addrs())

	_, err = ListenOn("no such address", "--x")
	require.ErrorContains(t, err, "choose another address with --x")
}

func TestBadWebConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("tls_server_config: {cert_fil: x}\n"), 0o600))
	_, err := New(Options{WebConfigFile: file})
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "line 1")
}

// Run answers on every listener, and at its end lets a request finish.
func TestRunEndsGracefully(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, Options{Listen: []string{"127.0.0.1:0", "127.0.0.1:0"}})
	entered, leave := make(chan struct{}), make(chan struct{})
	s.Handle("/slow", "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "done")
	}))
	require.NoError(t, s.Listen())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, a := range s.Addrs() {
		resp, err := client.Get("http://" + a.String() + "/-/healthy")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	body := make(chan string)
	go func() {
		text := ""
		if resp, err := client.Get("http://" + s.Addrs()[0].String() + "/slow"); err == nil {
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			text = string(b)
		}
		body <- text
	}()
	<-entered
	cancel()
	close(leave)
	require.Equal(t, "done", <-body)
	require.NoError(t, <-ended)
}

func TestMainStatus(t *testing.T) {
	t.Parallel()
	f := func(status int, message string, err error) {
		t.Helper()
		var out strings.Builder
		require.Equal(t, status, Main("strata-x", nil, &out, func(context.Context, []string) error { return err }))
		require.Equal(t, message, out.String())
	}
	f(0, "", nil)
	f(1, "strata-x: disk is full\n", errors.New("disk is full"))
	f(2, "strata-x: unknown flag\n", fmt.Errorf("%w", &UsageError{errors.New("unknown flag")}))
}

func TestFlags(t *testing.T) {
	t.Parallel()
	app := NewApp("strata-x", "Test.")
	flags := NewFlags(app, ":9100")
	_, err := Parse(app, []string{"--web.listen-address=:1", "--web.listen-address", ":2", "--log.level=debug", "--web.enable-pprof"})
	require.NoError(t, err)
	o := flags.Options("strata-x", flags.Logger(), nil)
	require.Equal(t, []string{":1", ":2"}, o.Listen)
	require.True(t, o.PProf)
	require.True(t, o.Logger.Enabled(t.Context(), slog.LevelDebug))

	_, err = Parse(app, []string{"--no-such-flag"})
	var usage *UsageError
	require.ErrorAs(t, err, &usage)
	require.EqualError(t, err, "unknown long flag '--no-such-flag'; strata-x --help lists what there is")
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	n, err := testutil.GatherAndCount(NewRegistry("strata_x"), "strata_x_build_info", "go_goroutines", "process_open_fds")
	require.NoError(t, err)
	require.Equal(t, 3, n)
}
