package node

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// DiskstatsOptions of the collector diskstats.
type DiskstatsOptions struct {
	Devices Filter
}

// defaultDisksExcluded leaves out RAM disks, loop devices and partitions.
const defaultDisksExcluded = `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`

func diskstatsFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "diskstats.device", "diskstats devices", &f.options.Diskstats.Devices).
		formerly(app, "", "collector.diskstats.ignored-devices")
}

const (
	// sectorSize is the unit of /proc/diskstats, whatever the device has.
	sectorSize = 512
	// secondsPerMilli is multiplied by, and 1000 not divided by, to come to
	// the very bits of node_exporter.
	secondsPerMilli = 1.0 / 1000.0
	// diskColumns is the number of columns known behind the device's name.
	// Linux 4.18 added discards, Linux 5.5 flushes.
	diskColumns    = 17
	minDiskColumns = 11
	// diskInfoAge is how long what udev and /sys say of a disk is kept. It
	// changes when a disk is formatted or renamed, not from scrape to scrape.
	diskInfoAge = time.Minute
)

// diskLine is a line of /proc/diskstats.
type diskLine struct {
	major, minor uint64
	name         []byte
	values       [diskColumns]uint64
	columns      int // how many of values there were
}

// diskColumn says what a column means.
type diskColumn struct {
	family *metric.Family
	unit   float64
}

// diskstats reads /proc/diskstats, and udev's data about each disk.
type diskstats struct {
	path    string
	reader  reader
	filter  *filterCache
	lines   []diskLine
	columns [diskColumns]diskColumn
	disks   map[string]*disk
	round   uint64 // counts scrapes, to find disks that are gone
	now     func() time.Time
	udev    diskUdev
}

// disk is what is kept of a disk between scrapes.
type disk struct {
	name         string
	major, minor uint64
	round        uint64
	read         time.Time
	info         diskInfo
}

func newDiskstats(o *Options) collect.Collector {
	counter := func(name, help string, unit float64) diskColumn {
		return diskColumn{metric.NewCounter("node_disk_"+name, help, "device"), unit}
	}
	return &diskstats{
		path:   o.procPath("diskstats"),
		filter: newFilterCache(o.Diskstats.Devices),
		disks:  map[string]*disk{},
		now:    time.Now,
		udev:   newDiskUdev(o),
		columns: [diskColumns]diskColumn{
			counter("reads_completed_total", "The total number of reads completed successfully.", 1),
			counter("reads_merged_total", "The total number of reads merged.", 1),
			counter("read_bytes_total", "The total number of bytes read successfully.", sectorSize),
			counter("read_time_seconds_total", "The total number of seconds spent by all reads.", secondsPerMilli),
			counter("writes_completed_total", "The total number of writes completed successfully.", 1),
			counter("writes_merged_total", "The number of writes merged.", 1),
			counter("written_bytes_total", "The total number of bytes written successfully.", sectorSize),
			counter("write_time_seconds_total", "This is the total number of seconds spent by all writes.", secondsPerMilli),
			{metric.NewGauge("node_disk_io_now", "The number of I/Os currently in progress.", "device"), 1},
			counter("io_time_seconds_total", "Total seconds spent doing I/Os.", secondsPerMilli),
			counter("io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", secondsPerMilli),
			counter("discards_completed_total", "The total number of discards completed successfully.", 1),
			counter("discards_merged_total", "The total number of discards merged.", 1),
			counter("discarded_sectors_total", "The total number of sectors discarded successfully.", 1),
			counter("discard_time_seconds_total", "This is the total number of seconds spent by all discards.", secondsPerMilli),
			counter("flush_requests_total", "The total number of flush requests completed successfully", 1),
			counter("flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests.", secondsPerMilli),
		},
	}
}

// Families implements collect.Collector.
func (c *diskstats) Families() []*metric.Family {
	all := c.udev.families()
	for _, column := range c.columns {
		all = append(all, column.family)
	}
	return all
}

// Collect implements collect.Collector.
func (c *diskstats) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	c.lines, err = parseDiskstats(c.path, data, c.lines[:0])
	c.round++
	for i := range c.lines {
		line := &c.lines[i]
		if !c.filter.pass(line.name) {
			continue
		}
		d := c.disk(line)
		c.udev.add(b, d.name, &d.info)
		for i, v := range line.values[:line.columns] {
			b.Add(c.columns[i].family, float64(v)*c.columns[i].unit, d.name)
		}
	}
	for name, d := range c.disks {
		if d.round != c.round {
			delete(c.disks, name)
		}
	}
	return err
}

// disk finds what is known of a disk, and reads it again when it is too old
// or another device has taken the name.
func (c *diskstats) disk(line *diskLine) *disk {
	d := c.disks[string(line.name)]
	if d == nil || d.major != line.major || d.minor != line.minor {
		d = &disk{name: string(line.name), major: line.major, minor: line.minor}
		c.disks[d.name] = d
	}
	d.round = c.round
	if now := c.now(); d.read.IsZero() || now.Sub(d.read) >= diskInfoAge {
		d.read = now
		d.info = c.udev.read(d.name, strconv.FormatUint(d.major, 10), strconv.FormatUint(d.minor, 10))
	}
	return d
}

// parseDiskstats appends the lines to dst, up to the first that is wrong. The
// names are parts of data.
func parseDiskstats(path string, data []byte, dst []diskLine) ([]diskLine, error) {
	l := newLines(path, data)
	for l.next() {
		var d diskLine
		number, rest := field(l.line)
		var err error
		if d.major, err = parseUint(number); err != nil {
			return dst, l.errorf("major number: %s is not a number", quote(number))
		}
		number, rest = field(rest)
		if d.minor, err = parseUint(number); err != nil {
			return dst, l.errorf("minor number: %s is not a number", quote(number))
		}
		d.name, rest = field(rest)
		if d.columns, err = parseUints(rest, d.values[:]); err != nil {
			return dst, l.errorf("%s: %w", quote(d.name), err)
		}
		if d.columns < minDiskColumns {
			return dst, l.errorf("%s has %d columns, at least %d are expected", quote(d.name), d.columns, minDiskColumns)
		}
		dst = append(dst, d)
	}
	if l.n == 0 && len(l.rest) == 0 {
		return dst, fmt.Errorf("%s:1: no block devices: %w", path, collect.ErrNoData)
	}
	return dst, l.end()
}
