package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// HwmonOptions of the collector hwmon.
type HwmonOptions struct {
	// Chips are chosen by name, Sensors by the names of chip and sensor with a
	// semicolon between them.
	Chips, Sensors Filter
}

func hwmonFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Hwmon
	// Unlike others, node_exporter takes both flags of a pair together.
	flag := func(name, what string, target **regexp.Regexp) {
		f.pattern(app, "collector.hwmon."+name, what, target)
	}
	flag("chip-include", "Regexp of hwmon chip to include.", &o.Chips.Include)
	flag("chip-exclude", "Regexp of hwmon chip to exclude.", &o.Chips.Exclude)
	flag("sensor-include", "Regexp of hwmon sensor to include.", &o.Sensors.Include)
	flag("sensor-exclude", "Regexp of hwmon sensor to exclude.", &o.Sensors.Exclude)
}

const (
	// hwmonAge is how long the list of sensors is kept when no chip came or
	// went. A driver may add sensors to a chip that it has shown already.
	hwmonAge = time.Minute
	// maxHwmonFamilies bounds the families made from the names of files.
	maxHwmonFamilies = 4096
)

// hwmon reads the sensors in /sys/class/hwmon, see Documentation/hwmon of the
// kernel. Which there are is found out when a chip comes or goes; a scrape
// reads their values and no directory but that of the chips.
type hwmon struct {
	dir      string
	options  *HwmonOptions
	reader   reader
	families map[string]*metric.Family
	now      func() time.Time

	chips   []string // names in dir, each with where its link leads
	read    time.Time
	facts   []hwmonFact
	sensors []hwmonSensor
	findErr error

	chipNames, sensorLabel *metric.Family
}

// hwmonFact is a sample that is 1 as long as the chip is there.
type hwmonFact struct {
	family *metric.Family
	labels []string
}

// hwmonSensor is a file with a value.
type hwmonSensor struct {
	path   string
	number number
	labels []string
	// beep says that any value but "1" is a no.
	beep bool
}

func newHwmon(o *Options) collect.Collector {
	return &hwmon{
		dir:         o.sysPath("class", "hwmon"),
		options:     &o.Hwmon,
		families:    map[string]*metric.Family{},
		now:         time.Now,
		chipNames:   metric.NewGauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names.", "chip", "chip_name"),
		sensorLabel: metric.NewGauge("node_hwmon_sensor_label", "Label for given chip and sensor.", "chip", "sensor", "label"),
	}
}

// Families implements collect.Collector. Those of the sensors are named by
// their files.
func (c *hwmon) Families() []*metric.Family { return []*metric.Family{c.chipNames, c.sensorLabel} }

// Collect implements collect.Collector.
func (c *hwmon) Collect(_ context.Context, b *metric.Batch) error {
	names, err := entries(c.dir)
	if err != nil {
		return err
	}
	if now := c.now(); c.changed(names) || now.Sub(c.read) >= hwmonAge {
		c.read = now
		c.findErr = c.find(names)
	}
	for _, f := range c.facts {
		b.Add(f.family, 1, f.labels...)
	}
	for i := range c.sensors {
		s := &c.sensors[i]
		// Chips are asked for each value over slow buses, and often have none
		// to give: a sensor that does not answer is no failure.
		data, err := c.reader.read(s.path)
		if err != nil {
			continue
		}
		text := bytes.Trim(data, "\n")
		if s.beep {
			b.Add(s.number.family, oneIf(string(text) == "1"), s.labels...)
			continue
		}
		if v, err := strconv.ParseFloat(string(text), 64); err == nil {
			b.Add(s.number.family, s.number.scale(v), s.labels...)
		}
	}
	return c.findErr
}

// changed says that the chips are not those of the scrape before. Their names
// are given again, but not with the same device behind them.
func (c *hwmon) changed(names []string) bool {
	same := len(names) == len(c.chips)
	for i, name := range names {
		target, _ := os.Readlink(filepath.Join(c.dir, name))
		chip := name + " " + target
		if i == len(c.chips) {
			c.chips = append(c.chips, "")
		}
		same = same && c.chips[i] == chip
		c.chips[i] = chip
	}
	c.chips = c.chips[:len(names)]
	return !same
}

// hwmonChip is a chip on the way to its label: two may share a device.
type hwmonChip struct{ dir, name, file string }

// find looks for the files of all wanted chips.
func (c *hwmon) find(names []string) error {
	c.facts, c.sensors = c.facts[:0], c.sensors[:0]
	var chips []hwmonChip
	byName, byFile := map[string]int{}, map[string]int{}
	for _, name := range names {
		dir := filepath.Join(c.dir, name)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		file, _ := c.reader.text(filepath.Join(dir, "name"))
		chip := hwmonChip{dir: dir, file: string(file)}
		if chip.name = hwmonChipName(dir, chip.file); chip.name == "" {
			continue
		}
		chips = append(chips, chip)
		byName[chip.name]++
		byFile[chip.name+" "+chip.file]++
	}
	var errs error
	for _, chip := range chips {
		name := chip.name
		if byName[name] > 1 {
			suffix := hwmonClean(chip.file)
			if suffix == "" || byFile[name+" "+chip.file] > 1 {
				suffix = hwmonClean(filepath.Base(chip.dir))
			}
			name += "_" + suffix
		}
		if c.options.Chips.pass(name) {
			errs = errors.Join(errs, c.findSensors(chip, name))
		}
	}
	return errs
}

// hwmonChipName names a chip by its device, which keeps its place, in
// preference to its file name and its number, which depends on the order in
// which drivers were loaded.
func hwmonChipName(dir, file string) string {
	if device, err := filepath.EvalSymlinks(filepath.Join(dir, "device")); err == nil {
		name, kind := hwmonClean(filepath.Base(device)), hwmonClean(filepath.Base(filepath.Dir(device)))
		switch {
		case name != "" && kind != "":
			return kind + "_" + name
		case name != "":
			return name
		}
	}
	if name := hwmonClean(file); name != "" {
		return name
	}
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	return hwmonClean(filepath.Base(target))
}

// hwmonClean turns a name into part of a family's name or a label.
func hwmonClean(name string) string {
	clean := []byte(strings.ToLower(name))
	for i, ch := range clean {
		if !(ch >= 'a' && ch <= 'z' || ch >= '0' && ch <= '9' || ch == ':' || ch == '_') {
			clean[i] = '_'
		}
	}
	return string(bytes.Trim(clean, "_"))
}
