package node

import (
	"context"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// VmstatOptions of the collector vmstat.
type VmstatOptions struct {
	Fields *regexp.Regexp // which lines of /proc/vmstat; nil is all
}

// defaultVmstat are paging, swapping, faults and kills: what tells of trouble.
const defaultVmstat = "^(oom_kill|pgpg|pswp|pg.*fault).*"

func vmstatFlags(app *kingpin.Application, f *flagSet) {
	f.pattern(app, "collector.vmstat.fields", "Regexp of fields to return for vmstat collector.", &f.options.Vmstat.Fields)
}

// maxVmstatFields bounds the families made from /proc/vmstat, which has about
// 190 lines.
const maxVmstatFields = 2048

// vmstat reads /proc/vmstat. Its families are named by the kernel, see meminfo.
type vmstat struct {
	path     string
	reader   reader
	filter   Filter
	families map[string]*metric.Family // by line; nil for those not wanted
	fields   []vmstatField
}

// vmstatField is a line of /proc/vmstat.
type vmstatField struct {
	name  []byte
	value uint64
}

func newVmstat(o *Options) collect.Collector {
	return &vmstat{
		path:     o.procPath("vmstat"),
		filter:   Filter{Include: o.Vmstat.Fields},
		families: map[string]*metric.Family{},
	}
}

// Families implements collect.Collector.
func (c *vmstat) Families() []*metric.Family { return nil }

// Collect implements collect.Collector.
func (c *vmstat) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	c.fields, err = parseVmstat(c.path, data, c.fields[:0])
	for i := range c.fields {
		if f := c.family(c.fields[i].name); f != nil {
			b.Add(f, float64(c.fields[i].value))
		}
	}
	return err
}

// family finds or declares the family of a line; nil when it is not wanted.
func (c *vmstat) family(name []byte) *metric.Family {
	if f, ok := c.families[string(name)]; ok {
		return f
	}
	if len(c.families) >= maxVmstatFields {
		clear(c.families)
	}
	s := string(name)
	var f *metric.Family
	if c.filter.pass(s) {
		f = metric.NewUntyped("node_vmstat_"+s, "/proc/vmstat information field "+s+".")
	}
	c.families[s] = f
	return f
}

// parseVmstat appends the lines to dst, up to the first that is wrong.
func parseVmstat(path string, data []byte, dst []vmstatField) ([]vmstatField, error) {
	l := newLines(path, data)
	for l.next() {
		name, rest := field(l.line)
		number, _ := field(rest)
		v, err := parseUint(number)
		if err != nil {
			return dst, l.errorf("%s: %s is not a number", quote(name), quote(number))
		}
		if !kernelName(name) {
			return dst, l.errorf("%s is not a name", quote(name))
		}
		if len(dst) == maxVmstatFields {
			return dst, l.errorf("more than %d lines", maxVmstatFields)
		}
		dst = append(dst, vmstatField{name, v})
	}
	return dst, l.end()
}

// kernelName says whether a name from the kernel can be part of a metric's.
func kernelName(s []byte) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}
