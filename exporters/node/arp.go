package node

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// ARPOptions of the collector arp.
type ARPOptions struct {
	Devices Filter
	// Netlink asks the kernel by rtnetlink in place of /proc/net/arp; it sees
	// the network namespace of this process.
	Netlink bool
}

func arpFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "arp.device", "arp devices", &f.options.ARP.Devices)
	app.Flag("collector.arp.netlink", "Use netlink to gather stats instead of /proc/net/arp.").
		Default("true").BoolVar(&f.options.ARP.Netlink)
}

// arp counts the neighbours of IPv4 by device.
type arp struct {
	path       string // of /proc/net/arp, when netlink is not used
	reader     reader
	netlink    *netlink // nil when switched off
	deviceName func(index uint32) (string, error)
	byIndex    []neighbours
	filter     *filterCache
	names      names
	counts     []deviceCount
	entries    *metric.Family
}

// deviceCount is how many of something a device has.
type deviceCount struct {
	device string
	count  int
}

// neighbours is how many a device has of which only the index is known.
type neighbours struct {
	index uint32
	count int
}

func newARP(o *Options) collect.Collector {
	c := &arp{
		path:       o.procPath("net", "arp"),
		deviceName: deviceName,
		filter:     newFilterCache(o.ARP.Devices),
		names:      names{},
		entries:    metric.NewGauge("node_arp_entries", "ARP entries by device.", "device"),
	}
	if o.ARP.Netlink {
		c.netlink = &netlink{protocol: unix.NETLINK_ROUTE}
	}
	return c
}

// Families implements collect.Collector.
func (c *arp) Families() []*metric.Family { return []*metric.Family{c.entries} }

// Collect implements collect.Collector.
func (c *arp) Collect(ctx context.Context, b *metric.Batch) error {
	err := c.read(ctx)
	for _, n := range c.counts {
		if c.filter.pass([]byte(n.device)) {
			b.Add(c.entries, float64(n.count), n.device)
		}
	}
	return err
}

// read fills c.counts.
func (c *arp) read(ctx context.Context) error {
	c.counts = c.counts[:0]
	if c.netlink != nil {
		return c.ask(ctx)
	}
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.counts, err = parseARP(c.path, data, c.names, c.counts)
	return err
}

// ask fills c.counts by netlink.
func (c *arp) ask(ctx context.Context) error {
	body := make([]byte, unix.SizeofNdMsg)
	body[0] = unix.AF_INET
	begin := func() { c.byIndex = c.byIndex[:0] }
	if err := c.netlink.ask(ctx, netlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, body), begin, c.addNeighbour); err != nil {
		return fmt.Errorf("asking for neighbours by netlink (--no-collector.arp.netlink reads /proc/net/arp instead): %w", err)
	}
	for _, n := range c.byIndex {
		name, err := c.deviceName(n.index)
		if absent(err) {
			continue // the device was removed this moment
		}
		if err != nil {
			return err
		}
		c.counts = append(c.counts, deviceCount{name, n.count})
	}
	return nil
}

// addNeighbour counts the neighbour of a message, see struct ndmsg in the
// kernel's include/uapi/linux/neighbour.h, but for those that /proc/net/arp
// leaves out, which need no resolution.
func (c *arp) addNeighbour(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWNEIGH {
		return nil
	}
	if len(body) < unix.SizeofNdMsg {
		return fmt.Errorf("%w: neighbour of %d bytes", errNetlink, len(body))
	}
	index := binary.NativeEndian.Uint32(body[4:])
	if binary.NativeEndian.Uint16(body[8:])&unix.NUD_NOARP != 0 {
		return nil
	}
	for i := range c.byIndex {
		if c.byIndex[i].index == index {
			c.byIndex[i].count++
			return nil
		}
	}
	c.byIndex = append(c.byIndex, neighbours{index, 1})
	return nil
}

// parseARP adds the lines of /proc/net/arp to dst, up to the first that is
// wrong.
func parseARP(path string, data []byte, known names, dst []deviceCount) ([]deviceCount, error) {
	const columns = 6 // the device is the last
	l := newLines(path, data)
	for l.next() {
		if l.n == 1 {
			continue // the names of the columns
		}
		var device []byte
		rest, n := l.line, 0
		for {
			var f []byte
			if f, rest = field(rest); len(f) == 0 {
				break
			}
			device = f
			n++
		}
		if n != columns {
			return dst, l.errorf("%d columns, %d are expected", n, columns)
		}
		dst = countDevice(dst, known.text(device))
	}
	return dst, l.end()
}

// countDevice adds one to a device's count.
func countDevice(dst []deviceCount, device string) []deviceCount {
	for i := range dst {
		if dst[i].device == device {
			dst[i].count++
			return dst
		}
	}
	return append(dst, deviceCount{device, 1})
}
