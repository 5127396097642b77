package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// maxBcachefsCounters bounds the families made from the names of files in
// counters, of which there are about 100.
const maxBcachefsCounters = 1024

// bcachefs reads the file systems in /sys/fs/bcachefs. A counter that the
// kernel added is a family without any change here.
type bcachefs struct {
	dir    string
	reader reader
	// counters by the names of their files; nil for one that would have the
	// name of a declared family.
	counters map[string]*metric.Family

	info, cacheSize, compressed, uncompressed, errors, writes, writeSize *metric.Family
	device, bucketSize, buckets, durability, ioDone, ioErrors            *metric.Family
}

func newBcachefs(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_bcachefs_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	counter := func(name, help string, labels ...string) *metric.Family {
		return metric.NewCounter("node_bcachefs_"+name, help, append([]string{"uuid"}, labels...)...)
	}
	return &bcachefs{
		dir:          o.sysPath("fs", "bcachefs"),
		counters:     map[string]*metric.Family{},
		info:         gauge("info", "Filesystem information."),
		cacheSize:    gauge("btree_cache_size_bytes", "Btree cache memory usage in bytes."),
		compressed:   gauge("compression_compressed_bytes", "Compressed size by algorithm.", "algorithm"),
		uncompressed: gauge("compression_uncompressed_bytes", "Uncompressed size by algorithm.", "algorithm"),
		errors:       counter("errors_total", "Error count by error type.", "error_type"),
		writes:       counter("btree_writes_total", "Number of btree writes by type.", "type"),
		writeSize:    gauge("btree_write_average_size_bytes", "Average btree write size by type.", "type"),
		device:       gauge("device_info", "Device information.", "device", "label", "state"),
		bucketSize:   gauge("device_bucket_size_bytes", "Bucket size in bytes.", "device"),
		buckets:      gauge("device_buckets", "Total number of buckets.", "device"),
		durability:   gauge("device_durability", "Device durability setting.", "device"),
		ioDone:       counter("device_io_done_bytes_total", "IO bytes by operation type and data type.", "device", "operation", "data_type"),
		ioErrors:     counter("device_io_errors_total", "IO errors by error type.", "device", "type"),
	}
}

// Families implements collect.Collector.
func (c *bcachefs) Families() []*metric.Family {
	return []*metric.Family{
		c.info, c.cacheSize, c.compressed, c.uncompressed, c.errors, c.writes, c.writeSize,
		c.device, c.bucketSize, c.buckets, c.durability, c.ioDone, c.ioErrors,
	}
}

// Collect implements collect.Collector.
func (c *bcachefs) Collect(_ context.Context, b *metric.Batch) error {
	uuids, err := entries(c.dir)
	if err != nil {
		return err
	}
	if len(uuids) == 0 {
		return fmt.Errorf("%s: %w", c.dir, collect.ErrNoData)
	}
	var errs error
	for _, uuid := range uuids {
		errs = errors.Join(errs, c.collectFS(b, filepath.Join(c.dir, uuid), uuid))
	}
	return errs
}

func (c *bcachefs) collectFS(b *metric.Batch, dir, uuid string) error {
	b.Add(c.info, 1, uuid)
	size, errs := c.size(filepath.Join(dir, "btree_cache_size"))
	b.Add(c.cacheSize, size, uuid)
	errs = errors.Join(errs,
		c.table(filepath.Join(dir, "compression_stats"), true, func(name string, f [][]byte) bool {
			compressed, ok1 := parseBcachefsSize(f[0])
			uncompressed, ok2 := parseBcachefsSize(f[1])
			if ok1 && ok2 {
				b.Add(c.compressed, compressed, uuid, name)
				b.Add(c.uncompressed, uncompressed, uuid, name)
			}
			return ok1 && ok2
		}),
		c.table(filepath.Join(dir, "errors"), false, func(name string, f [][]byte) bool {
			n, err := parseUint(f[0])
			if err == nil {
				b.Add(c.errors, float64(n), uuid, name)
			}
			return err == nil
		}),
		c.table(filepath.Join(dir, "btree_write_stats"), true, func(name string, f [][]byte) bool {
			n, err := parseUint(f[0])
			size, ok := parseBcachefsSize(f[1])
			if err != nil || !ok {
				return false
			}
			b.Add(c.writes, float64(n), uuid, name)
			b.Add(c.writeSize, size, uuid, name)
			return true
		}),
		c.collectCounters(b, filepath.Join(dir, "counters"), uuid),
	)
	names, err := present(dir)
	errs = errors.Join(errs, err)
	for _, name := range names {
		if device, ok := strings.CutPrefix(name, "dev-"); ok {
			errs = errors.Join(errs, c.collectDevice(b, filepath.Join(dir, name), uuid, device))
		}
	}
	return errs
}

func (c *bcachefs) collectCounters(b *metric.Batch, dir, uuid string) error {
	names, errs := present(dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		data, err := c.reader.read(path)
		if err == nil {
			var v float64
			if v, err = parseBcachefsCounter(path, data); err == nil {
				if f := c.counter(name); f != nil {
					b.Add(f, v, uuid)
				}
			}
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// counter finds or declares the family of a counter.
func (c *bcachefs) counter(file string) *metric.Family {
	f, ok := c.counters[file]
	if ok {
		return f
	}
	if len(c.counters) >= maxBcachefsCounters {
		clear(c.counters)
	}
	name := "node_bcachefs_" + metric.SanitizeName(file) + "_total"
	f = metric.NewCounter(name, "Bcachefs counter "+file+" since filesystem creation.", "uuid")
	if metric.Check(append(c.Families(), f)) != nil {
		f = nil
	}
	c.counters[file] = f
	return f
}

func (c *bcachefs) collectDevice(b *metric.Batch, dir, uuid, device string) error {
	texts, errs := c.reader.labels(dir, "label", "state")
	b.Add(c.device, 1, uuid, device, texts[0], texts[1])
	for _, n := range []number{
		{file: "bucket_size", family: c.bucketSize}, {file: "nbuckets", family: c.buckets}, {file: "durability", family: c.durability},
	} {
		v, err := c.size(filepath.Join(dir, n.file))
		errs = errors.Join(errs, err)
		if err == nil {
			b.Add(n.family, v, uuid, device)
		}
	}
	path := filepath.Join(dir, "io_done")
	data, err := c.reader.read(path)
	if err == nil {
		err = parseBcachefsIO(path, data, func(section, name string, v float64) {
			if section == "read" || section == "write" {
				b.Add(c.ioDone, v, uuid, device, section, name)
			}
		})
	}
	if !absent(err) {
		errs = errors.Join(errs, err)
	}
	path = filepath.Join(dir, "io_errors")
	if data, err = c.reader.read(path); err == nil {
		err = parseBcachefsIO(path, data, func(section, name string, v float64) {
			if section == "IO errors since filesystem creation" {
				b.Add(c.ioErrors, v, uuid, device, name)
			}
		})
	}
	if !absent(err) {
		errs = errors.Join(errs, err)
	}
	return errs
}

// size reads an attribute; one that is not there is 0.
func (c *bcachefs) size(path string) (float64, error) {
	data, err := c.reader.text(path)
	if absent(err) || err == nil && len(data) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	v, ok := parseBcachefsSize(data)
	if !ok {
		return 0, fmt.Errorf("%s:1: %w: %s is not a size", path, errSyntax, quote(data))
	}
	return v, nil
}

// table reads a file whose lines are a name and values, under a heading or not.
func (c *bcachefs) table(path string, heading bool, row func(name string, fields [][]byte) bool) error {
	data, err := c.reader.read(path)
	if err != nil {
		if absent(err) {
			return nil
		}
		return err
	}
	return parseBcachefsTable(path, data, heading, row)
}

// parseBcachefsTable calls row for each line with its name and one value at
// least, two under a heading. An empty table is an empty file.
func parseBcachefsTable(path string, data []byte, heading bool, row func(name string, fields [][]byte) bool) error {
	least := 2
	if heading {
		least = 3
	}
	l := newLines(path, data)
	for l.next() {
		f := bytes.Fields(l.line)
		if heading && l.n == 1 || len(f) < least {
			continue
		}
		if !row(strings.TrimSuffix(string(f[0]), ":"), f[1:least]) {
			return l.errorf("%s is not a name with its numbers", quote(l.line))
		}
	}
	if l.n == 0 && len(l.rest) == 0 {
		return nil
	}
	return l.end()
}

// parseBcachefsCounter reads a counter since the file system was made.
func parseBcachefsCounter(path string, data []byte) (float64, error) {
	l := newLines(path, data)
	value, known := 0.0, false
	for l.next() {
		text, ok := bytes.CutPrefix(l.line, []byte("since filesystem creation:"))
		if !ok {
			known = known || bytes.HasPrefix(l.line, []byte("since mount:"))
			continue
		}
		if value, known = parseBcachefsSize(text); !known {
			return 0, l.errorf("%s is not a size", quote(text))
		}
	}
	if err := l.end(); err != nil {
		return 0, err
	}
	if !known {
		return 0, l.errorf("no line says since when")
	}
	return value, nil
}

// parseBcachefsIO calls add for each line "name: number" with the section that
// it stands in, whose heading has no number.
func parseBcachefsIO(path string, data []byte, add func(section, name string, v float64)) error {
	section := ""
	l := newLines(path, data)
	for l.next() {
		line := strings.TrimSpace(string(l.line))
		name, text, _ := strings.Cut(line, ":")
		text = strings.TrimSpace(text)
		switch {
		case line == "":
		case text == "" || strings.HasPrefix(name, "IO errors since "):
			section = strings.TrimSuffix(name, ":")
		default:
			v, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return l.errorf("%s: %s is not a number", name, quote([]byte(text)))
			}
			add(section, strings.TrimSpace(name), float64(v))
		}
	}
	return l.end()
}

// parseBcachefsSize reads a number that may have a fraction, and a letter for
// the power of 1024.
func parseBcachefsSize(s []byte) (float64, bool) {
	s = bytes.TrimSpace(s)
	unit := 1.0
	if n := len(s); n > 0 {
		if power := strings.IndexByte("KMGTPE", s[n-1]&^0x20); power >= 0 {
			for range power + 1 {
				unit *= 1024
			}
			s = bytes.TrimSpace(s[:n-1])
		}
	}
	v, err := strconv.ParseFloat(string(s), 64)
	if err != nil || !(v >= 0 && v*unit < 1<<64) {
		return 0, false
	}
	return float64(uint64(v * unit)), true
}
