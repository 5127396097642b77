package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// NetclassOptions of the collector netclass.
type NetclassOptions struct {
	// Ignored are the devices left out. nil means none.
	Ignored *regexp.Regexp
	// IgnoreInvalidSpeed leaves out the speed of devices that do not know it,
	// which is -1 Mbit/s otherwise.
	IgnoreInvalidSpeed bool
	// Netlink gives the families that node_exporter has with this flag, which
	// are not quite those without it.
	Netlink bool
	// WithStats adds the counters of the devices when Netlink is set. The
	// collector netdev must be off, since it has families of the same names.
	WithStats bool
}

func netclassFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Netclass
	f.pattern(app, "collector.netclass.ignored-devices", "Regexp of net devices to ignore for netclass collector.", &o.Ignored)
	app.Flag("collector.netclass.ignore-invalid-speed", "Ignore devices where the speed is invalid.").BoolVar(&o.IgnoreInvalidSpeed)
	app.Flag("collector.netclass.netlink", "Use netlink to gather stats instead of /sys/class/net.").BoolVar(&o.Netlink)
	app.Flag("collector.netclass_rtnl.with-stats",
		"Expose the statistics for each network device, replacing netdev collector.").BoolVar(&o.WithStats)
}

// netclass exposes what the kernel says of network devices besides their
// counters, see Documentation/ABI/testing/sysfs-class-net of the kernel.
type netclass struct {
	dir     string
	reader  reader
	devices []netDevice
	filter  *filterCache
	names   names
	// links is what netlink knows of the same devices, see netclass_links.go.
	links              netclassLinks
	ignoreInvalidSpeed bool
	up, info           *metric.Family
	values             [netclassValues]*metric.Family
}

// netDevice is what is known of a device.
type netDevice struct {
	name, address, broadcast, duplex, operstate, ifalias string
	values                                               [netclassValues]int64
	has                                                  [netclassValues]bool
}

// Places in netDevice.values.
const (
	netAddressAssignType = iota
	netCarrier
	netCarrierChanges
	netCarrierUpChanges
	netCarrierDownChanges
	netDeviceID
	netDormant
	netFlags
	netIndex
	netLink
	netLinkMode
	netMTU
	netNameAssignType
	netGroup
	netSpeed
	netTransmitQueue
	netType
	netclassValues
)

// netclassAttributes are the files below /sys/class/net/<device> and the
// families that they become.
var netclassAttributes = [netclassValues]struct{ file, name string }{
	netAddressAssignType:  {"addr_assign_type", "address_assign_type"},
	netCarrier:            {"carrier", "carrier"},
	netCarrierChanges:     {"carrier_changes", "carrier_changes_total"},
	netCarrierUpChanges:   {"carrier_up_count", "carrier_up_changes_total"},
	netCarrierDownChanges: {"carrier_down_count", "carrier_down_changes_total"},
	netDeviceID:           {"dev_id", "device_id"},
	netDormant:            {"dormant", "dormant"},
	netFlags:              {"flags", "flags"},
	netIndex:              {"ifindex", "iface_id"},
	netLink:               {"iflink", "iface_link"},
	netLinkMode:           {"link_mode", "iface_link_mode"},
	netMTU:                {"mtu", "mtu_bytes"},
	netNameAssignType:     {"name_assign_type", "name_assign_type"},
	netGroup:              {"netdev_group", "net_dev_group"},
	netSpeed:              {"speed", "speed_bytes"},
	netTransmitQueue:      {"tx_queue_len", "transmit_queue_length"},
	netType:               {"type", "protocol_type"},
}

// netFamily declares the family of a place in netDevice.values.
func netFamily(place int) *metric.Family {
	name := netclassAttributes[place].name
	help := "Network device property: " + name + "."
	switch place {
	case netCarrierChanges, netCarrierUpChanges, netCarrierDownChanges:
		return metric.NewCounter("node_network_"+name, help, "device")
	}
	return metric.NewGauge("node_network_"+name, help, "device")
}

func newNetclass(o *Options) collect.Collector {
	if o.Netclass.Netlink {
		return newNetclassRTNL(o)
	}
	c := &netclass{
		dir:                o.sysPath("class", "net"),
		filter:             newFilterCache(Filter{Exclude: o.Netclass.Ignored}),
		names:              names{},
		links:              newNetclassLinks(),
		ignoreInvalidSpeed: o.Netclass.IgnoreInvalidSpeed,
		up:                 metric.NewGauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", "device"),
		info: metric.NewGauge("node_network_info", "Data of a network device that is no number, value is always 1.",
			"device", "address", "broadcast", "duplex", "operstate", "adminstate", "ifalias"),
	}
	for place := range c.values {
		c.values[place] = netFamily(place)
	}
	return c
}

// Families implements collect.Collector.
func (c *netclass) Families() []*metric.Family {
	return append(c.values[:len(c.values):len(c.values)], c.up, c.info)
}

// Collect implements collect.Collector.
func (c *netclass) Collect(ctx context.Context, b *metric.Batch) error {
	err := c.read(ctx)
	for i := range c.devices {
		c.add(b, &c.devices[i])
	}
	return err
}

func (c *netclass) add(b *metric.Batch, d *netDevice) {
	const bytesOfMegabit = 1000 * 1000 / 8
	up, admin := 0.0, "down"
	if d.operstate == "up" {
		up = 1
	}
	if !d.has[netFlags] {
		admin = "unknown"
	} else if d.values[netFlags]&unix.IFF_UP != 0 {
		admin = "up"
	}
	b.Add(c.up, up, d.name)
	b.Add(c.info, 1, d.name, d.address, d.broadcast, d.duplex, d.operstate, admin, d.ifalias)
	for place, v := range d.values {
		if !d.has[place] || place == netSpeed && v < 0 && c.ignoreInvalidSpeed {
			continue
		}
		if place == netSpeed {
			v *= bytesOfMegabit
		}
		b.Add(c.values[place], float64(v), d.name)
	}
}

// read fills c.devices: from netlink when it is known to speak of the devices
// in c.dir, else from the files there.
func (c *netclass) read(ctx context.Context) error {
	if c.links.same {
		var err error
		if c.devices, err = c.links.read(ctx, c.devices[:0], c); err == nil {
			return nil
		}
	}
	err := c.readFiles()
	if err == nil {
		c.links.compare(ctx, c.devices, c.filter)
	}
	return err
}

// readFiles reads all files of all devices.
func (c *netclass) readFiles() error {
	c.devices = c.devices[:0]
	all, err := entries(c.dir)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", err, collect.ErrNoData)
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range all {
		if !c.filter.pass([]byte(name)) {
			continue
		}
		d := netDevice{name: name}
		found, err := c.readDevice(&d)
		errs = append(errs, err)
		if found {
			c.devices = append(c.devices, d)
		}
	}
	return errors.Join(errs...)
}

// readDevice reads the files of a device. found is false when there was none:
// the name is no device, such as bonding_masters, or one just removed.
func (c *netclass) readDevice(d *netDevice) (found bool, err error) {
	var errs []error
	dir := filepath.Join(c.dir, d.name)
	for name, target := range map[string]*string{
		"address": &d.address, "broadcast": &d.broadcast, "duplex": &d.duplex, "operstate": &d.operstate, "ifalias": &d.ifalias,
	} {
		text, err := c.reader.text(filepath.Join(dir, name))
		if err == nil {
			*target, found = string(text), true
		} else if !valueless(err) {
			errs = append(errs, err)
		}
	}
	for place := range d.values {
		v, ok, err := c.readNumber(dir, place)
		d.values[place], d.has[place] = v, ok
		found = found || ok
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// readNumber reads the file of a place in netDevice.values. ok is false when
// it has no value.
func (c *netclass) readNumber(dir string, place int) (v int64, ok bool, err error) {
	path := filepath.Join(dir, netclassAttributes[place].file)
	text, err := c.reader.text(path)
	if valueless(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if v, err = strconv.ParseInt(string(text), 0, 64); err != nil {
		return 0, false, fmt.Errorf("%s:1: %w: %s is not a number", path, errSyntax, quote(bytes.Clone(text)))
	}
	return v, true, nil
}

// valueless tells whether an attribute of a network device has no value, such
// as the speed of one that is down.
func valueless(err error) bool {
	return absent(err) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR)
}
