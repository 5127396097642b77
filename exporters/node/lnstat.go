package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// lnstat reads the caches of the network stack, as the program of that name.
// Its families are named by the kernel.
type lnstat struct {
	dir      string
	reader   reader
	families map[string]*metric.Family // by the name of the column, nil for one that is none
}

func newLnstat(o *Options) collect.Collector {
	return &lnstat{dir: o.procPath("net", "stat"), families: map[string]*metric.Family{}}
}

// Families implements collect.Collector.
func (c *lnstat) Families() []*metric.Family { return nil }

// Collect implements collect.Collector.
func (c *lnstat) Collect(_ context.Context, b *metric.Batch) error {
	files, err := entries(c.dir)
	if err != nil && !errors.Is(err, collect.ErrNoData) {
		return err
	}
	var errs []error
	for _, name := range files {
		path := filepath.Join(c.dir, name)
		data, err := c.reader.read(path)
		if err == nil {
			err = c.parse(path, data, name, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parse reads the names of the columns, and a line of hexadecimal numbers for
// each processor.
func (c *lnstat) parse(path string, data []byte, name string, b *metric.Batch) error {
	l := newLines(path, data)
	var columns []*metric.Family
	for l.next() {
		if l.n == 1 {
			for _, column := range bytes.Fields(l.line) {
				columns = append(columns, c.family(string(column)))
			}
			continue
		}
		cpu := strconv.Itoa(l.n - 2)
		rest := l.line
		for _, f := range columns {
			var number []byte
			if number, rest = field(rest); len(number) == 0 {
				break
			}
			v, err := strconv.ParseUint(string(number), 16, 64)
			if err != nil {
				return l.errorf("%s is not a hexadecimal number", quote(number))
			}
			if f != nil {
				b.Add(f, float64(v), name, cpu)
			}
		}
	}
	return l.end()
}

// family finds or declares the family of a column.
func (c *lnstat) family(column string) *metric.Family {
	f, ok := c.families[column]
	if ok {
		return f
	}
	if full := "node_lnstat_" + column + "_total"; metric.ValidName(full) {
		f = metric.NewCounter(full, "Counter "+column+" of the network caches.", "subsystem", "cpu")
	}
	if len(c.families) >= maxKnown {
		clear(c.families)
	}
	c.families[column] = f
	return f
}
