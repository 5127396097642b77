package node

import (
	"context"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// softirqs reads /proc/softirqs: how often each processor ran which deferred
// work.
type softirqs struct {
	path   string
	reader reader
	table  cpuTable
	total  *metric.Family
}

func newSoftirqs(o *Options) collect.Collector {
	return &softirqs{
		path:  o.procPath("softirqs"),
		total: metric.NewCounter("node_softirqs_functions_total", "Softirq counts per CPU.", "cpu", "type"),
	}
}

// Families implements collect.Collector.
func (c *softirqs) Families() []*metric.Family { return []*metric.Family{c.total} }

// Collect implements collect.Collector.
func (c *softirqs) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	return c.table.walk(c.path, data, func(name, _ []byte) {
		vector := softirqName(name)
		if vector == "" {
			return
		}
		for i, n := range c.table.counts {
			b.Add(c.total, float64(n), c.table.cpus[i], vector)
		}
	})
}

// softirqName gives the names of softirqVectors as /proc/softirqs writes them,
// and nothing for others.
func softirqName(name []byte) string {
	const all = " HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU "
	i := strings.Index(all, string(name))
	if i <= 0 || len(name) == 0 || all[i-1] != ' ' || all[i+len(name)] != ' ' {
		return ""
	}
	return all[i : i+len(name)]
}
