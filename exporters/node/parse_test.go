package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// known says whether an error of a parser is of the kinds it may give, and
// names file and line.
func known(err error) bool {
	return err == nil || strings.HasPrefix(err.Error(), "f:") &&
		(errors.Is(err, errSyntax) || errors.Is(err, collect.ErrNoData))
}

func FuzzKernelText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "x", "cpu  1 2 3 4\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n", "cpu0 1 2 3 18446744073709551616\n",
		"intr 1 2\nctxt 2\nbtime 3\nprocesses 4\nprocs_running 5\nprocs_blocked 6\nsoftirq 1 2 3\n", "softirq 1 x\n",
		"MemTotal: 1 kB\nActive(anon): 2 kB\nHugePages_Free: 3\n", "A: 1 MB\n", "A(: 99999999999999999999 kB\n",
		"0.1 0.2 0.3 1/2 3\n", "1e999 0 0\n", "NaN 1 2\n", "   8  0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", "8 0 sda 1\n",
		"a|\nb|\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1:5 2\n", "0-3,7\n", "3-1\n", "0-99999999\n",
		"20 1 8:1 / /a\\040b rw shared:1 - ext4 /dev/sda rw\n", "20 1 8:1 / /a\\777 ro - x y\n", "1 2 3:4 / / rw -\n", "E:A=B\nE:C\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cpus, err := parseCPUs("f", data, nil)
		require.True(t, known(err), err)
		require.True(t, err != nil || len(cpus) > 0, "no error and no processor")
		var s statValues
		err = parseStat("f", data, &s)
		require.True(t, known(err), err)
		require.LessOrEqual(t, s.vectors, len(softirqVectors))
		fields, err := parseMeminfo("f", data, nil)
		require.True(t, known(err), err)
		c := newMeminfo(&Options{}).(*meminfo)
		for _, field := range fields {
			require.True(t, strings.HasPrefix(c.family(field).Name(), "node_memory_"))
		}
		loads, err := parseLoadavg("f", data)
		require.True(t, known(err), err)
		require.True(t, err != nil || loads[0] >= 0 && loads[2] >= 0)
		disks, err := parseDiskstats("f", data, nil)
		require.True(t, known(err), err)
		for _, d := range disks {
			require.True(t, len(d.name) > 0 && d.columns >= minDiskColumns)
		}
		_, err = parseNetDev("f", data, nil)
		require.True(t, known(err), err)
		ids, err := parseCPUList("f", data)
		require.True(t, known(err), err)
		require.LessOrEqual(t, len(ids), 2*maxCPUs)
		mounts, err := parseMountinfo("f", data, nil)
		require.True(t, known(err), err)
		for _, m := range mounts {
			require.True(t, m.point != "" && m.fsType != "" && m.major != "")
		}
		for name := range parseUdev(data) {
			require.NotContains(t, name, "=")
		}
	})
}

// A wait for the kernel ends with the context's deadline, and a datagram that
// comes before it is taken.
func TestNetlinkWaitsAsLongAsTheContext(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, unix.Close(pair[0]))
		require.NoError(t, unix.Close(pair[1]))
	})
	n := &netlink{buf: make([]byte, 8)}
	for _, left := range []time.Duration{-time.Second, time.Millisecond} {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(left))
		_, err = n.receive(ctx, pair[0])
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
	for _, ctx := range []context.Context{t.Context(), deadline(t, time.Minute)} {
		sent := make(chan error)
		go func() {
			_, err := unix.Write(pair[1], []byte("kernel"))
			sent <- err
		}()
		size, err := n.receive(ctx, pair[0])
		require.NoError(t, err)
		require.NoError(t, <-sent)
		require.Equal(t, "kernel", string(n.buf[:size]))
	}
}

func deadline(t *testing.T, left time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), left)
	t.Cleanup(cancel)
	return ctx
}

// The collector stat takes what the collector cpu has read, once and while it is
// new, and reads by itself otherwise.
func TestStatTextIsReadOnce(t *testing.T) {
	t.Parallel()
	s, at := &statText{}, time.Unix(1e9, 0)
	f := func(want string, now time.Time) {
		t.Helper()
		got, ok := s.take([]byte("before"), now)
		require.Equal(t, want != "", ok)
		require.Equal(t, want, string(got))
	}
	f("", at)
	s.put([]byte("one"), at)
	s.put([]byte("two"), at)
	f("two", at.Add(statAge))
	f("", at)
	s.put([]byte("three"), at)
	f("", at.Add(statAge+1))
	s = nil
	s.put([]byte("four"), at)
	f("", at)

	o := hostOptions(t)
	o.statText = &statText{}
	stat := newStat(&o)
	alone, shared := metric.NewBatch(), metric.NewBatch()
	require.NoError(t, stat.Collect(t.Context(), alone))
	require.NoError(t, newCPU(&o).Collect(t.Context(), metric.NewBatch()))
	o.statText.at = time.Now() // however slow this machine is
	require.NoError(t, stat.Collect(t.Context(), shared))
	require.Empty(t, o.statText.text)
	require.Equal(t, string(alone.AppendText(nil)), string(shared.AppendText(nil)))
}

func TestParseCPUList(t *testing.T) {
	t.Parallel()
	f := func(text string, want ...int) {
		t.Helper()
		got, err := parseCPUList("f", []byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("\n")
	f("0\n", 0)
	f("0-2,5,7-8\n", 0, 1, 2, 5, 7, 8)
}

func TestParseMount(t *testing.T) {
	t.Parallel()
	f := func(line string, want mount) {
		t.Helper()
		got, problem := parseMount([]byte(line))
		require.Empty(t, problem)
		require.Equal(t, want, got)
	}
	f(`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`,
		mount{major: "98", minor: "0", point: "/mnt2", device: "/dev/root", fsType: "ext3"})
	f(`1 2 0:5 / /a\040b\011c\134d\012e ro - tmpfs tmp\040fs rw`,
		mount{major: "0", minor: "5", point: "/a b\tc\\d\ne", device: `tmp\040fs`, fsType: "tmpfs", readOnly: true})
	f(`1 2 0:5 / /a rw - ext4 d rw,emergency_ro`,
		mount{major: "0", minor: "5", point: "/a", device: "d", fsType: "ext4", readOnly: true})
	f(`1 2 0:5 / /a\400\04 rw,roaming - fuse.x  `, mount{major: "0", minor: "5", point: `/a\400\04`, fsType: "fuse.x"})
}

func TestStripRoot(t *testing.T) {
	t.Parallel()
	f := func(point, root, want string) {
		t.Helper()
		require.Equal(t, want, stripRoot(point, root))
	}
	f("/a", "/", "/a")
	f("/", "/", "/")
	f("/host/a", "/host", "/a")
	f("/host", "/host/", "/")
	f("/hosting", "/host", "/hosting")
}

// attribute and message build what the kernel would send.
func attribute(kind uint16, value []byte) []byte {
	return netlinkAttribute(kind, value)
}

func message(kind, flags uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(append(b, make([]byte, 8)...), body...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func linkMessage(flags uint16, attributes ...[]byte) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	for _, a := range attributes {
		body = append(body, a...)
	}
	return message(unix.RTM_NEWLINK, flags, body)
}

func stats64(values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return attribute(unix.IFLA_STATS64, b)
}

func TestParseNetlink(t *testing.T) {
	t.Parallel()
	name := func(s string) []byte { return attribute(unix.IFLA_IFNAME, append([]byte(s), 0)) }
	stats32 := attribute(unix.IFLA_STATS, []byte{9, 0, 0, 0, 8, 0, 0, 0})
	f := func(data []byte, want string) {
		t.Helper()
		var r linkReader
		done, err := eachMessage(data, r.add)
		var got strings.Builder
		for _, l := range r.links {
			fmt.Fprintf(&got, "%s %v ", l.name, l.stats[:3])
		}
		fmt.Fprintf(&got, "%v %v", done, err)
		require.Equal(t, want, got.String())
	}
	done := message(unix.NLMSG_DONE, 0, []byte{0, 0, 0, 0})
	f(nil, "false <nil>")
	f(done, "true <nil>")
	f(append(linkMessage(0, name("eth0"), stats32, stats64(1, 2, 1<<40)), linkMessage(0, name("b"), stats64(4, 5, 6))...),
		"eth0 [1 2 1099511627776] b [4 5 6] false <nil>")
	f(linkMessage(0, stats64(1, 2, 3), stats32, name("both")), "both [1 2 3] false <nil>")
	f(linkMessage(0, name("old"), stats32), "old [9 8 0] false <nil>")
	f(linkMessage(0, name("silent")), "false <nil>")
	f(append(linkMessage(unix.NLM_F_DUMP_INTR, name("a"), stats64(1)), done...),
		"a [1 0 0] true the kernel's list changed during the dump")
	errno := -int32(syscall.EPERM)
	f(message(unix.NLMSG_ERROR, 0, binary.NativeEndian.AppendUint32(nil, uint32(errno))),
		"false answer: operation not permitted")
	f(message(unix.NLMSG_DONE, 0, binary.NativeEndian.AppendUint32(nil, uint32(errno))),
		"true answer: operation not permitted")
	f(append(linkMessage(0, name("a"), stats64(1)), message(unix.NLMSG_ERROR, 0, make([]byte, 20))...), "a [1 0 0] true <nil>")
	f(message(unix.NLMSG_ERROR, 0, nil), "false unexpected netlink message: error of 0 bytes")
	f(message(unix.RTM_NEWLINK, 0, []byte{1}), "false unexpected netlink message: 1 bytes with a header of 16")
	f(done[:10], "false unexpected netlink message: 10 bytes behind the last")
	f([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "false unexpected netlink message: length 3 in a rest of 16 bytes")
	f(linkMessage(0, []byte{200, 0, 3, 0}), "false unexpected netlink message: attribute of length 200 in a rest of 4 bytes")
}

func FuzzNetlink(f *testing.F) {
	f.Add(linkMessage(0, attribute(unix.IFLA_IFNAME, []byte("eth0\x00")), stats64(1, 2, 3)))
	f.Add(message(unix.NLMSG_ERROR, 0, []byte{255, 255, 255, 255}))
	f.Add(append(linkMessage(unix.NLM_F_DUMP_INTR), message(unix.NLMSG_DONE, 0, nil)...))
	f.Add([]byte{5})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r linkReader
		_, err := eachMessage(data, r.add)
		for _, l := range r.links {
			require.NotEmpty(t, l.name)
			require.NotContains(t, string(l.name), "\x00")
		}
		if err != nil && !errors.Is(err, errNetlink) && !errors.Is(err, errInterrupted) {
			var errno syscall.Errno
			require.ErrorAs(t, err, &errno)
		}
	})
}

// Counters do not go back, but for a processor that was switched off and on.
func TestCPUTimesAdvance(t *testing.T) {
	t.Parallel()
	line := func(user, idle, iowait uint64) *[len(cpuModes)]uint64 {
		return &[len(cpuModes)]uint64{0: user, 3: idle, 4: iowait}
	}
	var c cpuTimes
	f := func(now, want *[len(cpuModes)]uint64) {
		t.Helper()
		c.advance(now)
		require.Equal(t, *want, c.ticks)
	}
	f(line(100, 1000, 50), line(100, 1000, 50))
	f(line(110, 1000, 40), line(110, 1000, 50))     // iowait falls: held
	f(line(120, 990, 60), line(120, 1000, 60))      // idle falls a little: held
	f(line(120, 701, 60), line(120, 1000, 60))      // by less than 3 s: held
	f(line(5, 700, 0), line(5, 700, 0))             // by 3 s: all begins anew
	f(line(6, 700, 1), line(6, 700, 1))             // and goes on
	f(line(6, 1<<40, 1), line(6, 1<<40, 1))         // far forward
	f(line(7, 1<<40, 2), line(7, 1<<40, 2))         //
	f(line(0, 1<<40-300, 0), line(0, 1<<40-300, 0)) // exactly 3 s
}

// A processor that went offline leaves, and comes back with what the kernel
// says then.
func TestCPUHotplug(t *testing.T) {
	t.Parallel()
	c := newCPU(&Options{}).(*cpu)
	f := func(text string, wantChanged bool, want ...string) {
		t.Helper()
		var err error
		c.lines, err = parseCPUs("f", []byte(text), c.lines[:0])
		require.NoError(t, err)
		require.Equal(t, wantChanged, c.update())
		var labels []string
		for _, l := range c.lines {
			labels = append(labels, c.stats[l.id].label)
		}
		require.Equal(t, want, labels)
		require.Len(t, c.stats, len(want))
	}
	f("cpu0 1 1 1 1\ncpu1 1 1 1 1\n", true, "0", "1")
	f("cpu0 1 1 1 1\ncpu1 1 1 1 1\n", false, "0", "1")
	f("cpu0 1 1 1 1\n", true, "0")
	f("cpu0 1 1 1 1\ncpu10 1 1 1 1\n", true, "0", "10")
}

func TestFilter(t *testing.T) {
	t.Parallel()
	f := func(filter Filter, name string, want bool) {
		t.Helper()
		c := newFilterCache(filter)
		for range 2 {
			require.Equal(t, want, c.pass([]byte(name)))
		}
	}
	f(Filter{}, "x", true)
	f(Filter{Exclude: mustPattern("^x$")}, "x", false)
	f(Filter{Exclude: mustPattern("^x$")}, "xy", true)
	f(Filter{Include: mustPattern("^x$")}, "xy", false)
	f(Filter{Include: mustPattern("x"), Exclude: mustPattern("y")}, "xy", false)
	d := DefaultOptions()
	for _, part := range []string{"sda1", "nvme0n1p2", "loop3", "ram0", "zram0", "vda12", "fd0"} {
		f(d.Diskstats.Devices, part, false)
	}
	for _, whole := range []string{"sda", "nvme0n1", "dm-0", "md127", "mmcblk0", "mmcblk0p1"} {
		f(d.Diskstats.Devices, whole, true)
	}
	f(d.Filesystem.MountPoints, "/var/lib/docker/overlay2/x/merged", false)
	f(d.Filesystem.MountPoints, "/var/lib/docker", true)
	f(d.Filesystem.MountPoints, "/devices", true)
	f(d.Filesystem.Types, "overlay", false)
}
