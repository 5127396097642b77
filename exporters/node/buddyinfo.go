package node

import (
	"bytes"
	"context"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// maxOrders bounds the columns of /proc/buddyinfo; the kernel has 11.
const maxOrders = 64

// buddyinfo reads /proc/buddyinfo: how fragmented the free memory is.
type buddyinfo struct {
	path    string
	reader  reader
	names   names
	numbers numbers
	zones   []buddyZone
	blocks  *metric.Family
}

// buddyZone is a line: the free blocks of 1, 2, 4, ... pages.
type buddyZone struct {
	node, zone []byte
	blocks     [maxOrders]uint64
	orders     int
}

func newBuddyinfo(o *Options) collect.Collector {
	return &buddyinfo{
		path:   o.procPath("buddyinfo"),
		names:  names{},
		blocks: metric.NewGauge("node_buddyinfo_blocks", "Count of free blocks according to size.", "node", "zone", "size"),
	}
}

// Families implements collect.Collector.
func (c *buddyinfo) Families() []*metric.Family { return []*metric.Family{c.blocks} }

// Collect implements collect.Collector.
func (c *buddyinfo) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.zones, err = parseBuddyinfo(c.path, data, c.zones[:0])
	for i := range c.zones {
		z := &c.zones[i]
		for order, n := range z.blocks[:z.orders] {
			b.Add(c.blocks, float64(n), c.names.text(z.node), c.names.text(z.zone), c.numbers.text(order))
		}
	}
	return err
}

// parseBuddyinfo appends lines such as "Node 0, zone DMA 1 0 1" to dst.
func parseBuddyinfo(path string, data []byte, dst []buddyZone) ([]buddyZone, error) {
	l := newLines(path, data)
	for l.next() {
		var z buddyZone
		var rest []byte
		if z.node, z.zone, rest = nodeZone(l.line); z.zone == nil {
			return dst, l.errorf("%s does not begin with a node and a zone", quote(l.line))
		}
		var err error
		if z.orders, err = parseUints(rest, z.blocks[:]); err != nil {
			return dst, l.errorf("%w", err)
		}
		if z.orders == 0 || len(dst) > 0 && z.orders != dst[0].orders {
			return dst, l.errorf("%d numbers, other zones have others", z.orders)
		}
		dst = append(dst, z)
	}
	return dst, l.end()
}

// nodeZone takes "Node 0, zone Normal" off a line. The zone is nil when it
// does not begin so.
func nodeZone(line []byte) (node, zone, rest []byte) {
	word, rest := field(line)
	node, rest = field(rest)
	word2, rest := field(rest)
	zone, rest = field(rest)
	node, comma := bytes.CutSuffix(node, []byte(","))
	if string(word) != "Node" || string(word2) != "zone" || !comma || len(node) == 0 || len(zone) == 0 {
		return nil, nil, nil
	}
	return node, zone, rest
}
