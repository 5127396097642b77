package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// schedstat reads /proc/schedstat: for how long each processor ran tasks, and
// for how long tasks waited for it.
type schedstat struct {
	path                         string
	reader                       reader
	names                        names
	lines                        []schedstatLine
	running, waiting, timeslices *metric.Family
}

// schedstatLine is the line of a processor.
type schedstatLine struct {
	cpu        []byte // its number
	running    uint64 // ns
	waiting    uint64 // ns
	timeslices uint64
}

func newSchedstat(o *Options) collect.Collector {
	return &schedstat{
		path:       o.procPath("schedstat"),
		names:      names{},
		running:    metric.NewCounter("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process.", "cpu"),
		waiting:    metric.NewCounter("node_schedstat_waiting_seconds_total", "Number of seconds spent by processing waiting for this CPU.", "cpu"),
		timeslices: metric.NewCounter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.", "cpu"),
	}
}

// Families implements collect.Collector.
func (c *schedstat) Families() []*metric.Family {
	return []*metric.Family{c.running, c.waiting, c.timeslices}
}

// Collect implements collect.Collector.
func (c *schedstat) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	if err != nil {
		return err
	}
	c.lines, err = parseSchedstat(c.path, data, c.lines[:0])
	const nanoseconds = 1e9
	for i := range c.lines {
		line := &c.lines[i]
		cpu := c.names.text(line.cpu)
		b.Add(c.running, float64(line.running)/nanoseconds, cpu)
		b.Add(c.waiting, float64(line.waiting)/nanoseconds, cpu)
		b.Add(c.timeslices, float64(line.timeslices), cpu)
	}
	return err
}

// parseSchedstat appends the lines of processors to dst. Those of scheduling
// domains, most of the file, are not looked at.
func parseSchedstat(path string, data []byte, dst []schedstatLine) ([]schedstatLine, error) {
	l := newLines(path, data)
	for l.next() {
		if !hasPrefix(l.line, "cpu") {
			continue
		}
		name, rest := field(l.line)
		if _, err := parseUint(name[len("cpu"):]); err != nil {
			return dst, l.errorf("%s is not the name of a processor", quote(name))
		}
		var values [9]uint64
		n, err := parseUints(rest, values[:])
		if err != nil {
			return dst, l.errorf("%s: %w", name, err)
		}
		if n < len(values) {
			return dst, l.errorf("%s has %d columns, %d are expected", name, n, len(values))
		}
		dst = append(dst, schedstatLine{name[len("cpu"):], values[6], values[7], values[8]})
	}
	return dst, l.end()
}
