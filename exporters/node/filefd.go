package node

import (
	"context"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// filefd reads /proc/sys/fs/file-nr: open files of the whole system and how
// many there may be.
type filefd struct {
	path               string
	reader             reader
	allocated, maximum *metric.Family
}

func newFilefd(o *Options) collect.Collector {
	return &filefd{
		path:      o.procPath("sys", "fs", "file-nr"),
		allocated: metric.NewGauge("node_filefd_allocated", "File descriptor statistics: allocated."),
		maximum:   metric.NewGauge("node_filefd_maximum", "File descriptor statistics: maximum."),
	}
}

// Families implements collect.Collector.
func (c *filefd) Families() []*metric.Family { return []*metric.Family{c.allocated, c.maximum} }

// Collect implements collect.Collector.
func (c *filefd) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.keep(c.path, 0)
	if err != nil {
		return err
	}
	allocated, maximum, err := parseFileNr(c.path, data)
	if err != nil {
		return err
	}
	b.Add(c.allocated, float64(allocated))
	b.Add(c.maximum, float64(maximum))
	return nil
}

// parseFileNr reads the allocated, the unused (0 since Linux 2.6) and the
// most file handles.
func parseFileNr(path string, data []byte) (allocated, maximum uint64, err error) {
	l := newLines(path, data)
	if !l.next() {
		return 0, 0, l.end()
	}
	var values [3]uint64
	n, err := parseUints(l.line, values[:])
	if err != nil {
		return 0, 0, l.errorf("%w", err)
	}
	if n < len(values) {
		return 0, 0, l.errorf("%d numbers, %d are expected", n, len(values))
	}
	return values[0], values[2], nil
}
