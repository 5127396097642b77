package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// clock says what time it is here, and by which hardware the kernel knows.
type clock struct {
	dir     string
	now     func() time.Time
	reader  reader
	names   names
	sources []clockSource
	seconds, offset,
	available, current *metric.Family
}

// clockSource is a directory of /sys/devices/system/clocksource. What the
// kernel can use and uses changes: it leaves a clock that drifts.
type clockSource struct{ number, available, current string }

func newTime(o *Options) collect.Collector {
	return &clock{
		dir:       o.sysPath("devices", "system", "clocksource"),
		now:       time.Now,
		names:     names{},
		seconds:   metric.NewGauge("node_time_seconds", "System time in seconds since epoch (1970)."),
		offset:    metric.NewGauge("node_time_zone_offset_seconds", "System time zone offset in seconds.", "time_zone"),
		available: metric.NewGauge("node_time_clocksource_available_info", "Available clocksources read from '/sys/devices/system/clocksource'.", "device", "clocksource"),
		current:   metric.NewGauge("node_time_clocksource_current_info", "Current clocksource read from '/sys/devices/system/clocksource'.", "device", "clocksource"),
	}
}

// Families implements collect.Collector.
func (c *clock) Families() []*metric.Family {
	return []*metric.Family{c.seconds, c.offset, c.available, c.current}
}

// Collect implements collect.Collector.
func (c *clock) Collect(_ context.Context, b *metric.Batch) error {
	const nanoseconds = 1e9
	now := c.now()
	zone, offset := now.Zone()
	b.Add(c.seconds, float64(now.UnixNano())/nanoseconds)
	b.Add(c.offset, float64(offset), zone)
	if c.sources == nil {
		if err := c.find(); err != nil {
			return err
		}
	}
	var errs error
	for _, s := range c.sources {
		errs = errors.Join(errs, c.add(b, s))
	}
	return errs
}

// find lists the clock sources, which are those of the kernel's code and not
// of devices. node_exporter numbers them as they come.
func (c *clock) find() error {
	list, err := entries(c.dir)
	if err != nil && !errors.Is(err, collect.ErrNoData) {
		return err
	}
	for _, name := range list {
		if !strings.HasPrefix(name, "clocksource") {
			continue
		}
		dir := filepath.Join(c.dir, name)
		c.sources = append(c.sources, clockSource{
			strconv.Itoa(len(c.sources)), dir + "/available_clocksource", dir + "/current_clocksource",
		})
	}
	return nil
}

func (c *clock) add(b *metric.Batch, s clockSource) error {
	text, err := c.reader.text(s.available)
	if err != nil {
		return err
	}
	for word := range bytes.FieldsSeq(text) {
		b.Add(c.available, 1, s.number, c.names.text(word))
	}
	if text, err = c.reader.text(s.current); err != nil {
		return err
	}
	b.Add(c.current, 1, s.number, c.names.text(text))
	return nil
}
