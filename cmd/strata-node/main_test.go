package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// asProgram makes the test binary the program itself.
const asProgram = "STRATA_NODE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

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
	f("unknown long flag '--colector.cpu'", "--colector.cpu")
	f(`--collector.netdev.device-include="*": error parsing regexp`, "--collector.netdev.device-include=*")
	f(`--collector.netdev.device-include="a" and --collector.netdev.device-exclude="b" are mutually exclusive`,
		"--collector.netdev.device-include=a", "--collector.netdev.device-exclude=b")
	f(`--web.telemetry-path: "metrics" is not a path as /metrics is one`, "--web.telemetry-path=metrics")
	f("--web.telemetry-path: something else is served at /-/ready; choose another path", "--web.telemetry-path=/-/ready")
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	var stderr bytes.Buffer
	require.Equal(t, 1, serve.Main(program, []string{"--web.listen-address=" + l.Addr().String(), "--log.level=error"}, &stderr, run))
	require.Contains(t, stderr.String(), "is in use")
	require.Contains(t, stderr.String(), "--web.listen-address")
}

// A socket that systemd passes is served, and without one it is said what is
// missing.
func TestSystemdSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	file, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	// systemd names the process that the sockets are for; exec keeps the number.
	child := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" --web.systemd-socket --log.level=error`, os.Args[0])
	child.Env = append(os.Environ(), asProgram+"=1", "LISTEN_FDS=1")
	child.ExtraFiles = []*os.File{file}
	require.NoError(t, child.Start())
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics?collect[]=loadavg")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(text), "\nnode_load1 ")
	require.Contains(t, string(text), "\npromhttp_metric_handler_requests_in_flight 1\n")
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	require.NoError(t, child.Wait())

	var stderr bytes.Buffer
	require.Equal(t, 1, serve.Main(program, []string{"--web.systemd-socket", "--log.level=error"}, &stderr, run))
	require.Contains(t, stderr.String(), "--web.systemd-socket needs a .socket unit")
}

// The program serves this host until its context ends.
func TestServes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--web.listen-address=" + address, "--log.level=error", "--web.telemetry-path=/m"})
	}()
	var body string
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/m?collect[]=loadavg&collect[]=cpu")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		body = string(text)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	for _, want := range []string{
		"node_load1 ", "node_cpu_seconds_total{", "node_exporter_build_info{", "strata_node_build_info{", "go_goroutines ",
		"process_open_fds ",
	} {
		require.Contains(t, body, "\n"+want)
	}
	require.NotContains(t, body, "node_memory")
	cancel()
	require.NoError(t, <-done)
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
