package container

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// layout is a kind of host: which hierarchies there are, and how the kubelet's
// driver names cgroups.
type layout struct {
	name    string
	v2      bool
	hybrid  bool // memory is in the unified hierarchy, the rest in v1
	systemd bool
}

func layouts() []layout {
	return []layout{
		{name: "v1-cgroupfs"}, {name: "v1-systemd", systemd: true},
		{name: "v2-cgroupfs", v2: true}, {name: "v2-systemd", v2: true, systemd: true},
		{name: "hybrid", hybrid: true},
	}
}

// paths gives the cgroups of a pod, its sandbox and its container.
func (l layout) paths() (pod, sandbox, app string) {
	if l.systemd {
		pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice"
		return pod, pod + "/cri-containerd-" + idA + ".scope", pod + "/cri-containerd-" + idB + ".scope"
	}
	pod = "/kubepods/burstable/pod" + podUID
	return pod, pod + "/" + idA, pod + "/" + idB
}

// more writes what is read of a cgroup beside cpu and memory. n tells one
// cgroup from another.
func (l layout) more(h *host, id string, n int) {
	number := strconv.Itoa(n)
	v1 := func(controller, name, text string) {
		h.write(filepath.Join("sys/fs/cgroup", controller, id, name), text)
	}
	if l.v2 {
		pressure := "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + number + "500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=" + number + "\n"
		for name, text := range map[string]string{
			"cpu.pressure": pressure, "memory.pressure": pressure, "io.pressure": pressure,
			"io.stat":               "254:0 rbytes=" + number + "00 wbytes=5 rios=6 wios=7 dbytes=0 dios=0 cost.usage=1000000 cost.wait=2 cost.indebt=3 cost.indelay=4\n253:0 \n",
			"memory.events.local":   "low 0\noom 1\noom_kill " + number + "\n",
			"pids.current":          number + "\n",
			"pids.max":              "max\n",
			"hugetlb.2MB.current":   "4096\n",
			"hugetlb.2MB.events":    "max 3\n",
			"cpuset.cpus.effective": "0-1\n",
		} {
			v1("", name, text)
		}
		return
	}
	v1("cpuacct", "cpuacct.usage_percpu", number+"000000000 0 2500000000 \n")
	v1("blkio", "blkio.throttle.io_serviced_recursive", "254:0 Read 6\n254:0 Write 7\n254:0 Sync 13\n254:0 Async 0\n254:0 Discard 0\n254:0 Total 13\nTotal 13\n")
	v1("blkio", "blkio.throttle.io_service_bytes_recursive", "254:0 Read "+number+"00\n254:0 Write 5\n254:0 Total 10\nTotal 10\n")
	v1("cpuset", "cpuset.memory_migrate", "1\n")
	v1("pids", "pids.current", number+"\n")
	v1("pids", "pids.max", "100\n")
	v1("hugetlb", "hugetlb.2MB.usage_in_bytes", "4096\n")
	v1("hugetlb", "hugetlb.2MB.max_usage_in_bytes", "8192\n")
	v1("hugetlb", "hugetlb.2MB.failcnt", "3\n")
	if l.hybrid {
		return
	}
	v1("memory", "memory.numa_stat", "total=9 N0=9\nfile=5 N0=5\nanon=3 N0=3\nunevictable=1 N0=1\nhierarchical_total=9 N0=9\nhierarchical_file=6 N0=6\n")
	v1("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill "+number+"\n")
}

// process makes one with all that is read of it.
func fullProcess(h *host, pid int) {
	h.process(pid, 1001, 2002)
	at := "proc/" + strconv.Itoa(pid)
	h.write(at+"/limits", "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 4096                 files     \n")
	h.write(at+"/schedstat", "1500000000 2500000000 42\n")
	h.write(at+"/smaps_rollup", "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 8 kB\nReferenced:            4 kB\n")
	h.write(at+"/fd/0", "")
	require.NoError(h.t, os.RemoveAll(filepath.Join(h.root, at, "fd/3")))
	require.NoError(h.t, os.Symlink("socket:[42]", filepath.Join(h.root, at, "fd/3")))
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	h.write(at+"/net/tcp", head+"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n")
	h.write(at+"/net/udp", head+"   7: 0100007F:0035 00000000:0000 07 00000010:00000100 00:00000000 00000000     0        0 2 2 0 5\n")
	h.write(at+"/net/snmp", "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm MaxConn\nTcp: 1 -1\n")
	h.write(at+"/net/netstat", "TcpExt: SyncookiesSent TCPLossProbes\nTcpExt: 7 8\nIpExt: InOctets\nIpExt: 9\n")
}

// build makes a host of the layout with a pod of one container.
func (l layout) build(t testing.TB) (*host, *fakeCRI) {
	h, runtime := newHost(t, l.v2), newFakeCRI(t)
	line := func(point, tail string) string {
		return "30 20 0:1 / " + filepath.Join(h.root, "sys/fs/cgroup", point) + " rw - " + tail + "\n"
	}
	if !l.v2 {
		mounts := line("unified", "cgroup2 cgroup2 rw")
		for _, c := range []string{"cpuacct", "cpu", "memory", "blkio", "cpuset", "hugetlb", "pids"} {
			if c != "memory" || !l.hybrid {
				mounts += line(c, "cgroup cgroup rw,"+c)
			}
		}
		h.write("proc/self/mountinfo", mounts)
	}
	pod, sandbox, app := l.paths()
	for i, id := range []string{"/", pod, sandbox, app} {
		n := 60 - 10*i
		h.cgroup(id, h.usage(n), h.limits(n))
		if l.hybrid {
			two := &host{t: t, root: h.root, v2: true}
			for _, all := range []files{two.usage(n), two.limits(n)} {
				for name, text := range all {
					h.write(filepath.Join("sys/fs/cgroup/unified", id, name), text)
				}
			}
		}
		l.more(h, id, n)
	}
	h.cgroup(sandbox, files{"cgroup.procs": "4000\n"})
	h.cgroup(app, files{"cgroup.procs": "4001\n4002\n"})
	for _, pid := range []int{4000, 4001, 4002} {
		fullProcess(h, pid)
	}
	h.write("proc/diskstats", " 254 0 vda 10 1 80 2000 20 2 160 4000 0 3000 6000 0 0 0 0 0 0\n")
	h.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "1\n")
	l.machine(h)
	h.age()
	runtime.pod("shop", "web-1", podUID, sandboxID, "app", idB)
	return h, runtime
}

const sandboxID = idA

// machine makes two cores of two threads in one socket and node.
func (l layout) machine(h *host) {
	h.write("etc/machine-id", "0123\n")
	h.write("proc/sys/kernel/random/boot_id", "boot\n")
	h.write("sys/class/dmi/id/product_uuid", "uuid\n")
	h.write("sys/devices/system/edac/mc/mc0/dimm0/dimm_mem_type", "Unbuffered-DDR4\n")
	h.write("sys/devices/system/edac/mc/mc0/dimm0/size", "8192\n")
	for n := range 4 {
		at := "sys/devices/system/cpu/cpu" + strconv.Itoa(n)
		h.write(at+"/topology/core_id", strconv.Itoa(n/2)+"\n")
		h.write(at+"/topology/physical_package_id", "0\n")
		for i, one := range []struct{ level, kind, size, mask string }{{"1", "Data", "32K", "3"}, {"3", "Unified", "8192K", "f"}} {
			index := at + "/cache/index" + strconv.Itoa(i)
			for name, text := range map[string]string{"id": "0", "level": one.level, "type": one.kind, "size": one.size, "shared_cpu_map": one.mask} {
				h.write(index+"/"+name, text+"\n")
			}
		}
		h.write("sys/devices/system/node/node0/cpu"+strconv.Itoa(n)+"/x", "")
	}
	h.write("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:  1000 kB\nNode 0 MemFree: 1 kB\n")
	h.write("sys/devices/system/node/node0/distance", "10\n")
	h.write("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "1\n")
}

// All groups over every kind of host. STRATA_UPDATE=1 writes the golden files
// anew.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			h, runtime := l.build(t)
			e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Groups, _ = SelectGroups("", "") })
			got := text(t, e, e.Collect)
			golden(t, filepath.Join("testdata", "all-"+l.name+".prom"), got)
			require.Contains(t, got, "container_scrape_error 0")
			require.Contains(t, got, "machine_scrape_error 0")
			unique(t, got)
		})
	}
}

// unique finds series that stand twice, for which a scraper refuses all.
func unique(t *testing.T, text string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		series, _, _ := strings.Cut(line, "} ")
		require.False(t, !strings.HasPrefix(line, "#") && seen[series], line)
		seen[series] = true
	}
}

// The real cgroups of this machine, with all groups: what can be read is read
// without a failure, and each series once.
func TestRealCgroups(t *testing.T) {
	t.Parallel()
	everything, err := SelectGroups("", "")
	require.NoError(t, err)
	e, err := New(Options{Groups: everything, RuntimeEndpoint: filepath.Join(t.TempDir(), "none.sock")})
	if err != nil {
		t.Skipf("this machine shows no cgroups: %v", err)
	}
	defer func() { require.NoError(t, e.Close()) }()
	b := metric.NewBatch()
	require.NoError(t, e.Collect(t.Context(), b))
	got := string(b.AppendText(nil))
	unique(t, got)
	for _, want := range []string{"container_memory_rss{id=\"/\"", "machine_cpu_cores{", "container_processes{id=\"/\"", "container_pressure_cpu_waiting_seconds_total{", "container_fs_limit_bytes{"} {
		require.Contains(t, got, want)
	}
}

// What processes used stays counted when they end, and with the parent when
// their cgroup goes.
func TestSchedulesNeverGoBack(t *testing.T) {
	t.Parallel()
	all := schedules{}
	pass := func(ids map[string][]processSched) map[string]float64 {
		var cgroups []Cgroup
		for id, processes := range ids {
			cgroups = append(cgroups, Cgroup{ID: id, sched: processes})
		}
		all.take(cgroups)
		out := map[string]float64{}
		for i := range cgroups {
			out[cgroups[i].ID] = cgroups[i].values[schedPeriods]
		}
		return out
	}
	one := func(pid int, n float64) processSched { return processSched{pid: pid, sched: [3]float64{n, n, n}} }
	require.Equal(t, map[string]float64{"/": 6, "/a": 5, "/a/b": 3},
		pass(map[string][]processSched{"/": {one(1, 1)}, "/a": {one(2, 2)}, "/a/b": {one(3, 3)}}))
	require.Equal(t, map[string]float64{"/": 7, "/a": 6, "/a/b": 4},
		pass(map[string][]processSched{"/": {one(1, 1)}, "/a": nil, "/a/b": {one(3, 1)}}))
	require.Equal(t, map[string]float64{"/": 8, "/a": 6},
		pass(map[string][]processSched{"/": {one(1, 2)}, "/a": nil}))
}

func TestParseFilesystems(t *testing.T) {
	t.Parallel()
	got, err := parseFilesystems([]byte(`22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 254:0 /a /bind rw - ext4 /dev/vda rw
24 22 0:23 / /dev/shm rw shared:1 - tmpfs tmpfs rw
25 22 0:24 / /a\040b rw - tmpfs tmpfs rw
26 22 0:50 / /run/x rw - overlay overlay rw
27 22 0:51 / /proc rw - proc proc rw
28 22 0:52 / /run/containerd/io.containerd.runtime.v2.task/k8s.io/a/rootfs rw - overlay overlay rw
29 22 0:53 / /run/containers/storage/overlay-containers/a/userdata/shm rw - tmpfs shm rw
30 22 0:54 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw
31 22 0:55 / /var/lib/kubelet/pods/a/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw
32 22 8:16 / /var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/pv/mount rw - ext4 /dev/sdb rw
not a line
`))
	require.NoError(t, err)
	require.Equal(t, []filesystem{
		{"/dev/vda", "/", deviceID{254, 0}}, {"/dev/shm", "/dev/shm", deviceID{0, 23}}, {"/a b", "/a b", deviceID{0, 24}},
		{"overlay_0-50", "/run/x", deviceID{0, 50}},
		{"/dev/sdb", "/var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/pv/mount", deviceID{8, 16}},
	}, got)
}

// fuzzMore feeds the parsers of the groups beside cpu and memory.
func fuzzMore(t *testing.T, data []byte) {
	_, _ = parseNodeMemory(data)
	_, _ = parseFloats(data)
	_, _ = parseCacheSize(data)
	_, _ = parseCPUMap(data)
	_, _ = parsePSI(data)
	_, _ = parseNuma(data)
	_ = parseBlkio(data, func(deviceID, string, uint64) {})
	_ = parseIOStat(data, func(deviceID, []byte, uint64) {})
	_, _ = parseTCP(data)
	_, _ = parseUDP(data)
	_, _ = parseAdvanced(data)
	_, _ = parseMaxFiles(data)
	_, _ = parseDiskstats(data)
	_, _ = parseSchedstat(data)
	_, _ = parseReferenced(data)
	systems, _ := parseFilesystems(data)
	require.LessOrEqual(t, len(systems), strings.Count(string(data), "\n")+1)
	pids, err := parseAllPIDs(data)
	require.True(t, err == nil || pids == nil)
}

// A process is in one cgroup of each hierarchy of v1. One that memory alone
// knows has it in the cpu hierarchy's root, where it counts; an ended process
// and a thread of the kernel are no failure.
func TestProcessesCountOnce(t *testing.T) {
	t.Parallel()
	l := layout{name: "v1"}
	h, _ := l.build(t)
	h.write("sys/fs/cgroup/memory/only/memory.stat", "total_rss 1\ntotal_cache 1\n")
	h.write("sys/fs/cgroup/memory/only/memory.usage_in_bytes", "1\n")
	h.write("sys/fs/cgroup/memory/only/cgroup.procs", "4003\n")
	h.cgroup("/", files{"cgroup.procs": "4003\n4444\n"})
	fullProcess(h, 4003)
	e := h.exporter(func(o *Options) { o.Groups, _ = SelectGroups("", "") })
	got := text(t, e, e.Collect)
	require.Contains(t, got, `container_processes{id="/",image="",name=""} 2`)
	require.Contains(t, got, `container_processes{id="/only",image="",name=""} 0`)
	require.Contains(t, got, `container_cpu_schedstat_run_periods_total{id="/only",image="",name=""} 0`)
	require.Contains(t, got, "container_scrape_error 0")
}
