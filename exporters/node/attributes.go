package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// attributes is a collector whose families have one sample each, which is an
// attribute.
type attributes struct {
	reader reader
	list   []attributeFamily
	// noData says that a kernel without the attributes is no failure.
	noData bool
}

// attributeFamily is an attribute and what it is exposed as.
type attributeFamily struct {
	path   string
	family *metric.Family
	// divisor gives the base unit; 0 is 1.
	divisor float64
	// optional attributes are not there in every kernel.
	optional bool
}

// Families implements collect.Collector.
func (c *attributes) Families() []*metric.Family {
	all := make([]*metric.Family, len(c.list))
	for i, a := range c.list {
		all[i] = a.family
	}
	return all
}

// Collect implements collect.Collector.
func (c *attributes) Collect(_ context.Context, b *metric.Batch) error {
	var errs error
	for i := range c.list {
		a := &c.list[i]
		n, err := c.reader.int(a.path)
		switch {
		case err == nil:
			v := float64(n)
			if a.divisor != 0 {
				v /= a.divisor
			}
			b.Add(a.family, v)
		case errors.Is(err, fs.ErrNotExist) && a.optional:
		case errors.Is(err, fs.ErrNotExist) && c.noData:
			return fmt.Errorf("%w: %w", collect.ErrNoData, err)
		default:
			errs = errors.Join(errs, err)
		}
	}
	return errs
}
