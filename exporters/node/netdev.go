package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"

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
	// AddressInfo exposes the addresses of the devices.
	AddressInfo bool
	// Detailed has a family for each counter of the kernel under its own name,
	// instead of the sums and names of /proc/net/dev.
	Detailed bool
	// LabelIfAlias adds the alias that an administrator gave the device.
	LabelIfAlias bool
}

func netdevFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "netdev.device", "net devices", &f.options.Netdev.Devices).
		formerly(app, "collector.netdev.device-whitelist", "collector.netdev.device-blacklist")
	app.Flag("collector.netdev.netlink", "Use netlink to gather stats instead of /proc/net/dev.").
		Default("true").BoolVar(&f.options.Netdev.Netlink)
	app.Flag("collector.netdev.address-info", "Collect address-info for every device.").BoolVar(&f.options.Netdev.AddressInfo)
	app.Flag("collector.netdev.enable-detailed-metrics", "Use the kernel's own counters under their (incompatible) names.").
		BoolVar(&f.options.Netdev.Detailed)
	app.Flag("collector.netdev.label-ifalias", "Add the label ifalias.").Default("false").BoolVar(&f.options.Netdev.LabelIfAlias)
}

// link is a network device with its counters.
type link struct {
	name  []byte
	alias []byte // empty for most; of netlink only
	index uint32 // of netlink only
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
	options   *Options
	path      string // of /proc/net/dev, when netlink is not used
	reader    reader
	netlink   *linkReader // nil when switched off
	filter    *filterCache
	links     []link
	families  []linkFamily
	names     names
	addresses *addressReader // nil when switched off
}

func newNetdev(o *Options) collect.Collector {
	c := &netdev{
		options: o,
		path:    o.procPath("net", "dev"),
		filter:  newFilterCache(o.Netdev.Devices),
		names:   names{},
	}
	if o.Netdev.Netlink {
		c.netlink = &linkReader{netlink: netlink{protocol: unix.NETLINK_ROUTE}}
	}
	if o.Netdev.AddressInfo {
		c.addresses = newAddressReader()
	}
	if o.Netdev.Detailed {
		c.detailedFamilies()
	} else {
		c.usualFamilies()
	}
	return c
}

// usualFamilies have the names and sums of /proc/net/dev.
func (c *netdev) usualFamilies() {
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
	if c.netlink != nil {
		c.family("receive_nohandler", rxNoHandler)
	}
}

// detailedFamilies are the counters as their source has them: 24 of the kernel,
// or 16 of /proc/net/dev, which are sums already.
func (c *netdev) detailedFamilies() {
	for place, key := range [len(linkStats{})]string{
		rxPackets: "receive_packets", txPackets: "transmit_packets", rxBytes: "receive_bytes", txBytes: "transmit_bytes",
		rxErrors: "receive_errors", txErrors: "transmit_errors", rxDropped: "receive_dropped", txDropped: "transmit_dropped",
		multicast: "multicast", collisions: "collisions",
		rxLengthErrors: "receive_length_errors", rxOverErrors: "receive_over_errors", rxCRCErrors: "receive_crc_errors",
		rxFrameErrors: "receive_frame_errors", rxFIFOErrors: "receive_fifo_errors", rxMissedErrors: "receive_missed_errors",
		txAbortedErrors: "transmit_aborted_errors", txCarrierErrors: "transmit_carrier_errors", txFIFOErrors: "transmit_fifo_errors",
		txHeartbeatErrors: "transmit_heartbeat_errors", txWindowErrors: "transmit_window_errors",
		rxCompressed: "receive_compressed", txCompressed: "transmit_compressed", rxNoHandler: "receive_nohandler",
	} {
		if c.netlink == nil {
			key = procNetDevKey(place, key)
		}
		if key != "" {
			c.family(key, place)
		}
	}
}

// procNetDevKey is what a counter is called when it was read from
// /proc/net/dev, and empty when it is not there.
func procNetDevKey(place int, key string) string {
	switch place {
	case rxFIFOErrors, txFIFOErrors, rxFrameErrors, txCarrierErrors:
		return strings.TrimSuffix(key, "_errors")
	case multicast:
		return "receive_multicast"
	case collisions:
		return "transmit_colls"
	case rxLengthErrors, rxOverErrors, rxCRCErrors, rxMissedErrors, txAbortedErrors, txHeartbeatErrors, txWindowErrors, rxNoHandler:
		return ""
	default:
		return key
	}
}

func (c *netdev) family(key string, sum ...int) {
	labels := []string{"device"}
	if c.options.Netdev.LabelIfAlias {
		labels = append(labels, "ifalias")
	}
	f := metric.NewCounter("node_network_"+key+"_total", "Network device statistic "+key+".", labels...)
	c.families = append(c.families, linkFamily{f, sum})
}

// Families implements collect.Collector.
func (c *netdev) Families() []*metric.Family {
	var all []*metric.Family
	for _, f := range c.families {
		all = append(all, f.family)
	}
	if c.addresses != nil {
		all = append(all, c.addresses.info)
	}
	return all
}

// Collect implements collect.Collector.
func (c *netdev) Collect(ctx context.Context, b *metric.Batch) error {
	err := c.read(ctx)
	var labels [2]string
	for i := range c.links {
		l := &c.links[i]
		if !c.filter.pass(l.name) {
			continue
		}
		values := append(labels[:0], c.names.text(l.name))
		if c.options.Netdev.LabelIfAlias {
			alias, aliasErr := c.alias(l)
			values, err = append(values, alias), errors.Join(err, aliasErr)
		}
		for _, f := range c.families {
			var sum uint64
			for _, place := range f.sum {
				sum += l.stats[place]
			}
			b.Add(f.family, float64(sum), values...)
		}
	}
	if c.addresses != nil {
		err = errors.Join(err, c.addresses.collect(ctx, b, c.links, c.filter))
	}
	return err
}

// alias of a device. The kernel gives it with the counters, /proc/net/dev does
// not.
func (c *netdev) alias(l *link) (string, error) {
	if c.netlink != nil {
		return c.names.text(l.alias), nil
	}
	data, err := c.reader.read(c.options.sysPath("class", "net", string(l.name), "ifalias"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // such as eth0:1, which is no device of its own
	}
	return c.names.text(bytes.TrimSpace(data)), err
}

// read fills c.links.
func (c *netdev) read(ctx context.Context) (err error) {
	c.links = c.links[:0]
	if c.netlink != nil {
		c.links, err = c.netlink.read(ctx)
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
