package container

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (f *fakeCRI) ListContainerStats(ctx context.Context, _ *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	if err := f.answer(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	stats, hang := f.stats, f.hangStats
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if stats == nil {
		return nil, status.Error(codes.Unimplemented, "unknown method ListContainerStats")
	}
	return &runtimeapi.ListContainerStatsResponse{Stats: stats}, nil
}

func wrote(id string, used, inodes uint64) *runtimeapi.ContainerStats {
	return &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{Id: id}, WritableLayer: &runtimeapi.FilesystemUsage{
		FsId:      &runtimeapi.FilesystemIdentifier{Mountpoint: "/var/lib/containerd/overlayfs"},
		UsedBytes: &runtimeapi.UInt64Value{Value: used}, InodesUsed: &runtimeapi.UInt64Value{Value: inodes}}}
}

// settle waits for what is asked beside the scrapes.
func (d *directory) settle() {
	d.layers.mu.Lock()
	f := d.layers.flight
	d.layers.mu.Unlock()
	if f != nil {
		<-f.done
	}
}

const hostMounts = `22 1 8:1 / / rw - ext4 /dev/root rw
23 22 8:2 / /var/lib rw - xfs /dev/vdb rw
24 22 8:3 / /var/lib/cont rw - xfs /dev/vdc rw
`

// What containers have written, of the runtime's word, at most once a minute.
func TestLayers(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	h.write("proc/1/mountinfo", hostMounts)
	h.write("var/lib/x", "")
	runtime.set(func(f *fakeCRI) {
		f.stats = []*runtimeapi.ContainerStats{wrote(idB, 4096, 7), {}, {Attributes: &runtimeapi.ContainerAttributes{Id: idC}}}
	})
	now := read
	e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Now = func() time.Time { return now } })
	const usage = `container_fs_usage_bytes{container="app",`
	require.NotContains(t, text(t, e, e.CollectCAdvisor), usage) // no scrape waits
	e.directory.settle()
	got := text(t, e, e.CollectCAdvisor)
	unique(t, got)
	labels := `{container="app",id="/kubepods/burstable/pod` + podUID + "/" + idB + `",image="registry.example/app:v1",name="` + idB + `",namespace="shop",pod="web-1",device="/dev/vdb"} `
	require.Contains(t, got, "\ncontainer_fs_usage_bytes"+labels+"4096 ")
	require.Contains(t, got, "\ncontainer_fs_inodes_total"+labels+"7 ")
	require.Contains(t, got, "\ncontainer_fs_inodes_free"+labels+"0 ")
	require.Contains(t, got, "\ncontainer_fs_limit_bytes"+labels)
	require.Contains(t, text(t, e, e.Collect), `name="`+idB+`",device="/dev/vdb",`)

	runtime.set(func(f *fakeCRI) { f.stats = []*runtimeapi.ContainerStats{wrote(idB, 8192, 8)} })
	shows := func(after time.Duration, want string) {
		t.Helper()
		now = now.Add(after)
		text(t, e, e.CollectCAdvisor)
		e.directory.settle()
		if got := text(t, e, e.CollectCAdvisor); want == "" {
			require.NotContains(t, got, usage)
		} else {
			require.Contains(t, got, "\ncontainer_fs_usage_bytes"+labels+want+" ")
		}
	}
	shows(layersEvery-time.Second, "4096")
	shows(time.Second, "8192")
	// The last word counts for a while.
	errors := testutil.ToFloat64(e.own.runtimeErrors)
	runtime.set(func(f *fakeCRI) { f.err = status.Error(codes.Unavailable, "stopping") })
	shows(layersEvery, "8192")
	require.Equal(t, errors+1, testutil.ToFloat64(e.own.runtimeErrors))
	shows(layersLast, "")
	runtime.set(func(f *fakeCRI) { f.err, f.stats = nil, nil })
	shows(layersEvery, "")
	runtime.set(func(f *fakeCRI) { f.stats = []*runtimeapi.ContainerStats{wrote(idB, 1, 1)} })
	shows(layersEvery, "") // it said that it cannot tell
	shows(noEventsPause, "1")
}

// A scrape does not wait for a runtime that never answers, and neither does the end.
func TestLayersOfASlowRuntime(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	runtime.set(func(f *fakeCRI) { f.hangStats = true })
	e := h.exporter(runtime.endpoint)
	require.Contains(t, text(t, e, e.CollectCAdvisor), appUsage)
	e.directory.layers.mu.Lock()
	defer e.directory.layers.mu.Unlock()
	require.NotNil(t, e.directory.layers.flight)
}

func TestDockerLayers(t *testing.T) {
	t.Parallel()
	h, daemon, id := dockerHost(t, true)
	h.write("proc/1/mountinfo", hostMounts)
	daemon.set(func(f *fakeDocker) {
		f.pages = map[string]string{"/v1.45/info": `{"DockerRootDir":"/var/lib/docker"}`,
			"/v1.45/containers/json?size=true": `[{"Id":"` + idA + `","SizeRw":512},{"Id":"` + idB + `"},{"Id":7}]`}
	})
	e := h.exporter(nil)
	text(t, e, e.Collect)
	e.runtimes.docker.settle()
	require.NotContains(t, text(t, e, e.Collect), `name="web",device=`)
	require.Equal(t, 1.0, testutil.ToFloat64(e.own.runtimeErrors))

	daemon.set(func(f *fakeDocker) {
		f.pages["/v1.45/containers/json?size=true"] = strings.ReplaceAll(f.pages["/v1.45/containers/json?size=true"], `,{"Id":7}`, "")
	})
	e = h.exporter(nil)
	text(t, e, e.Collect)
	e.runtimes.docker.settle()
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_fs_usage_bytes{id="`+id+`",image="nginx:1.27",name="web",device="/dev/vdb",`)
	require.NotContains(t, got, `container_fs_inodes_total{id="`+id)
	daemon.set(func(f *fakeDocker) { f.err = http.StatusInternalServerError })
	_, err := e.runtimes.docker.source.(layerer).Layers(t.Context())
	require.Error(t, err)
}
