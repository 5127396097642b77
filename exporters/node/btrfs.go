package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// btrfs reads the mounted file systems in /sys/fs/btrfs, and asks each for the
// errors of its devices, which sysfs does not tell.
type btrfs struct {
	options *Options
	dir     string
	reader  reader
	mounts  []mount
	// devices asks the file system that is mounted at the path.
	devices func(path string) (fsid string, devices []btrfsDevice, err error)

	info, reserve, reserved, used, size, ratio *metric.Family
	deviceSize, deviceUnused, deviceErrors     *metric.Family
	commits                                    []btrfsCommit
}

// btrfsDevice is what the file system says of a device of its.
type btrfsDevice struct {
	path, uuid  string
	used, total uint64
	errors      [btrfsErrorKinds]uint64
}

const btrfsErrorKinds = 5

// btrfsErrorName names the kinds of errors, which come in the kernel's order.
func btrfsErrorName(kind int) string {
	return [btrfsErrorKinds]string{"write", "read", "flush", "corruption", "generation"}[kind]
}

// btrfsCommit is a line of the file commit_stats.
type btrfsCommit struct {
	name   string
	family *metric.Family
	unit   float64
}

func newBtrfs(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_btrfs_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	counter := func(name, help string, labels ...string) *metric.Family {
		return metric.NewCounter("node_btrfs_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	return &btrfs{
		options: o,
		dir:     o.sysPath("fs", "btrfs"),
		devices: btrfsDevices,
		info:    gauge("info", "Filesystem information.", "label"),
		reserve: gauge("global_rsv_size_bytes", "Size of global reserve."),
		commits: []btrfsCommit{
			{"commits", counter("commits_total", "The total number of commits that have occurred."), 1},
			{"last_commit_ms", gauge("last_commit_seconds", "Duration of the most recent commit, in seconds."), 1000},
			{"max_commit_ms", gauge("max_commit_seconds", "Duration of the slowest commit, in seconds."), 1000},
			{"total_commit_ms", counter("commit_seconds_total", "Sum of the duration of all commits, in seconds."), 1000},
		},
		reserved:     gauge("reserved_bytes", "Amount of space reserved for a data type.", "block_group_type"),
		used:         gauge("used_bytes", "Amount of used space by a layout/data type.", "block_group_type", "mode"),
		size:         gauge("size_bytes", "Amount of space allocated for a layout/data type.", "block_group_type", "mode"),
		ratio:        gauge("allocation_ratio", "Data allocation ratio for a layout/data type.", "block_group_type", "mode"),
		deviceSize:   gauge("device_size_bytes", "Size of a device that is part of the filesystem.", "device"),
		deviceUnused: gauge("device_unused_bytes", "Unused space on a device that is part of the filesystem.", "device", "btrfs_dev_uuid"),
		deviceErrors: counter("device_errors_total", "Errors reported for the device.", "type", "device", "btrfs_dev_uuid"),
	}
}

// Families implements collect.Collector.
func (c *btrfs) Families() []*metric.Family {
	all := []*metric.Family{c.info, c.reserve, c.reserved, c.used, c.size, c.ratio, c.deviceSize, c.deviceUnused, c.deviceErrors}
	for _, commit := range c.commits {
		all = append(all, commit.family)
	}
	return all
}

// Collect implements collect.Collector.
func (c *btrfs) Collect(_ context.Context, b *metric.Batch) error {
	names, errs := present(c.dir)
	var asked map[string][]btrfsDevice
	for _, name := range names {
		if !strings.Contains(name, "-") { // features
			continue
		}
		if asked == nil {
			asked = c.ask()
		}
		errs = errors.Join(errs, c.collectFS(b, filepath.Join(c.dir, name), name, asked))
	}
	return errs
}

// ask gives the devices by the identity of their file system. Those of file
// systems that we may not see or ask are missing: sysfs tells their size.
func (c *btrfs) ask() map[string][]btrfsDevice {
	asked := map[string][]btrfsDevice{}
	path := c.options.procPath("1", "mountinfo")
	data, err := c.reader.read(path)
	if unreadable(err) {
		path = c.options.procPath("self", "mountinfo")
		data, err = c.reader.read(path)
	}
	if err != nil {
		return asked
	}
	c.mounts, _ = parseMountinfo(path, data, c.mounts[:0])
	done := map[string]bool{}
	for _, m := range c.mounts {
		if m.fsType != "btrfs" || done[m.device] {
			continue
		}
		point := stripRoot(m.point, c.options.Rootfs)
		if fsid, devices, err := c.devices(filepath.Join(c.options.Rootfs, point)); err == nil {
			done[m.device] = true
			asked[fsid] = devices
		}
	}
	return asked
}

func (c *btrfs) collectFS(b *metric.Batch, dir, name string, asked map[string][]btrfsDevice) error {
	texts, errs := c.reader.labels(dir, "label", "metadata_uuid")
	uuid := texts[1]
	if uuid == "" { // before Linux 5.0
		uuid = name
	}
	b.Add(c.info, 1, uuid, texts[0])
	reserve, err := c.number(filepath.Join(dir, "allocation", "global_rsv_size"))
	b.Add(c.reserve, reserve, uuid)
	errs = errors.Join(errs, err, c.collectCommits(b, filepath.Join(dir, "commit_stats"), uuid))

	devices, err := entries(filepath.Join(dir, "devices"))
	errs = errors.Join(errs, err)
	for _, group := range [...]string{"data", "metadata", "system"} {
		errs = errors.Join(errs, c.collectGroup(b, filepath.Join(dir, "allocation", group), uuid, group, len(devices)))
	}
	if known, ok := asked[strings.ReplaceAll(uuid, "-", "")]; ok {
		c.addDevices(b, uuid, known)
		return errs
	}
	for _, device := range devices {
		sectors, err := c.number(filepath.Join(dir, "devices", device, "size"))
		b.Add(c.deviceSize, sectors*sectorSize, uuid, device)
		errs = errors.Join(errs, err)
	}
	return errs
}

func (c *btrfs) addDevices(b *metric.Batch, uuid string, devices []btrfsDevice) {
	for i := range devices {
		d := &devices[i]
		name := filepath.Base(d.path)
		b.AddExtra(c.deviceSize, float64(d.total), []string{uuid, name}, []string{"btrfs_dev_uuid"}, []string{d.uuid})
		b.Add(c.deviceUnused, float64(d.total-d.used), uuid, name, d.uuid)
		for kind, n := range d.errors {
			b.Add(c.deviceErrors, float64(n), uuid, btrfsErrorName(kind), name, d.uuid)
		}
	}
}

// collectGroup adds what is allocated for data, metadata or the system, for
// each layout on the devices.
func (c *btrfs) collectGroup(b *metric.Batch, dir, uuid, group string, devices int) error {
	reserved, errs := c.number(filepath.Join(dir, "bytes_reserved"))
	b.Add(c.reserved, reserved, uuid, group)
	names, err := entries(dir)
	errs = errors.Join(errs, err)
	for _, layout := range names {
		used, err := c.reader.uint(filepath.Join(dir, layout, "used_bytes"))
		if err != nil {
			if !unreadable(err) && !notDirectory(err) {
				errs = errors.Join(errs, err)
			}
			continue // an attribute beside the layouts
		}
		size, err := c.number(filepath.Join(dir, layout, "total_bytes"))
		errs = errors.Join(errs, err)
		b.Add(c.used, float64(used), uuid, group, layout)
		b.Add(c.size, size, uuid, group, layout)
		b.Add(c.ratio, btrfsRatio(layout, float64(devices)), uuid, group, layout)
	}
	return errs
}

// btrfsRatio is how many bytes on the devices a byte of data takes.
func btrfsRatio(layout string, devices float64) float64 {
	switch layout {
	case "single", "raid0":
		return 1
	case "dup", "raid1", "raid10":
		return 2
	case "raid1c3":
		return 3
	case "raid1c4":
		return 4
	case "raid5":
		return devices / (devices - 1)
	case "raid6":
		return devices / (devices - 2)
	default:
		return 0
	}
}

// number reads an attribute. One that this kernel lacks is 0.
func (c *btrfs) number(path string) (float64, error) {
	v, err := c.reader.uint(path)
	if absent(err) {
		return 0, nil
	}
	return float64(v), err
}

func (c *btrfs) collectCommits(b *metric.Batch, path, uuid string) error {
	values := make([]uint64, len(c.commits))
	data, err := c.reader.read(path)
	if err == nil {
		err = parseBtrfsCommits(path, data, c.commits, values)
	}
	for i, commit := range c.commits {
		b.Add(commit.family, float64(values[i])/commit.unit, uuid)
	}
	if absent(err) { // before Linux 6.0
		return nil
	}
	return err
}

// parseBtrfsCommits reads lines of a name and a number, each into the value of
// the commit of that name.
func parseBtrfsCommits(path string, data []byte, commits []btrfsCommit, values []uint64) error {
	l := newOpenLines(path, data)
	for l.next() {
		name, rest := field(l.line)
		text, _ := field(rest)
		v, err := parseUint(text)
		if err != nil {
			return l.errorf("%s: %s is not a number", name, quote(text))
		}
		for i := range commits {
			if commits[i].name == string(name) {
				values[i] = v
			}
		}
	}
	return l.end()
}
