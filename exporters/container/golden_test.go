package container

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

const podUID = "0bcb6967-6cec-46ad-84b8-a15a848e8bba"

// kubernetes fills a host with a node's cgroups as the kubelet lays them out
// with the cgroupfs driver (v1) and the systemd driver (v2): one pod with a
// sandbox (A) and a container (B).
func kubernetes(t testing.TB, v2 bool) (*host, *fakeCRI) {
	h, runtime := newHost(t, v2), newFakeCRI(t)
	pods, qos, pod := "/kubepods", "/kubepods/burstable", "/kubepods/burstable/pod"+podUID
	sandbox, app := pod+"/"+idA, pod+"/"+idB
	if v2 {
		pods, qos = "/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice"
		pod = qos + "/kubepods-burstable-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice"
		sandbox, app = pod+"/cri-containerd-"+idA+".scope", pod+"/cri-containerd-"+idB+".scope"
	}
	h.cgroup("/", h.usage(60))
	h.cgroup("/system.slice/kubelet.service", h.usage(7))
	h.cgroup("/system.slice/ssh.service", h.usage(2))
	h.cgroup("/system.slice/run-x.mount", h.usage(1))
	h.cgroup(pods, h.usage(11))
	h.cgroup(qos, h.usage(11))
	h.cgroup(pod, h.usage(11), h.limits(11))
	h.cgroup(sandbox, h.usage(1), files{"cgroup.procs": "4000\n"})
	h.cgroup(app, h.usage(10), h.limits(10))
	h.process(4000, 1001, 2002)
	h.age()
	runtime.pod("shop", "web-1", podUID, idA, "app", idB)
	return h, runtime
}

// The three bodies over made hosts. STRATA_UPDATE=1 writes them anew.
func TestBodies(t *testing.T) {
	t.Parallel()
	for name, v2 := range map[string]bool{"v1": false, "v2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, runtime := kubernetes(t, v2)
			e := h.exporter(runtime.endpoint)
			for body, collect := range map[string]func(context.Context, *metric.Batch) error{
				"metrics": e.Collect, "cadvisor": e.CollectCAdvisor, "resource": e.CollectResource,
			} {
				golden(t, filepath.Join("testdata", name+"-"+body+".prom"), text(t, e, collect))
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	_, err := parser.TextToMetricFamilies(strings.NewReader(got))
	require.NoError(t, err)
	if os.Getenv("STRATA_UPDATE") != "" {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "STRATA_UPDATE=1 go test ./exporters/container writes %s anew", path)
}

// A host without Kubernetes and without a runtime: cgroups by their ids, those
// of Docker's containers too.
func TestBodiesWithoutRuntime(t *testing.T) {
	t.Parallel()
	h := newHost(t, false)
	h.cgroup("/", h.usage(60))
	h.cgroup("/docker/"+idC, h.usage(3))
	h.cgroup("/system.slice/ssh.service", h.usage(2))
	h.age()
	e := h.exporter(nil)
	for body, collect := range map[string]func(context.Context, *metric.Batch) error{
		"metrics": e.Collect, "cadvisor": e.CollectCAdvisor, "resource": e.CollectResource,
	} {
		golden(t, filepath.Join("testdata", "plain-"+body+".prom"), text(t, e, collect))
	}
}

func TestHandlers(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	registry := prometheus.NewRegistry()
	e := h.exporter(func(o *Options) {
		runtime.endpoint(o)
		o.Registry, o.Gatherer = registry, registry
	})
	get := func(path string) string {
		w := httptest.NewRecorder()
		switch path {
		case "/metrics":
			e.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		case "/metrics/cadvisor":
			e.CAdvisorHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		default:
			e.ResourceHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		}
		require.Equal(t, 200, w.Code)
		return w.Body.String()
	}
	require.Contains(t, get("/metrics"), "\nstrata_container_runtime_up 1\n")
	require.Contains(t, get("/metrics/cadvisor"), "\nstrata_container_memory_working_set_reclaimable_bytes{")
	require.Contains(t, get("/metrics/cadvisor"), "\nstrata_container_runtime_up 1\n")
	require.NotContains(t, get("/metrics/resource"), "strata_")
	require.Contains(t, get("/metrics/resource"), `container_cpu_usage_seconds_total{container="app",pod="web-1",namespace="shop"} 10.5 1700000200250`)
}

func TestContainerLabels(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	f := func(change func(*Options), has, hasNot string) {
		t.Helper()
		e := h.exporter(func(o *Options) { runtime.endpoint(o); change(o) })
		got := text(t, e, e.Collect)
		require.Contains(t, got, has)
		require.NotContains(t, got, hasNot)
	}
	f(func(*Options) {}, `container_label_io_kubernetes_pod_name="web-1"`, `container_label_io.`)
	f(func(o *Options) { o.NoContainerLabels = true }, `name="`+idB, `container_label_`)
	f(func(o *Options) { o.NoContainerLabels, o.ContainerLabels = true, []string{"app"} }, `container_label_app="web \"1\"\n"`, `container_label_io`)
	// Two that become one name: the first stays.
	runtime.set(func(f *fakeCRI) { f.containers[0].Labels["a.b"], f.containers[0].Labels["a-b"] = "dot", "dash" })
	f(func(*Options) {}, `container_label_a_b="dash"`, `"dot"`)
}

func TestGroupsAreLeftOut(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, true)
	e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Groups, _ = SelectGroups("cpu", "") })
	got := text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, "container_cpu_usage_seconds_total{")
	require.NotContains(t, got, "container_network_")
	require.NotContains(t, got, "container_memory_")
	// metrics.k8s.io needs both all the same.
	require.Contains(t, text(t, e, e.CollectResource), "node_memory_working_set_bytes ")
}

// Every family of cAdvisor is declared with its name, type and unit, or it is
// said why it cannot be there; and none is that is not cAdvisor's.
func TestAgainstCAdvisorsFamilies(t *testing.T) {
	t.Parallel()
	const path = "../../../shared/oracle/container_families.tsv"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no reference data: %v", err)
	}
	everything, err := SelectGroups("", "")
	require.NoError(t, err)
	b, err := newBody([]string{"id"}, everything.of(0, allGroups))
	require.NoError(t, err)
	shown := map[string]*metric.Family{}
	for _, f := range b.families() {
		shown[f.Name()] = f
	}
	reasons, count := Impossible(), 0
	for line := range strings.Lines(strings.SplitN(string(data), "\n", 2)[1]) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		name := fields[0]
		count++
		if reasons[name] != "" {
			require.Nil(t, shown[name], "%s is there and said to be impossible", name)
			continue
		}
		f := shown[name]
		require.NotNil(t, f, "%s is neither declared nor said to be impossible", name)
		require.Equal(t, fields[1], f.Spec().Type.String(), name)
		if f.Spec().Unit != "" && fields[2] != "" {
			require.Equal(t, fields[2], f.Spec().Unit, name)
		}
		delete(shown, name)
	}
	require.Equal(t, 121, count)
	// Those of cAdvisor's exporter, not of a container.
	delete(shown, "container_scrape_error")
	delete(shown, "machine_scrape_error")
	require.Empty(t, shown)
}
