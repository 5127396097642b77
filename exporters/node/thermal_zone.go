package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// thermalZone reads the temperatures of /sys/class/thermal and how far cooling
// devices work, see Documentation/driver-api/thermal/sysfs-api.rst of the
// kernel.
type thermalZone struct {
	dir     string
	reader  reader
	entries []string // of dir, from which devices was made
	devices []thermalDevice

	temp, state, maxState *metric.Family
}

// thermalDevice is a zone or a cooling device.
type thermalDevice struct {
	dir     string
	cooling bool
	labels  []string // number and type; the type cannot change
}

func newThermalZone(o *Options) collect.Collector {
	return &thermalZone{
		dir:      o.sysPath("class", "thermal"),
		temp:     metric.NewGauge("node_thermal_zone_temp", "Zone temperature in Celsius", "zone", "type"),
		state:    metric.NewGauge("node_cooling_device_cur_state", "Current throttle state of the cooling device", "name", "type"),
		maxState: metric.NewGauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device", "name", "type"),
	}
}

// Families implements collect.Collector.
func (c *thermalZone) Families() []*metric.Family {
	return []*metric.Family{c.temp, c.state, c.maxState}
}

// Collect implements collect.Collector. A sensor that does not answer has no
// sample.
func (c *thermalZone) Collect(_ context.Context, b *metric.Batch) error {
	errs := c.find()
	for i := range c.devices {
		d := &c.devices[i]
		var err error
		if d.cooling {
			err = c.addCooling(b, d)
		} else {
			err = c.addZone(b, d)
		}
		if err != nil && !absent(err) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// find brings c.devices to what is there. A host without any is no failure.
func (c *thermalZone) find() error {
	list, err := entries(c.dir)
	if errors.Is(err, collect.ErrNoData) {
		err = nil
	}
	if err != nil || c.entries != nil && slices.Equal(list, c.entries) {
		return err
	}
	c.entries, c.devices = list, nil
	for _, name := range list {
		d := thermalDevice{dir: filepath.Join(c.dir, name)}
		number, ok := strings.CutPrefix(name, "thermal_zone")
		if !ok {
			if number, d.cooling = strings.CutPrefix(name, "cooling_device"); !d.cooling {
				continue
			}
		}
		kind, err := c.reader.text(d.dir + "/type")
		if err != nil {
			c.entries = nil // again at the next scrape
			if !absent(err) {
				return err
			}
			continue
		}
		d.labels = []string{number, string(kind)}
		c.devices = append(c.devices, d)
	}
	return nil
}

func (c *thermalZone) addZone(b *metric.Batch, d *thermalDevice) error {
	const milli = 1000.0
	v, err := c.reader.int(d.dir + "/temp")
	if err == nil {
		b.Add(c.temp, float64(v)/milli, d.labels...)
	}
	return err
}

// addCooling exposes the states; the current one is -1 for devices that are
// idle, such as intel_powerclamp.
func (c *thermalZone) addCooling(b *metric.Batch, d *thermalDevice) error {
	most, err := c.reader.int(d.dir + "/max_state")
	if err != nil {
		return err
	}
	now, err := c.reader.int(d.dir + "/cur_state")
	if err != nil {
		return err
	}
	b.Add(c.state, float64(now), d.labels...)
	b.Add(c.maxState, float64(most), d.labels...)
	return nil
}
