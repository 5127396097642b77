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

// dmMultipath reads the multipath devices among those of the device mapper in
// /sys/block.
type dmMultipath struct {
	dir    string
	reader reader

	info, active, size, paths, pathsActive, pathsFailed, pathState *metric.Family
}

func newDMMultipath(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_dmmultipath_"+name, help, append([]string{"device"}, labels...)...)
	}
	return &dmMultipath{
		dir:         o.sysPath("block"),
		info:        gauge("device_info", "Names of a multipath device, value is always 1.", "sysfs_name", "uuid"),
		active:      gauge("device_active", "Whether the multipath device is active (1) or suspended (0).", "sysfs_name"),
		size:        gauge("device_size_bytes", "Size of the multipath device.", "sysfs_name"),
		paths:       gauge("device_paths", "Number of paths of the multipath device.", "sysfs_name"),
		pathsActive: gauge("device_paths_active", "Number of paths whose device is running (SCSI) or live (NVMe).", "sysfs_name"),
		pathsFailed: gauge("device_paths_failed", "Number of paths whose device is in another state.", "sysfs_name"),
		pathState:   gauge("path_state", "State of the device under a path, value is always 1.", "path", "state"),
	}
}

// Families implements collect.Collector.
func (c *dmMultipath) Families() []*metric.Family {
	return []*metric.Family{c.info, c.active, c.size, c.paths, c.pathsActive, c.pathsFailed, c.pathState}
}

// Collect implements collect.Collector.
func (c *dmMultipath) Collect(_ context.Context, b *metric.Batch) error {
	names, err := entries(c.dir)
	if unreadable(err) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	if err != nil {
		return err
	}
	var errs error
	for _, name := range names {
		if strings.HasPrefix(name, "dm-") {
			errs = errors.Join(errs, c.collectDevice(b, name))
		}
	}
	return errs
}

func (c *dmMultipath) collectDevice(b *metric.Batch, sysfsName string) error {
	dir := filepath.Join(c.dir, sysfsName)
	uuid, err := c.reader.label(filepath.Join(dir, "dm", "uuid"))
	if !strings.HasPrefix(uuid, "mpath-") {
		return err
	}
	data, err := c.reader.text(filepath.Join(dir, "dm", "name"))
	if err != nil {
		return err
	}
	device := string(data)
	suspended, err := c.reader.uint(filepath.Join(dir, "dm", "suspended"))
	if err != nil {
		return err
	}
	sectors, err := c.reader.uint(filepath.Join(dir, "size"))
	if err != nil {
		return err
	}
	b.Add(c.info, 1, device, sysfsName, uuid)
	b.Add(c.active, oneIf(suspended != 1), device, sysfsName)
	b.Add(c.size, float64(sectors*sectorSize), device, sysfsName)
	return c.collectPaths(b, device, sysfsName)
}

func (c *dmMultipath) collectPaths(b *metric.Batch, device, sysfsName string) error {
	paths, errs := present(filepath.Join(c.dir, sysfsName, "slaves"))
	active, failed := 0, 0
	for _, path := range paths {
		data, err := c.reader.text(filepath.Join(c.dir, path, "device", "state"))
		if err != nil {
			// A path whose device is gone is not one that works.
			failed++
			errs = errors.Join(errs, err)
			continue
		}
		if state := string(data); state == "running" || state == "live" {
			active++
		} else {
			failed++
		}
		b.Add(c.pathState, 1, device, path, string(data))
	}
	b.Add(c.paths, float64(len(paths)), device, sysfsName)
	b.Add(c.pathsActive, float64(active), device, sysfsName)
	b.Add(c.pathsFailed, float64(failed), device, sysfsName)
	return errs
}
