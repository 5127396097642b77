package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// textfiles writes files of the text format into a directory, by name and
// content, and makes an exporter that logs into the buffer.
func textfiles(t *testing.T, files ...string) (e *Exporter, dir string, log *bytes.Buffer) {
	t.Helper()
	dir, log = t.TempDir(), &bytes.Buffer{}
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	o := only(hostOptions(t), "textfile")
	o.Textfile.Directories = []string{dir}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	e, err := New(o)
	require.NoError(t, err)
	return e, dir, log
}

// valid says that a body is what Prometheus takes: parsed as a whole, each
// series once.
func valid(t require.TestingT, text string) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	_, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err, text)
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		series := line[:strings.LastIndexByte(line, ' ')]
		if strings.HasPrefix(line, "# ") {
			series = strings.Join(strings.SplitN(line, " ", 4)[:3], " ")
		}
		require.False(t, seen[series], "twice: %s in\n%s", series, text)
		seen[series] = true
	}
}

// What files hold that do not fit together, or are wrong: it is left out and
// told, and the rest is served.
func TestTextfileConflicts(t *testing.T) {
	t.Parallel()
	f := func(want, has, hasNot string, files ...string) {
		t.Helper()
		e, dir, log := textfiles(t, append(files, "z.prom", "fine 1\n")...)
		text := scrape(t, e)
		valid(t, text)
		require.Contains(t, text, "\nfine 1\n", "the other file")
		require.Contains(t, text, has)
		if hasNot != "" {
			require.NotContains(t, text, hasNot)
		}
		failed := "0"
		if want != "" {
			failed = "1"
		}
		require.Contains(t, text, "\nnode_textfile_scrape_error "+failed+"\n")
		require.Contains(t, text, `node_scrape_collector_success{collector="textfile"} 1`)
		require.Equal(t, failed, fmt.Sprint(strings.Count(log.String(), "\n")), "one line: %s", log)
		require.Contains(t, strings.ReplaceAll(strings.ReplaceAll(log.String(), dir, ""), `\"`, `'`), want)
		scrape(t, e)
		require.Equal(t, failed, fmt.Sprint(strings.Count(log.String(), "\n")), "not again")
	}
	help := func(text string) string { return "# HELP x " + text + "\n# TYPE x counter\n" }
	f("", `x{file="b"} 2`, "", "a.prom", help("same")+"x{file=\"a\"} 1\n", "b.prom", help("same")+"x{file=\"b\"} 2\n")
	f("", "# HELP x Metric read from ", "", "a.prom", "x{file=\"a\"} 1\n", "b.prom", "x{file=\"b\"} 2\n")
	f("", "# HELP x Metric read from ", "", "a.prom", help("")+"x{file=\"a\"} 1\n", "b.prom", help("")+"x{file=\"b\"} 2\n")
	f("", `x{a="",b="1"} 2`, "", "a.prom", "x{a=\"1\"} 1\nx{b=\"1\"} 2\n")
	f("/b.prom: x: has the help text 'other', and 'one' in /a.prom", `x{file="a"} 1`, `x{file="b"}`,
		"a.prom", help("one")+"x{file=\"a\"} 1\n", "b.prom", help("other")+"x{file=\"b\"} 2\n")
	f("/b.prom: x: has the type gauge, and counter in /a.prom", `x{file="a"} 1`, `x{file="b"}`,
		"a.prom", help("one")+"x{file=\"a\"} 1\n", "b.prom", "# TYPE x gauge\nx{file=\"b\"} 2\n")
	f("/a.prom:2: unexpected content: expected float as value, got 'one'", "", "\nx ", "a.prom", "x 1\ny one\n")
	f("/a.prom:1: unexpected content: unexpected end of input", "", "\nx", "a.prom", "x{a=\"")
	f("/a.prom:2: unexpected content: y has a timestamp", "", "\nx ", "a.prom", "x 1\ny{a=\"b\"} 2 1441205977284\n")
	f("/a.prom: x: 2 of its series are there already", `x{a="1",b=""} 1`, "} 2", "a.prom", "x{a=\"1\"} 1\nx{a=\"1\"} 2\nx{a=\"1\",b=\"\"} 2\n")
	f("/b.prom: x: 1 of its series are there already, from /a.prom, /b.prom", "\nx 1\n", "x 2", "a.prom", "x 1\n", "b.prom", "x 2\n")
	f("/a.prom: node_textfile_mtime_seconds: node_textfile_mtime_seconds is a name of the exporter's own", "\ny 1\n", "mtime_seconds 3",
		"a.prom", "node_textfile_mtime_seconds 3\ny 1\n")
	f("/b.prom: x_count: x_count is taken by the family x", "x_count 1\n", "x_count 7",
		"a.prom", "# TYPE x summary\nx_count 1\n", "b.prom", "x_count 7\n")
	f("/a.prom: x: type gauge_histogram is not served", "\ny 1\n", "\nx", "a.prom", "# TYPE x gauge_histogram\nx_bucket{le=\"1\"} 1\ny 1\n")
	f("/a.prom: x: '__a' is no name for a label", "\ny 1\n", "__a", "a.prom", "x{__a=\"1\"} 1\ny 1\n")
	f("", "x_bucket{le=\"+Inf\"} 3\n", "", "a.prom", "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"+Inf\"} 3\nx_count 3\nx_sum 2\n")
}

// A directory that is not there, a pipe, and a file that only looks like one.
func TestTextfileThatAreNone(t *testing.T) {
	t.Parallel()
	e, dir, log := textfiles(t, "a.prom", "x 1\n")
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe.prom"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.prom"), 0o700))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "link.prom")))
	text := scrape(t, e)
	require.Contains(t, text, "\nx 1\n")
	require.Contains(t, text, "node_textfile_scrape_error 1\n")
	for _, name := range []string{"pipe.prom is no regular file", "dir.prom is no regular file", "link.prom: no such file"} {
		require.Contains(t, log.String(), name)
	}
	e.entries[0].Collector.(*exclusive).Collector.(*textfile).directories = []string{"/no/such/directory", "[", dir, dir + "/"}
	log.Reset()
	text = scrape(t, e)
	valid(t, text)
	require.Contains(t, text, "\nx 1\n", "a directory given twice is read once")
	require.Contains(t, log.String(), "open /no/such/directory: no such file or directory")
}

// A file that is mended is served again, one that goes is forgotten, and one
// that stays is not parsed again.
func TestTextfileChanges(t *testing.T) {
	t.Parallel()
	e, dir, log := textfiles(t, "a.prom", "x one\n", "b.prom", "y 1\n")
	c := e.entries[0].Collector.(*exclusive).Collector.(*textfile)
	path, old := filepath.Join(dir, "a.prom"), time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
	require.NotContains(t, scrape(t, e), "\nx ")
	before := c.files[path]
	scrape(t, e)
	require.Same(t, before, c.files[path])

	write(t, path, "x 1\n")
	require.Contains(t, scrape(t, e), "\nx 1\n")
	write(t, path, "x 2\n")
	require.Contains(t, scrape(t, e), "\nx 2\n", "the same size at nearly the same time")
	require.Contains(t, log.String(), `msg="text file is served again" file=`+path)

	require.NoError(t, os.Remove(path))
	text := scrape(t, e)
	require.NotContains(t, text, "\nx ")
	require.NotContains(t, text, path)
	require.Len(t, c.files, 1)
}

// Names that the process's own metrics have, or another collector gives
// without having declared them: theirs are served, once.
func TestTextfileNamesOfOthers(t *testing.T) {
	t.Parallel()
	o := only(hostOptions(t), "textfile")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.prom"), "go_goroutines{a=\"b\"} 7\nnode_memory_MemTotal_bytes 5\nnode_load1 3\nx 1\n")
	o.Enabled["meminfo"], o.Enabled["loadavg"] = true, true
	o.Textfile.Directories = []string{dir}
	registry := prometheus.NewRegistry()
	registry.MustRegister(promcollectors.NewGoCollector())
	o.Registry = registry
	code, body := get(t, newExporter(t, o).Handler(), "/metrics")
	require.Equal(t, 200, code)
	valid(t, body)
	require.Contains(t, body, "\nx 1\n")
	for _, s := range []string{"go_goroutines{", "MemTotal_bytes 5\n", "node_load1 3\n"} {
		require.NotContains(t, body, s)
	}
}

func TestTextfileFlags(t *testing.T) {
	t.Parallel()
	o, err := parseFlags("--collector.textfile.directory=a", "--collector.textfile.directory=b/*")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b/*"}, o.Textfile.Directories)
}

// Whatever is in two files, the body is one that Prometheus takes, and every
// error names its file.
func FuzzTextfile(f *testing.F) {
	f.Add("x 1\n", "x{a=\"b\"} 2\n")
	f.Add("# HELP x a\n# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"NaN\"} 1\nx_sum 1\nx_count 2\n", "x_count 1\n")
	f.Add("# TYPE x summary\nx{quantile=\"0.5\"} 1\nx{quantile=\"0.5\",a=\"\"} 1\nx_sum NaN\n", "# TYPE x_sum gauge\nx_sum 1\n")
	f.Add("{\"x\",a=\"\xff\"} 1\n{x, a=\"\xfe\"} 2\n", "# TYPE x gauge_histogram\nx_bucket{le=\"+Inf\"} 1\n")
	f.Add("x 1 5\n", "node_load1{__name__=\"y\"} 1\n")
	f.Add("# HELP x a\\nb\nx{le=\"1\",quantile=\"2\"} -Inf\n", "# TYPE x counter\n# HELP x c\nx 0x1p-2")
	f.Fuzz(func(t *testing.T, one, two string) {
		c := newTextfile(&Options{}).(*textfile)
		c.reserve(c.Families())
		m := newTextMerge(c.reserved)
		for _, text := range []string{one, two} {
			families, err := parseTextfile("f", []byte(text))
			require.True(t, known(err), err)
			err = m.add("f", families)
			require.True(t, err == nil || strings.HasPrefix(err.Error(), "f: "), err)
		}
		b := metric.NewBatch()
		c.emit(b, m)
		valid(t, string(b.AppendText(nil)))
	})
}
