package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

func TestNoCgroups(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, err := New(Options{Rootfs: root})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "proc/self"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), nil, 0o644))
	_, err = New(Options{Rootfs: root})
	require.ErrorIs(t, err, ErrNoCgroups)
	require.Contains(t, err.Error(), "--path.cgroup")
	require.NotContains(t, err.Error(), "\n")

	// The tree went away under a running exporter: an error, not an empty body.
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	e := h.exporter(nil)
	require.NoError(t, os.RemoveAll(filepath.Join(h.root, "sys")))
	require.ErrorIs(t, e.Collect(t.Context(), metric.NewBatch()), ErrNoCgroups)
}

func TestEndpointOfAWrongForm(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	for _, bad := range []string{"run/containerd.sock", "unix://run/x", "tcp://127.0.0.1:1", "https:///x"} {
		_, err := New(Options{Rootfs: h.root, RuntimeEndpoint: bad})
		require.ErrorContains(t, err, "want unix:///PATH", bad)
	}
}

// Cgroups that vanish between the walk and the reading are left out and are no
// errors; one that vanished from one hierarchy is shown by the other.
func TestCgroupsVanishMidRead(t *testing.T) {
	t.Parallel()
	for _, v2 := range []bool{false, true} {
		h := newHost(t, v2)
		for _, id := range []string{"/", "/a", "/b", "/c"} {
			h.cgroup(id, h.usage(5))
		}
		e := h.exporter(nil)
		s := e.o.Source.(*cgroupSource)
		all, w, err := s.walk(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 4)
		h.remove("/b")
		require.NoError(t, os.RemoveAll(filepath.Join(h.root, "sys/fs/cgroup/memory/c")))
		pass, err := s.readAll(t.Context(), all, 0)
		require.NoError(t, err)
		require.Zero(t, pass.Failed+w.reader.failed)
		var ids []string
		for _, c := range pass.Cgroups {
			ids = append(ids, c.ID)
			require.Equal(t, 5.5, c.values[cpuUsage])
		}
		require.Equal(t, []string{"/", "/a", "/c"}, ids)
	}
	require.True(t, gone(&os.PathError{Err: unix.ENODEV})) // removed while it was open
	require.False(t, gone(&os.PathError{Err: unix.EACCES}))
}

// Cgroups come and go while several readers read: no error, no race, and every
// container that is shown is whole.
func TestCgroupsComeAndGo(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	e := h.exporter(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 100 {
			id := fmt.Sprintf("/pods/%d", i%7)
			// Moved into place as a whole, as the kernel does it.
			h.cgroup("/../outside", h.usage(5))
			if os.Mkdir(filepath.Join(h.root, "sys/fs/cgroup/pods"), 0o755) == nil {
				continue
			}
			_ = os.Rename(filepath.Join(h.root, "sys/fs/outside"), filepath.Join(h.root, "sys/fs/cgroup", id))
			h.remove(fmt.Sprintf("/pods/%d", (i+3)%7))
		}
	})
	for range 3 {
		wg.Go(func() {
			b := metric.NewBatch()
			for range 50 {
				b.Reset()
				e.forget()
				if err := e.CollectCAdvisor(t.Context(), b); err != nil {
					t.Error(err)
				}
				if got := string(b.AppendText(nil)); strings.Contains(got, "container_scrape_error 1\n") {
					t.Error(got)
				}
			}
		})
	}
	wg.Wait()
}

// Every file of a container in turn holds garbage: what it told is missing, not
// zero; the rest of it and the other containers are shown; one error is
// counted, logged in one line once, and scrape_error is set.
func TestGarbageInFiles(t *testing.T) {
	t.Parallel()
	for _, v2 := range []bool{false, true} {
		h, runtime := kubernetes(t, v2)
		var log bytes.Buffer
		e := h.exporter(func(o *Options) {
			runtime.endpoint(o)
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		whole := text(t, e, e.CollectCAdvisor)
		lines := map[string]bool{"container_scrape_error 1\n": true}
		for line := range strings.Lines(whole) {
			lines[line] = true
		}
		for name := range h.limitsAndUsage() {
			if name == "cgroup.procs" {
				continue // not read of a container
			}
			path := findDir(t, h, idB, name)
			good, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, garbage := range []string{"", "\x00\xff garbage\n", "usage_usec", "-5\n", "99999999999999999999999\n"} {
				if garbage == "" && strings.HasSuffix(name, ".stat") || garbage == "" && name == "memory.events" {
					continue // an empty list is one without the keys
				}
				log.Reset()
				before := testutil.ToFloat64(e.own.readErrors)
				require.NoError(t, os.WriteFile(path, []byte(garbage), 0o644))
				got := text(t, e, e.CollectCAdvisor)
				require.Equal(t, 1.0, testutil.ToFloat64(e.own.readErrors)-before, "%s %q", name, garbage)
				require.Contains(t, got, "container_scrape_error 1\n")
				require.Equal(t, 1, strings.Count(log.String(), "\n"), "%s", log.String())
				require.Contains(t, log.String(), name)
				// Every line is one of the whole text.
				for line := range strings.Lines(got) {
					require.True(t, lines[line], "%s: %s", name, line)
				}
				require.Less(t, len(got), len(whole), name)
				require.NoError(t, os.WriteFile(path, good, 0o644))
				require.Equal(t, whole, text(t, e, e.CollectCAdvisor), "after %s was mended", name)
			}
		}
	}
}

func (h *host) limitsAndUsage() files {
	all := h.usage(1)
	for name := range h.limits(1) {
		all[name] = ""
	}
	return all
}

func findDir(t *testing.T, h *host, id, name string) string {
	t.Helper()
	var found string
	require.NoError(t, filepath.WalkDir(filepath.Join(h.root, h.dir(name)), func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == name && strings.Contains(path, id) {
			found = path
		}
		return err
	}))
	require.NotEmpty(t, found, name)
	return found
}

// A cgroup whose files cannot be read at all costs itself and is counted.
func TestUnreadableCgroup(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	h.cgroup("/good", h.usage(5))
	// Directories where files should be fail for root too.
	for _, name := range []string{"cpu.stat", "memory.stat", "cpu.max"} {
		h.write("sys/fs/cgroup/bad/"+name+"/x", "")
	}
	e := h.exporter(nil)
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_cpu_usage_seconds_total{id="/good",image="",name="",cpu="total"} 5.5`)
	require.NotContains(t, got, `container_cpu_usage_seconds_total{id="/bad"`)
	require.Contains(t, got, "container_scrape_error 1\n")
	require.GreaterOrEqual(t, testutil.ToFloat64(e.own.readErrors), 3.0)

	if os.Geteuid() != 0 {
		closed := filepath.Join(h.root, "sys/fs/cgroup/closed")
		require.NoError(t, os.Mkdir(closed, 0))
		before := testutil.ToFloat64(e.own.readErrors)
		text(t, e, e.Collect)
		require.Greater(t, testutil.ToFloat64(e.own.readErrors), before+3)
	}
}

func TestNamesOfAnyByte(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	names := []string{"a b", "quote\"", "back\\slash", "new\nline", "grün", "x\xff", "x\xfe", `x\xff`, "é\x80\x01", strings.Repeat("n", 255)}
	h.cgroup("/", h.usage(1))
	for _, name := range names {
		h.cgroup("/"+name, h.usage(5))
	}
	e := h.exporter(nil)
	for _, collect := range []func(context.Context, *metric.Batch) error{e.Collect, e.CollectCAdvisor} {
		ids := map[string]bool{}
		for series := range counters(t, text(t, e, collect)) {
			if strings.Contains(series, "container_cpu_user_seconds_total") {
				require.False(t, ids[series], series)
				ids[series] = true
			}
		}
		// "x\xff" and what it is written as are the one pair that meets.
		require.Len(t, ids, len(names)+1-1)
	}
}

// counters reads every counter of a text, by name and labels. It fails when a
// series stands twice or the text is not valid.
func counters(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			series := name
			for _, l := range m.GetLabel() {
				series += fmt.Sprintf(",%s=%q", l.GetName(), l.GetValue())
			}
			_, twice := out[series]
			require.False(t, twice, series)
			out[series] = m.GetCounter().GetValue()
		}
	}
	return out
}

// Whatever happens to the files between two readings, a counter that is shown
// is never below what was shown before.
func TestCountersNeverGoBack(t *testing.T) {
	t.Parallel()
	for _, v2 := range []bool{false, true} {
		h, runtime := kubernetes(t, v2)
		e := h.exporter(runtime.endpoint)
		rng := rand.New(rand.NewPCG(1, 2))
		last := map[string]map[string]float64{}
		for n := 10; n < 40; n += rng.IntN(3) {
			app := strings.TrimPrefix(filepath.Dir(findDir(t, h, idB, "memory.stat")), filepath.Join(h.root, h.dir("memory.stat")))
			h.cgroup(app, h.usage(n), h.limits(n))
			if rng.IntN(3) == 0 { // a file that breaks off
				name := []string{"cpu.stat", "memory.stat"}[rng.IntN(2)]
				whole := (files(h.usage(n)))[name] + h.limits(n)[name]
				h.cgroup(app, files{name: whole[:rng.IntN(len(whole)-1)]})
			}
			for name, collect := range map[string]func(context.Context, *metric.Batch) error{
				"metrics": e.Collect, "cadvisor": e.CollectCAdvisor, "resource": e.CollectResource,
			} {
				got := counters(t, text(t, e, collect))
				for series, v := range got {
					require.GreaterOrEqual(t, v, last[name][series], "%s: %s", name, series)
				}
				last[name] = got
			}
		}
	}
}

// countingSource counts the passes, and can hold one up.
type countingSource struct {
	Source
	mu     sync.Mutex
	passes int
	gate   chan struct{}
}

func (s *countingSource) Read(ctx context.Context, want group) (*Pass, error) {
	s.mu.Lock()
	s.passes++
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Source.Read(ctx, want)
}

func TestReadersShareAPass(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	source := &countingSource{}
	now := read
	e := h.exporter(func(o *Options) { o.Now = func() time.Time { return now } })
	source.Source, e.o.Source = e.o.Source, source
	b := metric.NewBatch()
	f := func(after time.Duration, passes int) {
		t.Helper()
		now = now.Add(after)
		for _, collect := range []func(context.Context, *metric.Batch) error{e.Collect, e.CollectCAdvisor, e.CollectResource} {
			require.NoError(t, collect(t.Context(), b))
		}
		require.Equal(t, passes, source.passes)
	}
	f(0, 1)
	f(shareFor-1, 1)
	f(1, 2)
	f(-time.Hour, 3) // the clock was set back: the old pass is of no use
}

func TestDeadlineIsHonoured(t *testing.T) {
	t.Parallel()
	h := newHost(t, true)
	h.cgroup("/", h.usage(1))
	e := h.exporter(nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Collect(ended, metric.NewBatch()), context.Canceled)

	source := &countingSource{Source: e.o.Source, gate: make(chan struct{})}
	e.o.Source = source
	first := make(chan error)
	go func() { first <- e.Collect(t.Context(), metric.NewBatch()) }()
	require.Eventually(t, func() bool { source.mu.Lock(); defer source.mu.Unlock(); return source.passes == 1 }, 10*time.Second, time.Millisecond)
	// One who waits for the other's pass has a deadline of its own.
	require.ErrorIs(t, e.CollectResource(ended, metric.NewBatch()), context.Canceled)
	close(source.gate)
	require.NoError(t, <-first)

	_, err := e.o.Source.(*countingSource).Source.(*cgroupSource).readAll(ended, make([]found, 100), 0)
	require.True(t, errors.Is(err, context.Canceled))
}

// Many containers: all are there, once, in one pass.
func TestFiveThousandContainers(t *testing.T) {
	t.Parallel()
	const pods, each = 500, 9 // and a sandbox
	h, runtime := newHost(t, true), newFakeCRI(t)
	h.cgroup("/", h.usage(1))
	small := files{"cpu.stat": "usage_usec 1000000\nuser_usec 1\nsystem_usec 2\n", "memory.stat": "anon 1\ninactive_file 2\n", "memory.current": "10\n"}
	h.cgroup("/../small", small)
	// Links to one set of files: making so many takes long.
	link := func(id string) {
		dir := filepath.Join(h.root, "sys/fs/cgroup", id)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for name := range small {
			require.NoError(t, os.Link(filepath.Join(h.root, "sys/fs/small", name), filepath.Join(dir, name)))
		}
	}
	for p := range pods {
		uid := fmt.Sprintf("%08d-0000-0000-0000-000000000000", p)
		dir := "/kubepods/pod" + uid
		link(dir)
		id := func(c int) string { return fmt.Sprintf("%060d%04d", p, c) }
		var containers []string
		for c := range each {
			containers = append(containers, fmt.Sprintf("c%d", c), id(c+1))
			link(dir + "/" + id(c+1))
		}
		link(dir + "/" + id(0))
		runtime.pod("ns", fmt.Sprintf("p%d", p), uid, id(0), containers...)
	}
	e := h.exporter(runtime.endpoint)
	got := text(t, e, e.CollectResource)
	require.Equal(t, pods*each, strings.Count(got, "\ncontainer_cpu_usage_seconds_total{"))
	require.Equal(t, pods, strings.Count(got, "\npod_memory_working_set_bytes{"))
	require.Contains(t, got, "\nresource_scrape_error 0\n")
	got = text(t, e, e.CollectCAdvisor)
	require.Equal(t, pods*(each+2)+1, strings.Count(got, "\ncontainer_last_seen{")) // the root too
	require.Equal(t, 1, runtime.lists)
}

// Whatever a scrape meets, no file stays open but those of live cgroups, and
// none of them once the exporter is closed.
func TestNoFileStaysOpen(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	h.write("sys/fs/cgroup/memory/bad/memory.stat/x", "")
	h.write("proc/4000/net/dev", "garbage\n\nmore garbage")
	e := h.exporter(runtime.endpoint)
	for range 3 {
		text(t, e, e.CollectCAdvisor)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.forget()
	require.Error(t, e.Collect(ended, metric.NewBatch()))
	source := e.o.Source.(*cgroupSource)
	require.NotEmpty(t, source.kept)
	budget := filesToKeep()
	require.Less(t, source.budget.Load(), budget)
	require.NoError(t, source.Close())
	require.Equal(t, budget, source.budget.Load())
	open, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	require.NotEmpty(t, open)
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil { // others come and go
			require.False(t, strings.HasPrefix(to, h.root), to)
		}
	}
}

// The usual host of v1 has cpu and cpuacct on one mount.
func TestControllersOnOneMount(t *testing.T) {
	t.Parallel()
	h := newHost(t, false)
	point := filepath.Join(h.root, "sys/fs/cgroup/cpu,cpuacct")
	h.write("proc/self/mountinfo", "1 2 0:1 / "+point+" rw - cgroup cgroup rw,cpu,cpuacct\n")
	for name, content := range h.usage(5) {
		if !strings.HasPrefix(name, "memory") {
			h.write("sys/fs/cgroup/cpu,cpuacct/a/"+name, content)
		}
	}
	e := h.exporter(nil)
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_cpu_usage_seconds_total{id="/a",image="",name="",cpu="total"} 5.5`)
	require.Contains(t, got, `container_spec_cpu_shares{id="/a",image="",name=""} 1024`)
	require.NotContains(t, got, "container_memory_")
}

func BenchmarkScrape(b *testing.B) {
	for _, v2 := range []bool{false, true} {
		b.Run(map[bool]string{false: "v1", true: "v2"}[v2], func(b *testing.B) {
			h := newHost(b, v2)
			h.cgroup("/", h.usage(1))
			for i := range 100 {
				h.cgroup(fmt.Sprintf("/kubepods/burstable/pod%d/%064d", i, i), h.usage(5), h.limits(5))
			}
			e := h.exporter(nil)
			batch := metric.NewBatch()
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				e.forget()
				batch.Reset()
				require.NoError(b, e.Collect(b.Context(), batch))
				out = batch.AppendText(out[:0])
			}
		})
	}
}
