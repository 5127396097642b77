package node

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// watchdog reads the timers of /sys/class/watchdog, which reset the machine
// unless a program tells them that it is alive, see
// Documentation/watchdog/watchdog-kernel-api.rst of the kernel.
type watchdog struct {
	dir      string
	reader   reader
	families [len(watchdogNumbers)]*metric.Family
	info     *metric.Family
}

// watchdogNumbers are the attributes with a number, and watchdogWords those
// that become labels of node_watchdog_info.
var (
	watchdogNumbers = [...]string{"bootstatus", "fw_version", "nowayout", "timeleft", "timeout", "pretimeout", "access_cs0"}
	watchdogWords   = [...]string{"options", "identity", "state", "status", "pretimeout_governor"}
)

func newWatchdog(o *Options) collect.Collector {
	c := &watchdog{
		dir:  o.sysPath("class", "watchdog"),
		info: metric.NewGauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>", append([]string{"name"}, watchdogWords[:]...)...),
	}
	for i, name := range watchdogNumbers {
		family := "node_watchdog_" + name
		switch name {
		case "timeleft", "timeout", "pretimeout":
			family += "_seconds"
		}
		c.families[i] = metric.NewGauge(family, "Value of /sys/class/watchdog/<watchdog>/"+name, "name")
	}
	return c
}

// Families implements collect.Collector.
func (c *watchdog) Families() []*metric.Family {
	return append(c.families[:len(c.families):len(c.families)], c.info)
}

// Collect implements collect.Collector.
func (c *watchdog) Collect(_ context.Context, b *metric.Batch) error {
	devices, err := entries(c.dir)
	if err != nil {
		return noPermission(err)
	}
	var errs error
	for _, name := range devices {
		errs = errors.Join(errs, c.add(b, name))
	}
	return noPermission(errs)
}

func (c *watchdog) add(b *metric.Batch, name string) error {
	var errs error
	for i, attribute := range watchdogNumbers {
		v, err := c.reader.int(filepath.Join(c.dir, name, attribute))
		if err == nil {
			b.Add(c.families[i], float64(v), name)
		} else if !absent(err) {
			errs = errors.Join(errs, err)
		}
	}
	labels := [1 + len(watchdogWords)]string{name}
	for i, attribute := range watchdogWords {
		text, err := c.reader.text(filepath.Join(c.dir, name, attribute))
		if err == nil {
			labels[i+1] = string(text)
		} else if !absent(err) {
			errs = errors.Join(errs, err)
		}
	}
	b.Add(c.info, 1, labels[:]...)
	return errs
}
