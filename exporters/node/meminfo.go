package node

import (
	"bytes"
	"context"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// maxMemoryFields bounds the families made from /proc/meminfo, which has
// about 60 lines.
const maxMemoryFields = 512

// meminfo reads /proc/meminfo. Its families are named by the kernel: a line
// that this version of Linux added becomes a family without any change here,
// and is found by the dashboards that ask for it.
type meminfo struct {
	path     string
	reader   reader
	families map[string]*metric.Family // by the name of the family
	fields   []memoryField
}

// memoryField is a line of /proc/meminfo.
type memoryField struct {
	name  []byte // as it stands there, such as Active(anon)
	value float64
	bytes bool // whether the value is in bytes
}

func newMeminfo(o *Options) collect.Collector {
	return &meminfo{path: o.procPath("meminfo"), families: map[string]*metric.Family{}}
}

// Families implements collect.Collector.
func (c *meminfo) Families() []*metric.Family { return nil }

// Collect implements collect.Collector.
func (c *meminfo) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	c.fields, err = parseMeminfo(c.path, data, c.fields[:0])
	// What stands before a wrong line is right, and worth having.
	for _, f := range c.fields {
		b.Add(c.family(f), f.value)
	}
	return err
}

// family finds or declares the family of a field.
func (c *meminfo) family(field memoryField) *metric.Family {
	const longest = 128
	var room [longest]byte
	name := append(room[:0], "node_memory_"...)
	name = appendMemoryName(name, field)
	if f, ok := c.families[string(name)]; ok {
		return f
	}
	if len(c.families) >= maxMemoryFields {
		clear(c.families)
	}
	s := string(name)
	f := metric.NewGauge(s, "Memory information field "+s[len("node_memory_"):]+".")
	c.families[s] = f
	return f
}

// appendMemoryName turns Active(anon) into Active_anon, and adds the unit.
func appendMemoryName(dst []byte, field memoryField) []byte {
	for _, c := range field.name {
		switch c {
		case '(':
			dst = append(dst, '_')
		case ')':
		default:
			dst = append(dst, c)
		}
	}
	if field.bytes {
		dst = append(dst, "_bytes"...)
	}
	return dst
}

// parseMeminfo appends the lines to dst, up to the first that is wrong.
func parseMeminfo(path string, data []byte, dst []memoryField) ([]memoryField, error) {
	l := newLines(path, data)
	for l.next() {
		f, err := parseMemoryField(l, l.line)
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

// parseMemoryField reads what stands in a line, such as "MemFree: 5 kB".
func parseMemoryField(l *lines, text []byte) (f memoryField, err error) {
	name, rest, ok := bytes.Cut(text, []byte(":"))
	if !ok || !memoryName(name) {
		return f, l.errorf("%s does not begin with a name and a colon", quote(text))
	}
	number, rest := field(rest)
	v, err := parseUint(number)
	if err != nil {
		return f, l.errorf("%s is not a number", quote(number))
	}
	f = memoryField{name: name, value: float64(v)}
	switch unit, _ := field(rest); string(unit) {
	case "":
	case "kB":
		f.bytes = true
		f.value *= 1024
	default:
		return f, l.errorf("%s is not a known unit", quote(unit))
	}
	return f, nil
}

func memoryName(s []byte) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '(' || c == ')') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}
