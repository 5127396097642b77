package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// netclassRTNL is the collector netclass with --collector.netclass.netlink.
type netclassRTNL struct {
	files              *netclass // for what netlink does not tell
	up, info, altnames *metric.Family
	values             [netclassValues]*metric.Family
	stats              []*metric.Family // by place in linkStats, nil when switched off
}

// netclassStats are the families of the counters, without node_network_ and
// _total, by their places in linkStats. They are gauges with node_exporter too.
const netclassStats = "receive_packets transmit_packets receive_bytes transmit_bytes receive_errors transmit_errors" +
	" receive_dropped transmit_dropped multicast collisions receive_length_errors receive_over_errors receive_crc_errors" +
	" receive_frame_errors receive_fifo_errors receive_missed_errors transmit_aborted_errors transmit_carrier_errors" +
	" transmit_fifo_errors transmit_heartbeat_errors transmit_window_errors receive_compressed transmit_compressed" +
	" receive_nohandler"

func newNetclassRTNL(o *Options) collect.Collector {
	files := *o
	files.Netclass.Netlink = false
	c := &netclassRTNL{
		files: newNetclass(&files).(*netclass),
		up:    metric.NewGauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", "device"),
		info: metric.NewGauge("node_network_info", "Data of a network device that is no number, value is always 1.",
			"device", "address", "broadcast", "duplex", "operstate", "ifalias"),
		altnames: metric.NewGauge("node_network_altnames_info", "Further names of a network device, value is always 1.", "altname", "device"),
	}
	for place := range c.values {
		c.values[place] = netFamily(place)
	}
	if o.Netclass.WithStats {
		for _, name := range strings.Fields(netclassStats) {
			c.stats = append(c.stats, metric.NewGauge("node_network_"+name+"_total", "Network device property: "+name+"_total.", "device"))
		}
	}
	return c
}

// Families implements collect.Collector.
func (c *netclassRTNL) Families() []*metric.Family {
	all := append([]*metric.Family{c.up, c.info, c.altnames}, c.values[:]...)
	return append(all, c.stats...)
}

// Collect implements collect.Collector.
func (c *netclassRTNL) Collect(ctx context.Context, b *metric.Batch) error {
	var mask uint32 = skipStats
	if c.stats != nil {
		mask = 0
	}
	links := &c.files.links
	modesErr := links.linkModes(ctx)
	if modesErr != nil {
		links.modes = links.modes[:0]
	}
	if errors.Is(modesErr, errNoEthtool) {
		modesErr = nil // speed and duplex are left out
	}
	if err := links.dump(ctx, linkRequest(mask)); err != nil {
		return fmt.Errorf("asking for network devices by netlink (--no-collector.netclass.netlink reads /sys/class/net instead): %w", err)
	}
	errs := []error{modesErr}
	for i := range links.links {
		l := &links.links[i]
		if c.files.filter.pass([]byte(l.device.name)) {
			errs = append(errs, c.add(b, l))
		}
	}
	return errors.Join(errs...)
}

// add adds a device with the values as the message has them.
func (c *netclassRTNL) add(b *metric.Batch, l *netclassLink) error {
	d := l.device
	d.set(netFlags, int64(l.flags))
	d.values[netDormant], d.has[netDormant] = d.values[netLinkMode], d.has[netLinkMode]
	// The three attributes from files do not make the others wait.
	err := c.files.links.addFixed(&d, c.files.dir+"/"+d.name, c.files)
	for _, m := range c.files.links.modes {
		if int64(m.index) == d.values[netIndex] {
			d.duplex = map[uint8]string{0: "Half", 1: "Full"}[m.duplex]
			if d.duplex == "" {
				d.duplex = "Unknown"
			}
			if m.speed >= 0 {
				d.set(netSpeed, int64(m.speed)*(1000*1000/8))
			}
		}
	}
	up := 0.0
	if d.operstate == "up" {
		up = 1
	}
	b.Add(c.up, up, d.name)
	b.Add(c.info, 1, d.name, d.address, d.broadcast, d.duplex, d.operstate, d.ifalias)
	for _, name := range l.altnames {
		b.Add(c.altnames, 1, strings.ToValidUTF8(name, "\uFFFD"), d.name)
	}
	for place, v := range d.values {
		if d.has[place] {
			b.Add(c.values[place], float64(v), d.name)
		}
	}
	if l.counted {
		for place, f := range c.stats {
			b.Add(f, float64(l.stats[place]), d.name)
		}
	}
	return err
}
