package node

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// PowersupplyOptions of the collector powersupplyclass.
type PowersupplyOptions struct {
	// Ignored power supplies. nil means none.
	Ignored *regexp.Regexp
}

func powersupplyFlags(app *kingpin.Application, f *flagSet) {
	f.pattern(app, "collector.powersupply.ignored-supplies", "Regexp of power supplies to ignore for powersupplyclass collector.",
		&f.options.Powersupply.Ignored)
}

// powersupply reads the batteries and mains in /sys/class/power_supply, see
// Documentation/ABI/testing/sysfs-class-power of the kernel.
type powersupply struct {
	dir     string
	reader  reader
	filter  Filter
	info    *metric.Family
	numbers map[string]number // by file
}

func newPowersupply(o *Options) collect.Collector {
	c := &powersupply{
		dir:     o.sysPath("class", "power_supply"),
		filter:  Filter{Exclude: o.Powersupply.Ignored},
		info:    metric.NewGauge("node_power_supply_info", "Non-numeric data from /sys/class/power_supply/<power_supply>, value is always 1."),
		numbers: map[string]number{},
	}
	const micro, tenth = 1e6, 10
	// Most are named as their files.
	for _, file := range [...]string{"authentic", "calibrate", "capacity", "capacity_alert_max", "capacity_alert_min", "online", "present"} {
		c.number(file, file, 0)
	}
	c.number("cycle_count", "cyclecount", 0)
	c.number("time_to_empty_now", "time_to_empty_seconds", 0)
	c.number("time_to_full_now", "time_to_full_seconds", 0)
	for _, file := range [...]string{
		"current_boot", "current_max", "energy_empty", "energy_empty_design", "energy_full", "energy_full_design",
		"voltage_boot", "voltage_max", "voltage_max_design", "voltage_min", "voltage_min_design", "voltage_ocv",
		"charge_control_limit", "charge_control_limit_max", "charge_counter", "charge_empty", "charge_empty_design",
		"charge_full", "charge_full_design", "charge_term_current", "constant_charge_current", "constant_charge_current_max",
		"constant_charge_voltage", "constant_charge_voltage_max", "precharge_current", "input_current_limit",
	} {
		c.number(file, file, micro)
	}
	c.number("current_now", "current_ampere", micro)
	c.number("energy_now", "energy_watthour", micro)
	c.number("voltage_now", "voltage_volt", micro)
	c.number("charge_now", "charge_ampere", micro)
	c.number("power_now", "power_watt", micro)
	for _, file := range [...]string{
		"temp", "temp_alert_max", "temp_alert_min", "temp_ambient", "temp_ambient_max", "temp_ambient_min", "temp_max", "temp_min",
	} {
		c.number(file, file+"_celsius", tenth)
	}
	return c
}

// number declares what a file is exposed as.
func (c *powersupply) number(file, name string, divisor float64) {
	help := "Value of /sys/class/power_supply/<power_supply>/" + file + "."
	c.numbers[file] = number{file: file, family: metric.NewGauge("node_power_supply_"+name, help, "power_supply"), divisor: divisor}
}

// Families implements collect.Collector.
func (c *powersupply) Families() []*metric.Family {
	all := []*metric.Family{c.info}
	for _, n := range c.numbers {
		all = append(all, n.family)
	}
	return all
}

// Collect implements collect.Collector.
func (c *powersupply) Collect(_ context.Context, b *metric.Batch) error {
	supplies, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, supply := range supplies {
		if c.filter.pass(supply) {
			errs = errors.Join(errs, c.collectSupply(b, filepath.Join(c.dir, supply), supply))
		}
	}
	return errs
}

func (c *powersupply) collectSupply(b *metric.Batch, dir, supply string) error {
	files, errs := present(dir)
	names, values := []string{"power_supply"}, []string{supply}
	for _, file := range files {
		switch file {
		case "capacity_level", "charge_type", "health", "manufacturer", "model_name", "scope", "serial_number",
			"status", "technology", "type", "usb_type":
			text, err := c.reader.label(filepath.Join(dir, file))
			errs = errors.Join(errs, err)
			if text != "" {
				names, values = append(names, file), append(values, text)
			}
			continue
		}
		if n, ok := c.numbers[file]; ok {
			errs = errors.Join(errs, deviceNumbers{n}.collect(b, dir, c.reader.signed, supply))
		}
	}
	b.AddExtra(c.info, 1, nil, names, values)
	return errs
}
