package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// conntrack reads how full the kernel's table of connections is, and its
// counters, which it sums up over the processors.
type conntrack struct {
	count, max, stat string // paths
	reader           reader
	entries, limit   *metric.Family
	families         [len(conntrackColumns)]*metric.Family
}

// conntrackColumns are the columns of /proc/net/stat/nf_conntrack that are
// exposed, and conntrackPlaces where they stand.
var conntrackColumns = [...]string{
	"found", "invalid", "ignore", "insert", "insert_failed", "drop", "early_drop", "search_restart",
}

const (
	// minConntrack is the number of columns before Linux 2.6.35.
	minConntrack = 16
	maxConntrack = 32
)

// conntrackPlaces are the columns of conntrackColumns, counted from 0.
var conntrackPlaces = [len(conntrackColumns)]int{2, 4, 5, 8, 9, 10, 11, 16}

func newConntrack(o *Options) collect.Collector {
	c := &conntrack{
		count:   o.procPath("sys", "net", "netfilter", "nf_conntrack_count"),
		max:     o.procPath("sys", "net", "netfilter", "nf_conntrack_max"),
		stat:    o.procPath("net", "stat", "nf_conntrack"),
		entries: metric.NewGauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking."),
		limit:   metric.NewGauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table."),
	}
	help := [len(conntrackColumns)]string{
		"Number of searched entries which were successful.",
		"Number of packets seen which can not be tracked.",
		"Number of packets seen which are already connected to a conntrack entry.",
		"Number of entries inserted into the list.",
		"Number of entries for which list insertion was attempted but failed.",
		"Number of packets dropped due to conntrack failure.",
		"Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
		"Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
	}
	for i, name := range conntrackColumns {
		c.families[i] = metric.NewGauge("node_nf_conntrack_stat_"+name, help[i])
	}
	return c
}

// Families implements collect.Collector.
func (c *conntrack) Families() []*metric.Family {
	return append([]*metric.Family{c.entries, c.limit}, c.families[:]...)
}

// Collect implements collect.Collector. A kernel without the module
// nf_conntrack has no data.
func (c *conntrack) Collect(_ context.Context, b *metric.Batch) error {
	err := c.collect(b)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	return err
}

func (c *conntrack) collect(b *metric.Batch) error {
	n, err := c.reader.uint(c.count)
	if err != nil {
		return err
	}
	b.Add(c.entries, float64(n))
	if n, err = c.reader.uint(c.max); err != nil {
		return err
	}
	b.Add(c.limit, float64(n))
	data, err := c.reader.keep(c.stat, 0)
	if err != nil {
		return err
	}
	sums, err := parseConntrack(c.stat, data)
	if err != nil {
		return err
	}
	for i, place := range conntrackPlaces {
		b.Add(c.families[i], float64(sums[place]))
	}
	return nil
}

// parseConntrack sums up the columns over the lines, one for each processor.
// They are hexadecimal.
func parseConntrack(path string, data []byte) (sums [maxConntrack]uint64, err error) {
	l := newLines(path, data)
	for l.next() {
		if l.n == 1 {
			continue // the names of the columns
		}
		n, rest := 0, l.line
		for ; n < maxConntrack; n++ {
			var f []byte
			if f, rest = field(rest); len(f) == 0 {
				break
			}
			v, err := strconv.ParseUint(string(f), 16, 64)
			if err != nil {
				return sums, l.errorf("%s is not a hexadecimal number", quote(f))
			}
			sums[n] += v
		}
		if n < minConntrack {
			return sums, l.errorf("%d columns, at least %d are expected", n, minConntrack)
		}
	}
	return sums, l.end()
}
