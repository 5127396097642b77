package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// edac reads the counts of memory errors in /sys/devices/system/edac/mc, see
// Documentation/driver-api/edac.rst of the kernel.
type edac struct {
	dir    string
	reader reader

	correctable, uncorrectable               *metric.Family
	rowCorrectable, rowUncorrectable         *metric.Family
	channelCorrectable, channelUncorrectable *metric.Family
}

func newEDAC(o *Options) collect.Collector {
	counter := func(name, help string, labels ...string) *metric.Family {
		return metric.NewCounter("node_edac_"+name, help, append([]string{"controller"}, labels...)...)
	}
	return &edac{
		dir:                  o.sysPath("devices", "system", "edac", "mc"),
		correctable:          counter("correctable_errors_total", "Total correctable memory errors."),
		uncorrectable:        counter("uncorrectable_errors_total", "Total uncorrectable memory errors."),
		rowCorrectable:       counter("csrow_correctable_errors_total", "Total correctable memory errors for this csrow.", "csrow"),
		rowUncorrectable:     counter("csrow_uncorrectable_errors_total", "Total uncorrectable memory errors for this csrow.", "csrow"),
		channelCorrectable:   counter("channel_correctable_errors_total", "Total correctable memory errors for this channel.", "csrow", "channel", "dimm_label"),
		channelUncorrectable: counter("channel_uncorrectable_errors_total", "Total uncorrectable memory errors for this channel.", "csrow", "channel", "dimm_label"),
	}
}

// Families implements collect.Collector.
func (c *edac) Families() []*metric.Family {
	return []*metric.Family{
		c.correctable, c.uncorrectable, c.rowCorrectable, c.rowUncorrectable, c.channelCorrectable, c.channelUncorrectable,
	}
}

// Collect implements collect.Collector.
func (c *edac) Collect(_ context.Context, b *metric.Batch) error {
	names, errs := present(c.dir)
	for _, name := range names {
		if controller, ok := numbered(name, "mc"); ok {
			errs = errors.Join(errs, c.collectController(b, filepath.Join(c.dir, name), controller))
		}
	}
	return errs
}

func (c *edac) collectController(b *metric.Batch, dir, controller string) error {
	errs := errors.Join(
		c.add(b, c.correctable, dir, "ce_count", controller),
		// Errors that the hardware does not ascribe to a row.
		c.add(b, c.rowCorrectable, dir, "ce_noinfo_count", controller, "unknown"),
		c.add(b, c.uncorrectable, dir, "ue_count", controller),
		c.add(b, c.rowUncorrectable, dir, "ue_noinfo_count", controller, "unknown"),
	)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	for _, name := range names {
		if row, ok := numbered(name, "csrow"); ok {
			errs = errors.Join(errs, c.collectRow(b, filepath.Join(dir, name), controller, row))
		}
	}
	return errs
}

func (c *edac) collectRow(b *metric.Batch, dir, controller, row string) error {
	errs := errors.Join(
		c.add(b, c.rowCorrectable, dir, "ce_count", controller, row),
		c.add(b, c.rowUncorrectable, dir, "ue_count", controller, row),
	)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	for _, name := range names {
		channel, ok := strings.CutSuffix(name, "_ce_count")
		if !ok {
			continue
		}
		if channel, ok = numbered(channel, "ch"); !ok {
			continue
		}
		label := c.dimmLabel(filepath.Join(dir, "ch"+channel+"_dimm_label"))
		errs = errors.Join(errs, c.add(b, c.channelCorrectable, dir, name, controller, row, channel, label))
		if err := c.add(b, c.channelUncorrectable, dir, "ch"+channel+"_ue_count", controller, row, channel, label); !absent(err) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (c *edac) add(b *metric.Batch, f *metric.Family, dir, file string, labels ...string) error {
	v, err := c.reader.uint(filepath.Join(dir, file))
	if err == nil {
		b.Add(f, float64(v), labels...)
	}
	return err
}

// dimmLabel turns the kernel's mc#0csrow#1channel#0 into mc0_csrow1_channel0.
// Labels that people gave stay as they are but for these three.
func (c *edac) dimmLabel(path string) string {
	data, err := c.reader.text(path)
	if err != nil {
		return "unknown"
	}
	return strings.NewReplacer("#", "", "csrow", "_csrow", "channel", "_channel").Replace(string(data))
}
