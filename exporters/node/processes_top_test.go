package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// madeProcess is a process of a made /proc.
type madeProcess struct {
	name, cgroup       string
	start, cpu, rss    int
	read, written, fds int
	flags              int
}

// madeTree is a /proc in which processes come and go, and what is shown of it.
type madeTree struct {
	t   *testing.T
	dir string
	c   *processes
	now time.Time
	b   *metric.Batch
}

func newMadeTree(t *testing.T, top int, by string) *madeTree {
	t.Helper()
	o := DefaultOptions()
	o.Procfs, o.Processes = t.TempDir(), ProcessesOptions{Top: top, TopBy: by}
	m := &madeTree{t: t, dir: o.Procfs, c: newProcesses(&o).(*processes), now: time.Unix(1e9, 0), b: metric.NewBatch()}
	m.c.top.now = func() time.Time { return m.now }
	require.NoError(t, os.MkdirAll(filepath.Join(m.dir, "sys/kernel"), 0o755))
	write(t, filepath.Join(m.dir, "sys/kernel/pid_max"), "1\n")
	write(t, filepath.Join(m.dir, "sys/kernel/threads-max"), "1\n")
	return m
}

func (m *madeTree) set(pid int, p madeProcess) {
	m.t.Helper()
	dir := filepath.Join(m.dir, strconv.Itoa(pid))
	require.NoError(m.t, os.RemoveAll(dir))
	require.NoError(m.t, os.MkdirAll(filepath.Join(dir, "fd"), 0o755))
	write(m.t, filepath.Join(dir, "stat"), fmt.Sprintf("%d (%s) S 1 1 1 0 -1 %d 0 0 0 0 %d 0 0 0 20 0 1 0 %d 0 %d\n", pid, p.name, p.flags, p.cpu, p.start, p.rss))
	write(m.t, filepath.Join(dir, "io"), fmt.Sprintf("rchar: 1\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 5\n", p.read, p.written))
	write(m.t, filepath.Join(dir, "cgroup"), "0::/"+p.cgroup+"\n")
	for i := range p.fds {
		write(m.t, filepath.Join(dir, "fd", strconv.Itoa(i)), "")
	}
}

func (m *madeTree) end(pid int) {
	m.t.Helper()
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.dir, strconv.Itoa(pid))))
}

// scrape gives the value of each family and group, after some seconds.
func (m *madeTree) scrape(seconds int) map[string]float64 {
	m.t.Helper()
	m.now = m.now.Add(time.Duration(seconds) * time.Second)
	m.b.Reset()
	require.NoError(m.t, m.c.Collect(m.t.Context(), m.b))
	return topValues(m.t, m.b)
}

func topValues(t *testing.T, b *metric.Batch) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(string(b.AppendText(nil))) {
		rest, ok := strings.CutPrefix(line, "node_processes_top_")
		if !ok {
			continue
		}
		at := strings.LastIndexByte(rest, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[at:]), 64)
		require.NoError(t, err)
		all[strings.ReplaceAll(strings.TrimSuffix(rest[:at], `"}`), `{group="`, " ")] = v
	}
	return all
}

func TestTopProcesses(t *testing.T) {
	t.Parallel()
	page := float64(os.Getpagesize())
	m := newMadeTree(t, 2, TopByName)
	m.set(1, madeProcess{name: "init", start: 1, cpu: 300, rss: 10, read: 7, fds: 3})
	m.set(2, madeProcess{name: "web", start: 2, cpu: 100, rss: 20, written: 5, fds: 2})
	m.set(3, madeProcess{name: "web", start: 3, cpu: 150, rss: 30, read: 1, fds: 4})
	m.set(4, madeProcess{name: "idle", start: 4, cpu: 1, rss: 5})
	m.set(5, madeProcess{name: "kworker/0:1-events", start: 5, cpu: 2, flags: kernelThread, read: 90, fds: 9})
	require.Equal(t, map[string]float64{
		"cpu_seconds_total init": 3, "cpu_seconds_total web": 2.5,
		"resident_memory_bytes init": 10 * page, "resident_memory_bytes web": 50 * page,
		"read_bytes_total [kworker]": 90, "written_bytes_total [kworker]": 0, "read_bytes_total init": 7, "written_bytes_total init": 0,
		"open_fds init": 3, "open_fds web": 6,
	}, m.scrape(0))

	// One of the two ends, the other goes on; a third begins, and one takes
	// the number of another that has ended.
	m.end(3)
	m.set(2, madeProcess{name: "web", start: 2, cpu: 180, rss: 20, written: 5})
	m.set(6, madeProcess{name: "web", start: 6, cpu: 20, rss: 20, written: 5})
	m.set(1, madeProcess{name: "web", start: 7, cpu: 1, rss: 1})
	got := m.scrape(15)
	require.InDelta(t, 2.5+0.8+0.2+0.01, got["cpu_seconds_total web"], 1e-9)
	require.Equal(t, 41*page, got["resident_memory_bytes web"])
	require.NotContains(t, got, "resident_memory_bytes init")

	// All end and come back: the counter goes on from where it was.
	for _, pid := range []int{1, 2, 6} {
		m.end(pid)
	}
	require.InDelta(t, 3.51, m.scrape(15)["cpu_seconds_total web"], 1e-9)
	m.set(9, madeProcess{name: "web", start: 99, cpu: 50})
	require.InDelta(t, 4.01, m.scrape(15)["cpu_seconds_total web"], 1e-9)
	// The kernel's number goes back for a moment.
	m.set(9, madeProcess{name: "web", start: 99, cpu: 40})
	require.InDelta(t, 4.01, m.scrape(15)["cpu_seconds_total web"], 1e-9)
	m.set(9, madeProcess{name: "web", start: 99, cpu: 60})
	require.InDelta(t, 4.11, m.scrape(15)["cpu_seconds_total web"], 1e-9)
}

// A process is in the cgroup that it was moved to, and what it used before
// stays where it was used.
func TestTopProcessesByCgroup(t *testing.T) {
	t.Parallel()
	m := newMadeTree(t, 5, TopByCgroup)
	m.set(1, madeProcess{name: "a", cgroup: "one", start: 1, cpu: 100})
	require.Equal(t, 1.0, m.scrape(0)["cpu_seconds_total /one"])
	m.set(1, madeProcess{name: "a", cgroup: "two", start: 1, cpu: 250})
	got := m.scrape(15)
	require.Equal(t, 1.0, got["cpu_seconds_total /one"])
	require.Equal(t, 1.5, got["cpu_seconds_total /two"])
	m.scrape(60)
	m.set(1, madeProcess{name: "a", cgroup: "three", start: 1, cpu: 250})
	m.scrape(15)
	m.set(1, madeProcess{name: "a", cgroup: "three", start: 1, cpu: 350})
	got = m.scrape(60)
	require.Equal(t, 1.0, got["cpu_seconds_total /three"], "an older one is looked up once a minute")
}

// Groups that use about the same do not take each other's place at each
// scrape; one that uses much more is shown soon, and a former one goes.
func TestTopProcessesStay(t *testing.T) {
	t.Parallel()
	m := newMadeTree(t, 1, TopByName)
	a, b := madeProcess{name: "a", start: 1, rss: 100}, madeProcess{name: "b", start: 2, rss: 110}
	step := func(cpuA, cpuB int) map[string]float64 {
		a.cpu, b.cpu = a.cpu+cpuA, b.cpu+cpuB
		m.set(1, a)
		m.set(2, b)
		return m.scrape(15)
	}
	require.Contains(t, step(1000, 900), "cpu_seconds_total a")
	for i := range 20 {
		got := step(100+i%3, 101)
		require.Contains(t, got, "cpu_seconds_total a")
		require.NotContains(t, got, "cpu_seconds_total b")
	}
	var got map[string]float64
	for range 10 {
		got = step(0, 1000)
	}
	require.Equal(t, float64(b.cpu)/userHZ, got["cpu_seconds_total b"])
	require.NotContains(t, got, "cpu_seconds_total a")
	require.Contains(t, got, "resident_memory_bytes b")
	a.rss = 120
	require.Contains(t, step(0, 0), "resident_memory_bytes b")
	a.rss = 200
	require.Contains(t, step(0, 0), "resident_memory_bytes a")
}

// Whatever processes come, go, rename themselves and use: no counter of a
// group goes back, none counts more than was used, and no family has more
// series than were asked for.
func TestTopProcessesNeverGoBack(t *testing.T) {
	t.Parallel()
	const limit = 3
	for _, by := range []string{TopByName, TopByCgroup} {
		random := rand.New(rand.NewPCG(3, 4))
		m := newMadeTree(t, limit, by)
		alive, last, used := map[int]*madeProcess{}, map[string]float64{}, 0
		name := func() string { return string(rune('a' + random.IntN(8))) }
		for scrape := range 150 {
			for range random.IntN(6) {
				pid := 1 + random.IntN(10)
				p := alive[pid]
				switch {
				case p == nil || random.IntN(4) == 0:
					p = &madeProcess{name: name(), cgroup: name(), start: scrape + 1}
					alive[pid] = p
				case random.IntN(4) == 0:
					delete(alive, pid)
					m.end(pid)
					continue
				case random.IntN(3) == 0:
					p.name, p.cgroup = name(), name()
				}
				more := random.IntN(500)
				p.cpu, p.read, p.written, used = p.cpu+more, p.read+more, p.written+more, used+more
				p.rss, p.fds = random.IntN(50), random.IntN(4)
				m.set(pid, *p)
			}
			series, sum := map[string]int{}, 0.0
			for key, v := range m.scrape(random.IntN(40)) {
				family, _, _ := strings.Cut(key, " ")
				series[family]++
				require.LessOrEqual(t, series[family], limit, family)
				if strings.HasSuffix(family, "_total") {
					require.GreaterOrEqual(t, v, last[key], key)
					last[key] = v
				}
				if family == "cpu_seconds_total" {
					sum += v
				}
			}
			require.LessOrEqual(t, sum, float64(used)/userHZ+1e-6)
		}
	}
}

// Groups of names that do not come back cost a bounded memory, and those with
// processes are never dropped.
func TestTopProcessesForget(t *testing.T) {
	t.Parallel()
	top := newTopProcesses(&Options{Processes: ProcessesOptions{Top: 1}})
	b := metric.NewBatch()
	dir := t.TempDir()
	for i := range topGroups + 500 {
		if i%1000 == 0 {
			top.end(b)
			top.begin()
			require.NoError(t, top.see(dir, "1", procStat{name: []byte("kept"), start: 1, cpu: uint64(i + 1)}))
		}
		require.NoError(t, top.see(dir, "2", procStat{name: fmt.Append(nil, i), start: uint64(i), cpu: 1}))
	}
	top.begin()
	require.NoError(t, top.see(dir, "1", procStat{name: []byte("kept"), start: 1, cpu: 1e6}))
	top.end(b)
	require.LessOrEqual(t, len(top.groups), topGroups)
	require.EqualValues(t, 1e6, top.groups["kept"].cpu)
	require.Len(t, top.processes, 1)
}

// This host: what a process that runs is seen to use, and a group's counter
// after its process has ended.
func TestTopProcessesOfThisHost(t *testing.T) {
	t.Parallel()
	o := only(DefaultOptions(), "processes")
	o.Processes = ProcessesOptions{Top: 1000, TopBy: TopByName}
	e, err := New(o)
	require.NoError(t, err)
	own, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	name := strings.TrimSpace(string(own))
	for range 40 {
		f, err := os.Open("/dev/null")
		require.NoError(t, err)
		defer func() { _ = f.Close() }()
	}
	child := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; read x")
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)

	collect := func() map[string]float64 {
		b := metric.NewBatch()
		require.NoError(t, e.Collect(t.Context(), b))
		return topValues(t, b)
	}
	before := collect()
	require.GreaterOrEqual(t, before["open_fds "+name], 40.0)
	require.Greater(t, before["resident_memory_bytes "+name], 1e6)
	require.Greater(t, before["cpu_seconds_total sh"], 0.0)
	require.Contains(t, before, "open_fds sh")
	require.NoError(t, in.Close())
	_ = child.Wait() // read fails at the end of its input
	require.GreaterOrEqual(t, collect()["cpu_seconds_total sh"], before["cpu_seconds_total sh"])
}

func TestParseProcCgroup(t *testing.T) {
	t.Parallel()
	f := func(want, text string) {
		t.Helper()
		got, err := parseProcCgroup("f", []byte(text))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	f("/system.slice/a.service", "0::/system.slice/a.service\n")
	f("/", "0::/\n")
	f("/", "9:name=systemd:/\n4:memory:/\n0::/\n")
	f("/m", "9:name=systemd:/s\n4:memory:/m\n3:cpuset:/x\n0::/\n")
	f("/c:1", "4:memory:/m\n2:cpu,cpuacct:/c:1\n")
	f("/x", "3:cpuset:/x\n")
	_, err := parseProcCgroup("f", []byte("0:/\n"))
	require.EqualError(t, err, `f:1: unexpected content: "0:/" is not an entry of a hierarchy`)
}

func FuzzProcTop(f *testing.F) {
	f.Add([]byte("read_bytes: 1\nwrite_bytes: 2\n"))
	f.Add([]byte("read_bytes: -1\n"))
	f.Add([]byte("0::/a\n"))
	f.Add([]byte("2:cpu,cpuacct:/a\n1:name=systemd:/\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := parseProcIO("f", data)
		require.True(t, known(err), err)
		cgroup, err := parseProcCgroup("f", data)
		require.True(t, known(err), err)
		require.True(t, err != nil || len(cgroup) > 0)
	})
}

// BenchmarkProcesses is the collector over the processes of this host.
func BenchmarkProcesses(b *testing.B) {
	for _, top := range []int{0, 10} {
		b.Run(fmt.Sprintf("top=%d", top), func(b *testing.B) {
			o := DefaultOptions()
			o.Processes.Top = top
			c, batch := newProcesses(&o), metric.NewBatch()
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				require.NoError(b, c.Collect(b.Context(), batch))
			}
			b.ReportMetric(float64(c.(*processes).pids), "processes")
		})
	}
}
