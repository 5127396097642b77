package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// PCIDeviceOptions of the collector pcidevice.
type PCIDeviceOptions struct {
	// Names adds labels with the names of vendors, devices and classes.
	Names bool
	// IDsFile is the list of names, in the format of pci.ids. Empty takes the
	// first there is of those that distributions have.
	IDsFile string
}

func pcideviceFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.PCIDevice
	app.Flag("collector.pcidevice.idsfile", "Path to pci.ids file to use for PCI device identification.").StringVar(&o.IDsFile)
	app.Flag("collector.pcidevice.names", "Enable PCI device name resolution (requires pci.ids file).").
		Default("false").BoolVar(&o.Names)
}

// pcidevice reads the devices in /sys/bus/pci/devices, see
// Documentation/ABI/testing/sysfs-bus-pci of the kernel.
type pcidevice struct {
	dir    string
	reader reader
	names  *pciNames // nil when switched off
	info   *metric.Family
	always []pciNumber
	numa   *metric.Family
	power  *metric.Family
}

// pciNumber is an attribute with a value for devices that lack it.
type pciNumber struct {
	file   string
	family *metric.Family
	parse  func([]byte) (float64, bool)
	none   float64
}

// pciIDs are the attributes that tell what a device is, in the order of the
// labels of node_pcidevice_info, with the digits that node_exporter shows.
type pciIDs [6]uint64

// Places in pciIDs.
const (
	pciClass = iota
	pciVendor
	pciDevice
	pciSubsystemVendor
	pciSubsystemDevice
	pciRevision
)

func newPCIDevice(o *Options) collect.Collector {
	location := []string{"segment", "bus", "device", "function"}
	labels := append(location[:4:4], "parent_segment", "parent_bus", "parent_device", "parent_function",
		"class_id", "vendor_id", "device_id", "subsystem_vendor_id", "subsystem_device_id", "revision")
	c := &pcidevice{dir: o.sysPath("bus", "pci", "devices")}
	if o.PCIDevice.Names {
		c.names = newPCINames(o.PCIDevice.IDsFile)
		labels = append(labels, "vendor_name", "device_name", "subsystem_vendor_name", "subsystem_device_name", "class_name")
	}
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_pcidevice_"+name, help, labels...)
	}
	number := func(file, name, help string, none float64, parse func([]byte) (float64, bool)) {
		c.always = append(c.always, pciNumber{file, gauge(name, help, location...), parse, none})
	}
	c.info = gauge("info", "What a PCI device is and which it is connected to, value is always 1.", labels...)
	number("max_link_speed", "max_link_transfers_per_second", "Transfers per second that the link can do, -1 when not known.", -1, parsePCISpeed)
	number("max_link_width", "max_link_width", "Lanes that the link can have, -1 when not known.", -1, parsePCINumber)
	number("current_link_speed", "current_link_transfers_per_second", "Transfers per second that the link does, -1 when not known.", -1, parsePCISpeed)
	number("current_link_width", "current_link_width", "Lanes that the link has, -1 when not known.", -1, parsePCINumber)
	number("d3cold_allowed", "d3cold_allowed", "Whether the device may go to the power state D3cold.", 0, parsePCISwitch)
	number("sriov_drivers_autoprobe", "sriov_drivers_autoprobe", "Whether virtual functions of the device get a driver by themselves.", 0, parsePCISwitch)
	number("sriov_numvfs", "sriov_numvfs", "Virtual functions of the device that are in use (SR-IOV).", 0, parsePCINumber)
	number("sriov_totalvfs", "sriov_totalvfs", "Virtual functions that the device can have (SR-IOV).", 0, parsePCINumber)
	number("sriov_vf_total_msix", "sriov_vf_total_msix", "MSI-X vectors for the virtual functions of the device.", 0, parsePCINumber)
	c.numa = gauge("numa_node", "NUMA node of the device, left out when not known.", location...)
	c.power = gauge("power_state", "Whether the device is in a power state, one of D0, D1, D2, D3hot, D3cold, unknown and error.", append(location[:4:4], "state")...)
	return c
}

// Families implements collect.Collector.
func (c *pcidevice) Families() []*metric.Family {
	all := []*metric.Family{c.info, c.numa, c.power}
	for i := range c.always {
		all = append(all, c.always[i].family)
	}
	return all
}

// Collect implements collect.Collector.
func (c *pcidevice) Collect(_ context.Context, b *metric.Batch) error {
	devices, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, name := range devices {
		errs = errors.Join(errs, c.collectDevice(b, name))
	}
	if c.names != nil {
		errs = errors.Join(errs, c.names.err)
	}
	return errs
}

func (c *pcidevice) collectDevice(b *metric.Batch, name string) error {
	dir := filepath.Join(c.dir, name)
	location, ok := parsePCILocation(name)
	if !ok {
		return fmt.Errorf("%s: %w: not the location of a device, such as 0000:00:1f.6", dir, errSyntax)
	}
	ids, err := c.ids(dir)
	if absent(err) {
		return nil // the device was removed this moment
	}
	if err != nil {
		return err
	}
	labels := append(location[:], pciParent(dir)...)
	for i, format := range [len(ids)]string{"0x%06x", "0x%04x", "0x%04x", "0x%04x", "0x%04x", "0x%02x"} {
		labels = append(labels, fmt.Sprintf(format, ids[i]))
	}
	if c.names != nil {
		labels = append(labels, c.names.of(ids)...)
	}
	b.Add(c.info, 1, labels...)
	var errs error
	for i := range c.always {
		n := &c.always[i]
		v, ok, err := c.number(dir, n.file, n.parse)
		if errs = errors.Join(errs, err); err != nil {
			continue
		}
		if !ok {
			v = n.none
		}
		b.Add(n.family, v, location[:]...)
	}
	node, ok, err := c.number(dir, "numa_node", parsePCINumber)
	if ok && node >= 0 {
		b.Add(c.numa, node, location[:]...)
	}
	state, powerErr := c.reader.label(filepath.Join(dir, "power_state"))
	if state != "" {
		for _, s := range []string{"D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"} {
			b.Add(c.power, oneIf(s == state), append(location[:4:4], s)...)
		}
	}
	return errors.Join(errs, err, powerErr)
}

// ids reads what the device is.
func (c *pcidevice) ids(dir string) (ids pciIDs, err error) {
	for i, file := range [len(ids)]string{"class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision"} {
		path := filepath.Join(dir, file)
		data, err := c.reader.text(path)
		if err != nil {
			return ids, err
		}
		if ids[i], err = strconv.ParseUint(string(data), 0, 32); err != nil {
			return ids, fmt.Errorf("%s:1: %w: %s is not a number such as 0x8086", path, errSyntax, quote(data))
		}
	}
	return ids, nil
}

// number reads an attribute, which is not ok when the device lacks it or does
// not know its value.
func (c *pcidevice) number(dir, file string, parse func([]byte) (float64, bool)) (v float64, ok bool, err error) {
	path := filepath.Join(dir, file)
	data, err := c.reader.text(path)
	if absent(err) || err == nil && (len(data) == 0 || hasPrefix(data, "Unknown")) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if v, ok = parse(data); !ok {
		return 0, false, fmt.Errorf("%s:1: %w: %s is not such a value", path, errSyntax, quote(data))
	}
	return v, true, nil
}

// parsePCISpeed reads 8.0 GT/s PCIe, or 8 GT/s of Linux before 5.8.
func parsePCISpeed(text []byte) (float64, bool) {
	number, unit, _ := bytes.Cut(text, []byte(" "))
	v, err := strconv.ParseFloat(string(number), 64)
	if err != nil || !(v >= 0 && v < 1e6) || string(unit) != "GT/s" && string(unit) != "GT/s PCIe" {
		return 0, false
	}
	return v * 1e9, true
}

func parsePCINumber(text []byte) (float64, bool) {
	v, err := parseInt(text)
	return float64(v), err == nil
}

func parsePCISwitch(text []byte) (float64, bool) {
	v, err := parseInt(text)
	return oneIf(v != 0), err == nil
}

// parsePCILocation reads segment:bus:device.function, in hexadecimal digits.
func parsePCILocation(name string) (location [4]string, ok bool) {
	rest := name
	for i, part := range [4]struct {
		end    string
		format string
	}{{":", "%04x"}, {":", "%02x"}, {".", "%02x"}, {"", "%x"}} {
		text := rest
		if part.end != "" {
			if text, rest, ok = strings.Cut(rest, part.end); !ok {
				return location, false
			}
		}
		v, err := strconv.ParseUint(text, 16, 32)
		if err != nil {
			return location, false
		}
		location[i] = fmt.Sprintf(part.format, v)
	}
	return location, true
}

// pciParent is the location of the bridge that the device is behind, from the
// path that its link in /sys/bus/pci/devices leads to. A device on a root bus
// has none, which is shown by stars.
func pciParent(dir string) []string {
	target, err := os.Readlink(dir)
	if parent, ok := parsePCILocation(filepath.Base(filepath.Dir(target))); err == nil && ok {
		return parent[:]
	}
	return []string{"*", "*", "*", "*"}
}
