package node

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/internal/metric"
)

// findSensors looks for the sensors of a chip and what each has of files.
func (c *hwmon) findSensors(chip hwmonChip, name string) error {
	files := map[string]map[string]string{} // paths by sensor and property
	if err := c.findFiles(chip.dir, files); err != nil {
		return err
	}
	var errs error
	// Old drivers put their files beside the device's.
	device := filepath.Join(chip.dir, "device")
	if _, err := os.Stat(device); err == nil {
		errs = c.findFiles(device, files)
	}
	if human := hwmonClean(chip.file); human != "" {
		c.facts = append(c.facts, hwmonFact{c.chipNames, []string{name, human}})
	}
	seen := map[string]bool{}
	for _, sensor := range slices.Sorted(maps.Keys(files)) {
		if c.options.Sensors.pass(name + ";" + sensor) {
			c.addSensor(name, sensor, files[sensor], seen)
		}
	}
	return errs
}

// findFiles lists the files in a directory that can be read and are named as
// those of sensors are.
func (c *hwmon) findFiles(dir string, files map[string]map[string]string) error {
	names, err := present(dir)
	var errs error
	for _, file := range names {
		kind, id, property, ok := parseHwmonFile(file)
		if !ok || !hwmonKind(kind) {
			continue
		}
		path := filepath.Join(dir, file)
		if _, err := c.reader.read(path); unreadable(err) {
			continue
		}
		sensor := kind + strconv.Itoa(id)
		if files[sensor] == nil {
			files[sensor] = map[string]string{}
		}
		files[sensor][property] = path
	}
	return errors.Join(errs, err)
}

// addSensor declares what is exposed of a sensor. No two of its series may be
// the same: seen holds those of the chip.
func (c *hwmon) addSensor(chip, sensor string, files map[string]string, seen map[string]bool) {
	kind, _, _, _ := parseHwmonFile(sensor)
	label, labelled := "", false
	if path, ok := files["label"]; ok {
		if data, err := c.reader.read(path); err == nil {
			label, labelled = string(bytes.Trim(data, "\n")), true
			c.facts = append(c.facts, hwmonFact{c.sensorLabel, []string{chip, sensor, label}})
		}
	}
	_, bare := files[""]
	for _, property := range slices.Sorted(maps.Keys(files)) {
		s := hwmonSensor{path: files[property], labels: []string{chip, sensor}, beep: kind == "beep_enable"}
		switch {
		case property == "label", property != "" && (s.beep || kind == "vrm" || kind == "update_interval"):
			continue
		case kind == "freq" && property == "input":
			if !labelled {
				continue
			}
			s.labels[1] = hwmonClean(label)
		}
		s.number = c.number(kind, property, bare)
		if key := s.number.family.Name() + " " + s.labels[1]; !seen[key] {
			seen[key] = true
			c.sensors = append(c.sensors, s)
		}
	}
}

// number gives the family and the unit of a property.
func (c *hwmon) number(kind, property string, bare bool) number {
	name, suffix, n := hwmonName(kind, property, bare)
	name = "node_hwmon_" + name + suffix
	if f, ok := c.families[name]; ok {
		n.family = f
		return n
	}
	if len(c.families) >= maxHwmonFamilies {
		clear(c.families)
	}
	help := "Hardware monitor " + kind + " element " + property + "."
	if strings.HasSuffix(name, "_joule_total") {
		n.family = metric.NewCounter(name, help, "chip", "sensor")
	} else {
		n.family = metric.NewGauge(name, help, "chip", "sensor")
	}
	c.families[name] = n.family
	return n
}

// hwmonName names the family of a property, apart from its unit, and says how
// its values come to that.
func hwmonName(kind, property string, bare bool) (name, unit string, n number) {
	milli, micro := number{factor: 0.001}, number{divisor: 1000000}
	switch kind {
	case "beep_enable":
		return "beep_enabled", "", number{}
	case "vrm":
		return "voltage_regulator_version", "", number{}
	case "update_interval":
		return "update_interval", "_seconds", milli
	}
	name = kind
	if property != "" && property != "input" || property == "input" && bare {
		name += "_" + hwmonClean(property)
	}
	switch {
	case property == "fault" || property == "alarm":
		return name, "", number{}
	case property == "beep":
		return name, "_enabled", number{}
	case kind == "in" || kind == "cpu":
		return name, "_volts", milli
	case kind == "temp" && property != "type":
		return name, "_celsius", milli
	case kind == "curr":
		return name, "_amps", milli
	case kind == "energy":
		return name, "_joule_total", micro
	case kind == "power" && property == "accuracy":
		return name, "", micro
	case kind == "power" && strings.HasPrefix(property, "average_interval"):
		if hwmonInterval(property) {
			return name, "_seconds", milli
		}
		return name, "_watt", micro
	case kind == "power":
		return name, "_watt", micro
	case kind == "humidity":
		return name, "", micro
	case kind == "fan" && (property == "input" || property == "min" || property == "max" || property == "target"):
		return name, "_rpm", number{}
	case kind == "freq" && property == "input":
		return name, "_freq_mhz", micro
	default:
		return name, "", number{}
	}
}

func hwmonInterval(property string) bool {
	return property == "average_interval" || property == "average_interval_min" || property == "average_interval_max"
}

// hwmonKind says whether sensors of the kind are exposed.
func hwmonKind(kind string) bool {
	switch kind {
	case "vrm", "beep_enable", "update_interval", "in", "cpu", "fan", "pwm", "temp", "curr", "power", "energy",
		"humidity", "intrusion", "freq":
		return true
	default:
		return false
	}
}

// parseHwmonFile takes the name of a file apart: temp1_crit into temp, 1 and
// crit, update_interval into itself.
func parseHwmonFile(name string) (kind string, id int, property string, ok bool) {
	i := strings.IndexAny(name, "0123456789")
	if i < 0 {
		return name, 0, "", name != ""
	}
	kind, rest := name[:i], name[i:]
	number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	rest = rest[len(number):]
	id, err := strconv.Atoi(number)
	if kind == "" || err != nil || rest != "" && (rest[0] != '_' || len(rest) == 1) {
		return "", 0, "", false
	}
	return kind, id, strings.TrimPrefix(rest, "_"), true
}
