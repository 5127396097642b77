package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeIdentity is a runtime that answers when the test lets it.
type fakeIdentity struct {
	lists int
	all   []*Container
	err   error
	takes time.Duration
}

func (f *fakeIdentity) Containers(ctx context.Context, _ map[string]*Container) ([]*Container, error) {
	f.lists++
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return f.all, f.err
}

func (f *fakeIdentity) Close() error { return nil }

func newTestDirectory(f *fakeIdentity) *directory {
	return newDirectory(f, 10*time.Second, 2*time.Second, time.Now, func(error) {})
}

func TestDirectoryAsksOnlyForWhatIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := &fakeIdentity{all: []*Container{{ID: idA}}}
		d := newTestDirectory(runtime)
		f := func(lists int, ids ...string) {
			t.Helper()
			v := d.lookup(t.Context(), ids)
			require.NoError(t, v.failed)
			require.Equal(t, lists, runtime.lists)
			for _, c := range runtime.all {
				require.NotNil(t, v.byID[c.ID])
			}
		}
		f(1)
		f(1, idA)
		time.Sleep(time.Hour)
		f(1, idA) // nothing new: never again
		runtime.all = append(runtime.all, &Container{ID: idB})
		f(2, idA, idB)
		f(2, idA, idB)
		// One that the runtime does not know is asked for at once, and then
		// ever less often.
		f(3, idC)
		f(3, idC)
		for range 3600 {
			time.Sleep(time.Second)
			d.lookup(t.Context(), []string{idC})
		}
		require.InDelta(t, 3600/maxPause.Seconds(), runtime.lists, 10)
		// A new one beside it is still asked for at once.
		lists := runtime.lists
		runtime.all = append(runtime.all, &Container{ID: "new"})
		f(lists+1, idC, "new")
		require.NoError(t, d.close())
	})
}

func TestDirectoryWithASlowRuntime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := &fakeIdentity{all: []*Container{{ID: idA}}, takes: 5 * time.Second}
		d := newTestDirectory(runtime)
		begin := time.Now()
		// Those who come meanwhile share the list, and wait no longer than
		// their patience.
		for range 2 {
			v := d.lookup(t.Context(), []string{idA})
			require.ErrorIs(t, v.failed, errPending)
			require.Empty(t, v.byID)
		}
		require.Equal(t, 4*time.Second, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		d.lookup(ctx, []string{idA})
		require.Equal(t, 4100*time.Millisecond, time.Since(begin))
		v := d.lookup(t.Context(), []string{idA})
		require.NoError(t, v.failed)
		require.NotNil(t, v.byID[idA])
		require.Equal(t, 1, runtime.lists)

		// One that takes for ever is given up, and what is known stays.
		runtime.takes = time.Hour
		d.lookup(t.Context(), []string{idB})
		time.Sleep(10 * time.Second)
		v = d.lookup(t.Context(), []string{idA})
		require.Error(t, v.failed)
		require.NotNil(t, v.byID[idA])
		// The end does not wait for it.
		begin = time.Now()
		d.lookup(t.Context(), []string{idB})
		require.NoError(t, d.close())
		require.LessOrEqual(t, time.Since(begin), 2*time.Second)
	})
}

func TestDirectoryAfterFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := &fakeIdentity{err: errors.New("down")}
		d := newTestDirectory(runtime)
		for range 600 {
			require.ErrorContains(t, d.lookup(t.Context(), []string{idA}).failed, "down")
			time.Sleep(time.Second)
		}
		require.InDelta(t, 600/maxPause.Seconds(), runtime.lists, 10)
		runtime.err, runtime.all = nil, []*Container{{ID: idA}}
		time.Sleep(maxPause)
		require.NotNil(t, d.lookup(t.Context(), []string{idA}).byID[idA])
		// Gone for good: what was known is forgotten, since the cgroups are
		// shown without it.
		runtime.err = fmt.Errorf("%w here", ErrNoRuntime)
		time.Sleep(maxPause)
		v := d.lookup(t.Context(), []string{idB})
		require.True(t, v.absent)
		require.NoError(t, v.failed)
		require.Empty(t, v.byID)
		require.NoError(t, d.close())
	})
}

func TestIndexTakesTheNewestSandbox(t *testing.T) {
	t.Parallel()
	old, young := &Container{ID: idA, Sandbox: true, UID: "u", Created: made}, &Container{ID: idB, Sandbox: true, UID: "u", Created: read}
	for _, order := range [][]*Container{{old, young}, {young, old}} {
		byID, pods := index(append(order, &Container{ID: idC, UID: "u", Created: read.Add(1)}, &Container{Sandbox: true}))
		require.Same(t, young, pods["u"])
		require.Same(t, old, byID[idA])
		require.Len(t, pods, 1)
	}
}

const appUsage = `container_cpu_usage_seconds_total{container="app",id="/kubepods/burstable/pod` + podUID + "/" + idB + `"`

// A container is shown under its full name or not at all while the runtime is
// down from the start; cgroups that are no pod's are shown all the same.
func TestRuntimeDown(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	now := read
	runtime.set(func(f *fakeCRI) { f.err = status.Error(codes.Unavailable, "starting") })
	e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Now = func() time.Time { return now } })
	got := text(t, e, e.CollectCAdvisor)
	require.NotContains(t, got, "/pod"+podUID)
	require.Contains(t, got, `id="/kubepods/burstable"`)
	require.Contains(t, got, "\ncontainer_scrape_error 1\n")
	require.Equal(t, 3.0, testutil.ToFloat64(e.own.unidentified))
	require.Equal(t, 1.0, testutil.ToFloat64(e.own.runtimeErrors))
	require.Contains(t, text(t, e, e.CollectResource), "\nresource_scrape_error 1\n")

	runtime.set(func(f *fakeCRI) { f.err = nil })
	now = now.Add(maxPause)
	got = text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, appUsage)
	require.Contains(t, got, "\ncontainer_scrape_error 0\n")
	require.Zero(t, testutil.ToFloat64(e.own.unidentified))

	// Down again: what is known stays known, a new container has to wait.
	runtime.set(func(f *fakeCRI) { f.err = status.Error(codes.Unavailable, "stopping") })
	h.cgroup("/kubepods/burstable/pod"+podUID+"/"+idC, h.usage(1))
	got = text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, appUsage)
	require.NotContains(t, got, idC)
	require.Contains(t, got, "\ncontainer_scrape_error 1\n")
	require.Equal(t, 0.0, testutil.ToFloat64(e.own.runtimeUp))
}

// A container that appears between two scrapes has its full name in the first
// one that shows it.
func TestNewContainerIsNamedAtFirstSight(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	e := h.exporter(runtime.endpoint)
	text(t, e, e.Collect)
	lists := runtime.lists
	h.cgroup("/kubepods/burstable/pod"+podUID+"/"+idC, h.usage(3))
	runtime.set(func(f *fakeCRI) {
		f.containers = append(f.containers, &runtimeapi.Container{Id: idC, PodSandboxId: idA, Metadata: &runtimeapi.ContainerMetadata{Name: "sidecar"},
			Image: &runtimeapi.ImageSpec{Image: "sha256:9", UserSpecifiedImage: "registry.example/side:v2"}})
	})
	got := text(t, e, e.CollectCAdvisor)
	// The kubelet's labels are missing: the sandbox tells whose it is.
	require.Contains(t, got, `{container="sidecar",id="/kubepods/burstable/pod`+podUID+"/"+idC+`",image="registry.example/side:v2",name="`+idC+`",namespace="shop",pod="web-1",cpu="total"} 3.5`)
	require.Equal(t, lists+1, runtime.lists)
	text(t, e, e.Collect)
	require.Equal(t, lists+1, runtime.lists)
}

// What a runtime says is not to be trusted: it costs no more than what it is
// about.
func TestLyingRuntime(t *testing.T) {
	t.Parallel()
	f := func(name string, lie func(*fakeCRI), check func(t *testing.T, got string)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, runtime := kubernetes(t, false)
			lie(runtime)
			e := h.exporter(runtime.endpoint)
			got := text(t, e, e.CollectCAdvisor)
			counters(t, got) // valid, no series twice
			counters(t, text(t, e, e.CollectResource))
			counters(t, text(t, e, e.Collect))
			require.Contains(t, got, `container_cpu_usage_seconds_total{container="",id="/",`)
			check(t, got)
		})
	}
	f("nothing but empty records", func(f *fakeCRI) {
		f.containers, f.sandboxes = []*runtimeapi.Container{{}, {}}, []*runtimeapi.PodSandbox{{}, {Id: idA}}
	}, func(t *testing.T, got string) { require.NotContains(t, got, idA) })
	f("everything twice", func(f *fakeCRI) {
		f.containers, f.sandboxes = append(f.containers, f.containers...), append(f.sandboxes, f.sandboxes...)
	}, func(t *testing.T, got string) { require.Equal(t, 1, strings.Count(got, appUsage)) })
	f("two containers of one name", func(f *fakeCRI) { f.containers = append(f.containers, f.containers[0]); f.containers[1].Id = idB },
		func(t *testing.T, got string) { require.Contains(t, got, appUsage) })
	f("a container in a sandbox that is not there", func(f *fakeCRI) { f.sandboxes = nil },
		func(t *testing.T, got string) { require.Contains(t, got, appUsage); require.NotContains(t, got, idA) })
	f("a sandbox as a container", func(f *fakeCRI) { f.containers[0].Id = idA },
		func(t *testing.T, got string) { require.NotContains(t, got, idB) })
	f("times from before the epoch", func(f *fakeCRI) { f.containers[0].CreatedAt = -1 << 62 },
		func(t *testing.T, got string) { require.NotContains(t, got, "_time_seconds{container=\"app\"} -") })
	f("a process that does not exist", func(f *fakeCRI) { f.info[idA] = `{"pid":99999999999,"image":7}` },
		func(t *testing.T, got string) { require.Contains(t, got, appUsage) })
	f("an answer without end", func(f *fakeCRI) {
		f.containers[0].Labels["x"] = strings.Repeat("x", 32<<20)
	}, func(t *testing.T, got string) {
		require.NotContains(t, got, idB)
		require.Contains(t, got, "\ncontainer_scrape_error 1\n")
	})
	f("labels of any name", func(f *fakeCRI) {
		f.containers[0].Labels[""], f.containers[0].Labels["ü\n\""], f.containers[0].Labels["id"] = "1", "2", "3"
	}, func(t *testing.T, got string) { require.Contains(t, got, appUsage) })
}

// While a pod of a StatefulSet is replaced both have cgroups under one name.
func TestReplacedPodIsShownOnce(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	const uid = "ffffffff-0000-0000-0000-000000000000"
	other := strings.Repeat("e", idLength)
	h.cgroup("/kubepods/burstable/pod"+uid, h.usage(2))
	h.cgroup("/kubepods/burstable/pod"+uid+"/"+idC, h.usage(2))
	runtime.pod("shop", "web-1", uid, other, "app", idC)
	runtime.set(func(f *fakeCRI) { f.containers[1].CreatedAt++; f.sandboxes[1].CreatedAt++ })
	e := h.exporter(runtime.endpoint)
	got := counters(t, text(t, e, e.CollectResource))
	require.Equal(t, 2.5, got[`container_cpu_usage_seconds_total,container="app",pod="web-1",namespace="shop"`], "%v", got)
	require.Equal(t, 2.5, got[`pod_cpu_usage_seconds_total,pod="web-1",namespace="shop"`], "%v", got)
}

func TestCRIOsNames(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	runtime.set(func(f *fakeCRI) { f.name = "cri-o"; f.containers[0].Metadata.Attempt = 3 })
	e := h.exporter(runtime.endpoint)
	got := text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, `name="k8s_app_web-1_shop_`+podUID+`_3"`)
	require.Contains(t, got, `container_network_receive_bytes_total{container="POD",`)
	require.Contains(t, got, `name="k8s_POD_web-1_shop_`+podUID+`_0"`)
}

// Without --container-runtime-endpoint the runtime that is there is found, also
// when it comes later, and one that cannot tell is as good as none.
func TestRuntimeIsFound(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	now := read
	e := h.exporter(func(o *Options) { o.Now = func() time.Time { return now } })
	got := text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, `container_cpu_usage_seconds_total{container="",id="/kubepods/burstable/pod`+podUID+"/"+idB+`"`)
	require.Contains(t, got, "\ncontainer_scrape_error 0\n")

	socket := filepath.Join(h.root, "run/crio/crio.sock")
	require.NoError(t, os.MkdirAll(filepath.Dir(socket), 0o755))
	require.NoError(t, os.Symlink(runtime.path, socket))
	runtime.set(func(f *fakeCRI) {
		f.err = status.Error(codes.Unimplemented, "unknown service runtime.v1.RuntimeService")
	})
	now = now.Add(maxPause)
	require.Contains(t, text(t, e, e.CollectCAdvisor), `{container="",id="/kubepods/burstable/pod`+podUID+"/"+idB+`"`)

	runtime.set(func(f *fakeCRI) { f.err = nil })
	now = now.Add(maxPause)
	require.Contains(t, text(t, e, e.CollectCAdvisor), appUsage)

	// Named by the user, the same refusal is an error.
	runtime.set(func(f *fakeCRI) {
		f.err = status.Error(codes.Unimplemented, "unknown service runtime.v1.RuntimeService")
	})
	named := h.exporter(runtime.endpoint)
	got = text(t, named, named.CollectCAdvisor)
	require.NotContains(t, got, idB)
	require.Contains(t, got, "\ncontainer_scrape_error 1\n")
}

// Outside of the host's PID namespace cgroup.procs tells nothing: the runtime's
// word counts if the process is in that cgroup.
func TestNetworkByTheRuntimesWord(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	h.cgroup("/kubepods/burstable/pod"+podUID+"/"+idA, files{"cgroup.procs": "0\n"})
	e := h.exporter(runtime.endpoint)
	const network = `container_network_receive_bytes_total{container="",id="/kubepods/`
	h.write("proc/4000/cgroup", "4:memory:/elsewhere\n")
	require.NotContains(t, text(t, e, e.CollectCAdvisor), network)
	h.write("proc/4000/cgroup", "4:memory:/../"+idA+"\n")
	require.Contains(t, text(t, e, e.CollectCAdvisor), network)
	// The process ended: no network, no error.
	require.NoError(t, os.RemoveAll(filepath.Join(h.root, "proc/4000")))
	got := text(t, e, e.CollectCAdvisor)
	require.NotContains(t, got, network)
	require.Contains(t, got, "\ncontainer_scrape_error 0\n")
}

// A pod on the host's network has the host's interfaces, as with the kubelet.
func TestNetworkOfAHostNetworkPod(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	h.write("proc/4000/net/dev", netDev)
	e := h.exporter(runtime.endpoint)
	got := text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, `namespace="shop",pod="web-1",interface="eth0:1"} 5 `)
	require.Equal(t, 4, strings.Count(got, "\ncontainer_network_receive_bytes_total{"))
}

// The time of start does not move when the kernel forgets an inode or a cgroup
// gets children, but does when the cgroup is another of the same name.
func TestStartStays(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	h.cgroup("/a", h.usage(1), files{"cgroup.events": ""})
	h.age()
	e := h.exporter(nil)
	started := func() float64 {
		text(t, e, e.Collect)
		return e.o.Source.(*cgroupSource).starts["/a"].time
	}
	require.Equal(t, float64(made.Unix()), started())
	dir := filepath.Join(h.root, "sys/fs/cgroup/a")
	require.NoError(t, os.Chtimes(dir, read, read))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "cgroup.events"), read, read))
	require.Equal(t, float64(made.Unix()), started())
	require.NoError(t, os.Rename(dir, dir+".old")) // keeps the inode in use
	h.cgroup("/a", h.usage(1))
	require.Greater(t, started(), float64(read.Unix()))
	// None is older than the machine.
	require.NoError(t, os.Chtimes(dir+".old", time.Unix(5, 0), time.Unix(5, 0)))
	e = h.exporter(nil)
	started()
	require.Equal(t, float64(booted.Unix()/60*60), e.o.Source.(*cgroupSource).starts["/a.old"].time)
}
