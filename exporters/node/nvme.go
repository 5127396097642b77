package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// nvme reads the controllers in /sys/class/nvme and their namespaces.
type nvme struct {
	dir    string
	reader reader

	info, namespace, capacity, size, used, block *metric.Family
}

func newNVMe(o *Options) collect.Collector {
	namespace := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_nvme_namespace_"+name, help, append([]string{"device", "nsid"}, labels...)...)
	}
	return &nvme{
		dir: o.sysPath("class", "nvme"),
		info: metric.NewGauge("node_nvme_info", "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
			"device", "firmware_revision", "model", "serial", "state", "cntlid"),
		namespace: namespace("info", "Information about NVMe namespaces. Value is always 1.", "ana_state"),
		capacity:  namespace("capacity_bytes", "Capacity of the NVMe namespace in bytes."),
		size:      namespace("size_bytes", "Size of the NVMe namespace in bytes."),
		used:      namespace("used_bytes", "Used space of the NVMe namespace in bytes."),
		block:     namespace("logical_block_size_bytes", "Logical block size of the NVMe namespace in bytes."),
	}
}

// Families implements collect.Collector.
func (c *nvme) Families() []*metric.Family {
	return []*metric.Family{c.info, c.namespace, c.capacity, c.size, c.used, c.block}
}

// Collect implements collect.Collector.
func (c *nvme) Collect(_ context.Context, b *metric.Batch) error {
	devices, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, device := range devices {
		errs = errors.Join(errs, c.collectDevice(b, filepath.Join(c.dir, device), device))
	}
	return errs
}

func (c *nvme) collectDevice(b *metric.Batch, dir, device string) error {
	texts, errs := c.reader.labels(dir, "firmware_rev", "model", "serial", "state", "cntlid")
	b.Add(c.info, 1, append([]string{device}, texts...)...)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	for _, name := range names {
		if _, id, ok := nvmeNamespace(name); ok {
			errs = errors.Join(errs, c.collectNamespace(b, filepath.Join(dir, name), device, id))
		}
	}
	return errs
}

func (c *nvme) collectNamespace(b *metric.Batch, dir, device, id string) error {
	state, err := c.reader.label(filepath.Join(dir, "ana_state"))
	if state == "" { // of a namespace with one path only
		state = "unknown"
	}
	b.Add(c.namespace, 1, device, id, state)
	block, err1 := c.reader.uint(filepath.Join(dir, "queue", "logical_block_size"))
	size, err2 := c.reader.uint(filepath.Join(dir, "size"))
	if errs := errors.Join(err, err1, err2); errs != nil {
		return errs
	}
	b.Add(c.block, float64(block), device, id)
	b.Add(c.size, float64(size*block), device, id)
	b.Add(c.capacity, float64(size*block), device, id)
	used, err := c.reader.uint(filepath.Join(dir, "nuse"))
	if absent(err) { // before Linux 6.8
		return nil
	}
	if err == nil {
		b.Add(c.used, float64(used*block), device, id)
	}
	return err
}

// nvmeNamespace takes the name of a namespace, such as nvme0n1, apart into the
// name of its controller and its number. nvme0c1n1 is a path to one.
func nvmeNamespace(name string) (controller, id string, ok bool) {
	i := strings.LastIndexByte(name, 'n')
	if i < 0 {
		return "", "", false
	}
	_, ok = numbered(name[:i], "nvme")
	return name[:i], name[i+1:], ok && digits([]byte(name[i+1:]))
}
