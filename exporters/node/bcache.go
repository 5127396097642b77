package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// BcacheOptions of the collector bcache.
type BcacheOptions struct {
	// PriorityStats adds what takes the kernel long to compute.
	PriorityStats bool
}

func bcacheFlags(app *kingpin.Application, f *flagSet) {
	app.Flag("collector.bcache.priorityStats", "Expose expensive priority stats.").
		BoolVar(&f.options.Bcache.PriorityStats)
}

// bcache reads the block caches in /sys/fs/bcache, see
// Documentation/admin-guide/bcache.rst of the kernel.
type bcache struct {
	dir    string
	reader reader

	set, backing, cache deviceNumbers
	readaheads          *metric.Family
	writeback, priority []bcacheField
	withPriority        bool
}

// bcacheField is a line of a file with several values.
type bcacheField struct {
	name   string
	family *metric.Family
}

func newBcache(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_bcache_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	counter := func(name, help string, labels ...string) *metric.Family {
		return metric.NewCounter("node_bcache_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	const backing, cache, total = "backing_device", "cache_device", "stats_total/"
	return &bcache{
		dir: o.sysPath("fs", "bcache"),
		set: deviceNumbers{
			{file: "average_key_size", family: gauge("average_key_size_sectors", "Average data per key in the btree (sectors).")},
			{file: "btree_cache_size", family: gauge("btree_cache_size_bytes", "Amount of memory currently used by the btree cache.")},
			{file: "cache_available_percent", family: gauge("cache_available_percent", "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).")},
			{file: "congested", family: gauge("congested", "Congestion.")},
			{file: "root_usage_percent", family: gauge("root_usage_percent", "Percentage of the root btree node in use.")},
			{file: "tree_depth", family: gauge("tree_depth", "Depth of the btree.")},
			{file: "internal/active_journal_entries", family: gauge("active_journal_entries", "Number of journal entries that are newer than the index.")},
			{file: "internal/btree_nodes", family: gauge("btree_nodes", "Total nodes in the btree.")},
			// The file's name says microseconds, its value is in nanoseconds.
			{file: "internal/btree_read_average_duration_us", family: gauge("btree_read_average_duration_seconds", "Average btree read duration."), factor: 1e-9},
			{file: "internal/cache_read_races", family: counter("cache_read_races_total", "Reads from the cache whose bucket was used again and made invalid meanwhile.")},
		},
		backing: deviceNumbers{
			{file: "dirty_data", family: gauge("dirty_data_bytes", "Amount of dirty data for this backing device in the cache.", backing)},
			{file: total + "bypassed", family: counter("bypassed_bytes_total", "Amount of IO (both reads and writes) that has bypassed the cache.", backing)},
			{file: total + "cache_hits", family: counter("cache_hits_total", "Hits counted per individual IO as bcache sees them.", backing)},
			{file: total + "cache_misses", family: counter("cache_misses_total", "Misses counted per individual IO as bcache sees them.", backing)},
			{file: total + "cache_bypass_hits", family: counter("cache_bypass_hits_total", "Hits for IO intended to skip the cache.", backing)},
			{file: total + "cache_bypass_misses", family: counter("cache_bypass_misses_total", "Misses for IO intended to skip the cache.", backing)},
			{file: total + "cache_miss_collisions", family: counter("cache_miss_collisions_total", "Times that data to be inserted for a miss was already there.", backing)},
		},
		readaheads: counter("cache_readaheads_total", "Count of times readahead occurred.", backing),
		writeback: []bcacheField{
			{"rate", gauge("writeback_rate", "Current writeback rate for this backing device in bytes.", backing)},
			{"target", gauge("dirty_target_bytes", "Current dirty data target threshold for this backing device in bytes.", backing)},
			{"proportional", gauge("writeback_rate_proportional_term", "Current result of proportional controller, part of writeback rate.", backing)},
			{"integral", gauge("writeback_rate_integral_term", "Current result of integral controller, part of writeback rate.", backing)},
			{"change", gauge("writeback_change", "Last writeback rate change step for this backing device.", backing)},
		},
		cache: deviceNumbers{
			{file: "io_errors", family: gauge("io_errors", "Number of errors that have occurred, decayed by io_error_halflife.", cache)},
			{file: "metadata_written", family: counter("metadata_written_bytes_total", "Sum of all non data writes (btree writes and all other metadata).", cache)},
			{file: "written", family: counter("written_bytes_total", "Sum of all data that has been written to the cache.", cache)},
		},
		priority: []bcacheField{
			{"Unused", gauge("priority_stats_unused_percent", "The percentage of the cache that doesn't contain any data.", cache)},
			{"Metadata", gauge("priority_stats_metadata_percent", "Bcache's metadata overhead.", cache)},
		},
		withPriority: o.Bcache.PriorityStats,
	}
}

// Families implements collect.Collector.
func (c *bcache) Families() []*metric.Family {
	all := append(c.set.families(), c.readaheads)
	all = append(append(all, c.backing.families()...), c.cache.families()...)
	for _, f := range c.writeback {
		all = append(all, f.family)
	}
	if c.withPriority {
		for _, f := range c.priority {
			all = append(all, f.family)
		}
	}
	return all
}

// Collect implements collect.Collector.
func (c *bcache) Collect(_ context.Context, b *metric.Batch) error {
	sets, errs := present(c.dir)
	for _, uuid := range sets {
		if strings.Contains(uuid, "-") { // register, pendings_cleanup and the like are not sets
			errs = errors.Join(errs, c.collectSet(b, uuid))
		}
	}
	return errs
}

func (c *bcache) collectSet(b *metric.Batch, uuid string) error {
	dir := filepath.Join(c.dir, uuid)
	errs := c.set.collect(b, dir, c.size, uuid)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	for _, name := range names {
		if _, ok := numbered(name, "bdev"); ok {
			errs = errors.Join(errs, c.collectBacking(b, filepath.Join(dir, name), uuid, name))
		}
		if _, ok := numbered(name, "cache"); ok {
			errs = errors.Join(errs, c.collectCache(b, filepath.Join(dir, name), uuid, name))
		}
	}
	return errs
}

func (c *bcache) collectBacking(b *metric.Batch, dir, uuid, name string) error {
	errs := c.backing.collect(b, dir, c.size, uuid, name)
	// Linux 5.17 took away the counter, which was always 0 for long.
	if v, err := c.size(filepath.Join(dir, "stats_total", "cache_readaheads")); err == nil && v != 0 {
		b.Add(c.readaheads, v, uuid, name)
	}
	return errors.Join(errs, c.collectFields(b, filepath.Join(dir, "writeback_rate_debug"), c.writeback, uuid, name))
}

func (c *bcache) collectCache(b *metric.Batch, dir, uuid, name string) error {
	errs := c.cache.collect(b, dir, c.size, uuid, name)
	if !c.withPriority {
		return errs
	}
	return errors.Join(errs, c.collectFields(b, filepath.Join(dir, "priority_stats"), c.priority, uuid, name))
}

func (c *bcache) collectFields(b *metric.Batch, path string, fields []bcacheField, labels ...string) error {
	data, err := c.reader.read(path)
	if err != nil {
		return err
	}
	values := make([]float64, len(fields))
	err = parseBcacheFields(path, data, fields, values)
	for i, f := range fields {
		b.Add(f.family, values[i], labels...)
	}
	return err
}

// size reads an attribute, which may be written for people.
func (c *bcache) size(path string) (float64, error) {
	data, err := c.reader.text(path)
	if err != nil {
		return 0, err
	}
	v, ok := parseBcacheSize(data)
	if !ok {
		return 0, fmt.Errorf("%s:1: %w: %s is not a size", path, errSyntax, quote(data))
	}
	return v, nil
}

// parseBcacheFields reads lines such as "rate:  1.1M/sec" into the values of
// the fields that they name.
func parseBcacheFields(path string, data []byte, fields []bcacheField, values []float64) error {
	l := newLines(path, data)
	for l.next() {
		name, rest, ok := bytes.Cut(l.line, []byte(":"))
		if !ok {
			return l.errorf("%s has no colon", quote(l.line))
		}
		for i, f := range fields {
			if f.name != string(name) {
				continue
			}
			text := bytes.TrimSpace(rest)
			text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("/sec")), []byte("%"))
			if values[i], ok = parseBcacheSize(text); !ok {
				return l.errorf("%s: %s is not a size", name, quote(text))
			}
		}
	}
	return l.end()
}

// parseBcacheSize reads what bch_hprint of the kernel writes: a whole number,
// or one with a digit behind the point and a letter for the power of 1024. The
// digits behind the point are those of a number of 1024ths divided by 100, so
// that .10 is more than .9: node_exporter counts them as 1/10.24, and so do we.
func parseBcacheSize(s []byte) (float64, bool) {
	sign := 1.0
	if rest, ok := bytes.CutPrefix(s, []byte("-")); ok {
		sign, s = -1, rest
	}
	unit := 1.0
	if n := len(s); n > 0 && s[n-1] > '9' {
		power := strings.IndexByte("kMGTPEZY", s[n-1])
		if power < 0 {
			return 0, false
		}
		for range power + 1 {
			unit *= 1024
		}
		s = s[:n-1]
	}
	whole, fraction, point := bytes.Cut(s, []byte("."))
	if !digits(whole) || point && !digits(fraction) {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(whole), 64)
	if err != nil {
		return 0, false
	}
	if point {
		f, err := strconv.ParseFloat(string(fraction), 64)
		if err != nil {
			return 0, false
		}
		v += f / 10.24
	}
	return sign * float64(uint64(min(v*unit, 1<<63))), true
}
