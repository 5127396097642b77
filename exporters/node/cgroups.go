package node

import (
	"context"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// cgroups reads /proc/cgroups: how many cgroups each controller has.
type cgroups struct {
	path           string
	reader         reader
	names          names
	controllers    []controller
	count, enabled *metric.Family
}

// controller is a line of /proc/cgroups.
type controller struct {
	name           []byte
	count, enabled uint64
}

func newCgroups(o *Options) collect.Collector {
	return &cgroups{
		path:    o.procPath("cgroups"),
		names:   names{},
		count:   metric.NewGauge("node_cgroups_cgroups", "Current cgroup number of the subsystem.", "subsys_name"),
		enabled: metric.NewGauge("node_cgroups_enabled", "Whether the subsystem is enabled.", "subsys_name"),
	}
}

// Families implements collect.Collector.
func (c *cgroups) Families() []*metric.Family { return []*metric.Family{c.count, c.enabled} }

// Collect implements collect.Collector.
func (c *cgroups) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.controllers, err = parseCgroups(c.path, data, c.controllers[:0])
	for _, s := range c.controllers {
		name := c.names.text(s.name)
		b.Add(c.count, float64(s.count), name)
		b.Add(c.enabled, float64(s.enabled), name)
	}
	return err
}

// parseCgroups appends the controllers to dst, up to the first wrong line.
func parseCgroups(path string, data []byte, dst []controller) ([]controller, error) {
	l := newOpenLines(path, data)
	for l.next() {
		if hasPrefix(l.line, "#") {
			continue
		}
		name, rest := field(l.line)
		var values [3]uint64 // hierarchy, cgroups, enabled
		n, err := parseUints(rest, values[:])
		if err != nil {
			return dst, l.errorf("%s: %w", quote(name), err)
		}
		if n < len(values) {
			return dst, l.errorf("%s has %d columns, %d are expected", quote(name), n, len(values))
		}
		dst = append(dst, controller{name, values[1], values[2]})
	}
	return dst, l.end()
}
