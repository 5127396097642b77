package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// dmi reads what the firmware says of the machine, once: it cannot change
// while the kernel runs.
type dmi struct {
	dir           string
	reader        reader
	names, values []string
	info          *metric.Family
}

func newDMI(o *Options) collect.Collector {
	return &dmi{
		dir: o.sysPath("class", "dmi", "id"),
		info: metric.NewGauge("node_dmi_info",
			"What the firmware says of the machine, as far as it does, in labels named as the files in /sys/class/dmi/id."),
	}
}

// Families implements collect.Collector.
func (c *dmi) Families() []*metric.Family { return []*metric.Family{c.info} }

// Collect implements collect.Collector.
func (c *dmi) Collect(_ context.Context, b *metric.Batch) error {
	var err error
	if len(c.names) == 0 {
		err = c.read()
	}
	if len(c.names) > 0 {
		b.AddExtra(c.info, 1, nil, c.names, c.values)
	}
	return err
}

func (c *dmi) read() error {
	present, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, file := range present {
		label, ok := dmiLabel(file)
		if !ok {
			continue
		}
		data, err := c.reader.text(filepath.Join(c.dir, file))
		switch {
		case err == nil:
			c.names, c.values = append(c.names, label), append(c.values, string(data))
		case !unreadable(err): // serial numbers are root's
			errs = errors.Join(errs, err)
		}
	}
	if len(c.names) == 0 && errs == nil {
		return fmt.Errorf("%s: nothing there that may be read: %w", c.dir, collect.ErrNoData)
	}
	return errs
}

// dmiLabel names the label that a file in /sys/class/dmi/id is exposed as.
func dmiLabel(file string) (string, bool) {
	switch file {
	case "sys_vendor":
		return "system_vendor", true
	case "bios_date", "bios_release", "bios_vendor", "bios_version",
		"board_asset_tag", "board_name", "board_serial", "board_vendor", "board_version",
		"chassis_asset_tag", "chassis_serial", "chassis_vendor", "chassis_version",
		"product_family", "product_name", "product_serial", "product_sku", "product_uuid", "product_version":
		return file, true
	default:
		return "", false
	}
}
