package node

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

const madeUUID = "11111111-2222-3333-4444-555555555555"

// Attributes of devices that are wrong: the error names the file.
func TestBrokenDevices(t *testing.T) {
	t.Parallel()
	const heading = "name type data\n"
	for _, c := range []struct{ file, content, want, failing string }{
		{"proc/mdstat", "", ":1: ", "mdadm"},
		{"proc/mdstat", noise, ":1: ", "mdadm"},
		{"proc/mdstat", "md0 : active raid1 sda[0]\n   x blocks\n", `:2: unexpected content: md0: "x" is not a number of blocks`, "mdadm"},
		{"proc/mdstat", "md0 : active raid1 sda[0]\n   5 blocks\n", `:2: unexpected content: md0: "   5 blocks" has no numbers of disks`, "mdadm"},
		{"proc/mdstat", "md0 : active raid1 sda[0]\n   5 blocks [2/2] [UU]\n   check = 5%\n", `:3: unexpected content: md0: "   check = 5%" does not say how far`, "mdadm"},
		{"sys/block/md1/md/degraded", "many\n", ":1: ", "mdadm"},
		{"proc/spl/kstat/zfs/arcstats", "", ":1: ", "zfs"},
		{"proc/spl/kstat/zfs/arcstats", noise, ":2: ", "zfs"},
		{"proc/spl/kstat/zfs/arcstats", heading + "hits 4 x\n", `:2: unexpected content: "hits": "x" is not a number`, "zfs"},
		{"proc/spl/kstat/zfs/tank/io", "nread 2 3 4 5 6 7 8 9 10 11 12\n1 2\n", ":2: unexpected content: 2 values, 12 are expected", "zfs"},
		{"proc/spl/kstat/zfs/tank/objset-36", heading + "writes 4 -1\n", `:2: unexpected content: "writes": "-1" is not`, "zfs"},
		{"sys/fs/xfs/sda1/stats/stats", "", ":1: ", "xfs"},
		{"sys/fs/xfs/sda1/stats/stats", "abt 1 2\n", ":1: unexpected content: abt has 2 numbers, at least 4 are expected", "xfs"},
		{"sys/fs/xfs/sda1/stats/stats", "rw 1 x\n", `:1: unexpected content: rw: "x" is not a number`, "xfs"},
		{"sys/fs/bcache/" + madeUUID + "/congested", "many\n", `:1: unexpected content: "many" is not a size`, "bcache"},
		{"sys/fs/bcache/" + madeUUID + "/bdev0/writeback_rate_debug", "rate: x/sec\n", `:1: unexpected content: rate: "x" is not a size`, "bcache"},
		{"sys/fs/bcachefs/" + madeUUID + "/errors", "a b\n", `:1: unexpected content: "a b" is not a name with its numbers`, "bcachefs"},
		{"sys/fs/bcachefs/" + madeUUID + "/counters/fsync", "5\n", ":1: unexpected content: no line says since when", "bcachefs"},
		{"sys/fs/bcachefs/" + madeUUID + "/dev-0/io_done", "read:\nsb: x\n", `:2: unexpected content: sb: "x" is not a number`, "bcachefs"},
		{"sys/fs/btrfs/" + madeUUID + "/commit_stats", "commits x\n", `:1: unexpected content: commits: "x" is not a number`, "btrfs"},
		{"sys/class/nvme/nvme0/nvme0n1/size", noise, ":1: ", "nvme"},
		{"sys/class/power_supply/BAT0/capacity", "full\n", ":1: ", "powersupplyclass"},
		{"sys/class/fc_host/host0/statistics/rx_frames", "0xzz\n", ":1: ", "fibrechannel"},
		{"sys/class/scsi_tape/st0/stats/in_flight", "-\n", ":1: ", "tapestats"},
		{"sys/devices/system/edac/mc/mc0/ce_count", "", ":1: ", "edac"},
		{"sys/block/dm-0/size", "x\n", ":1: ", "dmmultipath"},
	} {
		broken(t, c.file, c.content, c.want, c.failing)
	}
}

// Arrays behind one that is not understood are served.
func TestMdstatGoesOnBehindAWrongArray(t *testing.T) {
	t.Parallel()
	arrays, err := parseMdstat("f", []byte("what\nmd0 : active raid1 a[0]\n no\nmd1 : active raid1 a[0] b[1]\n 5 blocks [2/1] [U_]\n"), nil)
	require.ErrorContains(t, err, `f:1: unexpected content: "what" is not an array`)
	require.Equal(t, []mdArray{{name: "md1", state: "active", required: 2, active: 1, blocks: 5, synced: 5}}, arrays)
}

func TestDeviceSizes(t *testing.T) {
	t.Parallel()
	f := func(parse func([]byte) (float64, bool), text string, want float64) {
		t.Helper()
		got, ok := parse([]byte(text))
		require.True(t, ok, text)
		require.InDelta(t, want, got, 0, text)
	}
	f(parseBcacheSize, "0", 0)
	f(parseBcacheSize, "20.4G", 21894266880)
	f(parseBcacheSize, "-427.5k", -437748)
	f(parseBcachefsSize, " 1.5K ", 1536)
	f(parseBcachefsSize, "7", 7)
	f(parseBcachefsSize, "2g", 2<<30)
	for _, text := range []string{"", "-", "k", "1.", "1x", "1.5.5k", "NaN", "-1e999", "0x10"} {
		_, ok := parseBcacheSize([]byte(text))
		require.False(t, ok, text)
	}
	for _, text := range []string{"", "k", "-1", "NaN", "1e99", "x"} {
		_, ok := parseBcachefsSize([]byte(text))
		require.False(t, ok, text)
	}
}

// The kernel reads and writes these structures: their sizes are part of the
// numbers of the calls.
func TestBtrfsArguments(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 1024, unsafe.Sizeof(btrfsFSInfoArgs{}))
	require.EqualValues(t, 4096, unsafe.Sizeof(btrfsDevInfoArgs{}))
	require.EqualValues(t, 1032, unsafe.Sizeof(btrfsDevStatsArgs{}))
	require.EqualValues(t, 0x8400941f, btrfsFSInfo)
	require.EqualValues(t, 0xd000941e, btrfsDevInfo)
	require.EqualValues(t, 0xc4089434, btrfsGetDevStats)
	require.Equal(t, "00010203-0405-0607-0809-0a0b0c0d0e0f", formatUUID([16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}))
	_, _, err := btrfsDevices(t.TempDir())
	if err == nil {
		t.Skip("the temporary directory is on btrfs")
	}
	require.ErrorContains(t, err, "asking for the file system")
}

// A mounted file system is asked once, and tells more than sysfs.
func TestBtrfsAsksMountedFileSystems(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Procfs = t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(o.Procfs, "1"), 0o755))
	write(t, filepath.Join(o.Procfs, "1", "mountinfo"), "20 1 0:1 / / rw - ext4 /dev/sdz rw\n21 1 0:2 / /gone rw - btrfs /dev/sda rw\n"+
		"22 1 0:2 / /data rw - btrfs /dev/sda rw\n23 1 0:2 /sub /data/sub rw - btrfs /dev/sda rw\n")
	e := newExporter(t, only(o, "btrfs"))
	var asked []string
	e.entries[0].Collector.(*exclusive).Collector.(*btrfs).devices = func(path string) (string, []btrfsDevice, error) {
		asked = append(asked, path)
		if path == "/gone" {
			return "", nil, errors.New("no permission")
		}
		return "11111111222233334444555555555555", []btrfsDevice{
			{path: "/dev/sda", uuid: "u1", used: 30, total: 100, errors: [btrfsErrorKinds]uint64{1, 2, 3, 4, 5}},
		}, nil
	}
	text := scrape(t, e)
	require.Equal(t, []string{"/gone", "/data"}, asked)
	for _, want := range []string{
		`node_btrfs_device_size_bytes{uuid="` + madeUUID + `",device="sda",btrfs_dev_uuid="u1"} 100`,
		`node_btrfs_device_unused_bytes{uuid="` + madeUUID + `",device="sda",btrfs_dev_uuid="u1"} 70`,
		`node_btrfs_device_errors_total{uuid="` + madeUUID + `",type="flush",device="sda",btrfs_dev_uuid="u1"} 3`,
		`node_btrfs_device_size_bytes{uuid="22222222-old",device="sdc"} 4096`,
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, `device="sdb"`)
}

// A chip that is plugged in is shown by the next scrape, one that is replaced
// under the same name, too; sensors that appear later are found in time.
func TestHwmonHotPlug(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	chip := func(device, file, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Join(root, device), 0o755))
		write(t, filepath.Join(root, device, file), text)
	}
	dir := filepath.Join(root, "class", "hwmon")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	o := Options{Sysfs: root}
	c := newHwmon(&o).(*hwmon)
	now := time.Unix(0, 0)
	c.now = func() time.Time { return now }
	read := func() string {
		t.Helper()
		b := metric.NewBatch()
		require.NoError(t, c.Collect(t.Context(), b))
		return string(b.AppendText(nil))
	}
	require.Empty(t, read())
	chip("a", "temp1_input", "1000\n")
	link := filepath.Join(dir, "hwmon0")
	require.NoError(t, os.Symlink("../../a", link))
	require.Contains(t, read(), `node_hwmon_temp_celsius{chip="a",sensor="temp1"} 1`)
	chip("b", "fan1_input", "900\n")
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink("../../b", link))
	require.Contains(t, read(), `node_hwmon_fan_rpm{chip="b",sensor="fan1"} 900`)
	chip("b", "fan2_input", "800\n")
	require.NotContains(t, read(), "fan2")
	now = now.Add(hwmonAge)
	require.Contains(t, read(), `node_hwmon_fan_rpm{chip="b",sensor="fan2"} 800`)
	require.NoError(t, os.Remove(filepath.Join(root, "b", "fan1_input")))
	require.NotContains(t, read(), "fan1")
	require.NoError(t, os.Remove(link))
	require.Empty(t, read())
}

func TestHwmonFilters(t *testing.T) {
	t.Parallel()
	o, err := parseFlags("--collector.hwmon.chip-include=platform_made", "--collector.hwmon.chip-exclude=_other$",
		"--collector.hwmon.sensor-exclude=made;temp", "--collector.tapestats.ignored-devices=^st", "--collector.powersupply.ignored-supplies=BAT")
	require.NoError(t, err)
	made := hostOptions(t)
	made.Hwmon, made.Tapestats, made.Powersupply = o.Hwmon, o.Tapestats, o.Powersupply
	text := scrape(t, newExporter(t, made))
	require.Contains(t, text, `chip="platform_made_0_made_temp",sensor="fan1"`)
	require.NotContains(t, text, `chip="platform_made_0_other"`)
	require.NotContains(t, text, `chip="bat_0"`)
	require.Contains(t, text, `power_supply="AC"`)
	require.NotContains(t, text, "BAT0")
	require.NotContains(t, text, "node_tape_")
}

func FuzzDeviceText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "md0 : active raid1 sda[0] sdb[1](F)\n 5 blocks [2/1] [U_]\n  recovery = 5% (3/5)\n bitmap: x\n", "md0 : inactive a[0]\n 1 blocks\n\n",
		"abt 1 2 3 4\nrw 1\n", "ig 1 2 3 4 5 6 7 8\n", "name type data\nhits 4 5\nx 3 -5\ndataset_name 7 a b\n", "nread 2 3 4 5 6 7 8 9 10 11 12\n1 2 3 4 5 6 7 8 9 10 11 12\n",
		"rate: 1.1M/sec\ntarget: -2.10G\n", "x y z\nlz4: 1.5M 3\n", "since filesystem creation: 2k\n", "read:\na: 5\n", "commits 5\n", "temp1_crit", "in00", "a1b", "99999999999999999999_x",
	} {
		f.Add([]byte(seed))
	}
	o := DefaultOptions()
	lines := newXFS(&o).(*xfs).lines
	writeback := newBcache(&o).(*bcache).writeback
	commits := newBtrfs(&o).(*btrfs).commits
	f.Fuzz(func(t *testing.T, data []byte) {
		arrays, err := parseMdstat("f", data, nil)
		require.True(t, known(err), err)
		for _, a := range arrays {
			require.True(t, a.name != "" && a.failed <= uint64(len(data)))
		}
		require.True(t, known(parseXFS("f", data, lines, make([][xfsColumns]uint64, len(lines)))))
		for _, dataset := range []func(string){nil, func(string) {}} {
			require.True(t, known(parseKstat("f", data, func(name []byte, _ float64) { require.NotEmpty(t, name) }, dataset)))
		}
		require.True(t, known(parseZpoolIO("f", data, func(name []byte, v float64) { require.True(t, len(name) > 0 && v >= 0) })))
		require.True(t, known(parseBcacheFields("f", data, writeback, make([]float64, len(writeback)))))
		require.True(t, known(parseBcachefsTable("f", data, true, func(_ string, fields [][]byte) bool { return len(fields) == 2 })))
		v, err := parseBcachefsCounter("f", data)
		require.True(t, known(err) && v >= 0, err)
		require.True(t, known(parseBcachefsIO("f", data, func(_, _ string, v float64) { require.GreaterOrEqual(t, v, 0.0) })))
		require.True(t, known(parseBtrfsCommits("f", data, commits, make([]uint64, len(commits)))))
		if kind, id, property, ok := parseHwmonFile(string(data)); ok && property != "" {
			again, n, p, ok := parseHwmonFile(kind + strconv.Itoa(id) + "_" + property)
			require.True(t, ok && again == kind && n == id && p == property)
		}
		require.Equal(t, hwmonClean(string(data)), hwmonClean(hwmonClean(string(data))))
	})
}
