package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hungTimeout is what a collector that hangs has for a scrape in these tests.
// All others have their usual time: none is measured.
const hungTimeout = 20 * time.Millisecond

// give sets what some collectors have for a scrape with a filter.
func give(e *Exporter, timeout time.Duration, names ...string) {
	for i := range e.entries {
		if slices.Contains(names, e.entries[i].Name) {
			e.entries[i].Timeout = timeout
		}
	}
}

// giveAlways is give for all scrapes.
func giveAlways(t *testing.T, e *Exporter, timeout time.Duration, names ...string) {
	t.Helper()
	give(e, timeout, names...)
	var err error
	e.all, err = e.newRunner(e.entries)
	require.NoError(t, err)
}

// goroutines counts those that are in this package.
func goroutines() int {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			count := 0
			for stack := range bytes.SplitSeq(buf[:n], []byte("\n\n")) {
				if bytes.Contains(stack, []byte("/exporters/node.")) {
					count++
				}
			}
			return count
		}
		buf = make([]byte, 2*len(buf))
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(files)
}

// comesTrue lets other goroutines run until the condition holds.
func comesTrue(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 20_000 {
		if condition() {
			return
		}
		runtime.Gosched()
	}
	require.Fail(t, "it does not come true that "+what)
}

func succeeded(name string, value int) string {
	return fmt.Sprintf(`node_scrape_collector_success{collector="%s"} %d`+"\n", name, value)
}

// endure scrapes 50 times while the named collectors hang: all others answer
// each time, and neither goroutines nor file descriptors become more. There
// have been some scrapes before.
func endure(t *testing.T, e *Exporter, before int, hung ...string) {
	t.Helper()
	var held, open int
	for i := range 50 {
		text := scrape(t, e)
		for _, name := range e.Collectors() {
			if slices.Contains(hung, name) {
				require.Contains(t, text, succeeded(name, 0))
				require.Contains(t, text, fmt.Sprintf(`timeouts_total{collector="%s"} %d`+"\n", name, before+i+1))
			} else {
				require.Contains(t, text, succeeded(name, 1), "scrape %d", i)
			}
		}
		if i%10 == 0 { // and those with filters of their own
			code, body := get(t, e.Handler(), "/metrics?collect[]="+hung[0]+"&collect[]=stat")
			require.Equal(t, 200, code)
			require.Contains(t, body, succeeded("stat", 1))
			require.Contains(t, body, succeeded(hung[0], 0))
		}
		if i == 0 {
			// What waited for its turn leaves: each hung collector holds one.
			comesTrue(t, "the first scrape is over", func() bool { return hanging() == len(hung) })
			held, open = goroutines(), descriptors(t)
		}
	}
	comesTrue(t, "no goroutine was added", func() bool { return goroutines() <= held })
	comesTrue(t, "each holds one goroutine", func() bool { return hanging() == len(hung) })
	require.LessOrEqual(t, descriptors(t), open)
}

// hanging counts the goroutines that are in a collector.
func hanging() int {
	buf := make([]byte, 8<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("node.(*exclusive).Collect("))
}

// A FIFO in place of a kernel file hangs whoever opens it, or, once something
// has it open to write, whoever reads it. When it is gone the collector is back.
func TestHangingFile(t *testing.T) {
	for _, c := range []struct {
		file, collector string
		opens           bool // the call that hangs is the read
	}{
		{"proc/loadavg", "loadavg", false},
		{"proc/meminfo", "meminfo", true},
		{"proc/net/snmp", "netstat", false},
		{"proc/1/mountinfo", "btrfs filesystem", true},
		{"proc/self/mountstats", "mountstats", false},
		{"sys/class/net/eth0/mtu", "netclass", true},
		{"sys/class/hwmon/hwmon1/name", "hwmon", false},
	} {
		o, root := otherHost(t, c.file, "")
		path, hung := filepath.Join(root, c.file), strings.Fields(c.collector)
		require.NoError(t, os.Remove(path))
		require.NoError(t, unix.Mkfifo(path, 0o600))
		var writer *os.File
		openWriter := func() {
			var err error
			writer, err = os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
		}
		if c.opens {
			openWriter()
		}
		e := newExporter(t, everything(withPeers(t, o)))
		giveAlways(t, e, hungTimeout, hung...)
		endure(t, e, 0, hung...)

		if !c.opens {
			openWriter()
		}
		original, err := os.ReadFile(filepath.Join("testdata/host", c.file))
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		write(t, path, string(original))
		require.NoError(t, writer.Close())
		comesTrue(t, "no collector hangs in "+c.file, func() bool { return hanging() == 0 })
		giveAlways(t, e, time.Minute, hung...)
		text := scrape(t, e)
		for _, name := range hung {
			require.Contains(t, text, succeeded(name, 1), c.file)
		}
	}
}

// stoppedFUSE names the environment variable that makes TestStoppedFUSE its own
// child, in a mount namespace that nothing else sees.
const stoppedFUSE = "STRATA_TEST_STOPPED_FUSE"

// A file system whose server does not answer, in place of /sys and below a mount
// point: everything that reads /sys hangs, and statfs of the mount.
func TestStoppedFUSE(t *testing.T) {
	if os.Getenv(stoppedFUSE) != "" {
		stoppedFUSEChild(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	runtime.LockOSThread() // whose end would end the child
	defer runtime.UnlockOSThread()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoppedFUSE$", "-test.v", "-test.timeout=3m")
	child.Env = append(os.Environ(), stoppedFUSE+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := child.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skipf("no mount namespace: %v", err)
	}
	require.NoError(t, err, "%s", out)
	if _, reason, skipped := strings.Cut(string(out), "no FUSE"); skipped {
		t.Skip("no FUSE" + reason)
	}
}

func stoppedFUSEChild(t *testing.T) {
	t.Helper()
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd())
	if err := unix.Mount("stopped", dir, "fuse.stopped", 0, options); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	stop := func() {
		_ = server.Close() // which ends the file system
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
	t.Cleanup(stop)
	o, _ := otherHost(t, "proc/1/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 0:99 / "+dir+" rw - fuse.stopped stopped rw\n")
	o = everything(withPeers(t, o))
	o.Sysfs, o.Timeout = dir, 2*time.Second
	o.Filesystem = FilesystemOptions{MountTimeout: hungTimeout}
	e := newExporter(t, o)
	for _, entry := range e.entries {
		if c, ok := entry.Collector.(*exclusive).Collector.(*filesystem); ok {
			c.prober.statfs = unix.Statfs
		}
	}
	first := scrape(t, e)
	require.Contains(t, first, `mountpoint="`+dir+`",fstype="fuse.stopped",device_error="mountpoint timeout"} 1`)
	var hung []string
	for _, name := range e.Collectors() {
		if strings.Contains(first, fmt.Sprintf(`timeouts_total{collector="%s"} 1`+"\n", name)) {
			hung = append(hung, name)
		}
	}
	require.Subset(t, hung, []string{"bonding", "cpufreq", "hwmon", "infiniband", "netclass", "nvme", "pcidevice", "rapl", "thermal_zone"})
	for _, name := range []string{"filesystem", "loadavg", "meminfo", "netdev", "stat", "uname", "vmstat"} {
		require.NotContains(t, hung, name)
	}
	give(e, hungTimeout, hung...)
	endure(t, e, 1, hung...)
	stop()
	comesTrue(t, "no collector hangs", func() bool { return hanging() == 0 })
}
