package node

import (
	"bytes"
	"context"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// NetdevOptions of the collector netdev.
type NetdevOptions struct {
	Devices Filter
	// Netlink asks the kernel by rtnetlink, which knows more than
	// /proc/net/dev; it sees the network namespace of this process.
	Netlink bool
}

func netdevFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "netdev.device", "net devices", &f.options.Netdev.Devices).
		formerly(app, "collector.netdev.device-whitelist", "collector.netdev.device-blacklist")
	app.Flag("collector.netdev.netlink", "Use netlink to gather stats instead of /proc/net/dev.").
		Default("true").BoolVar(&f.options.Netdev.Netlink)
}

// link is a network device with its counters.
type link struct {
	name  []byte
	stats linkStats
}

// linkStats are the counters of struct rtnl_link_stats64 in the kernel's
// include/uapi/linux/if_link.h, in its order.
type linkStats [24]uint64

// Places in linkStats.
const (
	rxPackets = iota
	txPackets
	rxBytes
	txBytes
	rxErrors
	txErrors
	rxDropped
	txDropped
	multicast
	collisions
	rxLengthErrors
	rxOverErrors
	rxCRCErrors
	rxFrameErrors
	rxFIFOErrors
	rxMissedErrors
	txAbortedErrors
	txCarrierErrors
	txFIFOErrors
	txHeartbeatErrors
	txWindowErrors
	rxCompressed
	txCompressed
	rxNoHandler
)

// linkFamily is a family that is the sum of some counters: the kernel adds
// them up like this for /proc/net/dev, whose words are the names.
type linkFamily struct {
	family *metric.Family
	sum    []int
}

// netdev exposes the counters of network devices.
type netdev struct {
	path     string // of /proc/net/dev, when netlink is not used
	reader   reader
	netlink  *linkReader // nil when switched off
	filter   *filterCache
	links    []link
	families []linkFamily
	names    names
}

func newNetdev(o *Options) collect.Collector {
	c := &netdev{
		path:   o.procPath("net", "dev"),
		filter: newFilterCache(o.Netdev.Devices),
		names:  names{},
	}
	c.family("receive_bytes", rxBytes)
	c.family("receive_packets", rxPackets)
	c.family("receive_errs", rxErrors)
	c.family("receive_drop", rxDropped, rxMissedErrors)
	c.family("receive_fifo", rxFIFOErrors)
	c.family("receive_frame", rxFrameErrors, rxLengthErrors, rxOverErrors, rxCRCErrors)
	c.family("receive_compressed", rxCompressed)
	c.family("receive_multicast", multicast)
	c.family("transmit_bytes", txBytes)
	c.family("transmit_packets", txPackets)
	c.family("transmit_errs", txErrors)
	c.family("transmit_drop", txDropped)
	c.family("transmit_fifo", txFIFOErrors)
	c.family("transmit_colls", collisions)
	c.family("transmit_carrier", txCarrierErrors, txAbortedErrors, txHeartbeatErrors, txWindowErrors)
	c.family("transmit_compressed", txCompressed)
	if o.Netdev.Netlink {
		c.family("receive_nohandler", rxNoHandler)
		c.netlink = &linkReader{netlink: netlink{protocol: unix.NETLINK_ROUTE}}
	}
	return c
}

func (c *netdev) family(key string, sum ...int) {
	f := metric.NewCounter("node_network_"+key+"_total", "Network device statistic "+key+".", "device")
	c.families = append(c.families, linkFamily{f, sum})
}

// Families implements collect.Collector.
func (c *netdev) Families() []*metric.Family {
	all := make([]*metric.Family, len(c.families))
	for i, f := range c.families {
		all[i] = f.family
	}
	return all
}

// Collect implements collect.Collector.
func (c *netdev) Collect(_ context.Context, b *metric.Batch) error {
	err := c.read()
	for i := range c.links {
		l := &c.links[i]
		if !c.filter.pass(l.name) {
			continue
		}
		name := c.names.text(l.name)
		for _, f := range c.families {
			var sum uint64
			for _, place := range f.sum {
				sum += l.stats[place]
			}
			b.Add(f.family, float64(sum), name)
		}
	}
	return err
}

// read fills c.links.
func (c *netdev) read() (err error) {
	c.links = c.links[:0]
	if c.netlink != nil {
		c.links, err = c.netlink.read()
		return err
	}
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.links, err = parseNetDev(c.path, data, c.links)
	return err
}

// parseNetDev appends the devices of /proc/net/dev to dst, up to the first
// wrong line. The names are parts of data.
func parseNetDev(path string, data []byte, dst []link) ([]link, error) {
	// places of the columns; the kernel has summed them up already.
	places := [...]int{
		rxBytes, rxPackets, rxErrors, rxDropped, rxFIFOErrors, rxFrameErrors, rxCompressed, multicast,
		txBytes, txPackets, txErrors, txDropped, txFIFOErrors, collisions, txCarrierErrors, txCompressed,
	}
	const headLines = 2
	l := newLines(path, data)
	for l.next() {
		if l.n <= headLines {
			if bytes.IndexByte(l.line, '|') < 0 {
				return dst, l.errorf("%s is not a head line of network devices", quote(l.line))
			}
			continue
		}
		// An alias such as eth0:1 has a colon in its name, a value has none.
		colon := bytes.LastIndexByte(l.line, ':')
		if colon < 0 {
			return dst, l.errorf("%s does not begin with a name and a colon", quote(l.line))
		}
		d := link{name: bytes.TrimLeft(l.line[:colon], " ")}
		var values [len(places)]uint64
		n, err := parseUints(l.line[colon+1:], values[:])
		if err != nil {
			return dst, l.errorf("%s: %w", quote(d.name), err)
		}
		if n < len(places) {
			return dst, l.errorf("%s has %d columns, %d are expected", quote(d.name), n, len(places))
		}
		for i, v := range values {
			d.stats[places[i]] = v
		}
		dst = append(dst, d)
	}
	if err := l.end(); err != nil {
		return dst, err
	}
	if l.n < headLines {
		return dst, l.errorf("the file ends within its head lines")
	}
	return dst, nil
}
