package container

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// fakeDocker is a daemon that says what the test wants.
type fakeDocker struct {
	path string

	mu         sync.Mutex
	version    string
	containers map[string]string // what it says of each, by id
	pages      map[string]string // what it says at other paths
	err        int               // status of all answers, 0 for none
	hang       chan struct{}     // answers wait for it to close
	asked      []string          // paths
}

func newFakeDocker(t testing.TB) *fakeDocker {
	dir, err := os.MkdirTemp("", "docker") // the path of a socket must be short
	require.NoError(t, err)
	f := &fakeDocker{path: filepath.Join(dir, "s"), version: "1.45", containers: map[string]string{}}
	listener, err := net.Listen("unix", f.path)
	require.NoError(t, err)
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return f
}

func (f *fakeDocker) set(change func(*fakeDocker)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeDocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if !strings.HasSuffix(r.URL.Path, "/info") && r.URL.RawQuery == "" { // what is asked beside the scrapes
		f.asked = append(f.asked, r.URL.Path)
	}
	status, hang, version := f.err, f.hang, f.version
	id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v"+version+"/containers/"), "/json")
	said, ok := f.containers[id]
	if page, other := f.pages[r.URL.RequestURI()]; other {
		said, ok = page, true
	}
	f.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	switch {
	case status != 0:
		http.Error(w, "no", status)
	case r.URL.Path == "/_ping":
		w.Header().Set("Api-Version", version)
	case !ok:
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
	default:
		_, _ = fmt.Fprint(w, said)
	}
}

// inspectedAs is what a daemon says of a container.
func inspectedAs(t testing.TB, id, name, image string, labels map[string]string) string {
	text, err := json.Marshal(map[string]any{"Id": id, "Name": "/" + name, "Created": made.Format(time.RFC3339Nano), "RestartCount": 2,
		"State":      map[string]any{"Status": "running", "Pid": 4000, "ExitCode": 0},
		"Config":     map[string]any{"Image": image, "Labels": labels, "Env": []string{"APP_TIER=gold", "SECRET=x", "APP_"}},
		"HostConfig": map[string]any{"NetworkMode": "bridge"}})
	require.NoError(t, err)
	return string(text)
}

// dockerHost is a host with a container of Docker, by each driver, and a fake
// daemon at the well-known place.
func dockerHost(t *testing.T, v2 bool) (h *host, daemon *fakeDocker, id string) {
	h, daemon = newHost(t, v2), newFakeDocker(t)
	id = "/docker/" + idA
	if v2 {
		id = "/system.slice/docker-" + idA + ".scope"
	}
	h.cgroup("/", h.usage(60))
	h.cgroup(id, h.usage(3), files{"cgroup.procs": "4000\n"})
	h.process(4000, 1001, 2002)
	h.age()
	daemon.containers[idA] = inspectedAs(t, idA, "web", "nginx:1.27", map[string]string{"tier": "front\n"})
	h.socket(daemon.path, "run/docker.sock")
	return h, daemon, id
}

// socket puts a daemon's socket to a place of the host.
func (h *host) socket(path, at string) {
	at = filepath.Join(h.root, at)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(at), 0o755))
	require.NoError(h.t, os.Symlink(path, at))
}

func TestDocker(t *testing.T) {
	t.Parallel()
	for name, v2 := range map[string]bool{"v1": false, "v2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, daemon, id := dockerHost(t, v2)
			e := h.exporter(func(o *Options) { o.Env = []string{"APP_"} })
			got := text(t, e, e.Collect)
			unique(t, got)
			const own = `image="nginx:1.27",name="web"`
			require.Contains(t, got, `container_memory_rss{id="`+id+`",`+own+`,container_label_restartcount="2",container_label_tier="front\n",container_env_app_tier="gold"} `)
			require.Contains(t, got, `container_network_receive_bytes_total{id="`+id+`",`+own+`,interface="eth0",`)
			require.NotContains(t, got, "secret")
			require.Contains(t, got, "\ncontainer_scrape_error 0\n")
			require.Equal(t, 1.0, testutil.ToFloat64(e.own.runtimeUp))
			require.Equal(t, []string{"/_ping", "/v1.45/containers/" + idA + "/json"}, daemon.asked)
			require.Contains(t, text(t, e, e.CollectCAdvisor), `container_memory_rss{container="",id="`+id+`",`+own+`,namespace="",pod=""} `)
			require.NotContains(t, text(t, e, e.CollectResource), "\ncontainer_cpu_usage_seconds_total{")
			require.Len(t, daemon.asked, 2, "what is known is not asked for again")

			// The next one is named at first sight; the gone one is forgotten.
			daemon.set(func(f *fakeDocker) {
				f.containers[idB] = inspectedAs(t, idB, "db", "postgres", nil)
			})
			h.cgroup(strings.ReplaceAll(id, idA, idB), h.usage(5))
			require.Contains(t, text(t, e, e.Collect), `id="`+strings.ReplaceAll(id, idA, idB)+`",image="postgres",name="db",`)
			e.runtimes.docker.forget(idA)
			require.False(t, e.runtimes.docker.has(idA))
			code, ended, err := e.exitCode(t.Context(), &Cgroup{ID: id, place: placeOf(id)})
			require.NoError(t, err)
			require.False(t, ended)
			require.Zero(t, code)
			_, _, err = e.exitCode(t.Context(), &Cgroup{ID: "/docker/" + idC, place: placeOf("/docker/" + idC)})
			require.ErrorIs(t, err, errForgotten)
		})
	}
}

// Docker's containers whose cgroups are where the user wanted them, beside those
// of Kubernetes.
func TestDockerBesideKubernetes(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	daemon := newFakeDocker(t)
	h.socket(daemon.path, "run/docker.sock")
	daemon.containers[idC] = inspectedAs(t, idC, "build", "golang", nil)
	h.cgroup("/builds/"+idC, h.usage(5))
	e := h.exporter(runtime.endpoint)
	got := text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, appUsage)
	require.NotContains(t, got, idC, "the kubelet does not show it")
	require.Contains(t, text(t, e, e.Collect), `{id="/builds/`+idC+`",image="golang",name="build",`)
	require.Len(t, daemon.asked, 2, "it was asked about what is not Kubernetes' alone")
	// While the daemon fails nothing of Kubernetes is lost.
	daemon.set(func(f *fakeDocker) { f.err = http.StatusInternalServerError })
	h.cgroup("/docker/"+strings.Repeat("e", idLength), h.usage(5))
	got = text(t, e, e.CollectCAdvisor)
	require.Contains(t, got, appUsage)
	require.Contains(t, got, "\ncontainer_scrape_error 1\n")
	got = text(t, e, e.Collect)
	require.Contains(t, got, `name="build"`)
	require.NotContains(t, got, "eeee")
}

// A daemon that is down for long costs labels alone; one that is not there, or is
// not to be asked, costs nothing.
func TestDockerDown(t *testing.T) {
	t.Parallel()
	h, daemon, id := dockerHost(t, false)
	now := read
	bare := `container_memory_rss{id="` + id + `",image="",name=""} `
	daemon.set(func(f *fakeDocker) { f.err = http.StatusServiceUnavailable })
	e := h.exporter(func(o *Options) { o.Now = func() time.Time { return now } })
	require.NotContains(t, text(t, e, e.Collect), id)
	require.Equal(t, 1.0, testutil.ToFloat64(e.own.unidentified))
	require.Equal(t, 1.0, testutil.ToFloat64(e.own.runtimeErrors))
	require.Equal(t, 0.0, testutil.ToFloat64(e.own.runtimeUp))
	now = now.Add(downFor)
	require.Contains(t, text(t, e, e.Collect), bare)
	daemon.set(func(f *fakeDocker) { f.err = 0 })
	now = now.Add(maxPause)
	require.Contains(t, text(t, e, e.Collect), `name="web"`)
	require.Equal(t, 1.0, testutil.ToFloat64(e.own.runtimeUp))

	off := h.exporter(func(o *Options) { o.DockerEndpoint = NoEndpoint })
	require.Contains(t, text(t, off, off.Collect), bare)
	require.NoError(t, os.Remove(filepath.Join(h.root, "run/docker.sock")))
	none := h.exporter(nil)
	got := text(t, none, none.Collect)
	require.Contains(t, got, bare)
	require.Contains(t, got, "\ncontainer_scrape_error 0\n")
	named := h.exporter(func(o *Options) { o.DockerEndpoint = "unix://" + filepath.Join(h.root, "none.sock") })
	require.Contains(t, text(t, named, named.Collect), "\ncontainer_scrape_error 1\n")
	_, err := New(Options{Rootfs: h.root, DockerEndpoint: "tcp://127.0.0.1:2375"})
	require.ErrorContains(t, err, `--docker "tcp://127.0.0.1:2375": want unix:///PATH`)
}

// What a daemon says is not to be trusted, and it may never say it.
func TestLyingDocker(t *testing.T) {
	t.Parallel()
	f := func(name string, lie func(f *fakeDocker), want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, daemon, id := dockerHost(t, false)
			lie(daemon)
			e := h.exporter(func(o *Options) {
				if daemon.hang != nil {
					o.RuntimeTimeout = 50 * time.Millisecond
				}
			})
			got := text(t, e, e.Collect)
			unique(t, got)
			require.Contains(t, got, `container_memory_rss{id="/",`)
			require.NotContains(t, got, id)
			require.ErrorContains(t, e.runtimes.docker.failed, want)
		})
	}
	f("another container", func(f *fakeDocker) { f.containers[idA] = strings.ReplaceAll(f.containers[idA], idA, idB) }, "it tells of")
	f("no JSON", func(f *fakeDocker) { f.containers[idA] = "<html>" }, "invalid character")
	f("other types", func(f *fakeDocker) { f.containers[idA] = `{"Id":7}` }, "cannot unmarshal")
	f("no end", func(f *fakeDocker) { f.containers[idA] = strings.Repeat(" ", maxInspect+1) }, "more than")
	f("no version", func(f *fakeDocker) { f.version = "latest/../.." }, "the version of its API")
	f("no answer", func(f *fakeDocker) { f.hang = make(chan struct{}) }, "context deadline exceeded")
}

// Rootless podman: the runtime of each user speaks for that user's cgroups and
// no others; the monitors are no containers.
func TestRootlessPodman(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	own, other, root := newFakeDocker(t), newFakeDocker(t), newFakeDocker(t)
	h.socket(own.path, "run/user/1000/podman/podman.sock")
	h.socket(other.path, "run/user/1001/podman/podman.sock")
	h.socket(root.path, "run/podman/podman.sock")
	slice := func(uid, base string) string {
		return "/user.slice/user-" + uid + ".slice/user@" + uid + ".service/user.slice/" + base
	}
	ours, theirs, machines := slice("1000", "libpod-"+idA+".scope"), slice("1001", "libpod-"+idB+".scope"), "/machine.slice/libpod-"+idC+".scope"
	monitor := slice("1000", "libpod-conmon-"+strings.Repeat("d", idLength)+".scope")
	h.cgroup("/", h.usage(60))
	for _, id := range []string{ours, ours + "/container", theirs, machines, monitor} {
		h.cgroup(id, h.usage(2))
	}
	h.age()
	for id, name := range map[string]string{idA: "a", idB: "b", idC: "c"} {
		for _, daemon := range []*fakeDocker{own, other, root} {
			daemon.containers[id] = inspectedAs(t, id, name+" by "+daemon.path, "img", nil)
		}
	}
	e := h.exporter(nil)
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_memory_rss{id="`+ours+`",image="img",name="a by `+own.path+`",`)
	require.Contains(t, got, `container_memory_rss{id="`+theirs+`",image="img",name="b by `+other.path+`",`)
	require.Contains(t, got, `container_memory_rss{id="`+machines+`",image="img",name="c by `+root.path+`",`)
	require.Contains(t, got, `container_memory_rss{id="`+monitor+`",image="",name=""} `)
	require.Len(t, own.asked, 2)
	for i := range 2 * maxUsers {
		c := Cgroup{ID: slice(fmt.Sprint(i), "libpod-"+idA+".scope")}
		c.place = placeOf(c.ID)
		e.runtimes.of(&c)
	}
	require.LessOrEqual(t, len(e.runtimes.rootless), maxUsers)
}

// What is no longer there is forgotten after a while, though nobody lists.
func TestDirectoryKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	now := read
	d := newDirectory(&fakeIdentity{all: []*Container{{ID: idA}, {ID: idB}}}, time.Minute, time.Minute, func() time.Time { return now }, func(error) {})
	d.lookup(t.Context(), nil)
	d.keepOnly([]string{idA})
	require.True(t, d.has(idB))
	d.keepOnly([]string{idA, idB}) // it is there again
	now = now.Add(2 * leavesAfter)
	d.keepOnly([]string{idA, idB})
	require.True(t, d.has(idB))
	d.keepOnly([]string{idA})
	now = now.Add(leavesAfter)
	d.keepOnly([]string{idA})
	require.False(t, d.has(idB))
	require.True(t, d.has(idA))
}

func FuzzInspected(f *testing.F) {
	f.Add(inspectedAs(f, idA, "web", "nginx", map[string]string{"a": "b"}))
	f.Add(`{"State":{"Pid":-1},"Config":{"Env":["=",""]},"Created":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var one inspected
		if json.Unmarshal([]byte(text), &one) == nil {
			require.GreaterOrEqual(t, one.container([]string{""}).PID, 0)
		}
	})
}
