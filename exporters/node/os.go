package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// osRelease reads the os-release file of the measured host, see
// os-release(5). It is taken apart anew only when it says something else.
type osRelease struct {
	paths  [2]string
	reader reader
	read   []byte // the content that the rest was made of
	labels [len(osInfoLabels)]string
	// version is the leading number of VERSION_ID, 0 when there is none.
	version float64
	// supportEnd is in Unix seconds, 0 when there is none.
	supportEnd int64
	err        error

	info, versionFamily, supportEndFamily *metric.Family
}

// osInfoLabels are the labels of node_os_info: the keys of the file in lower
// case.
var osInfoLabels = [...]string{
	"build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name",
	"variant", "variant_id", "version", "version_codename", "version_id",
}

// Places in osInfoLabels.
const (
	osID        = 1
	osIDLike    = 2
	osName      = 5
	osVersionID = 11
)

func newOS(o *Options) collect.Collector {
	return &osRelease{
		paths:            [2]string{filepath.Join(o.Rootfs, "etc", "os-release"), filepath.Join(o.Rootfs, "usr", "lib", "os-release")},
		info:             metric.NewGauge("node_os_info", "What the file os-release says of the operating system, as labels of the constant 1.", osInfoLabels[:]...),
		versionFamily:    metric.NewGauge("node_os_version", "Metric containing the major.minor part of the OS version.", "id", "id_like", "name"),
		supportEndFamily: metric.NewGauge("node_os_support_end_timestamp_seconds", "Metric containing the end-of-life date timestamp of the OS."),
	}
}

// Families implements collect.Collector.
func (c *osRelease) Families() []*metric.Family {
	return []*metric.Family{c.info, c.versionFamily, c.supportEndFamily}
}

// Collect implements collect.Collector.
func (c *osRelease) Collect(_ context.Context, b *metric.Batch) error {
	for _, path := range c.paths {
		data, err := c.reader.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if c.read == nil || !bytes.Equal(data, c.read) {
			c.update(path, data)
		}
		c.add(b)
		return c.err
	}
	return fmt.Errorf("%w: neither %s nor %s", collect.ErrNoData, c.paths[0], c.paths[1])
}

func (c *osRelease) add(b *metric.Batch) {
	b.Add(c.info, 1, c.labels[:]...)
	if c.version > 0 {
		b.Add(c.versionFamily, c.version, c.labels[osID], c.labels[osIDLike], c.labels[osName])
	}
	if c.supportEnd != 0 {
		b.Add(c.supportEndFamily, float64(c.supportEnd))
	}
}

func (c *osRelease) update(path string, data []byte) {
	c.read = append(make([]byte, 0, len(data)), data...)
	c.version, c.supportEnd = 0, 0
	values, err := parseOSRelease(path, data)
	for i, label := range osInfoLabels {
		c.labels[i] = values[string(bytes.ToUpper([]byte(label)))]
	}
	c.version = leadingNumber(c.labels[osVersionID])
	if end := values["SUPPORT_END"]; end != "" && err == nil {
		t, parseErr := time.Parse(time.DateOnly, end)
		if parseErr != nil {
			err = fmt.Errorf("%s: %w: SUPPORT_END is %s, not a date such as 2030-06-30", path, errSyntax, quote([]byte(end)))
		} else {
			c.supportEnd = t.Unix()
		}
	}
	c.err = err
}

// leadingNumber gives the number, such as 22.04, that a version begins with.
func leadingNumber(version string) float64 {
	end, dot := 0, false
	for ; end < len(version); end++ {
		c := version[end]
		if c == '.' && end > 0 && !dot {
			dot = true
		} else if c < '0' || c > '9' {
			break
		}
	}
	v, err := strconv.ParseFloat(version[:end], 64)
	if err != nil {
		return 0
	}
	return v
}

// parseOSRelease reads assignments in the syntax of a shell, up to the first
// line that is none. People write and generate this file, so its last line may
// lack the newline.
func parseOSRelease(path string, data []byte) (map[string]string, error) {
	values := map[string]string{}
	l := newOpenLines(path, data)
	for l.next() {
		line := bytes.TrimSpace(l.line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("export ")))
		key, value, ok := bytes.Cut(line, []byte("="))
		if !ok || !kernelName(key) {
			return values, l.errorf("%s is not an assignment", quote(line))
		}
		text, ok := unquoteShell(bytes.TrimSpace(value))
		if !ok {
			return values, l.errorf("%s has a quote without its end", quote(line))
		}
		values[string(key)] = text
	}
	return values, l.end()
}

// unquoteShell takes the quotes and backslashes off a word of a shell. What
// stands behind white space outside of quotes is a comment or not looked at.
func unquoteShell(s []byte) (string, bool) {
	var out []byte
	quoted := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quoted != '\'' && i+1 < len(s):
			i++
			out = append(out, s[i])
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted == 0 && (c == '"' || c == '\''):
			quoted = c
		case quoted == 0 && (c == ' ' || c == '\t'):
			return string(out), true
		default:
			out = append(out, c)
		}
	}
	return string(out), quoted == 0
}
