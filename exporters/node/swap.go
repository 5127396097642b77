package node

import (
	"context"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// swap reads /proc/swaps: the devices and files that memory is swapped to.
type swap struct {
	path                 string
	reader               reader
	names                names
	areas                []swapArea
	size, used, priority *metric.Family
}

// swapArea is a line of /proc/swaps.
type swapArea struct {
	device, kind []byte
	size, used   uint64 // KiB
	priority     int64
}

func newSwap(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_swap_"+name, help, "device", "swap_type")
	}
	return &swap{
		path:     o.procPath("swaps"),
		names:    names{},
		size:     gauge("size_bytes", "Swap device size in bytes."),
		used:     gauge("used_bytes", "Swap device used in bytes."),
		priority: gauge("priority", "Swap device priority."),
	}
}

// Families implements collect.Collector.
func (c *swap) Families() []*metric.Family { return []*metric.Family{c.size, c.used, c.priority} }

// Collect implements collect.Collector.
func (c *swap) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.areas, err = parseSwaps(c.path, data, c.areas[:0])
	const kibibyte = 1024
	for i := range c.areas {
		a := &c.areas[i]
		device, kind := c.names.text(a.device), c.names.text(a.kind)
		b.Add(c.size, float64(a.size*kibibyte), device, kind)
		b.Add(c.used, float64(a.used*kibibyte), device, kind)
		b.Add(c.priority, float64(a.priority), device, kind)
	}
	return err
}

// parseSwaps appends the areas to dst, up to the first wrong line. White space
// in names stays escaped as the kernel writes it.
func parseSwaps(path string, data []byte, dst []swapArea) ([]swapArea, error) {
	l := newLines(path, data)
	for l.next() {
		if l.n == 1 {
			if !hasPrefix(l.line, "Filename") {
				return dst, l.errorf("%s is not the head line of swaps", quote(l.line))
			}
			continue
		}
		var a swapArea
		var rest []byte
		a.device, rest = field(l.line)
		a.kind, rest = field(rest)
		size, rest := field(rest)
		used, rest := field(rest)
		priority, _ := field(rest)
		var err1, err2, err3 error
		a.size, err1 = parseUint(size)
		a.used, err2 = parseUint(used)
		a.priority, err3 = strconv.ParseInt(string(priority), 10, 32)
		if err1 != nil || err2 != nil || err3 != nil {
			return dst, l.errorf("%s is not a swap area with size, use and priority", quote(l.line))
		}
		dst = append(dst, a)
	}
	return dst, l.end()
}
