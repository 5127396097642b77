package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// broken expects the collectors to fail when a file, such as proc/stat, of the
// made host has the content. Their errors start with the path of the file, and
// the first collector's goes on with want, such as ":3: ".
func broken(t *testing.T, file, content, want string, failing ...string) {
	t.Helper()
	o, root := otherHost(t, file, content)
	for i, name := range failing {
		if i > 0 {
			want = ""
		}
		e := newExporter(t, only(o, name))
		err := e.entries[0].Collector.Collect(t.Context(), metric.NewBatch())
		require.ErrorContains(t, err, filepath.Join(root, file)+want, "%s of %q", name, content)
		require.Contains(t, scrape(t, e), `node_scrape_collector_success{collector="`+name+`"} 0`)
	}
}

// otherHost is the made host with another content of a file: all beside its
// path are links.
func otherHost(t *testing.T, file, content string) (o Options, root string) {
	t.Helper()
	o = hostOptions(t)
	root = t.TempDir()
	from, to := filepath.Dir(o.Procfs), root
	parts := strings.Split(file, "/")
	for i, part := range parts {
		entries, err := os.ReadDir(from)
		require.True(t, err == nil || os.IsNotExist(err), err)
		for _, e := range entries {
			if e.Name() != part {
				require.NoError(t, os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
			}
		}
		from, to = filepath.Join(from, part), filepath.Join(to, part)
		if i < len(parts)-1 {
			require.NoError(t, os.Mkdir(to, 0o755))
		}
	}
	write(t, to, content)
	o.Procfs, o.Sysfs = root+"/proc", root+"/sys"
	return o, root
}

// noise is what a kernel file never holds.
const noise = "\x00\xff\xfe\x01ELF\n\x00"

// A kernel file that is wrong costs its collector and no other, and the error
// says where.
func TestBrokenKernelFiles(t *testing.T) {
	t.Parallel()
	const cpus = "cpu  1 2 3 4\ncpu0 1 2 3 4\n"
	for _, c := range []struct {
		file, content, want string
		failing             []string
	}{
		{"proc/stat", "", ":1: unexpected content: the file is empty", []string{"cpu", "stat"}},
		{"proc/stat", noise, ":1: ", []string{"cpu", "stat"}},
		{"proc/stat", cpus[:20], ":2: unexpected content: the line has no end", []string{"cpu", "stat"}},
		{"proc/stat", cpus + noise, ":4: unexpected content: the line has no end", []string{"stat"}},
		{"proc/stat", cpus + "intr 5\nctxt x\n", `:4: unexpected content: ctxt: "x" is not a number`, []string{"stat"}},
		{"proc/stat", cpus + "intr 5\nctxt 6\n", ":4: unexpected content: the file ends without a line btime", []string{"stat"}},
		{"proc/stat", "cpu  1 2 3 4\ncpu0 1 2 x 4\n", `:2: unexpected content: cpu0: "x" is not a number`, []string{"cpu", "stat"}},
		{"proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3\n", `:2: unexpected content: "cpu0" has 3 columns`, []string{"cpu", "stat"}},
		{"proc/stat", "cpu  1 2 3 4\ncpux 1 2 3 4\n", `:2: unexpected content: "cpux" is not the name`, []string{"cpu", "stat"}},
		{"proc/meminfo", "", ":1: ", []string{"meminfo"}},
		{"proc/meminfo", noise, ":1: ", []string{"meminfo"}},
		{"proc/meminfo", "MemTotal: 1 kB\nMemFree: 1 MB\n", `:2: unexpected content: "MB" is not a known unit`, []string{"meminfo"}},
		{"proc/meminfo", "MemTotal: 1 kB\nMemFr", `:2: unexpected content: the line has no end`, []string{"meminfo"}},
		{"proc/loadavg", "", ":1: ", []string{"loadavg"}},
		{"proc/loadavg", noise, ":1: ", []string{"loadavg"}},
		{"proc/loadavg", "0.1 0.2\n", `:1: unexpected content: "" is not a load average`, []string{"loadavg"}},
		{"proc/diskstats", "", ":1: no block devices", []string{"diskstats"}},
		{"proc/diskstats", noise, ":1: ", []string{"diskstats"}},
		{"proc/diskstats", "8 0 sda 1 2 3\n", `:1: unexpected content: "sda" has 3 columns, at least 11 are expected`, []string{"diskstats"}},
		{"proc/net/dev", "", ":1: ", []string{"netdev"}},
		{"proc/net/dev", noise, ":1: ", []string{"netdev"}},
		{"proc/net/dev", "a|\nb|\nlo: 1 2\n", `:3: unexpected content: "lo" has 2 columns, 16 are expected`, []string{"netdev"}},
		{"proc/1/mountinfo", "", ":1: ", []string{"filesystem"}},
		{"proc/1/mountinfo", noise, ":1: ", []string{"filesystem"}},
		{"proc/1/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda rw\n21 1 8:2 / /b rw ext4\n", ":2: unexpected content: no separator", []string{"filesystem"}},
		{"proc/cpuinfo", "", "", []string{"cpu"}},
		{"proc/cpuinfo", noise, "", []string{"cpu"}},
	} {
		broken(t, c.file, c.content, c.want, c.failing...)
	}
}
