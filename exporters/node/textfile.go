package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// TextfileOptions of the collector textfile.
type TextfileOptions struct {
	// Directories hold files *.prom in the text format; each may be a pattern
	// of filepath.Match.
	Directories []string
}

func textfileFlags(app *kingpin.Application, f *flagSet) {
	app.Flag("collector.textfile.directory", "Directory to read text files with metrics from, supports glob matching. (repeatable)").
		StringsVar(&f.options.Textfile.Directories)
}

// textfile serves what cron jobs and the like wrote into files. They are read
// at each scrape, and parsed when they changed.
type textfile struct {
	directories []string
	logger      *slog.Logger
	reader      reader
	stat        func(path string) (os.FileInfo, error)
	reserved    map[string]bool // names of families that the exporter has itself
	files       map[string]*textFile
	families    map[textFamily]*metric.Family
	troubles    map[string]string // what was logged last, by path

	mtime, scrapeError *metric.Family
}

func newTextfile(o *Options) collect.Collector {
	return &textfile{
		directories: o.Textfile.Directories, logger: o.Logger, stat: os.Stat,
		files: map[string]*textFile{}, families: map[textFamily]*metric.Family{}, troubles: map[string]string{},
		mtime:       metric.NewGauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.", "file"),
		scrapeError: metric.NewGauge("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise"),
	}
}

// reserve sets the families whose names no file may use.
func (c *textfile) reserve(families []*metric.Family) {
	c.reserved = map[string]bool{}
	for _, f := range families {
		c.reserved[f.Name()] = true
	}
}

// Families implements collect.Collector. Those of the files are named there.
func (c *textfile) Families() []*metric.Family { return []*metric.Family{c.mtime, c.scrapeError} }

// Collect implements collect.Collector. A file or directory that is wrong is
// no failure of the collector: it is logged, and told by
// node_textfile_scrape_error.
func (c *textfile) Collect(ctx context.Context, b *metric.Batch) error {
	troubles := map[string]error{}
	merged := newTextMerge(c.reserved)
	read := map[string]*textFile{}
	for _, path := range c.list(troubles) {
		if err := ctx.Err(); err != nil {
			return err
		}
		file := c.read(path)
		read[path] = file
		err := file.err
		if err == nil {
			b.Add(c.mtime, float64(file.stamp.mtime.Unix()), path)
			err = merged.add(path, file.families)
		}
		if err != nil {
			troubles[path] = err
		}
	}
	c.files = read // what is gone is forgotten
	c.emit(b, merged)
	b.Add(c.scrapeError, oneIf(len(troubles) > 0))
	c.log(troubles)
	return nil
}

// list gives the paths of the files, each once, sorted within a directory.
func (c *textfile) list(troubles map[string]error) []string {
	var paths []string
	seen := map[string]bool{}
	for _, pattern := range c.directories {
		if pattern == "" {
			continue
		}
		directories, err := filepath.Glob(pattern)
		if err != nil || len(directories) == 0 {
			directories = []string{pattern} // whose absence is the error to report
		}
		for _, directory := range directories {
			found, err := os.ReadDir(directory)
			if err != nil {
				troubles[directory] = err
			}
			for _, f := range found {
				path := filepath.Join(directory, f.Name())
				if strings.HasSuffix(f.Name(), ".prom") && !seen[path] {
					seen[path] = true
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}

// log says what became wrong or right again since the last scrape, a line for
// each file.
func (c *textfile) log(troubles map[string]error) {
	for _, path := range slices.Sorted(maps.Keys(troubles)) {
		if text := troubles[path].Error(); c.troubles[path] != text {
			c.troubles[path] = text
			c.logger.Error("text file is not served as it is", "file", path, "err", troubles[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(c.troubles)) {
		if troubles[path] != nil {
			continue
		}
		delete(c.troubles, path)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			c.logger.Info("text file is served again", "file", path)
		}
	}
}
