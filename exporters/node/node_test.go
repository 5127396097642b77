package node

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostOptions are those of the made host in testdata.
func hostOptions(t *testing.T) Options {
	t.Helper()
	o := DefaultOptions()
	root, err := filepath.Abs("testdata/host")
	require.NoError(t, err)
	o.Procfs, o.Sysfs, o.UdevData = root+"/proc", root+"/sys", root+"/udev"
	o.Netdev.Netlink, o.ARP.Netlink = false, false
	o.Qdisc.Fixtures, o.Wifi.Fixtures = root+"/qdisc", root+"/wifi"
	o.PCIDevice.IDsFile = root + "/pci.ids"
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

// newExporter makes an exporter whose system calls answer for the made host.
func newExporter(t *testing.T, o Options) *Exporter {
	t.Helper()
	e, err := New(o)
	require.NoError(t, err)
	// Not o.Rootfs, which mount points would be named below.
	root := filepath.Dir(o.Procfs)
	for _, entry := range e.entries {
		switch c := entry.Collector.(*exclusive).Collector.(type) {
		case *filesystem:
			c.prober.statfs = madeStatfs
		case *uname:
			c.call = madeUname
		case *clock:
			c.now = madeNow
		case *timex:
			c.call = madeTimex
		case *selinux:
			c.statfs = madeSELinux
			c.config = filepath.Join(root, "etc/selinux/config")
		case *perf:
			c.open = madePerf
		case *networkRoute:
			c.ask, c.deviceName = madeRoutes, madeDeviceName
		case *tcpstat:
			c.ask = madeSockets
		case *ntp:
			c.now = newMadeClock()
		case *textfile:
			c.stat = madeStat
		case *processes:
			if c.top != nil {
				c.top.pageSize = 4096
			}
		case *ethtool:
			c.ask = madeEthtool
		case *osRelease:
			c.paths = [2]string{filepath.Join(root, "etc/os-release"), filepath.Join(root, "usr/lib/os-release")}
		}
	}
	return e
}

func madeStatfs(path string, s *unix.Statfs_t) error {
	switch path {
	case "/mnt/broken":
		return syscall.ENOTCONN
	case "/srv/my files":
		*s = unix.Statfs_t{Bsize: 512, Blocks: 100, Bfree: 20, Bavail: 10, Files: 5, Ffree: 4}
	default:
		*s = unix.Statfs_t{Bsize: 4096, Blocks: 1000, Bfree: 500, Bavail: 400, Files: 300, Ffree: 200}
	}
	return nil
}

func madeNow() time.Time {
	return time.Unix(1767225700, 250e6).In(time.FixedZone("MADE", 5400))
}

func madeTimex(t *unix.Timex) (int, error) {
	*t = unix.Timex{
		Status: 0x2001, Offset: -1500, Freq: 65536 * 20, Maxerror: 250_000, Esterror: 40, Constant: 7, Tick: 10_000,
		Ppsfreq: 65536, Jitter: 30, Shift: 3, Stabil: 131072, Jitcnt: 4, Calcnt: 5, Errcnt: 6, Stbcnt: 7, Tai: 37,
	}
	return 0, nil
}

// withPeers sets the programs that collectors ask: all are in this process.
func withPeers(t *testing.T, o Options) Options {
	t.Helper()
	o.systemBus = newBus(t, madeSystem(), nil)
	o.Supervisord.URL = newSupervisordPeer(t, madeSupervisord)
	o.NTP.Port = newNTPPeer(t, madeNTP)
	return o
}

// madeInfo is a file with the time of the made host.
type madeInfo struct{ os.FileInfo }

func (madeInfo) ModTime() time.Time { return madeNow() }

func madeStat(path string) (os.FileInfo, error) {
	info, err := os.Stat(path)
	return madeInfo{info}, err
}

func madeEthtool(device string) (ethtoolAnswer, error) {
	switch device {
	case "eth0":
		return ethtoolAnswer{
			settings: &ethtoolSettings{supported: 0x80f1_30ef, advertised: 0x602f, autonegotiate: 1},
			driver:   &ethtoolDriver{bus: "0000:01:00.0", name: "made", firmware: "1.2", version: "9.0.1"},
			stats: []ethtoolStat{
				{"rx_packets", 10}, {"tx_packets", 9}, {"port.rx_dropped", 8}, {"Queue[0] AllocFails", 7}, {"[3]: tx_bytes", 6},
				{"Tx LPI entry count", 5}, {"two names", 1}, {"two_names", 2}, {"two.names", 3}, {"rx_big", 1 << 60}, {"info", 4},
			},
		}, nil
	case "eth1":
		return ethtoolAnswer{driver: &ethtoolDriver{name: "other"}}, nil
	default:
		return ethtoolAnswer{}, nil
	}
}

func madeSELinux(path string, s *unix.Statfs_t) error {
	s.Type = unix.SELINUX_MAGIC
	return unix.Access(path, unix.F_OK)
}

func madeUname(u *unix.Utsname) error {
	copy(u.Sysname[:], "Linux")
	copy(u.Release[:], "9.0.1-strata")
	copy(u.Version[:], "#1 SMP")
	copy(u.Machine[:], "x86_64")
	copy(u.Nodename[:], "made-host")
	copy(u.Domainname[:], "(none)")
	return nil
}

// scrape gives the text of a scrape without the durations, and with the made
// host in the root.
func scrape(t *testing.T, e *Exporter) string {
	t.Helper()
	b := metric.NewBatch()
	require.NoError(t, e.Collect(t.Context(), b))
	var kept strings.Builder
	root, err := filepath.Abs("testdata/host")
	require.NoError(t, err)
	for line := range strings.Lines(strings.ReplaceAll(string(b.AppendText(nil)), root, "")) {
		if !strings.Contains(line, "node_scrape_collector_duration_seconds") && !strings.Contains(line, "strata_node_collector_") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// everything switches on what is off by default.
func everything(o Options) Options {
	o.Enabled = map[string]bool{}
	for _, d := range collectors() {
		o.Enabled[d.name] = true
	}
	o.CPU.Info, o.CPU.Flags, o.CPU.Bugs = true, mustPattern("^a"), mustPattern("spectre")
	o.Stat.SoftIRQ = true
	o.Perf.Tracepoints = []string{"sched:sched_switch"}
	o.Runit.ServiceDir = filepath.Dir(o.Procfs) + "/etc/service"
	o.Systemd = SystemdOptions{Units: o.Systemd.Units, Tasks: true, Restarts: true, StartTimes: true}
	o.Textfile.Directories = []string{filepath.Dir(o.Procfs) + "/textfile/*"}
	o.Bcache.PriorityStats = true
	o.PCIDevice.Names = true
	o.Processes.Top = 2
	o.Sysctl.Include = []string{"kernel.threads-max", "fs.file-nr:total,unused,max", "net.ipv4.tcp_rmem"}
	o.Sysctl.Info = []string{"kernel.seccomp.actions_avail"}
	return o
}

// only is everything that one collector can show.
func only(o Options, name string) Options {
	o = everything(o)
	o.DisableDefaults, o.Enabled = true, map[string]bool{name: true}
	if name == "cpu" {
		o.Enabled["cpufreq"] = true // which its frequencies depend on
	}
	return o
}

// The whole exposition of the made host, a file for each collector, which
// STRATA_UPDATE=1 writes anew. All of them together say the same.
func TestGolden(t *testing.T) {
	t.Parallel()
	lines := map[string]bool{}
	o := withPeers(t, hostOptions(t))
	for _, d := range collectors() {
		path := "testdata/golden/" + d.name + ".prom"
		e := newExporter(t, only(o, d.name))
		got := scrape(t, e)
		if os.Getenv("STRATA_UPDATE") != "" {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), got, "STRATA_UPDATE=1 go test ./exporters/node writes %s anew", path)
		require.Equal(t, got, scrape(t, e), "a second scrape is the same")
		require.Contains(t, got, `node_scrape_collector_success{collector="`+d.name+`"} 1`)
		for line := range strings.Lines(got) {
			lines[line] = true
		}
		// Its names are node_exporter's, which people's dashboards ask for.
		problems, err := promlint.New(strings.NewReader(got)).Lint()
		require.NoError(t, err)
		for _, p := range problems {
			require.NotContains(t, p.Text, "help text", p.Metric)
		}
	}
	together := scrape(t, newExporter(t, everything(o)))
	for line := range strings.Lines(together) {
		require.True(t, lines[line], "not in any golden file: %s", line)
		delete(lines, line)
	}
	require.Empty(t, lines)
}

// The whole made host in OpenMetrics and protobuf, as Prometheus and
// client_golang read it.
func TestFormatsOfTheMadeHost(t *testing.T) {
	t.Parallel()
	b := metric.NewBatch()
	require.NoError(t, newExporter(t, everything(hostOptions(t))).Collect(t.Context(), b))
	p := textparse.NewOpenMetricsParser(append(b.AppendOpenMetrics(nil), "# EOF\n"...), labels.NewSymbolTable())
	samples, err := 0, error(nil)
	for kind := textparse.EntryInvalid; err == nil; kind, err = p.Next() {
		if kind == textparse.EntrySeries {
			samples++
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, b.Len(), samples)
	var want bytes.Buffer
	for _, f := range b.Messages() {
		_, err := protodelim.MarshalTo(&want, f)
		require.NoError(t, err)
	}
	require.Equal(t, want.Bytes(), b.AppendProtobuf(nil))
}

// Two exporters with different roots do not see each other's host.
func TestTwoHostsInOneProcess(t *testing.T) {
	t.Parallel()
	one, two := hostOptions(t), hostOptions(t)
	two.Procfs = t.TempDir()
	require.NoError(t, os.CopyFS(two.Procfs, os.DirFS(one.Procfs)))
	write(t, filepath.Join(two.Procfs, "loadavg"), "7.00 8.00 9.00 1/1 1\n")
	a, b := newExporter(t, one), newExporter(t, two)
	require.Contains(t, scrape(t, a), "node_load1 0.5\n")
	require.Contains(t, scrape(t, b), "node_load1 7\n")
	require.Contains(t, scrape(t, a), "node_load1 0.5\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestNewRefusesUnknownCollector(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Enabled = map[string]bool{"cpus": true}
	_, err := New(o)
	require.EqualError(t, err, "no collector is named cpus")
}

func get(t *testing.T, h http.Handler, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w.Code, string(body)
}

func TestHandlerFilters(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Enabled = map[string]bool{"stat": false}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "own_total", Help: "Own."}))
	o.Registry = registry
	const own = "own_total 0"
	h := newExporter(t, o).Handler()
	f := func(query string, has []string, hasNot ...string) {
		t.Helper()
		for range 2 {
			code, body := get(t, h, "/metrics"+query)
			require.Equal(t, 200, code, body)
			for _, s := range has {
				require.Contains(t, body, s)
			}
			for _, s := range hasNot {
				require.NotContains(t, body, s)
			}
		}
	}
	f("", []string{"node_load1 ", "node_cpu_seconds_total", "node_uname_info"}, "node_intr_total")
	f("?collect[]=loadavg", []string{"node_load1 ", `success{collector="loadavg"} 1`}, "node_cpu", `"cpu"`)
	f("?collect[]=loadavg&collect[]=uname", []string{"node_load1 ", "node_uname_info"}, "node_cpu")
	f("?exclude[]=loadavg", []string{"node_cpu_seconds_total"}, "node_load1")
	f("?exclude[]=no_such", []string{"node_load1 "})
	f("?exclude[]=stat", []string{"node_load1 "}) // which is off anyway
	f("?collect%5B%5D=loadavg&collect[]=loadavg", []string{"node_load1 ", own}, "node_cpu")
	f("?exclude[]=loadavg&exclude[]=cpu", []string{"node_uname_info", own}, "node_load1", "node_cpu_seconds_total")
	f("?collect[]=loadavg&name[]=node_load5", []string{"node_load5 "}, "node_load1 ", own)
	all := strings.Join(newExporter(t, o).Collectors(), "&exclude[]=")
	f("?exclude[]="+all, []string{own}, "node_load1", "node_scrape_collector_success") // node_exporter runs all of them
	f("?other=1", []string{"node_load1 ", "node_cpu_seconds_total"})

	bad := func(query, want string) {
		t.Helper()
		code, body := get(t, h, "/metrics"+query)
		require.Equal(t, http.StatusBadRequest, code)
		require.Equal(t, want+"\n", body)
	}
	bad("?collect[]=xyz", `no collector is named "xyz"`)
	bad("?collect[]=", `no collector is named ""`)
	bad("?collect[]=cpu&collect[]=xyz", `no collector is named "xyz"`)
	bad("?exclude[]=&collect[]=cpu", "collect[] and exclude[] cannot be combined")
	bad("?collect[]=stat", "collector stat is switched off; --collector.stat switches it on")
	bad("?collect[]=cpu&exclude[]=loadavg", "collect[] and exclude[] cannot be combined")
}

// stuck is a collector that hangs until it is told, and refuses to be called
// while it does.
type stuck struct {
	family *metric.Family
	wake   chan struct{}
	calls  atomic.Int64
}

func (s *stuck) Families() []*metric.Family { return []*metric.Family{s.family} }

func (s *stuck) Collect(_ context.Context, b *metric.Batch) error {
	s.calls.Add(1)
	<-s.wake
	b.Add(s.family, 1)
	return nil
}

// A collector that hangs for one scrape is not called by another with a filter
// of its own, however many come.
func TestFilteredScrapesShareTheirCollectors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{family: metric.NewGauge("stuck", ""), wake: make(chan struct{})}
		entry := collect.Entry{Name: "stuck", Collector: newExclusive(s)}
		for range 3 {
			r, err := collect.New(collect.Options{Prefix: "node", Logger: slog.New(slog.DiscardHandler)}, entry)
			require.NoError(t, err)
			b := metric.NewBatch()
			require.NoError(t, r.Collect(t.Context(), b))
			require.Contains(t, string(b.AppendText(nil)), `success{collector="stuck"} 0`)
		}
		synctest.Wait()
		require.EqualValues(t, 1, s.calls.Load())
		close(s.wake)
	})
}

// Missing files: the collector fails and says which.
func TestMissingProc(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Procfs, o.Sysfs = t.TempDir(), t.TempDir()
	e := newExporter(t, o)
	text := scrape(t, e)
	for _, name := range []string{"cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat"} {
		require.Contains(t, text, `node_scrape_collector_success{collector="`+name+`"} 0`)
	}
}

// This host itself, with the real system calls and the default options.
func TestThisHost(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := New(o)
	require.NoError(t, err)
	text := scrape(t, e)
	for _, name := range []string{"cpu", "filesystem", "loadavg", "meminfo", "netdev", "stat", "uname"} {
		require.Contains(t, text, `node_scrape_collector_success{collector="`+name+`"} 1`)
	}
	for _, want := range []string{
		`node_cpu_seconds_total{cpu="0",mode="idle"} `, "node_memory_MemTotal_bytes ", "node_boot_time_seconds ",
		`node_network_receive_bytes_total{device="lo"} `, `node_filesystem_size_bytes{`, `node_uname_info{sysname="Linux"`,
	} {
		require.Contains(t, text, want)
	}
}

// A scrape leaves no file descriptor behind but those that the next ones use
// again.
func TestNoDescriptorLeak(t *testing.T) {
	o := everything(DefaultOptions())
	o.Logger = slog.New(slog.DiscardHandler)
	e, err := New(o)
	require.NoError(t, err)
	b := metric.NewBatch()
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	for range 2 { // netclass asks netlink from the second on
		b.Reset()
		require.NoError(t, e.Collect(context.Background(), b))
	}
	before := count()
	for range 50 {
		b.Reset()
		require.NoError(t, e.Collect(context.Background(), b))
	}
	require.LessOrEqual(t, count(), before)
}

func BenchmarkScrape(b *testing.B) {
	e, err := New(DefaultOptions())
	require.NoError(b, err)
	batch, text := metric.NewBatch(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		_ = e.Collect(context.Background(), batch)
		text = batch.AppendText(text[:0])
	}
	b.ReportMetric(float64(batch.Len()), "series")
}
