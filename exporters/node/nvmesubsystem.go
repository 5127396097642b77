package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// nvmeSubsystem reads the NVMe subsystems in /sys/class/nvme-subsystem and the
// controllers that are paths to them.
type nvmeSubsystem struct {
	dir    string
	reader reader

	info, namespace, paths, pathsLive, pathState *metric.Family
}

func newNVMeSubsystem(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_nvmesubsystem_"+name, help, append([]string{"subsystem"}, labels...)...)
	}
	return &nvmeSubsystem{
		dir:       o.sysPath("class", "nvme-subsystem"),
		info:      gauge("info", "Non-numeric information about an NVMe subsystem.", "nqn", "model", "serial", "iopolicy"),
		namespace: gauge("namespace_info", "Maps an NVMe namespace block device to its subsystem.", "device"),
		paths:     gauge("paths", "Number of controller paths for an NVMe subsystem."),
		pathsLive: gauge("paths_live", "Number of controller paths in live state for an NVMe subsystem."),
		pathState: gauge("path_state", "Current NVMe controller path state (1 for the current state, 0 for all others).", "controller", "transport", "state"),
	}
}

// Families implements collect.Collector.
func (c *nvmeSubsystem) Families() []*metric.Family {
	return []*metric.Family{c.info, c.namespace, c.paths, c.pathsLive, c.pathState}
}

// Collect implements collect.Collector.
func (c *nvmeSubsystem) Collect(_ context.Context, b *metric.Batch) error {
	names, err := entries(c.dir)
	if unreadable(err) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	if err != nil {
		return err
	}
	var errs error
	for _, name := range names {
		if strings.HasPrefix(name, "nvme-subsys") {
			errs = errors.Join(errs, c.collectSubsystem(b, filepath.Join(c.dir, name), name))
		}
	}
	return errs
}

func (c *nvmeSubsystem) collectSubsystem(b *metric.Batch, dir, subsystem string) error {
	texts, errs := c.reader.labels(dir, "subsysnqn", "model", "serial", "iopolicy")
	b.Add(c.info, 1, append([]string{subsystem}, texts...)...)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	paths, live := 0, 0
	for _, name := range names {
		if _, _, ok := nvmeNamespace(name); ok {
			b.Add(c.namespace, 1, subsystem, name)
		}
		if _, ok := numbered(name, "nvme"); !ok {
			continue
		}
		texts, err := c.reader.labels(filepath.Join(dir, name), "state", "transport")
		errs = errors.Join(errs, err)
		state := nvmeState(texts[0])
		paths++
		if state == "live" {
			live++
		}
		for _, s := range [...]string{"connecting", "dead", "deleting", "live", "new", "resetting", "unknown"} {
			b.Add(c.pathState, oneIf(s == state), subsystem, name, texts[1], s)
		}
	}
	b.Add(c.paths, float64(paths), subsystem)
	b.Add(c.pathsLive, float64(live), subsystem)
	return errs
}

// nvmeState is the state of a controller as the label has it.
func nvmeState(text string) string {
	switch text {
	case "live", "connecting", "resetting", "dead", "deleting", "new":
		return text
	case "deleting (no IO)":
		return "deleting"
	default:
		return "unknown"
	}
}
