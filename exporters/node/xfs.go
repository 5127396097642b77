package node

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// xfs reads the statistics of the mounted file systems in /sys/fs/xfs. What
// the numbers mean is in fs/xfs/xfs_stats.h of the kernel.
type xfs struct {
	dir    string
	reader reader
	lines  []xfsLine
	values [][xfsColumns]uint64 // of lines
}

// xfsColumns is more than a line has whose numbers are exposed.
const xfsColumns = 8

// xfsLine is a line of the statistics: a word and numbers, each of which is a
// family.
type xfsLine struct {
	word     string
	families []*metric.Family
}

func newXFS(o *Options) collect.Collector {
	line := func(word, prefix string, names ...string) xfsLine {
		l := xfsLine{word: word}
		for _, name := range names {
			name = prefix + name
			l.families = append(l.families, metric.NewCounter("node_xfs_"+name+"_total", xfsHelp(name), "device"))
		}
		return l
	}
	c := &xfs{
		dir: o.sysPath("fs", "xfs"),
		lines: []xfsLine{
			line("extent_alloc", "extent_allocation_", "extents_allocated", "blocks_allocated", "extents_freed", "blocks_freed"),
			line("abt", "allocation_btree_", "lookups", "compares", "records_inserted", "records_deleted"),
			line("blk_map", "block_mapping_", "reads", "writes", "unmaps", "extent_list_insertions", "extent_list_deletions",
				"extent_list_lookups", "extent_list_compares"),
			line("bmbt", "block_map_btree_", "lookups", "compares", "records_inserted", "records_deleted"),
			line("dir", "directory_operation_", "lookup", "create", "remove", "getdents"),
			line("ig", "inode_operation_", "attempts", "found", "recycled", "missed", "duplicates", "reclaims", "attribute_changes"),
			line("rw", "", "write_calls", "read_calls"),
			line("vnodes", "vnode_", "active", "allocate", "get", "hold", "release", "reclaim", "remove"),
		},
	}
	c.values = make([][xfsColumns]uint64, len(c.lines))
	return c
}

// xfsHelp says what a family counts.
func xfsHelp(name string) string {
	switch name {
	case "directory_operation_lookup":
		return "Number of file name directory lookups which miss the operating systems directory name lookup cache."
	case "inode_operation_recycled":
		return "Number of times an XFS inode was found in the cache, but was being recycled."
	case "inode_operation_duplicates":
		return "Number of times a missing XFS inode had been added to the cache by another process meanwhile."
	case "inode_operation_reclaims":
		return "Number of times an XFS inode was reclaimed from the cache to free memory for another purpose."
	case "read_calls":
		return "Number of read(2) system calls made to files in a filesystem."
	case "write_calls":
		return "Number of write(2) system calls made to files in a filesystem."
	case "vnode_active":
		return "Number of vnodes not on free lists for a filesystem."
	default:
		return "XFS statistic " + name + " of a filesystem."
	}
}

// Families implements collect.Collector.
func (c *xfs) Families() []*metric.Family {
	var all []*metric.Family
	for _, l := range c.lines {
		all = append(all, l.families...)
	}
	return all
}

// Collect implements collect.Collector.
func (c *xfs) Collect(_ context.Context, b *metric.Batch) error {
	devices, errs := present(c.dir)
	for _, device := range devices {
		path := filepath.Join(c.dir, device, "stats", "stats")
		data, err := c.reader.read(path)
		if unreadable(err) || notDirectory(err) { // stats of all file systems, and debugging
			continue
		}
		if err == nil {
			clear(c.values)
			err = parseXFS(path, data, c.lines, c.values)
		}
		errs = errors.Join(errs, err)
		if err != nil {
			continue
		}
		for i, l := range c.lines {
			for j, f := range l.families {
				b.Add(f, float64(c.values[i][j]), device)
			}
		}
	}
	return errs
}

// parseXFS reads the wanted lines into values. Other lines, and numbers that
// new kernels put behind the known ones, are passed over.
func parseXFS(path string, data []byte, wanted []xfsLine, values [][xfsColumns]uint64) error {
	l := newLines(path, data)
	for l.next() {
		word, rest := field(l.line)
		for i := range wanted {
			if wanted[i].word != string(word) {
				continue
			}
			n, err := parseUints(rest, values[i][:len(wanted[i].families)])
			if err != nil {
				return l.errorf("%s: %w", word, err)
			}
			if n < len(wanted[i].families) {
				return l.errorf("%s has %d numbers, at least %d are expected", word, n, len(wanted[i].families))
			}
		}
	}
	return l.end()
}
