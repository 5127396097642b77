package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// drm reads the graphics cards of the driver amdgpu, see
// Documentation/gpu/amdgpu/driver-misc.rst and thermal.rst of the kernel. Other
// drivers have no such files.
type drm struct {
	dir     string
	reader  reader
	info    *metric.Family
	numbers deviceNumbers
}

func newDRM(o *Options) collect.Collector {
	number := func(file, name, help string) number {
		return number{file: file, family: metric.NewGauge("node_drm_"+name, help, "card")}
	}
	return &drm{
		dir: o.sysPath("class", "drm"),
		info: metric.NewGauge("node_drm_card_info", "What a graphics card is, value is always 1.",
			"card", "memory_vendor", "power_performance_level", "unique_id", "vendor"),
		numbers: deviceNumbers{
			number("gpu_busy_percent", "gpu_busy_percent", "How busy the GPU is, in percent."),
			number("mem_info_gtt_total", "memory_gtt_size_bytes", "Size of the memory of the host that the GPU may use, in bytes."),
			number("mem_info_gtt_used", "memory_gtt_used_bytes", "Memory of the host that the GPU uses, in bytes."),
			number("mem_info_vis_vram_total", "memory_vis_vram_size_bytes", "Size of the card's memory that the host can see, in bytes."),
			number("mem_info_vis_vram_used", "memory_vis_vram_used_bytes", "The card's memory that the host can see and that is used, in bytes."),
			number("mem_info_vram_total", "memory_vram_size_bytes", "Size of the card's memory in bytes."),
			number("mem_info_vram_used", "memory_vram_used_bytes", "The card's memory that is used, in bytes."),
		},
	}
}

// Families implements collect.Collector.
func (c *drm) Families() []*metric.Family { return append(c.numbers.families(), c.info) }

// Collect implements collect.Collector.
func (c *drm) Collect(_ context.Context, b *metric.Batch) error {
	names, err := present(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, name := range names {
		if _, ok := numbered(name, "card"); ok { // card0-HDMI-A-1 is a connector
			errs = errors.Join(errs, c.collectCard(b, name))
		}
	}
	return errs
}

func (c *drm) collectCard(b *metric.Batch, card string) error {
	dir := filepath.Join(c.dir, card, "device")
	uevent, err := c.reader.read(filepath.Join(dir, "uevent"))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isAMDGPU(uevent) {
		return nil
	}
	texts, err := c.reader.labels(dir, "mem_info_vram_vendor", "power_dpm_force_performance_level", "unique_id")
	b.Add(c.info, 1, append(append([]string{card}, texts...), "amd")...)
	return errors.Join(err, c.numbers.collect(b, dir, c.number, card))
}

// number reads an attribute. What the card does not tell, as many an integrated
// one or one that sleeps, is 0 with node_exporter.
func (c *drm) number(path string) (float64, error) {
	v, err := c.reader.unsigned(path)
	if absent(err) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EBUSY) {
		return 0, nil
	}
	return v, err
}

// isAMDGPU says whether a file uevent names the driver.
func isAMDGPU(uevent []byte) bool {
	for line := range bytes.Lines(uevent) {
		if string(bytes.TrimRight(line, "\n")) == "DRIVER=amdgpu" {
			return true
		}
	}
	return false
}
