package container

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// burnVariable has the test binary use CPU for some milliseconds once it is
// told to on its standard input, and end.
const burnVariable = "STRATA_TEST_BURN"

func burn() {
	millis, _ := strconv.Atoi(os.Getenv(burnVariable))
	_, _ = os.Stdin.Read(make([]byte, 1))
	held := make([]byte, 4<<20) // memory of the cgroup
	for i := range held {
		held[i] = 1
	}
	defer runtime.KeepAlive(held)
	used := func() int64 {
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
		return t.Nano()
	}
	n := 0
	for end := used() + int64(millis)*1e6; used() < end; {
		n++
	}
}

// realGroups makes cgroups of this machine under a parent of the test's own.
type realGroups struct {
	t      *testing.T
	points []string // where the parent is, in each hierarchy
	id     string
}

// newRealGroups skips the test where it may not make cgroups.
func newRealGroups(t *testing.T, controllers ...string) *realGroups {
	t.Helper()
	g := &realGroups{t: t, id: fmt.Sprintf("/strata-test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))}
	g.id = strings.ReplaceAll(g.id, "/", "_")
	g.id = "/" + strings.TrimPrefix(g.id, "_")
	for _, c := range controllers {
		point := filepath.Join("/sys/fs/cgroup", c)
		if _, err := os.Stat(filepath.Join(point, "cgroup.procs")); err != nil {
			t.Skipf("this machine has no cgroup hierarchy at %s", point)
		}
		if err := os.Mkdir(point+g.id, 0o755); err != nil {
			t.Skipf("cgroups cannot be made here: %v", err)
		}
		t.Cleanup(func() { require.NoError(t, os.Remove(point+g.id)) })
		g.points = append(g.points, point)
	}
	return g
}

// process is one that waits in a cgroup until it is told to burn.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// each does something with the directory of a cgroup in each hierarchy.
func (g *realGroups) each(id string, do func(dir string) error) {
	g.t.Helper()
	for _, point := range g.points {
		require.NoError(g.t, do(point+g.id+id))
	}
}

func (g *realGroups) mkdir(id string) {
	g.t.Helper()
	g.each(id, func(dir string) error { return os.Mkdir(dir, 0o755) })
}

func (g *realGroups) rmdir(id string) { g.t.Helper(); g.each(id, os.Remove) }

// start puts a process into a cgroup.
func (g *realGroups) start(id string, millis int) *process {
	g.t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^$")} //nolint:gosec // the test binary itself
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", burnVariable, millis), "GORACE=atexit_sleep_ms=0")
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(g.t, err)
	require.NoError(g.t, p.cmd.Start())
	g.each(id, func(dir string) error {
		return os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o644)
	})
	return p
}

// burn has the process burn and waits for its end.
func (p *process) burn(t *testing.T) {
	t.Helper()
	_, err := p.stdin.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, p.cmd.Wait())
}

// Containers of one process that live shortly are all shown after they are
// gone, with what they used, or are said to be incomplete.
func TestShortLivedContainers(t *testing.T) {
	count, millis := 50, 500
	if testing.Short() {
		count = 4
	}
	g := newRealGroups(t, "cpuacct", "cpu", "memory")
	registry := prometheus.NewRegistry()
	e, err := New(Options{Registry: registry, RuntimeEndpoint: "unix://" + filepath.Join(t.TempDir(), "none.sock")})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	var wg sync.WaitGroup
	for first := range 2 { // side by side
		wg.Go(func() {
			for i := first; i < count; i += 2 {
				id := fmt.Sprintf("/c%d", i)
				g.mkdir(id)
				g.start(id, millis).burn(t)
				_ = exec.Command("true").Run() // as a runtime that calls runc to remove the rest
				g.rmdir(id)
			}
		})
	}
	wg.Wait()
	incomplete := 0
	got := map[string]float64{}
	require.Eventually(t, func() bool { // the last removal may not have been told yet
		got = samples(text(t, e, e.Collect))
		for i := range count {
			if _, ok := got[fmt.Sprintf(`strata_container_ended_incomplete{id="%s/c%d",image="",name=""}`, g.id, i)]; !ok {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond)
	for i := range count {
		labels := fmt.Sprintf(`{id="%s/c%d",image="",name=""}`, g.id, i)
		if got["strata_container_ended_incomplete"+labels] == 1 {
			incomplete++
			continue
		}
		require.GreaterOrEqual(t, got["strata_container_ended_cpu_seconds"+labels], 0.95*float64(millis)/1000)
		require.Positive(t, got["strata_container_ended_memory_peak_bytes"+labels])
		require.Positive(t, got["strata_container_ended_run_seconds"+labels])
	}
	t.Logf("%d of %d incomplete", incomplete, count)
	require.GreaterOrEqual(t, value(t, registry, "strata_container_ended_total"), float64(count))
	require.GreaterOrEqual(t, value(t, registry, "strata_container_ended_incomplete_total"), float64(incomplete))
}

// samples reads the lines of a text that tell of endings, by what stands before
// the value.
func samples(text string) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		series, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "} ")
		if strings.HasPrefix(series, "strata_container_ended_") {
			out[series+"}"], _ = strconv.ParseFloat(v, 64)
		}
	}
	return out
}

// value is what a counter of a registry says.
func value(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := r.Gather()
	require.NoError(t, err)
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.Fail(t, "no metric", name)
	return 0
}

// onBoth runs a test on real cgroups of both versions, for which it gives the
// options of a source.
func onBoth(t *testing.T, test func(t *testing.T, g *realGroups, o Options)) {
	o := Options{Procfs: "/proc", Sysfs: "/sys", Cgroupfs: "/sys/fs/cgroup", Now: time.Now}
	t.Run("v1", func(t *testing.T) { test(t, newRealGroups(t, "cpuacct", "memory"), o) })
	t.Run("v2", func(t *testing.T) {
		g := newRealGroups(t, "unified")
		h := newHost(t, true)
		h.write("proc/self/mountinfo", "30 20 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
		o.Procfs, o.Cgroupfs = filepath.Join(h.root, "proc"), "/sys/fs/cgroup/unified"
		test(t, g, o)
	})
}

// watch has the test told of the test's own cgroups.
func (g *realGroups) watch(o Options, exited func(*Cgroup)) (*cgroupSource, chan *ending) {
	g.t.Helper()
	s, err := newCgroupSource(o)
	require.NoError(g.t, err)
	ended := make(chan *ending, 100)
	s.watcher, err = startWatcher(s, hooks{
		exited: exited, unwatched: func() {},
		ended: func(e *ending) {
			if strings.HasPrefix(e.cgroup.ID, g.id+"/") {
				ended <- e
			}
		},
	})
	require.NoError(g.t, err)
	return s, ended
}

// The watcher alone: a pod with two containers one after the other, each removed
// after it was read.
func TestWatcher(t *testing.T) {
	onBoth(t, func(t *testing.T, g *realGroups, o Options) {
		exited := make(chan string, 100)
		s, ended := g.watch(o, func(c *Cgroup) { exited <- c.containerID })
		pod := "/kubepods"
		g.mkdir(pod)
		first, second := strings.Repeat("a", 64), strings.Repeat("b", 64)
		for _, id := range []string{first, second} {
			g.mkdir(pod + "/" + id)
			p := g.start(pod+"/"+id, 50)
			other := g.start(pod+"/"+id, 10)
			p.burn(t)
			other.burn(t)
			for who := ""; who != id; who = <-exited {
				t.Log("read at its end:", who) // others' cgroups may be about
			}
			g.rmdir(pod + "/" + id)
			e := <-ended
			require.Equal(t, g.id+pod+"/"+id, e.cgroup.ID)
			require.True(t, e.complete)
			require.GreaterOrEqual(t, e.cgroup.values[cpuUsage], 0.95*0.06)
			require.Equal(t, id, e.cgroup.containerID)
		}
		g.rmdir(pod)
		e := <-ended
		require.Equal(t, g.id+pod, e.cgroup.ID)
		require.True(t, e.complete)
		require.GreaterOrEqual(t, e.cgroup.values[cpuUsage], 0.95*0.12)
		require.NoError(t, s.Close())
		require.Equal(t, filesToKeep(), s.budget.Load())
		require.Empty(t, ended)
	})
}

// What a container has used that was gone before the watcher came is told by its
// pod, whether the pod was there before the watcher or not.
func TestUnreadContainer(t *testing.T) {
	onBoth(t, func(t *testing.T, g *realGroups, o Options) {
		pod := "/kubepods/pod" + strings.Repeat("1", 8)
		id := func(c string) string { return pod + "/" + strings.Repeat(c, 64) }
		run := func(c string, millis int) {
			g.mkdir(id(c))
			g.start(id(c), millis).burn(t)
		}
		g.mkdir("/kubepods")
		g.mkdir(pod)
		run("a", 40) // ended before the watcher
		g.rmdir(id("a"))
		g.mkdir(id("b"))
		live := g.start(id("b"), 30)

		busy, free := make(chan struct{}, 100), make(chan struct{})
		s, ended := g.watch(o, func(c *Cgroup) {
			if c.containerID == strings.Repeat("c", 64) {
				busy <- struct{}{}
				<-free
			}
		})
		run("c", 20)
		<-busy // with the end of c
		run("d", 60)
		used := s.usage(&reader{}, g.points[0]+g.id+id("d"))
		g.rmdir(id("d"))
		close(free)
		e := <-ended
		require.Equal(t, g.id+id("d"), e.cgroup.ID)
		require.False(t, e.complete)
		require.InDelta(t, used, e.cgroup.values[cpuUsage], 0.001)
		require.True(t, math.IsNaN(e.cgroup.values[memMaxUsage]))

		live.burn(t)
		for _, c := range []string{"b", "c"} {
			g.rmdir(id(c))
			e = <-ended
			require.Equal(t, g.id+id(c), e.cgroup.ID)
		}
		g.rmdir(pod)
		e = <-ended
		require.GreaterOrEqual(t, e.cgroup.values[cpuUsage], 0.95*0.15)
		g.rmdir("/kubepods")
		require.NoError(t, s.Close())
	})
}

// An ending waits for each endpoint that is read, and a while for a second
// reader; what is about the present is not shown of it.
func TestEndingsAreShownOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, false)
	h.cgroup("/", h.usage(1))
	h.cgroup("/a", h.usage(5))
	now := read
	registry := prometheus.NewRegistry()
	e := h.exporter(func(o *Options) { o.Registry, o.Now = registry, func() time.Time { return now } })
	end := func(id string) {
		s, err := e.take(t.Context(), allGroups, nil)
		require.NoError(t, err)
		for _, c := range s.cgroups {
			if c.ID == "/a" && c.ended == nil {
				c.ID = id
				e.endings.add(&ending{cgroup: c, complete: true, run: 2, added: now, shown: map[group]time.Time{}})
			}
		}
	}
	end("/gone")
	end("/a") // another has its name
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_cpu_usage_seconds_total{id="/gone",image="",name="",cpu="total"} 5.5`)
	require.Contains(t, got, `strata_container_ended_run_seconds{id="/gone",image="",name=""} 2`)
	require.NotContains(t, got, `container_memory_working_set_bytes{id="/gone"`)
	require.NotContains(t, got, `strata_container_ended_run_seconds{id="/a"`)
	unique(t, got)

	now = now.Add(time.Minute)
	require.Contains(t, text(t, e, e.CollectCAdvisor), `container_cpu_usage_seconds_total{container="",id="/gone"`)
	require.NotContains(t, text(t, e, e.CollectResource), "gone")
	now = now.Add(time.Minute)
	require.NotContains(t, text(t, e, e.Collect), `"/gone"`)

	now = now.Add(endedFor)
	require.NotContains(t, text(t, e, e.Collect), `strata_container_ended_`)
	require.InDelta(t, 2, value(t, registry, "strata_container_ended_total"), 0)
	require.InDelta(t, 1, value(t, registry, "strata_container_ended_lost_total"), 0)
}

// However many end without a reader, few are kept, and the rest is counted.
func TestEndingsAreBounded(t *testing.T) {
	t.Parallel()
	own, err := newOwnMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	es := endings{own: &own}
	for i := range maxEnded + 10 {
		es.add(&ending{cgroup: Cgroup{ID: fmt.Sprintf("/%d", i), values: values{cpuUsage: math.NaN()}}, added: read, shown: map[group]time.Time{}})
	}
	require.Len(t, es.into(nil, nil, read), maxEnded)
	require.Empty(t, es.into(nil, nil, read.Add(2*endedFor)))
}

// What is removed while it is read does not go back behind what was read before.
func TestLastReadingKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	before := values{cpuUsage: 1, memMaxUsage: 9, oomKills: 2}
	after := values{cpuUsage: 3, oomKills: math.NaN()}
	after.keep(&before)
	require.Equal(t, values{cpuUsage: 3, memMaxUsage: 9, oomKills: 2}, after)
	w := &watcher{source: &cgroupSource{h: hierarchies{memory: hierarchy{point: "/m"}}}}
	require.False(t, w.whole(&Cgroup{values: values{memUsage: 1}}))
	require.True(t, w.whole(&Cgroup{values: values{memUsage: 1, memMaxUsage: 1}}))
}
