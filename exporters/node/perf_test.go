package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// madePerf counts a number that tells its event and processor; the processor
// has no counter for stalled cycles.
func madePerf(kind uint32, config uint64, cpu int) (io.ReadCloser, error) {
	if kind == unix.PERF_TYPE_HARDWARE && config == unix.PERF_COUNT_HW_STALLED_CYCLES_BACKEND {
		return nil, unix.ENOENT
	}
	return &madeCounter{value: uint64(kind)<<40 + config<<8 + uint64(cpu)}, nil
}

type madeCounter struct {
	value   uint64
	offline bool
	closed  bool
}

func (c *madeCounter) Read(p []byte) (int, error) {
	if c.offline || c.closed {
		return 0, io.EOF
	}
	return bytes.NewReader(binary.NativeEndian.AppendUint64(nil, c.value)).Read(p)
}

func (c *madeCounter) Close() error {
	c.closed = true
	return nil
}

func TestPerfFlags(t *testing.T) {
	t.Parallel()
	f := func(want []int, list string) {
		t.Helper()
		o, err := parseFlags("--collector.perf.cpus=" + list)
		require.NoError(t, err)
		require.Equal(t, want, o.Perf.CPUs)
	}
	f(nil, "")
	f([]int{0}, "0")
	f([]int{0, 2, 3, 4}, "2-4,0,3")
	f([]int{1, 6}, "1-10:5")
	for _, list := range []string{"x", "1-", "3-1", "-1", "1-3:0", "1:x", "0-99999999", ","} {
		_, err := parseFlags("--collector.perf.cpus=" + list)
		require.ErrorContains(t, err, `--collector.perf.cpus="`+list+`": "`)
	}
	bad := func(want string, args ...string) {
		t.Helper()
		_, err := parseFlags(args...)
		require.ErrorContains(t, err, want)
	}
	bad(`--collector.perf.tracepoint="sched" is not of the form subsystem:event`, "--collector.perf.tracepoint=sched")
	bad(`--collector.perf.tracepoint="../a:b" is not of the form`, "--collector.perf.tracepoint=../a:b")
	bad(`--collector.perf.software-profilers="Nap" is none of PageFault, ContextSwitch, `, "--collector.perf.software-profilers=Nap")
	names := func(want string, args ...string) {
		t.Helper()
		o, err := parseFlags(args...)
		require.NoError(t, err)
		var got []string
		for _, f := range newPerf(&o).Families() {
			got = append(got, strings.TrimPrefix(f.Name(), "node_perf_"))
		}
		require.Equal(t, want, strings.Join(got, " "))
	}
	names("cpucycles_total page_faults_total", "--collector.perf.hardware-profilers=CpuCycles", "--collector.perf.software-profilers=PageFault",
		"--collector.perf.disable-cache-profilers")
	names("sched_sched_switch cache_bpu_read_hits_total", "--collector.perf.disable-hardware-profilers", "--collector.perf.disable-software-profilers",
		"--collector.perf.cache-profilers=BPUReadHit", "--collector.perf.tracepoint=sched:sched_switch", "--collector.perf.tracepoint=sched:sched_switch")
	require.Len(t, newPerf(&Options{}).Families(), 30)
}

// A processor that goes offline and comes back counts anew.
func TestPerfHotplug(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Sysfs = t.TempDir()
	o.Perf.Software, o.Perf.NoHardware, o.Perf.NoCache = []string{"PageFault"}, true, true
	dir := filepath.Join(o.Sysfs, "devices/system/cpu")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	c := newPerf(&o).(*perf)
	opened := map[int][]*madeCounter{}
	c.open = func(kind uint32, config uint64, cpu int) (io.ReadCloser, error) {
		counter, err := madePerf(kind, config, cpu)
		opened[cpu] = append(opened[cpu], counter.(*madeCounter))
		return counter, err
	}
	f := func(online, want string, wantErr error) {
		t.Helper()
		write(t, filepath.Join(dir, "online"), online+"\n")
		b := metric.NewBatch()
		require.ErrorIs(t, c.Collect(t.Context(), b), wantErr)
		var cpus []string
		for line := range strings.Lines(string(b.AppendText(nil))) {
			if _, cpu, ok := strings.Cut(line, `cpu="`); ok {
				cpus = append(cpus, cpu[:1])
			}
		}
		require.Equal(t, want, strings.Join(cpus, " "))
	}
	f("0-1", "0 1", nil)
	f("0", "0", nil)
	require.True(t, opened[1][0].closed)
	f("0-1", "0 1", nil)
	opened[1][1].offline = true // between the list and the reading
	f("0-1", "0", io.EOF)
	f("0-1", "0 1", nil)
	require.Len(t, opened[0], 1)
	require.Len(t, opened[1], 3)
	c.cpus = []int{1, 7}
	f("0-1", "1", nil)
}

// What a machine does not have is no error, what this user may not have is,
// and names the way out.
func TestPerfErrors(t *testing.T) {
	t.Parallel()
	f := func(openErr, want error, text string) {
		t.Helper()
		o := hostOptions(t)
		c := newPerf(&o).(*perf)
		c.open = func(uint32, uint64, int) (io.ReadCloser, error) { return nil, openErr }
		err := c.Collect(t.Context(), metric.NewBatch())
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, text)
	}
	f(unix.ENOENT, collect.ErrNoData, "none of the counters")
	f(unix.EOPNOTSUPP, collect.ErrNoData, "none of the counters")
	f(unix.EACCES, unix.EACCES, "sysctl kernel.perf_event_paranoid=0")
	f(unix.EMFILE, unix.EMFILE, "opening the counter CpuCycles of processor 0")
	o := hostOptions(t)
	o.Perf.Tracepoints = []string{"no:such"}
	c := newPerf(&o).(*perf)
	c.open = madePerf
	b := metric.NewBatch()
	require.ErrorContains(t, c.Collect(t.Context(), b), "opening the counter no:such: opening "+o.Sysfs+"/kernel/tracing/events/no/such/id: no such file")
	require.Contains(t, string(b.AppendText(nil)), "node_perf_page_faults_total", "the others")
}

// The kernel of this host counts, where it may be asked, and does not go back.
func TestPerfOfThisHost(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Perf.NoHardware, o.Perf.NoCache = true, true
	c := newPerf(&o).(*perf)
	t.Cleanup(func() {
		for cpu := range c.counters {
			closeAll(c.counters[cpu])
		}
	})
	last := map[string]value{}
	for range 3 {
		b := metric.NewBatch()
		err := c.Collect(t.Context(), b)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, collect.ErrNoData) {
			t.Skipf("no perf events here: %v", err)
		}
		require.NoError(t, err)
		now := series(t, b.AppendText(nil))
		require.NotEmpty(t, now)
		for name, v := range last {
			require.GreaterOrEqual(t, now[name].bits, v.bits, name) // bits of positive floats rise with them
		}
		last = now
	}
}

func FuzzPerfCPUs(f *testing.F) {
	for _, seed := range []string{"", "0", "1-10:5", "0,2-6", "3-1", "1-:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if len(list) > 1000 {
			t.Skip()
		}
		cpus, err := parsePerfCPUs(list)
		require.True(t, err == nil || cpus == nil)
		require.True(t, slices.IsSorted(cpus))
		require.True(t, len(cpus) == 0 || cpus[0] >= 0 && cpus[len(cpus)-1] < maxCPUs)
	})
}
