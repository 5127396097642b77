package node

import (
	"context"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// softnet reads what happened to received packets by processor.
type softnet struct {
	path     string
	reader   reader
	lines    []softnetLine
	cpus     numbers
	families [softnetValues]*metric.Family
}

// Places in softnetLine.
const (
	softnetProcessed = iota
	softnetDropped
	softnetTimesSqueezed
	softnetCPUCollision
	softnetReceivedRPS
	softnetFlowLimitCount
	softnetBacklogLen
	softnetValues
)

// softnetLine is a line of /proc/net/softnet_stat.
type softnetLine struct {
	cpu    uint32
	values [softnetValues]uint32
}

func newSoftnet(o *Options) collect.Collector {
	return &softnet{
		path: o.procPath("net", "softnet_stat"),
		families: [softnetValues]*metric.Family{
			metric.NewCounter("node_softnet_processed_total", "Number of processed packets.", "cpu"),
			metric.NewCounter("node_softnet_dropped_total", "Number of dropped packets.", "cpu"),
			metric.NewCounter("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota.", "cpu"),
			metric.NewCounter("node_softnet_cpu_collision_total",
				"Number of times the device's lock was taken while transmitting.", "cpu"),
			metric.NewCounter("node_softnet_received_rps_total",
				"Number of times the CPU was woken up to process packets of another.", "cpu"),
			metric.NewCounter("node_softnet_flow_limit_count_total", "Number of times the flow limit was reached.", "cpu"),
			metric.NewGauge("node_softnet_backlog_len", "Packets in the backlog.", "cpu"),
		},
	}
}

// Families implements collect.Collector.
func (c *softnet) Families() []*metric.Family { return c.families[:] }

// Collect implements collect.Collector.
func (c *softnet) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	c.lines, err = parseSoftnet(c.path, data, c.lines[:0])
	for i := range c.lines {
		cpu := c.cpus.text(int(c.lines[i].cpu))
		for j, f := range c.families {
			b.Add(f, float64(c.lines[i].values[j]), cpu)
		}
	}
	return err
}

// parseSoftnet appends the lines to dst, up to the first that is wrong. Columns
// are hexadecimal and were added over time: received_rps with Linux 2.6.39,
// the flow limit with 3.11, the backlog and the processor with 5.14; before
// that the lines are those of the processors that are online.
func parseSoftnet(path string, data []byte, dst []softnetLine) ([]softnetLine, error) {
	// places of the values in a line.
	places := [...]int{softnetProcessed: 0, softnetDropped: 1, softnetTimesSqueezed: 2, softnetCPUCollision: 8,
		softnetReceivedRPS: 9, softnetFlowLimitCount: 10, softnetBacklogLen: 11}
	const minColumns, backlogColumns = 9, 13
	l := newLines(path, data)
	for l.nextOrRest() {
		var columns [backlogColumns]uint32
		n := 0
		for rest := l.line; n < len(columns); n++ {
			var f []byte
			if f, rest = field(rest); len(f) == 0 {
				break
			}
			v, err := strconv.ParseUint(string(f), 16, 32)
			if err != nil {
				return dst, l.errorf("%s is not a hexadecimal number", quote(f))
			}
			columns[n] = uint32(v)
		}
		if n < minColumns {
			return dst, l.errorf("%d columns, at least %d are expected", n, minColumns)
		}
		line := softnetLine{cpu: uint32(l.n - 1)}
		for i, place := range places {
			if place < n {
				line.values[i] = columns[place]
			}
		}
		if n < backlogColumns {
			line.values[softnetBacklogLen] = 0
		} else {
			line.cpu = columns[backlogColumns-1]
		}
		dst = append(dst, line)
	}
	return dst, l.end()
}
