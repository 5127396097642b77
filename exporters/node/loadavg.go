package node

import (
	"context"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// loadavg reads /proc/loadavg.
type loadavg struct {
	path     string
	reader   reader
	families [3]*metric.Family
}

func newLoadavg(o *Options) collect.Collector {
	return &loadavg{path: o.procPath("loadavg"), families: [3]*metric.Family{
		metric.NewGauge("node_load1", "1m load average."),
		metric.NewGauge("node_load5", "5m load average."),
		metric.NewGauge("node_load15", "15m load average."),
	}}
}

// Families implements collect.Collector.
func (c *loadavg) Families() []*metric.Family { return c.families[:] }

// Collect implements collect.Collector.
func (c *loadavg) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	loads, err := parseLoadavg(c.path, data)
	if err != nil {
		return err
	}
	for i, f := range c.families {
		b.Add(f, loads[i])
	}
	return nil
}

// parseLoadavg gives the averages over 1, 5 and 15 minutes.
func parseLoadavg(path string, data []byte) (loads [3]float64, err error) {
	l := newLines(path, data)
	if !l.next() {
		return loads, l.end()
	}
	rest := l.line
	for i := range loads {
		var f []byte
		f, rest = field(rest)
		if loads[i], err = strconv.ParseFloat(string(f), 64); err != nil || !(loads[i] >= 0) {
			return loads, l.errorf("%s is not a load average", quote(f))
		}
	}
	return loads, nil
}
