package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/internal/serve"
)

// The exporter of a node stays small: no Prometheus server, no client of the
// API server, no cAdvisor.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, name := range strings.Fields(string(out)) {
		for _, bad := range []string{"github.com/prometheus/prometheus", "k8s.io/client-go", "k8s.io/apiserver", "k8s.io/apimachinery", "github.com/google/cadvisor"} {
			require.False(t, name == bad || strings.HasPrefix(name, bad+"/"), name)
		}
	}
}

// Mistakes in the command line end the program with status 2 and one line.
func TestMistakes(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		require.Equal(t, 2, serve.Main(name, args, &stderr, run))
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
	f("unknown long flag '--no-such'", "--no-such")
	f(`no such group of metrics as "dusk" in --enable_metrics: there are advtcp,app,cpu,`, "--enable_metrics=cpu,dusk")
	f(`see docs/compat-container.md`, "--enable_metrics=resctrl")
	f(`as "cpus" in --disable_metrics`, "--disable_metrics=cpus")
	f("give one of them", "--containerd=/a", "--container-runtime-endpoint=/b")
	f("must be above 0", "--container-runtime-timeout=0s")
	f(`--store_container_labels=maybe: "maybe" is neither true nor false`, "--store_container_labels=maybe")
	f("--prometheus_endpoint: something else is served at /metrics/cadvisor", "--prometheus_endpoint=/metrics/cadvisor")
	f("unknown long flag '--storage_driver'", "--storage_driver=influxdb")

	var stderr bytes.Buffer
	require.Equal(t, 1, serve.Main(name, []string{"--path.rootfs=" + t.TempDir()}, &stderr, run))
	require.Contains(t, stderr.String(), "mountinfo: no such file")
}

func TestFlagsMakeOptions(t *testing.T) {
	t.Parallel()
	f := &flags{}
	app := kingpin.New("t", "")
	f.declare(app)
	_, err := serve.Parse(app, []string{"--containerd=/run/c.sock", "--store_container_labels=false", "--whitelisted_container_labels=app, tier", "--disable_metrics=percpu,network", "--path.rootfs=/host"})
	require.NoError(t, err)
	require.NoError(t, f.finish())
	require.Equal(t, "/run/c.sock", f.options.RuntimeEndpoint)
	require.True(t, f.options.NoContainerLabels)
	require.Equal(t, []string{"app", "tier"}, f.options.ContainerLabels)
	want, err := container.SelectGroups("", "percpu,network")
	require.NoError(t, err)
	require.Equal(t, want, f.options.Groups)
	require.Equal(t, "/host", f.options.Rootfs)
	require.Empty(t, f.options.DockerEndpoint)

	f = &flags{}
	app = kingpin.New("t", "")
	f.declare(app)
	_, err = app.Parse([]string{"--docker=", "--podman=/p.sock", "--docker_env_metadata_whitelist=APP_", "--containerd_env_metadata_whitelist=TIER"})
	require.NoError(t, err)
	require.NoError(t, f.finish())
	require.Equal(t, container.NoEndpoint, f.options.DockerEndpoint)
	require.Equal(t, "/p.sock", f.options.PodmanEndpoint)
	require.Equal(t, []string{"APP_", "TIER"}, f.options.Env)
}

// The arguments of manifests for cAdvisor are taken as they stand there.
func TestLikeCAdvisor(t *testing.T) {
	t.Parallel()
	app := kingpin.New("t", "")
	web, f := serve.NewFlags(app, ":"+port), &flags{}
	web.Klog(app)
	f.declare(app)
	_, err := serve.Parse(app, []string{
		"-logtostderr", "-v=2", "-port=8080", "--housekeeping_interval=10s", "--max_housekeeping_interval=15s", "--event_storage_event_limit=default=0",
		"--event_storage_age_limit=default=0", "--allow_dynamic_housekeeping=false", "--disable_metrics=percpu,process,sched,tcp,udp", "--docker_only",
		"--raw_cgroup_prefix_whitelist=/system.slice,/user.slice", "--store_container_labels=false", "--whitelisted_container_labels=io.kubernetes.pod.name",
		"-profiling=true", "-prometheus_endpoint", "/m",
	})
	require.NoError(t, err)
	require.NoError(t, f.finish())
	require.Equal(t, container.RawCgroups{Hide: true, Prefixes: []string{"/system.slice", "/user.slice"}}, f.options.Raw)
	require.True(t, f.options.NoContainerLabels)
	require.Equal(t, "/m", f.endpoint)
	o := f.serving(web.Options(name, nil, nil))
	require.Equal(t, []string{":8080"}, o.Listen)
	require.True(t, o.PProf)

	f = &flags{ip: "127.0.0.1"}
	require.Equal(t, []string{"127.0.0.1:9101"}, f.serving(serve.Options{Listen: []string{":1"}}).Listen)
	require.Equal(t, []string{":1"}, (&flags{}).serving(serve.Options{Listen: []string{":1"}}).Listen)
}

// The program serves this machine's containers until its context ends.
func TestRun(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	// The root of the tree and the host's memory are the same everywhere.
	go func() {
		done <- run(ctx, []string{"--web.listen-address=" + address, "--container-runtime-endpoint=unix:///nonexistent.sock", "--log.level=error"})
	}()
	get := func(path string) string {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return ""
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Eventually(t, func() bool {
		select {
		case err := <-done:
			require.ErrorIs(t, err, container.ErrNoCgroups)
			t.Skipf("this machine shows no cgroups: %v", err)
		default:
		}
		return get("/-/healthy") != ""
	}, 30*time.Second, 10*time.Millisecond)
	require.Contains(t, get("/metrics"), `container_memory_rss{id="/",image="",name=""} `)
	require.Contains(t, get("/metrics"), "\nstrata_container_build_info{")
	require.Contains(t, get("/metrics/cadvisor"), `container_last_seen{container="",id="/",image="",name="",namespace="",pod=""} `)
	require.Contains(t, get("/metrics/resource"), "\nnode_cpu_usage_seconds_total ")
	cancel()
	require.NoError(t, <-done)
}
