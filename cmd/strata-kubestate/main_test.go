package main

import (
	"bytes"
	"context"
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
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// TestMistakes holds that each mistake in what is given is one line, and its
// exit status.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	f := func(status int, want string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		require.Equal(t, status, serve.Main(name, args, &stderr, run), args)
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	f(1, "not a pod of a cluster")
	f(1, "no such file", "--kubeconfig="+filepath.Join(dir, "absent"))
	f(1, "broken: ", "--kubeconfig="+write("broken", "clusters: ["))
	f(1, "names no cluster", "--kubeconfig="+write("empty", ""))
	f(1, "", "--kubeconfig="+write("nocontext", "apiVersion: v1\nkind: Config\ncurrent-context: gone\n"))
	f(2, "--help lists", "--no-such-flag")
	f(2, `unknown resource "podz"`, "--resources=podz")
	f(2, "exclude each other", "--metric-allowlist=a", "--metric-denylist=b")
	f(2, "--metric-denylist: error parsing regexp", "--metric-denylist=(?!kube)")
	f(2, "--metric-labels-allowlist", "--metric-labels-allowlist=pods=[")
	f(2, `unknown resource "podz"`, "--metric-annotations-allowlist=podz=[*]")
	f(2, "--resources=pods", "--node=n1")
	f(1, "--config "+filepath.Join(dir, "absent")+": ", "--config="+filepath.Join(dir, "absent"))
	f(1, "field shards not found", "--config="+write("typo", "shards: 1"))
	f(1, "--custom-resource-state-config-file "+filepath.Join(dir, "absent")+": ", "--custom-resource-state-config-file="+filepath.Join(dir, "absent"))
	f(2, "--auto-gomemlimit-ratio is 2", "--auto-gomemlimit-ratio=2")
	f(2, "leave it or --auth-filter out", "--auth-filter", "--web.enable-pprof")
	f(2, "--shard 2 is none of --total-shards 2", "--shard=2", "--total-shards=2")
	f(2, "--total-shards is 0", "--total-shards=0")
	f(2, "need each other", "--pod=p-0")
	f(2, "--object-limit is -1", "--object-limit=-1")
	f(2, "--resources=pods", "--track-unscheduled-pods")
	f(2, "--metric-join-labels: ", "--metric-join-labels=nodes=zone")
	f(2, `--metric-join-labels of "pods"`, "--metric-join-labels=pods=[app]")
	f(2, "--pod-workloads shows something of pods", "--pod-workloads", "--resources=nodes")
	f(2, "--counter-series-limit is -1", "--counter-series-limit=-1")
	f(2, "--series-budget-family -1", "--series-budget-family=-1")
	f(2, `"kube_node_info" is no family of pods`, "--pod-workload-labels=kube_pod_info,kube_node_info")
	f(2, "not the same", "--tls-config=a", "--web.config.file=b")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	f(1, "--telemetry-port", "--apiserver=http://127.0.0.1:1", "--host=127.0.0.1", "--port=0", "--telemetry-host=127.0.0.1", "--telemetry-port="+port)
}

// TestLikeKubeStateMetrics holds that every flag of kube-state-metrics 2.20 is
// taken, in the ways in which pflag reads one.
func TestLikeKubeStateMetrics(t *testing.T) {
	t.Parallel()
	app := serve.NewApp(name, "")
	f, log := &flags{}, &serve.Flags{}
	f.declare(app)
	log.Log(app)
	log.Klog(app)
	_, err := serve.Parse(app, []string{
		"--add_dir_header", "--alsologtostderr", "--apiserver=https://a", "--auth-filter=false", "--auto-gomemlimit=true", "--auto-gomemlimit-ratio=0.8",
		"--config=c.yaml", "--continue-without-config=true", "--continue-without-custom-resource-state-config-file", "--custom-resource-state-config", "spec: {}",
		"--custom-resource-state-config-file=x.yaml", "--custom-resource-state-only=false", "--enable-gzip-encoding", "--host=::", "--kubeconfig=k",
		"--log_backtrace_at=:0", "--log_dir=", "--log_file=", "--log_file_max_size=1800", "--logtostderr=true", "--metric-allowlist=kube_pod.*",
		"--metric-annotations-allowlist=pods=[*]", "--metric-denylist=", "--metric-labels-allowlist=*=[*]", "--metric-opt-in-list=kube_pod_nodeselectors",
		"--namespaces=a,b", "--namespaces-denylist=c", "--node=n", "--object-limit=10", "--one_output=false", "--pod=p-0", "--pod-namespace=m", "--port=8080",
		"--resources=pods,nodes", "--server-idle-timeout=5m", "--server-read-header-timeout=5s", "--server-read-timeout=1m", "--server-write-timeout=1m",
		"--shard=1", "--skip_headers", "--skip_log_headers", "--stderrthreshold=2", "--telemetry-host=::", "--telemetry-port=8081", "--tls-config=t",
		"--total-shards=2", "--track-unscheduled-pods=true", "--use-apiserver-cache=true", "-v=5", "--vmodule=store=4",
	})
	require.NoError(t, err)
	require.Equal(t, flags{
		apiserver: "https://a", kubeconfig: "k", host: "::", port: "8080", telemetryHost: "::", telemetry: "8081", tlsConfig: "t", gzip: true, node: "n",
		pod: "p-0", podNamespace: "m", shard: 1, totalShards: 2, unscheduled: true, cached: true, config: "c.yaml", custom: "spec: {}", customFile: "x.yaml",
		continueWithout: true, continueWithoutCustom: true, memLimit: true, memRatio: 0.8, readTimeout: time.Minute, objectLimit: 10,
		resources: []string{"pods,nodes"}, namespaces: []string{"a,b"}, denied: []string{"c"}, allow: []string{"kube_pod.*"}, deny: []string{""},
		optIn: []string{"kube_pod_nodeselectors"}, labels: []string{"*=[*]"}, annotations: []string{"pods=[*]"}, counterSeries: 10000,
	}, *f)
	require.True(t, log.Logger().Enabled(t.Context(), slog.LevelDebug))
}

// TestRun holds that the binary serves both ports, from the start to a signal,
// with an API server that answers nothing but refusals.
func TestRun(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(refuse))
	defer api.Close()
	port, telemetry := freePort(t), freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{
			"--apiserver", api.URL, "--host", "127.0.0.1", "--port", port, "--telemetry-host", "127.0.0.1", "--telemetry-port", telemetry,
			"--resources=pods,nodes", "--resources", "deployments", "--metric-labels-allowlist=pods=[app]", "--log.level=error",
		})
	}()
	get := func(port, path string) (int, string) {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%s%s", port, path))
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	require.Eventually(t, func() bool {
		status, body := get(port, "/-/ready")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "pods: ") && strings.Contains(body, "unable to handle the request")
	}, time.Minute, 5*time.Millisecond)
	for path, want := range map[string]int{"/metrics": 200, "/livez": 200, "/healthz": 200, "/-/healthy": 200, "/readyz": 503, "/": 200} {
		status, _ := get(port, path)
		require.Equal(t, want, status, path)
	}
	status, body := get(telemetry, "/metrics")
	require.Equal(t, 200, status)
	for _, want := range []string{
		"kube_state_metrics_build_info{", `kube_state_metrics_list_total{resource="pods",result="error"}`,
		`kube_state_metrics_watch_total{resource="nodes",result="success"} 0`, "go_goroutines", "process_cpu_seconds_total",
	} {
		require.Contains(t, body, want)
	}
	cancel()
	require.NoError(t, <-done)
}

// refuse answers as an API server that is overloaded.
func refuse(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
