package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// A wrong command line gives one line that names the flag, and status 2.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		require.Equal(t, 2, serve.Main(program, args, &stderr, run))
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		require.Contains(t, stderr.String(), want)
	}
	f("unknown long flag '--app.adress'", "--app.adress=x")
	f(`app address "ftp://x" (--app.address): only http is spoken with the app`, "--app.address=ftp://x")
	f(`route pattern "orders" (--route.pattern)`, "--route.pattern=orders")
	f(`metrics path "m" (--app.metrics-path)`, "--app.metrics-path=m")
	f("many", "--route.limit=many")
	f("16XB", "--app.metrics-limit=16XB")
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	f := func(flag, other string) {
		t.Helper()
		var stderr bytes.Buffer
		require.Equal(t, 1, serve.Main(program, []string{flag + "=" + l.Addr().String(), other + "=127.0.0.1:0", "--log.level=error"}, &stderr, run))
		require.Contains(t, stderr.String(), "is in use")
		require.Contains(t, stderr.String(), flag)
	}
	f("--proxy.listen-address", "--web.listen-address")
	f("--web.listen-address", "--proxy.listen-address")
}

// free gives an address that was free a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// The program carries traffic and tells of it until its context ends.
func TestRuns(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stats" {
			_, _ = io.WriteString(w, "jobs 3\n")
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer app.Close()
	metrics, proxy := free(t), free(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{
			"--web.listen-address=" + metrics, "--proxy.listen-address=" + proxy, "--app.address=" + app.URL,
			"--app.metrics-path=/stats", "--route.pattern=/greet/{name}", "--log.level=error",
		})
	}()
	var body string
	require.Eventually(t, func() bool {
		var err error
		body, err = get("http://" + proxy + "/greet/you")
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, "hello", body)
	require.Eventually(t, func() bool {
		text, err := get("http://" + metrics + "/metrics")
		return err == nil && strings.Contains(text, "\njobs 3\n") &&
			strings.Contains(text, `http_requests_total{code="200",method="GET",route="/greet/{name}"} 1`)
	}, 20*time.Second, 10*time.Millisecond)
	body, err := get("http://" + metrics + "/metrics/sidecar")
	require.NoError(t, err)
	require.Contains(t, body, "go_goroutines ")
	cancel()
	require.NoError(t, <-done)
}

// The metrics outlive the traffic, and the one that fails takes the other with
// it.
func TestTogether(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	broken := errors.New("broken")
	fail := func(context.Context) error { return broken }
	require.ErrorIs(t, together(t.Context(), fail, wait), broken)
	require.ErrorIs(t, together(t.Context(), wait, fail), broken)

	ctx, cancel := context.WithCancel(t.Context())
	trafficEnded := false
	cancel()
	require.NoError(t, together(ctx, func(context.Context) error { trafficEnded = true; return nil }, func(ctx context.Context) error {
		<-ctx.Done()
		require.True(t, trafficEnded)
		return nil
	}))
}

// An exporter links neither the Prometheus server nor Kubernetes.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, not := range []string{"github.com/prometheus/prometheus/", "k8s.io/", "strata/pipeline"} {
		require.NotContains(t, string(out), not)
	}
}
