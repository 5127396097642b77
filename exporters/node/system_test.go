package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// Files of the collectors about the kernel itself: clocks, power, memory
// management, limits.
func TestBrokenSystemFiles(t *testing.T) {
	t.Parallel()
	const thermal, watchdog = "sys/class/thermal/", "sys/class/watchdog/watchdog0/"
	for _, c := range []struct{ file, content, want, failing string }{
		{"proc/net/stat/nf_conntrack", "", ":1: unexpected content: the file is empty", "conntrack"},
		{"proc/net/stat/nf_conntrack", "head\n1 2 3\n", ":2: unexpected content: 3 columns, at least 16", "conntrack"},
		{"proc/net/stat/nf_conntrack", "head\n1 x 3\n", `:2: unexpected content: "x" is not a hexadecimal`, "conntrack"},
		{"proc/net/stat/nf_conntrack", noise, ":2: ", "conntrack"},
		{"proc/sys/net/netfilter/nf_conntrack_max", noise, ":1: ", "conntrack"},
		{"sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "<unknown>\n", `:1: unexpected content: "<unknown>" is not a number`, "cpufreq"},
		{"proc/sys/kernel/random/poolsize", "", `:1: unexpected content: "" is not a number`, "entropy"},
		{"proc/sys/fs/file-nr", "", ":1: ", "filefd"},
		{"proc/sys/fs/file-nr", "1\t2\n", ":1: unexpected content: 2 numbers, 3 are expected", "filefd"},
		{"proc/sys/fs/file-nr", "1\tx\t3\n", ":1: ", "filefd"},
		{"proc/sys/kernel/hung_task_detect_count", noise, ":1: ", "kernel_hung"},
		{"sys/kernel/mm/ksm/pages_shared", "many\n", ":1: ", "ksmd"},
		{"etc/os-release", noise, ":1: ", "os"},
		{"etc/os-release", "NAME=a\nID=\"x\n", ":2: unexpected content: ", "os"},
		{"etc/os-release", "", ":1: unexpected content: the file is empty", "os"},
		{"etc/os-release", "NAME=a\nSUPPORT_END=soon\n", ": unexpected content: SUPPORT_END", "os"},
		{"proc/pressure/io", "", ":1: ", "pressure"},
		{"proc/pressure/io", "some avg10=0\n", ":1: unexpected content: ", "pressure"},
		{"proc/pressure/io", "full total=1\n", ":1: unexpected content: no line some", "pressure"},
		{"proc/pressure/memory", "some total=1\n", ":1: unexpected content: no line full", "pressure"},
		{"proc/pressure/cpu", noise, ":1: unexpected content: no line some", "pressure"},
		{"sys/class/powercap/intel-rapl:1/energy_uj", "-1\n", ":1: ", "rapl"},
		{"proc/schedstat", "", ":1: ", "schedstat"},
		{"proc/schedstat", "version 15\ncpu0 1 2 3\n", ":2: unexpected content: cpu0 has 3 columns", "schedstat"},
		{"proc/schedstat", "cpu0 1 2 3 4 5 6 7 8 x\n", ":1: ", "schedstat"},
		{"proc/schedstat", "cpus 1 2 3 4 5 6 7 8 9\n", ":1: ", "schedstat"},
		{"proc/schedstat", "cpu0 1 2 3 4 5 6 7 8 9\ncpu1 1 2", ":2: unexpected content: the line has no end", "schedstat"},
		{"sys/fs/selinux/enforce", "yes", ":1: ", "selinux"},
		{thermal + "thermal_zone0/temp", "hot\n", ":1: ", "thermal_zone"},
		{thermal + "cooling_device0/max_state", "\n", ":1: ", "thermal_zone"},
		{"proc/vmstat", "", ":1: ", "vmstat"},
		{"proc/vmstat", noise, ":1: ", "vmstat"},
		{"proc/vmstat", "pgpgin 1\npgpgout\n", `:2: unexpected content: "pgpgout": "" is not a number`, "vmstat"},
		{"proc/vmstat", "pgpgin 1\npg-out 3\n", `:2: unexpected content: "pg-out" is not a name`, "vmstat"},
		{watchdog + "timeout", "soon\n", ":1: ", "watchdog"},
	} {
		broken(t, c.file, c.content, c.want, c.failing)
	}
}

// Files of the collectors that are off by default.
func TestBrokenOptInFiles(t *testing.T) {
	t.Parallel()
	const stat = "proc/40/stat"
	for _, c := range []struct{ file, content, want, failing string }{
		{"proc/buddyinfo", "", ":1: unexpected content: the file is empty", "buddyinfo"},
		{"proc/buddyinfo", noise, ":1: ", "buddyinfo"},
		{"proc/buddyinfo", "Node 0, zone DMA 1 2\nNode 0, zone Normal 1\n", ":2: unexpected content: 1 numbers", "buddyinfo"},
		{"proc/buddyinfo", "Node 0 zone DMA 1 2\n", ":1: unexpected content: ", "buddyinfo"},
		{"proc/cgroups", "", ":1: ", "cgroups"},
		{"proc/cgroups", "#h\ncpu 1 2\n", `:2: unexpected content: "cpu" has 2 columns, 3 are expected`, "cgroups"},
		{"proc/cgroups", "#h\ncpu 1 x 1\n", ":2: ", "cgroups"},
		{"proc/interrupts", "", ":1: ", "interrupts"},
		{"proc/interrupts", noise, ":1: ", "interrupts"},
		{"proc/interrupts", "CPU0 CPU1\n 0: 1 x timer\n", `:2: unexpected content: "0": "x" is not a number`, "interrupts"},
		{"proc/interrupts", "CPU0\n 0 1 timer\n", ":2: unexpected content: ", "interrupts"},
		{"sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 5 MB\n", ":1: unexpected content: ", "meminfo_numa"},
		{"sys/devices/system/node/node1/meminfo", "MemFree: 5 kB\n", ":1: unexpected content: ", "meminfo_numa"},
		{"sys/devices/system/node/node1/numastat", "numa_hit x\n", ":1: unexpected content: ", "meminfo_numa"},
		{stat, "", ":1: unexpected content: ", "processes"},
		{stat, "40 (a", ":1: unexpected content: ", "processes"},
		{stat, "40 (a) RR 1 40", ":1: unexpected content: ", "processes"},
		{stat, "40 (a) R 1 40 40 0", ":1: unexpected content: field 9", "processes"},
		{stat, noise, ":1: ", "processes"},
		{"proc/sys/kernel/pid_max", "\n", ":1: ", "processes"},
		{"proc/slabinfo", "", ":1: ", "slabinfo"},
		{"proc/slabinfo", "slabinfo - version: 1.1\n", ":1: unexpected content: ", "slabinfo"},
		{"proc/slabinfo", "slabinfo - version: 2.1\ndentry 1 2 3\n", `:2: unexpected content: "dentry" has 3 columns, 5 are expected`, "slabinfo"},
		{"proc/softirqs", "", ":1: ", "softirqs"},
		{"proc/softirqs", "CPU0\nHI: -1\n", ":2: ", "softirqs"},
		{"proc/swaps", "", ":1: ", "swap"},
		{"proc/swaps", "Filename\n/dev/sda1 partition 1 2\n", ":2: unexpected content: ", "swap"},
		{"proc/sys/kernel/threads-max", "many\n", ":1: unexpected content: ", "sysctl"},
		{"proc/sys/fs/file-nr", "1 2\n", ":1: unexpected content: sysctl fs.file-nr has 2 values, its flag names 3", "sysctl"},
		{"proc/sys/kernel/seccomp/actions_avail", "\n", ":1: unexpected content: sysctl kernel.seccomp.actions_avail has no values", "sysctl"},
		{"proc/zoneinfo", "", ":1: ", "zoneinfo"},
		{"proc/zoneinfo", "  min 5\n", ":1: unexpected content: ", "zoneinfo"},
		{"proc/zoneinfo", "Node 0, zone DMA\n min x\n", `:2: unexpected content: min: "x" is not a number`, "zoneinfo"},
		{"proc/zoneinfo", "Node 0, zone DMA\n protection: (1, x)\n", `:2: unexpected content: protection: "x" is not a number`, "zoneinfo"},
	} {
		broken(t, c.file, c.content, c.want, c.failing)
	}
}

// Subsystems that this kernel does not have are no data, and no error.
func TestNoSystemData(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"conntrack", "cpufreq", "kernel_hung", "os", "pressure", "rapl", "schedstat", "watchdog"} {
		o := hostOptions(t)
		o.Procfs, o.Sysfs = t.TempDir()+"/proc", t.TempDir()
		err := newExporter(t, only(o, name)).entries[0].Collector.Collect(t.Context(), metric.NewBatch())
		require.ErrorIs(t, err, collect.ErrNoData, name)
	}
	for _, name := range []string{"selinux", "thermal_zone", "time"} {
		o := hostOptions(t)
		o.Procfs, o.Sysfs = t.TempDir(), t.TempDir()
		require.NoError(t, newExporter(t, only(o, name)).entries[0].Collector.Collect(t.Context(), metric.NewBatch()), name)
	}
	require.ErrorIs(t, noPermission(unix.EACCES), collect.ErrNoData)
}

func FuzzSystemText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "1\t2\t3\n", "entries\n1 2 3 4 5 6 7 8 9 a b c d e f 10 11\n", "some avg10=0.00 total=5\nfull avg10=1 total=6", "some total=\n",
		"version 15\ncpu0 1 2 3 4 5 6 7 8 9\ndomain0 1\n", "cpux 1\n", "pgpgin 5\n", "pg-x 5\n", "A=b\nC=\"d \\\" e\" # f\nexport G='h'\n", "A=\"\n", "=\n",
		"Node 0, zone DMA 1 2 3\n", "Node 0, zone DMA\n  min 5\n protection: (0, 1)\n", "#x\ncpu 1 2 3", "CPU0 CPU1\n 0: 1 2 a b\nNMI:3 4\n ERR: 1\n",
		"slabinfo - version: 2.1\n# n\na 1 2 3 4 5 : 6\n", "Filename\n/dev/x partition 1 2 -3\n", "Node 0 Active(anon): 5 kB\n",
		"1 (a) b) S 0 1 1 0 -1 4194560 9061 9416027 94 2620 36 98 54406 13885 20 0 1 0 29 109604864 2507 184467", "1 (a) S 0",
		"SELINUX=enforcing\n", "12.4.1", ".5", "7.", "3.4.5",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := parseFileNr("f", data)
		require.True(t, known(err), err)
		_, err = parseConntrack("f", data)
		require.True(t, known(err), err)
		_, err = parsePressure("f", data)
		require.True(t, known(err), err)
		cpus, err := parseSchedstat("f", data, nil)
		require.True(t, known(err), err)
		for _, c := range cpus {
			require.NotEmpty(t, c.cpu)
		}
		fields, err := parseVmstat("f", data, nil)
		require.True(t, known(err), err)
		c := newVmstat(&Options{}).(*vmstat)
		for _, field := range fields {
			require.Equal(t, "node_vmstat_"+string(field.name), c.family(field.name).Name())
		}
		checkOptIn(t, data)
		values, err := parseOSRelease("f", data)
		require.True(t, known(err), err)
		for key := range values {
			require.True(t, kernelName([]byte(key)))
		}
		require.GreaterOrEqual(t, leadingNumber(string(data)), 0.0)
		require.Contains(t, []int{selinuxDisabled, selinuxPermissive, selinuxEnforcing}, selinuxMode(data))
	})
}

// checkOptIn puts any text through the parsers of collectors that are off by
// default.
func checkOptIn(t *testing.T, data []byte) {
	t.Helper()
	zones, err := parseBuddyinfo("f", data, nil)
	require.True(t, known(err), err)
	for _, z := range zones {
		require.True(t, len(z.node) > 0 && len(z.zone) > 0 && z.orders > 0)
	}
	_, err = parseCgroups("f", data, nil)
	require.True(t, known(err), err)
	var table cpuTable
	err = table.walk("f", data, func(name, _ []byte) {
		require.LessOrEqual(t, len(table.counts), len(table.cpus))
		require.NotContains(t, string(name), ":")
	})
	require.True(t, known(err), err)
	if softirqName(data) != "" {
		require.Equal(t, string(data), softirqName(data))
	}
	slabs, err := parseSlabinfo("f", data, nil)
	require.True(t, known(err), err)
	require.LessOrEqual(t, len(slabs), len(data))
	_, err = parseSwaps("f", data, nil)
	require.True(t, known(err), err)
	memory, err := parseZoneinfo("f", data, nil)
	require.True(t, known(err), err)
	for _, z := range memory {
		require.True(t, len(z.zone) > 0 && z.protected <= maxProtection)
	}
	_, err = parseMeminfoNode("f", data, nil)
	require.True(t, known(err), err)
	stat, err := parseProcStat("f", data)
	require.True(t, known(err), err)
	require.True(t, err != nil || stat.state != 0 && stat.rss >= 0)
	state, _ := parseVulnerability(data)
	require.Contains(t, []string{"not affected", "vulnerable", "mitigation", "unknown"}, state)
}

func TestLeadingNumber(t *testing.T) {
	t.Parallel()
	f := func(version string, want float64) {
		t.Helper()
		require.InDelta(t, want, leadingNumber(version), 0)
	}
	f("22.04", 22.04)
	f("12", 12)
	f("9.4.20260101-0", 9.4)
	f("7.", 7)
	f("rolling", 0)
	f(".5", 0)
	f("", 0)
}

func TestUnquoteShell(t *testing.T) {
	t.Parallel()
	f := func(word, want string, ok bool) {
		t.Helper()
		got, gotOK := unquoteShell([]byte(word))
		require.Equal(t, ok, gotOK)
		if ok {
			require.Equal(t, want, got)
		}
	}
	f("", "", true)
	f("plain", "plain", true)
	f(`"a b" # c`, "a b", true)
	f(`"a \"b\" \$ \\"`, `a "b" $ \`, true)
	f(`'a \ b'`, `a \ b`, true)
	f(`a\ b`, "a b", true)
	f(`"a'b'"`, "a'b'", true)
	f(`"a`, "", false)
	f(`'`, "", false)
}

func TestSELinuxMode(t *testing.T) {
	t.Parallel()
	f := func(config string, want int) {
		t.Helper()
		require.Equal(t, want, selinuxMode([]byte(config)))
	}
	f("", -1)
	f("#SELINUX=enforcing\nSELINUXTYPE=x\n", -1)
	f("SELINUX=enforcing", 1)
	f("SELINUX = permissive \n", 0)
	f("SELINUX=disabled\nSELINUX=enforcing\n", -1)
}

// The clock that is not synchronised, and one in nanoseconds.
func TestTimexSamples(t *testing.T) {
	t.Parallel()
	v := timexSamples(5, &unix.Timex{Offset: 2000, Jitter: 3000})
	require.Zero(t, v[timexSync])
	require.InDelta(t, 0.002, v[timexOffset], 1e-12)
	v = timexSamples(0, &unix.Timex{Offset: 2000, Jitter: 3000, Status: 0x2000})
	require.InDelta(t, 1, v[timexSync], 0)
	require.InDelta(t, 0.000002, v[timexOffset], 1e-12)
	require.InDelta(t, 0.000003, v[timexPPSJitter], 1e-12)
	require.InDelta(t, 1, v[timexFrequency], 0)
}

// A kernel that is slow to measure a frequency is asked for many at once, and
// says the same.
func TestCpufreqInParallel(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Sysfs = t.TempDir()
	dir := filepath.Join(o.Sysfs, "devices/system/cpu")
	const processors = 100
	var n numbers
	for i := range processors {
		policy := filepath.Join(dir, "cpu"+n.text(i), "cpufreq")
		require.NoError(t, os.MkdirAll(policy, 0o755))
		write(t, filepath.Join(policy, "scaling_cur_freq"), n.text(i)+"000\n")
	}
	fast := newExporter(t, only(o, "cpufreq"))
	want := scrape(t, fast)
	require.Contains(t, want, `node_cpu_scaling_frequency_hertz{cpu="99"} 99000000`+"\n")
	slow := newExporter(t, only(o, "cpufreq"))
	c := slow.entries[0].Collector.(*exclusive).Collector.(*cpufreq)
	var now time.Time
	c.now = func() time.Time { now = now.Add(slowCpufreq); return now }
	require.Equal(t, want, scrape(t, slow))
	require.Len(t, c.policies, processors)
}

// Processors that come and go, zones and thermal devices that appear.
func TestHotplug(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, os.DirFS(filepath.Dir(o.Procfs))))
	o.Procfs, o.Sysfs = root+"/proc", root+"/sys"
	e := newExporter(t, everything(o))
	before := scrape(t, e)
	add := func(path, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		write(t, filepath.Join(root, path), text)
	}
	add("sys/devices/system/cpu/online", "0-2\n")
	add("sys/devices/system/cpu/cpu7/cpufreq/scaling_cur_freq", "5\n")
	add("sys/class/powercap/intel-rapl:9/name", "psys\n")
	add("sys/class/powercap/intel-rapl:9/energy_uj", "7000000\n")
	add("sys/class/thermal/thermal_zone7/temp", "1000\n")
	add("sys/class/thermal/thermal_zone7/type", "new\n")
	add("etc/os-release", "NAME=Other\nVERSION_ID=3\n")
	after := scrape(t, e)
	for _, line := range []string{
		`node_cpu_scaling_frequency_hertz{cpu="7"} 5000` + "\n",
		`node_rapl_psys_joules_total{index="0",path="` + o.Sysfs + `/class/powercap/intel-rapl:9"} 7` + "\n",
		`node_thermal_zone_temp{zone="7",type="new"} 1` + "\n",
		`node_os_version{id="",id_like="",name="Other"} 3` + "\n",
	} {
		require.NotContains(t, before, line)
		require.Contains(t, after, line)
	}
	require.NotContains(t, after, "node_os_support_end_timestamp_seconds")
}

func TestParseVulnerability(t *testing.T) {
	t.Parallel()
	f := func(text, state, mitigation string) {
		t.Helper()
		gotState, gotMitigation := parseVulnerability([]byte(text))
		require.Equal(t, []string{state, mitigation}, []string{gotState, gotMitigation})
	}
	f("Not affected", "not affected", "")
	f("Vulnerable", "vulnerable", "")
	f("Vulnerable: Clear CPU buffers", "vulnerable", "Clear CPU buffers")
	f("Mitigation:  PTI;  SMT on", "mitigation", "PTI; SMT on")
	f("Unknown: No mitigations", "unknown", "No mitigations")
	f("KVM: Mitigation: VMX disabled", "unknown", "KVM: Mitigation: VMX disabled")
	f("", "unknown", "")
}

// Filters and the switch for zeros.
func TestInterruptsChosen(t *testing.T) {
	t.Parallel()
	o := only(hostOptions(t), "interrupts")
	o.Interrupts = InterruptsOptions{Names: Filter{Exclude: mustPattern(`^16;|usb|;Resched`)}}
	text := scrape(t, newExporter(t, o))
	require.Contains(t, text, `node_interrupts_total{cpu="0",type="0",info="IR-IO-APIC",devices="2-edge timer"} 18`)
	require.NotContains(t, text, `cpu="2",type="0"`)
	require.Contains(t, text, `type="NMI"`)
	require.NotContains(t, text, `type="16"`)
	require.NotContains(t, text, `type="IPI0"`)
}

// A flag given twice is one series, and slabs are chosen by two patterns.
func TestOptInFlags(t *testing.T) {
	t.Parallel()
	o, err := parseFlags("--collector.sysctl.include=kernel.threads-max", "--collector.sysctl.include=kernel.threads-max",
		"--collector.slabinfo.slabs-include=kmalloc", "--collector.slabinfo.slabs-exclude=192$",
		"--collector.interrupts.name-include=^LOC;", "--no-collector.interrupts.include-zeros",
		"--collector.vmstat.fields=^nr_", "--collector.rapl.enable-zone-label")
	require.NoError(t, err)
	require.False(t, o.Slabinfo.Slabs.pass("kmalloc-8192"))
	require.True(t, o.Slabinfo.Slabs.pass("kmalloc-96"))
	require.False(t, o.Slabinfo.Slabs.pass("dentry"))
	require.True(t, o.Interrupts.Names.pass("LOC;x;"))
	require.False(t, o.Interrupts.Names.pass("NMI;x;"))
	require.False(t, o.Interrupts.Zeros)
	host := hostOptions(t)
	o.Procfs, o.Sysfs, o.DisableDefaults, o.Logger = host.Procfs, host.Sysfs, true, host.Logger
	o.Enabled = map[string]bool{"sysctl": true, "vmstat": true, "rapl": true}
	text := scrape(t, newExporter(t, o))
	require.Equal(t, 1, strings.Count(text, "\nnode_sysctl_kernel_threads_max 127000\n"))
	require.Contains(t, text, "node_vmstat_nr_free_pages 1000\n")
	require.NotContains(t, text, "node_vmstat_pgfault")
	require.Contains(t, text, `node_rapl_joules_total{index="1",path="/sys/class/powercap/intel-rapl:1",rapl_zone="package"} 5`)
}
