package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

func TestMain(m *testing.M) {
	if os.Getenv(burnVariable) != "" {
		burn() // as a child of TestShortLivedContainers
		return
	}
	goleak.VerifyTestMain(m)
}

// made is when everything on a made host was made, and booted when it started.
var (
	made   = time.Unix(1700000100, 0)
	booted = time.Unix(1700000040, 0)
	read   = time.Unix(1700000200, 250e6)
)

// host is a made machine: a folder with proc and sys/fs/cgroup.
type host struct {
	t    testing.TB
	root string
	v2   bool
}

// files are the contents of one cgroup, by name. On v1 the part of a name
// before its first dot says in which hierarchy a file is.
type files map[string]string

func newHost(t testing.TB, v2 bool) *host {
	h := &host{t: t, root: memoryDir(t), v2: v2}
	h.write("proc/stat", fmt.Sprintf("cpu 1\nbtime %d\n", booted.Unix()))
	h.write("proc/meminfo", "MemTotal:       1000 kB\nSwapTotal:       200 kB\nSwapFree:        150 kB\n")
	h.write("proc/1/net/dev", netDev)
	line := func(point, tail string) string {
		return fmt.Sprintf("30 20 0:1 / %s rw - %s\n", strings.ReplaceAll(filepath.Join(h.root, "sys/fs/cgroup", point), " ", `\040`), tail)
	}
	if v2 {
		h.write("proc/self/mountinfo", line("", "cgroup2 cgroup2 rw"))
		h.write("sys/fs/cgroup/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	} else {
		h.write("proc/self/mountinfo", line("cpuacct", "cgroup cgroup rw,cpuacct")+line("cpu", "cgroup cgroup rw,cpu")+
			line("memory", "cgroup cgroup rw,memory")+line("unified", "cgroup2 cgroup2 rw"))
	}
	return h
}

// memoryDir is a folder for many small files: in memory where that is possible.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "strata-container-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func (h *host) write(path, text string) {
	h.t.Helper()
	path = filepath.Join(h.root, path)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(h.t, os.WriteFile(path, []byte(text), 0o644))
}

// cgroup makes or changes a cgroup.
func (h *host) cgroup(id string, all ...files) {
	h.t.Helper()
	for _, one := range all {
		for name, text := range one {
			h.write(filepath.Join(h.dir(name), id, name), text)
		}
	}
}

func (h *host) dir(file string) string {
	hierarchy, _, _ := strings.Cut(file, ".")
	if h.v2 {
		hierarchy = ""
	} else if hierarchy == "cgroup" {
		hierarchy = "cpu"
	}
	return filepath.Join("sys/fs/cgroup", hierarchy)
}

// remove takes a cgroup away.
func (h *host) remove(id string) {
	h.t.Helper()
	for _, hierarchy := range []string{"", "cpu", "cpuacct", "memory"} {
		require.NoError(h.t, os.RemoveAll(filepath.Join(h.root, "sys/fs/cgroup", hierarchy, id)))
	}
}

// age sets the times of all files.
func (h *host) age() {
	h.t.Helper()
	require.NoError(h.t, filepath.WalkDir(filepath.Join(h.root, "sys"), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, made, made))
	}))
}

// process makes a process with a network namespace of its own.
func (h *host) process(pid int, received, sent int) {
	h.write(fmt.Sprintf("proc/%d/net/dev", pid), fmt.Sprintf("1\n2\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: %d 11 1 2 0 0 0 0 %d 22 3 4 0 0 0 0\n", received, sent))
}

// usage makes the files of a cgroup that used n seconds and mebibytes.
func (h *host) usage(n int) files {
	if h.v2 {
		return files{
			"cpu.stat": fmt.Sprintf("usage_usec %d500000\nuser_usec %d000000\nsystem_usec 500000\n", n, n),
			"memory.stat": fmt.Sprintf("anon %d\nfile 4096\nkernel 512\nfile_mapped 1024\ninactive_file 1024\nactive_file 3072\npgfault %d\npgmajfault 1\n"+
				"file_dirty 7\nfile_writeback 8\npgscan 3\npgsteal 2\nworkingset_refault_anon 4\nworkingset_refault_file 6\nsock 9\n", n<<20, n),
			"cgroup.procs": "",
		}
	}
	return files{
		"cpuacct.usage": fmt.Sprintf("%d500000000\n", n), "cpuacct.stat": fmt.Sprintf("user %d00\nsystem 50\n", n),
		"cpu.shares": "1024\n", "cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "-1\n",
		"memory.stat": fmt.Sprintf("cache 1\nrss 2\ntotal_cache 4096\ntotal_rss %d\ntotal_mapped_file 1024\ntotal_inactive_file 1024\n"+
			"total_active_file 3072\npgfault 5\npgmajfault 1\ntotal_pgfault %d\ntotal_pgmajfault 1\ntotal_dirty 7\ntotal_writeback 8\n"+
			"workingset_refault_anon 4\nworkingset_refault_file 6\ntotal_workingset_refault_anon 40\ntotal_workingset_refault_file 60\n", n<<20, n),
		"memory.usage_in_bytes": fmt.Sprintf("%d\n", n<<20+4096), "memory.max_usage_in_bytes": fmt.Sprintf("%d\n", n<<21),
		"memory.failcnt": "0\n", "memory.kmem.usage_in_bytes": "512\n", "memory.limit_in_bytes": "9223372036854771712\n",
		"memory.memsw.limit_in_bytes": "9223372036854771712\n", "memory.soft_limit_in_bytes": "9223372036854771712\n",
		"cgroup.procs": "",
	}
}

// limits are what a container with a limit has beside its usage.
func (h *host) limits(n int) files {
	if h.v2 {
		return files{
			"cpu.max": "50000 100000\n", "cpu.weight": "39\n",
			"cpu.stat":       fmt.Sprintf("usage_usec %d500000\nuser_usec %d000000\nsystem_usec 500000\nnr_periods 20\nnr_throttled 2\nthrottled_usec 1500000\nnr_bursts 1\nburst_usec 10\n", n, n),
			"memory.current": fmt.Sprintf("%d\n", n<<20+4096), "memory.peak": fmt.Sprintf("%d\n", n<<21), "memory.max": "104857600\n",
			"memory.min": "0\n", "memory.swap.current": "8192\n", "memory.swap.max": "0\n", "memory.events": "low 0\nhigh 2\nmax 3\noom 0\n",
		}
	}
	return files{
		"cpu.cfs_quota_us": "50000\n", "cpu.shares": "512\n",
		"cpu.stat":              "nr_periods 20\nnr_throttled 2\nthrottled_time 1500000000\nnr_bursts 1\nburst_time 10000\n",
		"memory.limit_in_bytes": "104857600\n", "memory.memsw.limit_in_bytes": "104857600\n",
	}
}

// exporter makes an Exporter of the made host. change may be nil.
func (h *host) exporter(change func(*Options)) *Exporter {
	h.t.Helper()
	o := Options{Rootfs: h.root, RuntimeTimeout: time.Minute, Now: func() time.Time { return read }, Registry: prometheus.NewRegistry()}
	if change != nil {
		change(&o)
	}
	e, err := New(o)
	require.NoError(h.t, err)
	e.directory.wait = time.Minute // a slow machine must not change what is shown
	e.runtimes.each(func(d *directory) { d.wait = time.Minute })
	e.runtimes.userWait = time.Minute
	h.t.Cleanup(func() { require.NoError(h.t, e.Close()) })
	return e
}

// text is what a body says now, read anew.
func text(t testing.TB, e *Exporter, collect func(context.Context, *metric.Batch) error) string {
	t.Helper()
	e.forget()
	b := metric.NewBatch()
	require.NoError(t, collect(t.Context(), b))
	return string(b.AppendText(nil))
}

// forget makes the next reader read anew.
func (e *Exporter) forget() {
	e.turn <- struct{}{}
	e.last = nil
	<-e.turn
}

// fakeCRI is a runtime that says what the test wants.
type fakeCRI struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	path string

	mu         sync.Mutex
	name       string
	containers []*runtimeapi.Container
	sandboxes  []*runtimeapi.PodSandbox
	images     []*runtimeapi.Image
	info       map[string]string // of sandboxes by id
	err        error
	hang       chan struct{} // answers wait for it to close
	lists      int
	statuses   map[string]*runtimeapi.ContainerStatus
	stats      []*runtimeapi.ContainerStats            // nil: it has none
	hangStats  bool                                    // it never tells them
	events     chan *runtimeapi.ContainerEventResponse // nil: it has none
}

func newFakeCRI(t testing.TB) *fakeCRI {
	dir, err := os.MkdirTemp("", "cri") // the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fakeCRI{path: filepath.Join(dir, "s"), name: "containerd", info: map[string]string{}}
	f.serve(t)
	return f
}

func (f *fakeCRI) serve(t testing.TB) {
	listener, err := net.Listen("unix", f.path)
	require.NoError(t, err)
	server := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	runtimeapi.RegisterRuntimeServiceServer(server, f)
	runtimeapi.RegisterImageServiceServer(server, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
}

// set changes what the runtime says.
func (f *fakeCRI) set(change func(*fakeCRI)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeCRI) answer(ctx context.Context) error {
	f.mu.Lock()
	err, hang := f.err, f.hang
	f.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (f *fakeCRI) Version(ctx context.Context, _ *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: f.name}, f.answer(ctx)
}

func (f *fakeCRI) ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	return &runtimeapi.ListContainersResponse{Containers: f.containers}, nil
}

func (f *fakeCRI) ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &runtimeapi.ListPodSandboxResponse{Items: f.sandboxes}, nil
}

func (f *fakeCRI) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &runtimeapi.ListImagesResponse{Images: f.images}, nil
}

func (f *fakeCRI) PodSandboxStatus(_ context.Context, r *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.info[r.GetPodSandboxId()]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such sandbox")
	}
	return &runtimeapi.PodSandboxStatusResponse{Info: map[string]string{"info": info}}, nil
}

// pod adds a pod with a sandbox and containers, by name and id.
func (f *fakeCRI) pod(namespace, name, uid, sandbox string, containers ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	labels := map[string]string{labelPod: name, labelNamespace: namespace, labelUID: uid}
	own := maps.Clone(labels)
	own["app"] = "web \"1\"\n"
	f.sandboxes = append(f.sandboxes, &runtimeapi.PodSandbox{Id: sandbox, CreatedAt: made.Add(-2 * time.Second).UnixNano(), Labels: own,
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: uid}})
	f.info[sandbox] = `{"pid":4000,"image":"registry.example/pause:3.6"}`
	for i := 0; i+1 < len(containers); i += 2 {
		of := maps.Clone(labels)
		of[labelContainer] = containers[i]
		f.containers = append(f.containers, &runtimeapi.Container{Id: containers[i+1], PodSandboxId: sandbox, Labels: of,
			Metadata: &runtimeapi.ContainerMetadata{Name: containers[i]}, ImageRef: "sha256:1", Image: &runtimeapi.ImageSpec{Image: "sha256:1"},
			State: runtimeapi.ContainerState_CONTAINER_RUNNING, CreatedAt: made.Add(-1500 * time.Millisecond).UnixNano()})
	}
	f.images = []*runtimeapi.Image{{Id: "sha256:1", RepoTags: []string{"registry.example/app:v1"}, RepoDigests: []string{"registry.example/app@sha256:2"}}}
}

// endpoint makes an exporter ask the runtime.
func (f *fakeCRI) endpoint(o *Options) { o.RuntimeEndpoint = "unix://" + f.path }
