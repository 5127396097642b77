package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// maxZFSFamilies bounds the families made from the names of statistics, of
// which OpenZFS has about 500.
const maxZFSFamilies = 8192

// zfs reads the statistics of OpenZFS in /proc/spl/kstat/zfs. Its families are
// named by the module, as are their types: none.
type zfs struct {
	dir      string
	reader   reader
	files    []zfsFile
	families map[string]*metric.Family // by prefix and name of the statistic
	key      []byte
	state    *metric.Family
}

// zfsFile is a file with statistics of the whole module.
type zfsFile struct{ name, prefix string }

// zfsKind is where a family's statistic is found.
type zfsKind struct {
	prefix, source string
	labels         []string
}

func newZFS(o *Options) collect.Collector {
	return &zfs{
		dir: o.procPath("spl", "kstat", "zfs"),
		files: []zfsFile{
			{"abdstats", "zfs_abd_"}, {"arcstats", "zfs_arc_"}, {"dbufstats", "zfs_dbuf_"}, {"dmu_tx", "zfs_dmu_tx_"},
			{"dnodestats", "zfs_dnode_"}, {"fm", "zfs_fm_"}, {"vdev_cache_stats", "zfs_vdev_cache_"},
			{"vdev_mirror_stats", "zfs_vdev_mirror_"}, {"xuio_stats", "zfs_xuio_"}, {"zfetchstats", "zfs_zfetch_"}, {"zil", "zfs_zil_"},
		},
		families: map[string]*metric.Family{},
		state:    metric.NewGauge("node_zfs_zpool_state", "Whether the pool is in the state (1) or not (0).", "zpool", "state"),
	}
}

// Families implements collect.Collector. All but one are known from the files.
func (c *zfs) Families() []*metric.Family { return []*metric.Family{c.state} }

// Collect implements collect.Collector.
func (c *zfs) Collect(_ context.Context, b *metric.Batch) error {
	names, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, file := range c.files {
		path := filepath.Join(c.dir, file.name)
		data, err := c.reader.read(path)
		if errors.Is(err, fs.ErrNotExist) { // each version has its own
			continue
		}
		if err == nil {
			kind := zfsKind{prefix: file.prefix, source: file.name}
			err = parseKstat(path, data, func(name []byte, v float64) {
				b.Add(c.family(&kind, name), v)
			}, nil)
		}
		errs = errors.Join(errs, err)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(c.dir, name)); err == nil && info.IsDir() {
			errs = errors.Join(errs, c.collectPool(b, filepath.Join(c.dir, name), name))
		}
	}
	return errs
}

// family finds or declares the family of a statistic.
func (c *zfs) family(kind *zfsKind, name []byte) *metric.Family {
	c.key = append(append(c.key[:0], kind.prefix...), name...)
	if f, ok := c.families[string(c.key)]; ok {
		return f
	}
	if len(c.families) >= maxZFSFamilies {
		clear(c.families)
	}
	s := string(name)
	last := s[strings.LastIndexByte(s, '.')+1:]
	f := metric.NewUntyped("node_"+kind.prefix+metric.SanitizeName(last), "kstat.zfs.misc."+kind.source+"."+s, kind.labels...)
	c.families[string(c.key)] = f
	return f
}

// collectPool adds what there is about a pool. A file that is gone is that of
// a pool or data set that was exported this very moment.
func (c *zfs) collectPool(b *metric.Batch, dir, pool string) error {
	files, errs := present(dir)
	io := zfsKind{prefix: "zfs_zpool_", source: "io", labels: []string{"zpool"}}
	objset := zfsKind{prefix: "zfs_zpool_dataset_", source: "objset", labels: []string{"zpool", "dataset"}}
	for _, file := range files {
		wanted := file == "io" || file == "state" || strings.HasPrefix(file, "objset-")
		if !wanted {
			continue
		}
		path := filepath.Join(dir, file)
		data, err := c.reader.read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case file == "io":
			err = parseZpoolIO(path, data, func(name []byte, v float64) {
				b.Add(c.family(&io, name), v, pool)
			})
		case file == "state":
			c.addState(b, pool, data)
		default:
			dataset := ""
			err = parseKstat(path, data, func(name []byte, v float64) {
				b.Add(c.family(&objset, name), v, pool, dataset)
			}, func(name string) { dataset = name })
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

func (c *zfs) addState(b *metric.Batch, pool string, data []byte) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	state := strings.ToLower(string(line))
	for _, s := range [...]string{"online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"} {
		b.Add(c.state, oneIf(s == state), pool, s)
	}
}

// The types of a kstat, from include/sys/kstat.h of OpenZFS, that are exposed.
const (
	kstatInt64  = "3"
	kstatUint64 = "4"
)

// parseKstat reads the lines "name type data" that follow a heading of these
// words, and calls add for the numbers. dataset, when given, gets the name in
// the line dataset_name, which may have spaces.
func parseKstat(path string, data []byte, add func(name []byte, v float64), dataset func(string)) error {
	l := newOpenLines(path, data)
	heading := false
	for l.next() {
		name, rest := field(l.line)
		kind, rest := field(rest)
		text, _ := field(rest)
		switch {
		case !heading:
			heading = string(name) == "name" && string(kind) == "type" && string(text) == "data"
		case len(text) == 0:
		case dataset != nil && string(name) == "dataset_name":
			dataset(string(bytes.TrimSpace(rest)))
		case string(kind) == kstatUint64:
			v, err := parseUint(text)
			if err != nil {
				return l.errorf("%s: %s is not a number", quote(name), quote(text))
			}
			add(name, float64(v))
		case string(kind) == kstatInt64 && dataset == nil:
			v, err := strconv.ParseInt(string(text), 10, 64)
			if err != nil {
				return l.errorf("%s: %s is not a number", quote(name), quote(text))
			}
			add(name, float64(v))
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	if !heading {
		return l.errorf("the file ends without a line name type data")
	}
	return nil
}

// parseZpoolIO reads the names of the statistics and their values, each in one
// line. OpenZFS 2 has no such file any more.
func parseZpoolIO(path string, data []byte, add func(name []byte, v float64)) error {
	l := newOpenLines(path, data)
	var names [][]byte
	for l.next() {
		fields := bytes.Fields(l.line)
		if names == nil {
			if len(fields) >= 12 && string(fields[0]) == "nread" {
				names = fields
			}
			continue
		}
		if len(fields) < len(names) {
			return l.errorf("%d values, %d are expected", len(fields), len(names))
		}
		for i, name := range names {
			v, err := parseUint(fields[i])
			if err != nil {
				return l.errorf("%s: %s is not a number", quote(name), quote(fields[i]))
			}
			add(name, float64(v))
		}
	}
	return l.end()
}
