package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// deadMounts is a statfs whose calls on some paths return when it is told.
type deadMounts struct {
	wake  chan struct{}
	calls atomic.Int64 // on dead paths
}

func (d *deadMounts) statfs(path string, s *unix.Statfs_t) error {
	if strings.HasPrefix(path, "/dead") {
		d.calls.Add(1)
		<-d.wake
	}
	s.Blocks = 7
	return nil
}

func outcomes(results []probeResult) string {
	var words []string
	for _, r := range results {
		if r.err != nil {
			words = append(words, r.err.Error())
			continue
		}
		words = append(words, fmt.Sprint(r.stat.Blocks))
	}
	return strings.Join(words, ",")
}

// A dead mount costs only itself: the first scrape waits for it, later ones do
// not, and it holds one goroutine until it answers, after which it is back.
func TestDeadMount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dead := &deadMounts{wake: make(chan struct{})}
		p := newProber(dead.statfs, time.Second, 0)
		paths := []string{"/", "/dead", "/data", "/dead/too", "/home"}
		const want = "7,mountpoint timeout,7,mountpoint timeout,7"
		start := time.Now()
		require.Equal(t, want, outcomes(p.probe(t.Context(), paths)))
		require.Equal(t, time.Second, time.Since(start))
		for range 10 {
			require.Equal(t, want, outcomes(p.probe(t.Context(), paths)))
		}
		require.Equal(t, time.Second, time.Since(start), "later scrapes do not wait")
		require.EqualValues(t, 2, dead.calls.Load(), "one call each")
		close(dead.wake)
		synctest.Wait()
		require.Empty(t, p.stuck)
		require.Equal(t, "7,7,7,7,7", outcomes(p.probe(t.Context(), paths)))
	})
}

// The scrape's own deadline holds too, with time left to write the answer.
func TestDeadMountKeepsToTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dead := &deadMounts{wake: make(chan struct{})}
		p := newProber(dead.statfs, time.Minute, defaultStatWorkers)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		require.Equal(t, "7,mountpoint timeout", outcomes(p.probe(ctx, []string{"/", "/dead"})))
		require.Equal(t, 2*time.Second-probeMargin, time.Since(start))
		close(dead.wake)
	})
}

// More dead mounts than there is time to find out: those behind them are said
// to be late, and found out by the scrapes that follow.
func TestManyDeadMounts(t *testing.T) {
	t.Parallel()
	for _, walks := range []int{1, defaultStatWorkers, 100} {
		synctest.Test(t, func(t *testing.T) {
			dead := &deadMounts{wake: make(chan struct{})}
			p := newProber(dead.statfs, 200*time.Millisecond, walks)
			var paths []string
			for i := range 50 {
				paths = append(paths, fmt.Sprint("/dead/", i))
			}
			paths = append(paths, "/")
			const scrapes = 20
			var last string
			for range scrapes {
				last = outcomes(p.probe(t.Context(), paths))
			}
			require.Equal(t, strings.Repeat("mountpoint timeout,", 50)+"7", last)
			require.EqualValues(t, 50, dead.calls.Load())
			close(dead.wake)
		})
	}
}

// The whole collector with a dead mount, and its way into the exposition.
func TestDeadMountInExposition(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Filesystem.MountTimeout = time.Second
	e := newExporter(t, o)
	wake := make(chan struct{})
	for _, entry := range e.entries {
		if c, ok := entry.Collector.(*exclusive).Collector.(*filesystem); ok {
			c.prober.statfs = func(path string, s *unix.Statfs_t) error {
				if path == "/mnt/dead" {
					<-wake
					return syscall.ESTALE
				}
				return madeStatfs(path, s)
			}
		}
	}
	for range 3 {
		text := scrape(t, e)
		for _, want := range []string{
			`node_filesystem_device_error{device="server:/export",mountpoint="/mnt/dead",fstype="nfs4",device_error="mountpoint timeout"} 1`,
			`node_filesystem_device_error{device="/dev/sda1",mountpoint="/",fstype="ext4",device_error=""} 0`,
			`node_filesystem_size_bytes{device="/dev/sda1",mountpoint="/",fstype="ext4",device_error=""} 4096000`,
			`node_scrape_collector_success{collector="filesystem"} 1`,
			`node_scrape_collector_timeouts_total{collector="filesystem"} 0`,
		} {
			require.Contains(t, text, want)
		}
		require.NotContains(t, text, `node_filesystem_size_bytes{device="server:/export"`)
	}
	close(wake)
}

// What is mounted and unmounted between scrapes comes and goes.
func TestMountsChange(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	source := o.Procfs
	o.Procfs = t.TempDir()
	require.NoError(t, os.CopyFS(o.Procfs, os.DirFS(source)))
	e := newExporter(t, o)
	path := filepath.Join(o.Procfs, "1", "mountinfo")
	f := func(text string, want ...string) {
		t.Helper()
		write(t, path, text)
		for range 2 {
			got := scrape(t, e)
			require.Equal(t, len(want), strings.Count(got, "node_filesystem_readonly{"))
			for _, point := range want {
				require.Contains(t, got, `mountpoint="`+point+`"`)
			}
		}
	}
	const root, usb = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "21 20 8:17 / /usb rw - vfat /dev/sdb1 rw\n"
	f(root, "/")
	f(root+usb, "/", "/usb")
	f(root, "/")
	// A process 1 that is hidden: our own mounts.
	require.NoError(t, os.RemoveAll(filepath.Join(o.Procfs, "1")))
	path = filepath.Join(o.Procfs, "self", "mountinfo")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f(usb, "/usb")
}
