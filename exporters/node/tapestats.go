package node

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// TapestatsOptions of the collector tapestats.
type TapestatsOptions struct {
	// Ignored devices. nil means none.
	Ignored *regexp.Regexp
}

// nothingIgnored is the default of flags that name devices to ignore.
const nothingIgnored = "^$"

func tapestatsFlags(app *kingpin.Application, f *flagSet) {
	f.pattern(app, "collector.tapestats.ignored-devices", "Regexp of devices to ignore for tapestats.", &f.options.Tapestats.Ignored)
}

// tapestats reads the tape drives in /sys/class/scsi_tape, see
// Documentation/scsi/st.rst of the kernel.
type tapestats struct {
	dir     string
	reader  reader
	filter  Filter
	numbers deviceNumbers
}

func newTapestats(o *Options) collect.Collector {
	counter := func(file, name, help string, factor float64) number {
		return number{file: "stats/" + file, family: metric.NewCounter("node_tape_"+name+"_total", help, "device"), factor: factor}
	}
	const seconds = 1e-9
	return &tapestats{
		dir:    o.sysPath("class", "scsi_tape"),
		filter: Filter{Exclude: o.Tapestats.Ignored},
		numbers: deviceNumbers{
			{file: "stats/in_flight", family: metric.NewGauge("node_tape_io_now", "The number of I/Os currently outstanding to this device.", "device")},
			counter("io_ns", "io_time_seconds", "The amount of time spent waiting for all I/O to complete, tape movement included.", seconds),
			counter("other_cnt", "io_others", "The number of I/Os issued to the tape drive other than read or write commands.", 0),
			counter("read_byte_cnt", "read_bytes", "The number of bytes read from the tape drive.", 0),
			counter("read_cnt", "reads_completed", "The number of read requests issued to the tape drive.", 0),
			counter("read_ns", "read_time_seconds", "The amount of time spent waiting for read requests to complete.", seconds),
			counter("resid_cnt", "residual", "The number of reads and writes that left a rest, as the blocks on the tape are smaller or the tape ended.", 0),
			counter("write_byte_cnt", "written_bytes", "The number of bytes written to the tape drive.", 0),
			counter("write_cnt", "writes_completed", "The number of write requests issued to the tape drive.", 0),
			counter("write_ns", "write_time_seconds", "The amount of time spent waiting for write requests to complete.", seconds),
		},
	}
}

// Families implements collect.Collector.
func (c *tapestats) Families() []*metric.Family { return c.numbers.families() }

// Collect implements collect.Collector.
func (c *tapestats) Collect(_ context.Context, b *metric.Batch) error {
	names, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, name := range names {
		// nst0, st0l, st0m and the like are other faces of st0.
		if _, ok := numbered(name, "st"); ok && c.filter.pass(name) {
			errs = errors.Join(errs, c.numbers.collect(b, filepath.Join(c.dir, name), c.reader.unsigned, name))
		}
	}
	return errs
}
