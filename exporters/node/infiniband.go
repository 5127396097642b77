package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// InfinibandOptions of the collector infiniband.
type InfinibandOptions struct{ Devices Filter }

func infinibandFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "infiniband.device", "infiniband devices", &f.options.Infiniband.Devices)
}

// infiniband reads the devices of InfiniBand and RoCE, see
// Documentation/ABI/stable/sysfs-class-infiniband of the kernel.
type infiniband struct {
	dir                              string
	reader                           reader
	devices                          Filter
	info, state, physicalState, rate *metric.Family
	counters                         map[string]infinibandCounter // by directory and file
	families                         []*metric.Family
}

// infinibandCounter is what a file becomes.
type infinibandCounter struct {
	family *metric.Family
	factor float64
}

func newInfiniband(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_infiniband_"+name, help, "device", "port")
	}
	c := &infiniband{
		dir:     o.sysPath("class", "infiniband"),
		devices: o.Infiniband.Devices,
		info: metric.NewGauge("node_infiniband_info", "Data of an InfiniBand device that is no number, value is always 1.",
			"device", "board_id", "firmware_version", "hca_type"),
		state: gauge("state_id",
			"State of the port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)."),
		physicalState: gauge("physical_state_id", "Physical state of the port (0: no change, 1: sleep, 2: polling, "+
			"3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)."),
		rate:     gauge("rate_bytes_per_second", "Maximum signal transfer rate."),
		counters: map[string]infinibandCounter{},
	}
	c.families = []*metric.Family{c.info, c.state, c.physicalState, c.rate}
	for _, k := range infinibandCounters() {
		factor := k.factor
		if factor == 0 {
			factor = 1
		}
		f := metric.NewCounter("node_infiniband_"+k.name+"_total", k.help, "device", "port")
		c.counters[k.file] = infinibandCounter{f, factor}
		c.families = append(c.families, f)
	}
	lifespan := gauge("lifespan_seconds", "For how long the hardware counters may be read from its cache.")
	c.counters["hw_counters/lifespan"] = infinibandCounter{lifespan, 0}
	c.families = append(c.families, lifespan)
	return c
}

// Families implements collect.Collector.
func (c *infiniband) Families() []*metric.Family { return c.families }

// Collect implements collect.Collector.
func (c *infiniband) Collect(_ context.Context, b *metric.Batch) error {
	devices, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, device := range devices {
		if c.devices.pass(device) {
			errs = append(errs, c.device(b, device))
		}
	}
	return errors.Join(errs...)
}

func (c *infiniband) device(b *metric.Batch, device string) error {
	dir := filepath.Join(c.dir, device)
	var values [3]string
	for i, name := range [...]string{"board_id", "fw_ver", "hca_type"} {
		text, err := c.reader.text(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			values[i] = string(text)
		}
	}
	b.Add(c.info, 1, device, values[0], values[1], values[2])
	ports, err := entries(filepath.Join(dir, "ports"))
	if err != nil {
		return err
	}
	var errs []error
	for _, port := range ports {
		errs = append(errs, c.port(b, device, filepath.Join(dir, "ports", port), port))
	}
	return errors.Join(errs...)
}

func (c *infiniband) port(b *metric.Batch, device, dir, port string) error {
	number, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		return fmt.Errorf("%s: %w: %q is not the number of a port", dir, errSyntax, port)
	}
	port = strconv.FormatUint(number, 10)
	var errs []error
	for i, name := range [...]string{"state", "phys_state", "rate"} {
		f := [...]*metric.Family{c.state, c.physicalState, c.rate}[i]
		path := filepath.Join(dir, name)
		text, err := c.reader.text(path)
		if err == nil {
			var v float64
			if v, err = parseInfinibandState(path, text, name == "rate"); err == nil {
				b.Add(f, v, device, port)
			}
		}
		errs = append(errs, err)
	}
	for _, sub := range [...]string{"counters", "counters_ext", "hw_counters"} {
		errs = append(errs, c.count(b, device, port, dir, sub))
	}
	return errors.Join(errs...)
}

// count reads the counters of a directory, which not every device has.
func (c *infiniband) count(b *metric.Batch, device, port, dir, sub string) error {
	files, err := entries(filepath.Join(dir, sub))
	if errors.Is(err, collect.ErrNoData) {
		return nil
	}
	errs := []error{err}
	for _, name := range files {
		counter, ok := c.counters[sub+"/"+name]
		if !ok {
			continue
		}
		path := filepath.Join(dir, sub, name)
		text, err := c.reader.text(path)
		switch {
		case absent(err) || errors.Is(err, fs.ErrPermission) || bytes.Contains(text, []byte("N/A (no PMA)")):
			continue // the device does not count this
		case err != nil:
			errs = append(errs, err)
			continue
		}
		v, err := strconv.ParseUint(string(text), 0, 64)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s:1: %w: %s is not a number", path, errSyntax, quote(text)))
		case counter.factor == 0:
			b.Add(counter.family, float64(v/1000), device, port) // milliseconds
		default:
			b.Add(counter.family, float64(v)*counter.factor, device, port)
		}
	}
	return errors.Join(errs...)
}

// parseInfinibandState reads the number of "4: ACTIVE", or the bytes a second
// of "40 Gb/sec (4X QDR)".
func parseInfinibandState(path string, text []byte, rate bool) (float64, error) {
	const bytesOfGigabit = 1e9 / 8
	if rate {
		number, _, ok := bytes.Cut(text, []byte(" "))
		v, err := strconv.ParseFloat(string(number), 32)
		if err != nil || !ok || !(v >= 0 && v < 1e9) {
			return 0, fmt.Errorf("%s:1: %w: %s is not a rate", path, errSyntax, quote(text))
		}
		return float64(uint64(v * bytesOfGigabit)), nil
	}
	number, _, ok := bytes.Cut(text, []byte(":"))
	v, err := strconv.ParseUint(string(bytes.TrimSpace(number)), 10, 32)
	if err != nil || !ok {
		return 0, fmt.Errorf("%s:1: %w: %s is not a state", path, errSyntax, quote(text))
	}
	return float64(v), nil
}
