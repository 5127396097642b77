package container

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestParseUint(t *testing.T) {
	t.Parallel()
	f := func(in string, want uint64, ok bool) {
		t.Helper()
		got, err := parseUint([]byte(in))
		require.Equal(t, want, got)
		if ok {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, errFormat)
		}
	}
	f("0\n", 0, true)
	f("12", 12, true)
	f("18446744073709551615\n", math.MaxUint64, true)
	f("max\n", math.MaxUint64, true)
	f("18446744073709551616", 0, false)
	f("99999999999999999999999", 0, false)
	f("", 0, false)
	f("-1", 0, false)
	f("1 2", 0, false)
	f("0x10", 0, false)
	f("\xff\x00", 0, false)
}

func TestParseKeyed(t *testing.T) {
	t.Parallel()
	f := func(in string, want string, ok bool) {
		t.Helper()
		var got strings.Builder
		err := parseKeyed([]byte(in), func(key []byte, v uint64) { fmt.Fprintf(&got, "%s=%d;", key, v) })
		require.Equal(t, want, got.String())
		require.Equal(t, ok, err == nil, "%v", err)
	}
	f("", "", true)
	f("user 1\nsystem 2\n", "user=1;system=2;", true)
	f("user 1\n\nsystem 2", "user=1;system=2;", true)
	f("user 1\nsystem", "", false) // torn: nothing counts
	f("user 1\nsystem two\n", "", false)
	f(" 5\n", "", false)
}

func TestParseCPULimits(t *testing.T) {
	t.Parallel()
	f := func(in string, quota, period uint64, ok bool) {
		t.Helper()
		q, p, err := parseCPUMax([]byte(in))
		require.Equal(t, []uint64{quota, period}, []uint64{q, p})
		require.Equal(t, ok, err == nil, "%v", err)
	}
	f("max 100000\n", 0, 100000, true)
	f("50000 100000\n", 50000, 100000, true)
	f("50000", 0, 0, false)
	f("", 0, 0, false)
	f("many 100000", 0, 0, false)

	quota := func(in string, want uint64, ok bool) {
		t.Helper()
		got, err := parseQuota([]byte(in))
		require.Equal(t, want, got)
		require.Equal(t, ok, err == nil, "%v", err)
	}
	quota("-1\n", 0, true)
	quota("50000\n", 50000, true)
	quota("-2\n", 0, false)

	require.EqualValues(t, 2, sharesOfWeight(1))
	require.EqualValues(t, 2+99*262142/9999, sharesOfWeight(100))
	require.EqualValues(t, 262144, sharesOfWeight(10000))
	require.Zero(t, sharesOfWeight(0))
	require.Zero(t, sharesOfWeight(10001))
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0:1001 11 1 2 91 92 93 94 2002 22 3 4 95 96 97 98
eth0:1: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0
veth12: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
docker0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
`

func TestParseNetDev(t *testing.T) {
	t.Parallel()
	got, err := parseNetDev([]byte(netDev))
	require.NoError(t, err)
	require.Equal(t, []Interface{
		{Name: "eth0", Counters: [netCounters]uint64{1001, 11, 1, 2, 2002, 22, 3, 4}},
		{Name: "eth0:1", Counters: [netCounters]uint64{5, 6, 0, 0, 7, 8, 0, 0}},
	}, got)
	for _, bad := range []string{"eth1: 1 2 3", "eth1", ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth1: x 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"} {
		got, err = parseNetDev([]byte(netDev + bad))
		require.ErrorIs(t, err, errFormat, bad)
		require.Empty(t, got, bad)
	}
	got, err = parseNetDev(nil)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestParseMeminfo(t *testing.T) {
	t.Parallel()
	got, err := parseMeminfo([]byte("MemTotal:  100 kB\nMemFree: x\nSwapTotal: 20 kB\nSwapFree: 5 kB\nHugePages_Total:  0\n"))
	require.NoError(t, err)
	require.Equal(t, meminfo{total: 100 << 10, swapTotal: 20 << 10, swapFree: 5 << 10}, got)
	for _, bad := range []string{"", "SwapTotal: 1 kB\n", "MemTotal: 100\n", "MemTotal: -1 kB\n", "MemTotal: 18446744073709551615 kB\n"} {
		_, err = parseMeminfo([]byte(bad))
		require.ErrorIs(t, err, errFormat, bad)
	}
}

func TestParsePIDsAndBootTime(t *testing.T) {
	t.Parallel()
	f := func(in string, want int, ok bool) {
		t.Helper()
		got, err := parsePIDs([]byte(in))
		require.Equal(t, want, got)
		require.Equal(t, ok, err == nil, "%v", err)
	}
	f("", 0, true)
	f("12\n13\n", 12, true)
	f("0\n0\n7\n", 7, true)
	f("0\n", 0, true)
	f("self\n", 0, false)
	f("4294967296\n", 0, false)

	at, err := parseBootTime([]byte("cpu 1 2\nbtime 1700000000\nprocesses 5\n"))
	require.NoError(t, err)
	require.EqualValues(t, 1700000000, at)
	for _, bad := range []string{"", "\nbtime x\n", "\nbtime -1\n"} {
		_, err = parseBootTime([]byte(bad))
		require.ErrorIs(t, err, errFormat, bad)
	}
}

func TestHierarchies(t *testing.T) {
	t.Parallel()
	const v1 = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
51 23 0:38 / /host/sys/fs/cgroup rw - cgroup2 cgroup2 rw
not a line of mountinfo
`
	cpu := hierarchy{point: "/sys/fs/cgroup/cpu,cpuacct"}
	memory := hierarchy{point: "/sys/fs/cgroup/memory"}
	beside := hierarchy{"/sys/fs/cgroup/unified", true}
	f := func(mountinfo, root string, want hierarchies) {
		t.Helper()
		require.Equal(t, want, chooseHierarchies(parseMountinfo([]byte(mountinfo)), root))
	}
	f(v1, "/sys/fs/cgroup", hierarchies{cpuacct: cpu, cpu: cpu, memory: memory, blkio: beside, cpuset: beside, hugetlb: beside, pids: beside})
	unified := hierarchy{point: "/host/sys/fs/cgroup", v2: true}
	f(v1, "/host/sys/fs/cgroup", hierarchies{unified, unified, unified, unified, unified, unified, unified})
	f(v1, "/elsewhere", hierarchies{})
	f("", "/", hierarchies{})
	// Hybrid: memory was left to the unified hierarchy.
	hybrid := strings.Replace(v1, "rw,memory", "rw,freezer", 1)
	f(hybrid, "/sys/fs/cgroup", hierarchies{cpu, cpu, beside, beside, beside, beside, beside})
	// Separate mounts, and a name with a blank.
	f("1 1 0:1 / /c\\040g/cpu rw - cgroup cgroup rw,cpu\n2 1 0:2 / /c\\040g/acct rw - cgroup cgroup rw,cpuacct\n", "/c g",
		hierarchies{cpuacct: hierarchy{point: "/c g/acct"}, cpu: hierarchy{point: "/c g/cpu"}})
	require.Equal(t, []string{"/c g/acct"}, hierarchies{cpuacct: hierarchy{point: "/c g/acct"}}.distinct())
}

const (
	idA = "0000000000000000000000000000000000000000000000000000000000000aaa"
	idB = "0000000000000000000000000000000000000000000000000000000000000bbb"
	idC = "0000000000000000000000000000000000000000000000000000000000000ccc"
)

func TestPlaceOf(t *testing.T) {
	t.Parallel()
	const uid = "0bcb6967-6cec-46ad-84b8-a15a848e8bba"
	f := func(id string, want place) {
		t.Helper()
		require.Equal(t, want, placeOf(id), id)
	}
	f("/", place{})
	f("/kubepods", place{kubepods: true})
	f("/kubepods/besteffort", place{kubepods: true})
	f("/kubepods/burstable/pod"+uid, place{kubepods: true, podUID: uid})
	f("/kubepods/burstable/pod"+uid+"/"+idA, place{kubepods: true, containerID: idA})
	f("/kubepods/burstable/pod"+uid+"/"+idA+"/init.scope", place{kubepods: true})
	const slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0bcb6967_6cec_46ad_84b8_a15a848e8bba.slice"
	f(slice, place{kubepods: true, podUID: uid})
	f(slice+"/cri-containerd-"+idA+".scope", place{kubepods: true, containerID: idA})
	f(slice+"/crio-"+idA+".scope", place{kubepods: true, containerID: idA})
	f(slice+"/crio-conmon-"+idA+".scope", place{kubepods: true})
	f("/kubepods.slice/kubepods-pod"+strings.ReplaceAll(uid, "-", "_")+".slice", place{kubepods: true, podUID: uid})
	f("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod1_2.slice", place{kubepods: true, podUID: "1-2"})
	f("/kubepods/podd5f6a2c1b0e94f3a", place{kubepods: true, podUID: "d5f6a2c1b0e94f3a"}) // a static pod
	f("/docker/"+idA, place{containerID: idA})
	f("/system.slice/docker-"+idA+".scope", place{containerID: idA})
	f("/system.slice/x:docker:"+idA, place{containerID: idA})
	f("/system.slice/kubelet.service", place{system: true})
	f("/pod"+uid, place{}) // not of the kubelet
	f("/x"+idA, place{})
	f("/"+strings.ToUpper(idA), place{})
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	require.Equal(t, "grün", printable("grün"))
	require.Equal(t, `a\xffb\xc3`, printable("a\xffb\xc3"))
	require.Equal(t, "\uFFFD", printable("\uFFFD"))
}

func TestParseSandboxInfo(t *testing.T) {
	t.Parallel()
	f := func(in, image string, pid int) {
		t.Helper()
		gotImage, gotPID := parseSandboxInfo([]byte(in))
		require.Equal(t, image, gotImage, in)
		require.Equal(t, pid, gotPID, in)
	}
	f(`{"pid":42,"image":"pause:3.6","runtimeSpec":{}}`, "pause:3.6", 42)
	f(`{"pid":"x","image":"pause:3.6"}`, "pause:3.6", 0)
	f(`{"pid":-1,"image":{"a":1}}`, "", 0)
	f(`{"pid":1e300}`, "", 0)
	f(`{"pid":42`, "", 0)
	f(``, "", 0)
	f(`[]`, "", 0)
}

func TestSelectGroups(t *testing.T) {
	t.Parallel()
	f := func(enable, disable string, metrics, kubelet group) {
		t.Helper()
		got, err := SelectGroups(enable, disable)
		if metrics == 0 {
			require.ErrorIs(t, err, ErrGroup)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NoError(t, err)
		require.Equal(t, metrics.String(), got.of(defaultGroups, allGroups).String())
		require.Equal(t, kubelet.String(), got.of(kubeletGroups, kubeletGroups).String())
	}
	f("", DisabledGroups(), defaultGroups, kubeletGroups)
	f("", "network, tcp", allGroups&^(groupNetwork|groupTCP), kubeletGroups&^groupNetwork)
	f("", "", allGroups, kubeletGroups)
	f("cpu", "cpu", groupCPU, groupCPU)
	f("cpu,udp", DisabledGroups(), groupCPU|groupUDP, groupCPU)
	f("", allGroups.String(), groupApp, groupApp)
	f("cpu,everything", "", 0, 0)
	f("", "cpu,everything", 0, 0)
	f("perf_event,resctrl", "", 0, 0)
	// Pressure is the kubelet's where the root has it.
	o := Options{Cgroupfs: t.TempDir()}
	require.Equal(t, kubeletGroups&^groupPressure, o.kubeletGroups())
	require.NoError(t, os.WriteFile(filepath.Join(o.Cgroupfs, "cpu.pressure"), nil, 0o644))
	require.Equal(t, group(kubeletGroups), o.kubeletGroups())
}

func FuzzParsers(f *testing.F) {
	for _, seed := range []string{"", "12\n", "max 100000\n", "-1\n", "user 1\nsystem 2\n", netDev, "MemTotal: 1 kB\n", "\nbtime 5\n",
		`{"pid":42,"image":"pause"}`, "/kubepods/pod1/" + idA, "a\xff\\134", "18446744073709551616",
		"32 31 0:29 / /sys\\040x rw - cgroup cgroup rw,cpu\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := parseUint(data); err == nil && v != math.MaxUint64 {
			again, err := parseUint(fmt.Append(nil, v))
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if quota, period, err := parseCPUMax(data); err == nil && quota > 0 {
			q, p, err := parseCPUMax(fmt.Appendf(nil, "%d %d\n", quota, period))
			require.NoError(t, err)
			require.Equal(t, []uint64{quota, period}, []uint64{q, p})
		}
		_, _ = parseQuota(data)
		var rendered []byte
		err := parseKeyed(data, func(key []byte, v uint64) { rendered = fmt.Appendf(rendered, "%s %d\n", key, v) })
		require.True(t, err == nil || len(rendered) == 0, "half of a file was taken")
		var again []byte
		require.NoError(t, parseKeyed(rendered, func(key []byte, v uint64) { again = fmt.Appendf(again, "%s %d\n", key, v) }))
		require.Equal(t, rendered, again)
		interfaces, err := parseNetDev(data)
		require.True(t, err == nil || interfaces == nil)
		for _, one := range interfaces {
			require.NotEmpty(t, one.Name)
		}
		_, _ = parseMeminfo(data)
		pid, _ := parsePIDs(data)
		require.GreaterOrEqual(t, pid, 0)
		at, _ := parseBootTime(data)
		require.GreaterOrEqual(t, at, int64(0))
		_, pid = parseSandboxInfo(data)
		require.GreaterOrEqual(t, pid, 0)
		for _, m := range parseMountinfo(data) {
			require.True(t, m.v2 || len(m.controllers) > 0)
		}
		fuzzMore(t, data)
		p := placeOf(string(data))
		require.True(t, p.containerID == "" || len(p.containerID) == idLength && p.podUID == "")
		require.True(t, utf8.ValidString(printable(string(data))))
	})
}
