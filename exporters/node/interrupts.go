package node

import (
	"bytes"
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// InterruptsOptions of the collector interrupts.
type InterruptsOptions struct {
	// Names chooses by "type;info;devices", such as "LOC;Local timer interrupts;".
	Names Filter
	Zeros bool // whether those that never came are exposed
}

func interruptsFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Interrupts
	f.pattern(app, "collector.interrupts.name-include", "Regexp of interrupts name to include (mutually exclusive to --collector.interrupts.name-exclude).", &o.Names.Include)
	f.pattern(app, "collector.interrupts.name-exclude", "Regexp of interrupts name to exclude (mutually exclusive to --collector.interrupts.name-include).", &o.Names.Exclude)
	app.Flag("collector.interrupts.include-zeros", "Include interrupts that have a zero value.").Default("true").BoolVar(&o.Zeros)
}

// interrupts reads /proc/interrupts: how often each processor was interrupted
// by what.
type interrupts struct {
	options InterruptsOptions
	path    string
	reader  reader
	table   cpuTable
	known   map[string]interruptLabels // by name and description
	key     []byte
	total   *metric.Family
}

// interruptLabels are what a line of /proc/interrupts is exposed with.
type interruptLabels struct {
	name, info, devices string
	wanted              bool
}

func newInterrupts(o *Options) collect.Collector {
	return &interrupts{
		options: o.Interrupts,
		path:    o.procPath("interrupts"),
		known:   map[string]interruptLabels{},
		total:   metric.NewCounter("node_interrupts_total", "Interrupt details.", "cpu", "type", "info", "devices"),
	}
}

// Families implements collect.Collector.
func (c *interrupts) Families() []*metric.Family { return []*metric.Family{c.total} }

// Collect implements collect.Collector.
func (c *interrupts) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	return c.table.walk(c.path, data, func(name, rest []byte) {
		// Lines of one column, such as ERR, are sums without a description.
		if len(c.table.counts) < len(c.table.cpus) || len(rest) == 0 {
			return
		}
		labels := c.labels(name, rest)
		if !labels.wanted {
			return
		}
		for i, n := range c.table.counts {
			if n > 0 || c.options.Zeros {
				b.Add(c.total, float64(n), c.table.cpus[i], labels.name, labels.info, labels.devices)
			}
		}
	})
}

// labels splits the description of an interrupt, once for each.
func (c *interrupts) labels(name, description []byte) interruptLabels {
	c.key = append(append(append(c.key[:0], name...), ';'), description...)
	if labels, ok := c.known[string(c.key)]; ok {
		return labels
	}
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	labels := interruptLabels{name: string(name)}
	words := bytes.Fields(description)
	// Numbers are lines to devices, whose controller comes first.
	if _, err := parseUint(name); err == nil && len(words) > 0 {
		labels.info, words = string(words[0]), words[1:]
		labels.devices = string(bytes.Join(words, []byte(" ")))
	} else {
		labels.info = string(bytes.Join(words, []byte(" ")))
	}
	labels.wanted = c.options.Names.pass(labels.name + ";" + labels.info + ";" + labels.devices)
	c.known[string(c.key)] = labels
	return labels
}
