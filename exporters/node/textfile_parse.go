package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// textFile is a file as it was read last.
type textFile struct {
	stamp    textStamp
	families []*dto.MetricFamily // by name; not to be changed
	err      error
}

// textStamp tells whether a file is the one that was read before.
type textStamp struct {
	mtime time.Time
	size  int64
	info  os.FileInfo
	// fresh says that the file was so young when it was read that a change
	// right behind may have the same mtime.
	fresh bool
}

// coarsest is the longest time in which two changes of a file may have the
// same mtime: FAT keeps two seconds.
const coarsest = 2 * time.Second

func (s *textStamp) same(other *textStamp) bool {
	return !s.fresh && s.info != nil && s.mtime.Equal(other.mtime) && s.size == other.size && os.SameFile(s.info, other.info)
}

// read gives the file, parsed anew when it changed.
func (c *textfile) read(path string) *textFile {
	info, err := c.stat(path)
	if err != nil {
		return &textFile{err: err}
	}
	// To open a pipe would wait for its writer.
	if !info.Mode().IsRegular() {
		return &textFile{err: fmt.Errorf("%s is no regular file", path)}
	}
	file := &textFile{stamp: textStamp{mtime: info.ModTime(), size: info.Size(), info: info, fresh: time.Since(info.ModTime()) < coarsest}}
	if before := c.files[path]; before != nil && before.stamp.same(&file.stamp) {
		return before
	}
	data, err := c.reader.read(path)
	if err != nil {
		file.err = err
		file.stamp.fresh = true // the cause may go without a change of the file
		return file
	}
	file.families, file.err = parseTextfile(path, data)
	return file
}

// parseTextfile reads the text format 0.0.4, see
// https://prometheus.io/docs/instrumenting/exposition_formats/. A file with an
// error has no families, since its writer may have been cut off anywhere. Nor
// has one with timestamps: what is old would seem to be of now, or the reverse.
func parseTextfile(path string, data []byte) ([]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	var wrong expfmt.ParseError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s:%d: %w: %s", path, wrong.Line, errSyntax, wrong.Msg)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w: %w", path, 1+bytes.Count(data, []byte("\n")), errSyntax, err)
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		for _, m := range byName[name].Metric {
			if m.TimestampMs != nil {
				return nil, fmt.Errorf("%s:%d: %w: %s has a timestamp; none of the file is served, take the timestamps away",
					path, lineOf(data, name), errSyntax, name)
			}
		}
		families = append(families, byName[name])
	}
	return families, nil
}

// lineOf is the first line that has a sample of the name.
func lineOf(data []byte, name string) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		rest, ok := bytes.CutPrefix(bytes.TrimLeft(line, " \t"), []byte(name))
		if ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '{') {
			return n
		}
	}
	return 1 // a part of a histogram or summary, whose name is longer
}
