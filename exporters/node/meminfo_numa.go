package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// meminfoNuma reads the memory of each NUMA node. Its families are named by the
// kernel, see meminfo.
type meminfoNuma struct {
	dir      string
	reader   reader
	families map[string]*metric.Family // by the name of the family
	fields   []memoryField
	stats    []vmstatField
	name     []byte
}

func newMeminfoNuma(o *Options) collect.Collector {
	return &meminfoNuma{dir: o.sysPath("devices", "system", "node"), families: map[string]*metric.Family{}}
}

// Families implements collect.Collector.
func (c *meminfoNuma) Families() []*metric.Family { return nil }

// Collect implements collect.Collector. A kernel without NUMA has no nodes,
// which is no failure.
func (c *meminfoNuma) Collect(_ context.Context, b *metric.Batch) error {
	list, err := entries(c.dir)
	if errors.Is(err, collect.ErrNoData) {
		return nil
	}
	errs := err
	for _, entry := range list {
		number := strings.TrimPrefix(entry, "node")
		if _, err := parseUint([]byte(number)); err != nil || number == entry {
			continue
		}
		errs = errors.Join(errs, c.addMeminfo(b, entry, number), c.addStat(b, entry, number))
	}
	return errs
}

func (c *meminfoNuma) addMeminfo(b *metric.Batch, entry, number string) error {
	path := filepath.Join(c.dir, entry, "meminfo")
	data, err := c.reader.read(path)
	if err != nil {
		return err
	}
	c.fields, err = parseMeminfoNode(path, data, c.fields[:0])
	for _, f := range c.fields {
		// Unlike those of meminfo, the names do not end with the unit.
		value := f.value
		f.bytes = false
		c.name = appendMemoryName(append(c.name[:0], "node_memory_numa_"...), f)
		b.Add(c.family(metric.NewGauge), value, number)
	}
	return err
}

func (c *meminfoNuma) addStat(b *metric.Batch, entry, number string) error {
	path := filepath.Join(c.dir, entry, "numastat")
	data, err := c.reader.read(path)
	if err != nil {
		return err
	}
	c.stats, err = parseVmstat(path, data, c.stats[:0])
	for _, s := range c.stats {
		c.name = append(append(append(c.name[:0], "node_memory_numa_"...), s.name...), "_total"...)
		b.Add(c.family(metric.NewCounter), float64(s.value), number)
	}
	return err
}

// family finds or declares the family of c.name.
func (c *meminfoNuma) family(declare func(name, help string, labels ...string) *metric.Family) *metric.Family {
	if f, ok := c.families[string(c.name)]; ok {
		return f
	}
	if len(c.families) >= maxMemoryFields {
		clear(c.families)
	}
	s := string(c.name)
	f := declare(s, "Memory information field "+strings.TrimPrefix(s, "node_memory_numa_")+".", "node")
	c.families[s] = f
	return f
}

// parseMeminfoNode appends lines such as "Node 0 MemFree: 5 kB" to dst, up to
// the first that is wrong.
func parseMeminfoNode(path string, data []byte, dst []memoryField) ([]memoryField, error) {
	l := newLines(path, data)
	for l.next() {
		if len(bytes.TrimSpace(l.line)) == 0 {
			continue
		}
		word, rest := field(l.line)
		_, rest = field(rest)
		if string(word) != "Node" {
			return dst, l.errorf("%s does not begin with a node", quote(l.line))
		}
		f, err := parseMemoryField(l, bytes.TrimLeft(rest, " \t"))
		if err != nil {
			return dst, err
		}
		if len(dst) == maxMemoryFields {
			return dst, l.errorf("more than %d lines", maxMemoryFields)
		}
		dst = append(dst, f)
	}
	return dst, l.end()
}
