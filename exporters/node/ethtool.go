package node

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// EthtoolOptions of the collector ethtool.
type EthtoolOptions struct {
	Devices Filter
	// Metrics are the statistics that are exposed, by their names with
	// underscores for what a metric's name cannot hold; nil is all.
	Metrics *regexp.Regexp
}

func ethtoolFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Ethtool
	f.filter(app, "ethtool.device", "ethtool devices", &o.Devices)
	f.pattern(app, "collector.ethtool.metrics-include", "Regexp of ethtool stats to include.", &o.Metrics)
}

// maxEthtoolStats bounds the statistics of a device and the families made of
// them. Devices with a hundred queues have some thousands.
const maxEthtoolStats = 32 << 10

// ethtool asks the drivers of network devices, see ethtool(8). It sees the
// network namespace of this process, and asks for the devices that are in
// /sys/class/net.
type ethtool struct {
	dir      string
	ask      func(device string) (ethtoolAnswer, error)
	filter   *filterCache
	metrics  Filter
	naming   *ethtoolNaming
	families map[string]*ethtoolFamily // by the driver's name of a statistic; nil for those not wanted
	byName   map[string]*ethtoolFamily
	declared []*metric.Family

	info, port, autonegotiate *metric.Family
	supported, advertised     ethtoolModes
}

// ethtoolFamily is a family and what the device that is being collected has of
// it.
type ethtoolFamily struct {
	family *metric.Family
	stat   string // the driver's name; empty when there is none yet
	value  uint64
	clash  bool // two statistics have come to one name, and both are left out
}

// ethtoolModes are what a set of link modes is exposed as.
type ethtoolModes struct{ speed, autonegotiate, pause, asymmetricPause *metric.Family }

// ethtoolAnswer is what a driver says of a device. What it does not support is
// nil.
type ethtoolAnswer struct {
	settings *ethtoolSettings
	driver   *ethtoolDriver
	stats    []ethtoolStat
}

// ethtoolSettings has link modes as bits, see enum
// ethtool_link_mode_bit_indices of include/uapi/linux/ethtool.h.
type ethtoolSettings struct {
	supported, advertised uint32
	autonegotiate         uint8 // 1 when it is in use
}

type ethtoolDriver struct{ bus, name, expansionROM, firmware, version string }

type ethtoolStat struct {
	name  string
	value uint64
}

func newEthtool(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_network_"+name, help, append([]string{"device"}, labels...)...)
	}
	modes := func(word, does string) ethtoolModes {
		return ethtoolModes{
			speed:           gauge(word+"_speed_bytes", "Link modes that the device "+does+", with their speed in bytes per second.", "duplex", "mode"),
			autonegotiate:   gauge("autonegotiate_"+word, "Whether the device "+does+" autonegotiation."),
			pause:           gauge("pause_"+word, "Whether the device "+does+" pause frames."),
			asymmetricPause: gauge("asymmetricpause_"+word, "Whether the device "+does+" asymmetric pause frames."),
		}
	}
	c := &ethtool{
		dir:      o.sysPath("class", "net"),
		ask:      newEthtoolCalls().ask,
		filter:   newFilterCache(o.Ethtool.Devices),
		metrics:  Filter{Include: o.Ethtool.Metrics},
		naming:   newEthtoolNaming(),
		families: map[string]*ethtoolFamily{},
		byName:   map[string]*ethtoolFamily{},
		info: metric.NewGauge("node_ethtool_info", "Driver and firmware of a network device, value is always 1.",
			"bus_info", "device", "driver", "expansion_rom_version", "firmware_version", "version"),
		port:          gauge("supported_port_info", "Kinds of ports that the device supports, value is always 1.", "type"),
		autonegotiate: gauge("autonegotiate", "Whether the device uses autonegotiation."),
		supported:     modes("supported", "supports"),
		advertised:    modes("advertised", "offers"),
	}
	c.declare("rx_bytes", "received_bytes_total", "Bytes received, as the driver counts them.")
	c.declare("rx_dropped", "received_dropped_total", "Received frames dropped, as the driver counts them.")
	c.declare("rx_errors", "received_errors_total", "Received frames with errors, as the driver counts them.")
	c.declare("rx_packets", "received_packets_total", "Packets received, as the driver counts them.")
	c.declare("tx_bytes", "transmitted_bytes_total", "Bytes sent, as the driver counts them.")
	c.declare("tx_errors", "transmitted_errors_total", "Frames not sent for errors, as the driver counts them.")
	c.declare("tx_packets", "transmitted_packets_total", "Packets sent, as the driver counts them.")
	return c
}

// declare makes the family of one of the statistics that most drivers have.
func (c *ethtool) declare(stat, name, help string) {
	f := metric.NewUntyped("node_ethtool_"+name, help, "device")
	c.declared = append(c.declared, f)
	c.naming.special[stat] = f
}

// Families implements collect.Collector. Those named by drivers are not among
// them.
func (c *ethtool) Families() []*metric.Family {
	all := append([]*metric.Family{c.info, c.port, c.autonegotiate}, c.declared...)
	for _, m := range []ethtoolModes{c.supported, c.advertised} {
		all = append(all, m.speed, m.autonegotiate, m.pause, m.asymmetricPause)
	}
	return all
}

// Collect implements collect.Collector.
func (c *ethtool) Collect(_ context.Context, b *metric.Batch) error {
	devices, err := entries(c.dir)
	if err != nil {
		return noPermission(err)
	}
	if len(devices) == 0 {
		return fmt.Errorf("%s: no network devices: %w", c.dir, collect.ErrNoData)
	}
	if len(c.families) >= maxEthtoolStats { // of devices that came and went
		clear(c.families)
		clear(c.byName)
	}
	var errs error
	for _, device := range devices {
		if device == "bonding_masters" || !c.filter.pass([]byte(device)) {
			continue
		}
		answer, err := c.ask(device)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("asking the driver of %s: %w", device, err))
		}
		c.add(b, device, &answer)
	}
	return errs
}

func (c *ethtool) add(b *metric.Batch, device string, a *ethtoolAnswer) {
	if s := a.settings; s != nil {
		c.supported.add(b, device, s.supported)
		c.advertised.add(b, device, s.advertised)
		for _, p := range ethtoolPorts() {
			if s.supported&(1<<p.bit) != 0 {
				b.Add(c.port, 1, device, p.name)
			}
		}
		b.Add(c.autonegotiate, float64(s.autonegotiate), device)
	}
	if d := a.driver; d != nil {
		b.Add(c.info, 1, d.bus, device, d.name, d.expansionROM, d.firmware, d.version)
	}
	for i := range a.stats {
		if f := c.family(a.stats[i].name); f != nil {
			f.clash = f.clash || f.stat != "" && f.stat != a.stats[i].name
			f.stat, f.value = a.stats[i].name, a.stats[i].value
		}
	}
	for i := range a.stats {
		if f := c.family(a.stats[i].name); f != nil && f.stat != "" {
			if !f.clash {
				b.Add(f.family, float64(f.value), device)
			}
			f.stat, f.clash = "", false
		}
	}
}

// family finds or declares the family of a statistic; nil when it is not
// wanted. Statistics whose names differ in what a metric's name cannot hold
// have the same.
func (c *ethtool) family(stat string) *ethtoolFamily {
	if f, ok := c.families[stat]; ok {
		return f
	}
	if len(c.families) >= maxEthtoolStats {
		return nil
	}
	stat = strings.Clone(stat)
	var f *ethtoolFamily
	if clean := c.naming.clean(stat); clean != "" && c.metrics.pass(clean) {
		if name := c.naming.family(clean); name != c.info.Name() {
			if f = c.byName[name]; f == nil {
				f = &ethtoolFamily{family: c.naming.special[clean]}
				if f.family == nil {
					f.family = metric.NewUntyped(name, "Statistic "+clean+" of a network device's driver.", "device")
				}
				c.byName[name] = f
			}
		}
	}
	c.families[stat] = f
	return f
}

// add exposes a set of link modes.
func (m *ethtoolModes) add(b *metric.Batch, device string, modes uint32) {
	const bytesOfMegabit = 1000 * 1000 / 8
	has := func(bit int) bool { return modes&(1<<bit) != 0 }
	for _, s := range ethtoolSpeeds() {
		if has(s.bit) {
			duplex := "full"
			if s.half {
				duplex = "half"
			}
			b.Add(m.speed, float64(s.megabits)*bytesOfMegabit, device, duplex, s.name)
		}
	}
	b.Add(m.autonegotiate, oneIf(has(unix.ETHTOOL_LINK_MODE_Autoneg_BIT)), device)
	b.Add(m.pause, oneIf(has(unix.ETHTOOL_LINK_MODE_Pause_BIT)), device)
	b.Add(m.asymmetricPause, oneIf(has(unix.ETHTOOL_LINK_MODE_Asym_Pause_BIT)), device)
}
