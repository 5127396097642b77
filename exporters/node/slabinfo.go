package node

import (
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// SlabinfoOptions of the collector slabinfo.
type SlabinfoOptions struct {
	Slabs Filter // which caches are exposed
}

func slabinfoFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Slabinfo
	f.pattern(app, "collector.slabinfo.slabs-include", "Regexp of slabs to include in slabinfo collector.", &o.Slabs.Include)
	f.pattern(app, "collector.slabinfo.slabs-exclude", "Regexp of slabs to exclude in slabinfo collector.", &o.Slabs.Exclude)
}

// slabColumns are the first columns of /proc/slabinfo behind the name.
const slabColumns = 5

// slabinfo reads /proc/slabinfo, the kernel's caches of objects. Only root may
// read it.
type slabinfo struct {
	path     string
	reader   reader
	filter   *filterCache
	names    names
	slabs    []slab
	families [slabColumns]*metric.Family
}

// slab is a line of /proc/slabinfo.
type slab struct {
	name    []byte
	columns [slabColumns]uint64
}

func newSlabinfo(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_slabinfo_"+name, help, "slab")
	}
	return &slabinfo{
		path: o.procPath("slabinfo"), filter: newFilterCache(o.Slabinfo.Slabs), names: names{},
		families: [slabColumns]*metric.Family{
			gauge("active_objects", "The number of objects that are currently active (i.e., in use)."),
			gauge("objects", "The total number of allocated objects (i.e., objects that are both in use and not in use)."),
			gauge("object_size_bytes", "The size of objects in this slab, in bytes."),
			gauge("objects_per_slab", "The number of objects stored in each slab."),
			gauge("pages_per_slab", "The number of pages allocated for each slab."),
		},
	}
}

// Families implements collect.Collector.
func (c *slabinfo) Families() []*metric.Family { return c.families[:] }

// Collect implements collect.Collector.
func (c *slabinfo) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.slabs, err = parseSlabinfo(c.path, data, c.slabs[:0])
	for i := range c.slabs {
		s := &c.slabs[i]
		if !c.filter.pass(s.name) {
			continue
		}
		name := c.names.text(s.name)
		for column, f := range c.families {
			b.Add(f, float64(s.columns[column]), name)
		}
	}
	return err
}

// parseSlabinfo appends the caches to dst, up to the first wrong line.
func parseSlabinfo(path string, data []byte, dst []slab) ([]slab, error) {
	l := newLines(path, data)
	for l.next() {
		if l.n == 1 {
			if !hasPrefix(l.line, "slabinfo - version: 2.") {
				return dst, l.errorf("%s is not version 2 of slabinfo", quote(l.line))
			}
			continue
		}
		if hasPrefix(l.line, "#") {
			continue
		}
		var s slab
		var rest []byte
		s.name, rest = field(l.line)
		n, err := parseUints(rest, s.columns[:])
		if err != nil {
			return dst, l.errorf("%s: %w", quote(s.name), err)
		}
		if n < slabColumns {
			return dst, l.errorf("%s has %d columns, %d are expected", quote(s.name), n, slabColumns)
		}
		dst = append(dst, s)
	}
	return dst, l.end()
}
