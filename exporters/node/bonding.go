package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// bonding counts the devices below each bonding device, see
// Documentation/networking/bonding.rst of the kernel.
type bonding struct {
	dir            string
	reader         reader
	slaves, active *metric.Family
}

func newBonding(o *Options) collect.Collector {
	return &bonding{
		dir:    o.sysPath("class", "net"),
		slaves: metric.NewGauge("node_bonding_slaves", "Number of configured slaves per bonding interface.", "master"),
		active: metric.NewGauge("node_bonding_active", "Number of active slaves per bonding interface.", "master"),
	}
}

// Families implements collect.Collector.
func (c *bonding) Families() []*metric.Family { return []*metric.Family{c.slaves, c.active} }

// Collect implements collect.Collector.
func (c *bonding) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(filepath.Join(c.dir, "bonding_masters"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no bonding: %w", collect.ErrNoData)
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, master := range bytes.Fields(bytes.Clone(data)) {
		slaves, active, err := c.count(string(master))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.Add(c.slaves, float64(slaves), string(master))
		b.Add(c.active, float64(active), string(master))
	}
	return errors.Join(errs...)
}

func (c *bonding) count(master string) (slaves, active int, err error) {
	dir := filepath.Join(c.dir, master)
	data, err := c.reader.read(filepath.Join(dir, "bonding", "slaves"))
	if err != nil {
		return 0, 0, err
	}
	for _, slave := range bytes.Fields(bytes.Clone(data)) {
		status, err := c.reader.text(filepath.Join(dir, "lower_"+string(slave), "bonding_slave", "mii_status"))
		if errors.Is(err, fs.ErrNotExist) { // Linux before 3.15
			status, err = c.reader.text(filepath.Join(dir, "slave_"+string(slave), "bonding_slave", "mii_status"))
		}
		if err != nil {
			return 0, 0, err
		}
		slaves++
		if string(status) == "up" {
			active++
		}
	}
	return slaves, active, nil
}
