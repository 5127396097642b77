package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// pressure reads /proc/pressure: how long tasks waited for a resource, see
// Documentation/accounting/psi.rst of the kernel.
type pressure struct {
	reader    reader
	resources [4]pressureResource
}

// pressureResource is a file of /proc/pressure. A family is nil where the line
// is not exposed: the kernel says nothing of use by it.
type pressureResource struct {
	path             string
	waiting, stalled *metric.Family // of the lines some and full
}

func newPressure(o *Options) collect.Collector {
	waiting := func(name, what string) *metric.Family {
		return metric.NewCounter("node_pressure_"+name+"_waiting_seconds_total", "Total time in seconds that processes have waited "+what)
	}
	stalled := func(name, what string) *metric.Family {
		return metric.NewCounter("node_pressure_"+name+"_stalled_seconds_total", "Total time in seconds no process could make progress due to "+what)
	}
	return &pressure{resources: [4]pressureResource{
		{o.procPath("pressure", "cpu"), waiting("cpu", "for CPU time"), nil},
		{o.procPath("pressure", "io"), waiting("io", "due to IO congestion"), stalled("io", "IO congestion")},
		{o.procPath("pressure", "memory"), waiting("memory", "for memory"), stalled("memory", "memory congestion")},
		{o.procPath("pressure", "irq"), nil, stalled("irq", "IRQ congestion")},
	}}
}

// Families implements collect.Collector.
func (c *pressure) Families() []*metric.Family {
	var all []*metric.Family
	for _, r := range c.resources {
		for _, f := range []*metric.Family{r.waiting, r.stalled} {
			if f != nil {
				all = append(all, f)
			}
		}
	}
	return all
}

// Collect implements collect.Collector. Kernels know the resources since
// different versions, and may have been told to count none.
func (c *pressure) Collect(_ context.Context, b *metric.Batch) error {
	var errs error
	found := 0
	for i := range c.resources {
		err := c.collect(&c.resources[i], b)
		switch {
		case err == nil:
			found++
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("%w, psi=1 on the kernel's command line switches it on: %w", collect.ErrNoData, err)
		case !errors.Is(err, fs.ErrNotExist):
			errs = errors.Join(errs, err)
		}
	}
	if errs == nil && found == 0 {
		return fmt.Errorf("%w: no /proc/pressure", collect.ErrNoData)
	}
	return errs
}

func (c *pressure) collect(r *pressureResource, b *metric.Batch) error {
	data, err := c.reader.keep(r.path, 0)
	if err != nil {
		return err
	}
	p, err := parsePressure(r.path, data)
	if err != nil {
		return err
	}
	// In two steps, which round as those of node_exporter.
	const thousand = 1000
	if r.waiting != nil {
		if !p.hasSome {
			return fmt.Errorf("%s:1: %w: no line some", r.path, errSyntax)
		}
		b.Add(r.waiting, float64(p.some)/thousand/thousand)
	}
	if r.stalled != nil {
		if !p.hasFull {
			return fmt.Errorf("%s:1: %w: no line full", r.path, errSyntax)
		}
		b.Add(r.stalled, float64(p.full)/thousand/thousand)
	}
	return nil
}

// pressureTotals are the totals of a resource in microseconds.
type pressureTotals struct {
	some, full       uint64
	hasSome, hasFull bool
}

// parsePressure reads a file of /proc/pressure; lines it does not know are
// skipped.
func parsePressure(path string, data []byte) (p pressureTotals, err error) {
	l := newOpenLines(path, data)
	for l.next() {
		kind, rest := field(l.line)
		full := string(kind) == "full"
		if !full && string(kind) != "some" {
			continue
		}
		_, number, ok := bytes.Cut(rest, []byte(" total="))
		number, _ = field(number)
		v, err := parseUint(number)
		if !ok || err != nil {
			return p, l.errorf("%s has no total", quote(l.line))
		}
		if full {
			p.full, p.hasFull = v, true
		} else {
			p.some, p.hasSome = v, true
		}
	}
	return p, l.end()
}
