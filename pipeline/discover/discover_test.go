package discover

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every kind of mistake gets the line where it is, in one line.
func TestErrorLines(t *testing.T) {
	t.Parallel()
	f := func(want string, lines ...string) {
		t.Helper()
		_, err := Parse("p.yml", []byte(strings.Join(lines, "\n")), Defaults{})
		require.Error(t, err)
		require.Equal(t, want, err.Error())
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "p.yml", e.File)
	}
	f(`p.yml:2: unknown field "scrape_intervall"`,
		"global:", "  scrape_intervall: 1s")
	f(`p.yml:2: unknown field "a"; line 3: unknown field "b"`,
		"global:", "  a: 1", "  b: 1")
	f(`p.yml:4: did not find expected key`,
		"global: {}", "scrape_configs:", "- job_name: a", " x: y")
	f(`p.yml:5: did not find expected '-' indicator`,
		"global: {}", "scrape_configs:", " - job_name: a", "   x: y", "  x: y")
	f(`p.yml:2: did not find expected node content`,
		"global:", "  [")
	f(`p.yml:1: mapping values are not allowed in this context`,
		"global: a: b")
	f(`p.yml:2: mapping values are not allowed in this context`,
		"global:", "  scrape_interval: 1s: 2")
	f(`p.yml:6: scrape timeout greater than scrape interval for scrape config with job name "b"`,
		"global:", "  scrape_interval: 1s", "scrape_configs:", "- job_name: a", "- job_name: b", "  scrape_timeout: 5s")
	f(`p.yml:4: found multiple scrape configs with job name "a"`,
		"scrape_configs:", "- job_name: a", "- job_name: b", "- job_name: a")
	f(`p.yml:3: job_name is empty`,
		"scrape_configs:", "- job_name: a", "- metrics_path: /x")
	f(`p.yml:4: unknown relabel action "keepp"`,
		"scrape_configs:", "- job_name: a", "  relabel_configs:", "  - action: keepp")
	f(`p.yml:5: "http://h:1" is not a valid hostname`,
		"scrape_configs:", "- job_name: a", "  static_configs:", "  - targets:", "    - http://h:1")
	f(`p.yml:1: not a valid duration string: "soon"`,
		"global: {scrape_interval: soon}")
	f(`p.yml:3: invalid rule file path "a*/b.yml"`,
		"rule_files:", "- ok.yml", "- a*/b.yml")
}

// Files among scrape_config_files are found out with their own name.
func TestErrorInOtherFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, other := filepath.Join(dir, "p.yml"), filepath.Join(dir, "jobs.yml")
	require.NoError(t, os.WriteFile(main, []byte("scrape_config_files: [jobs.yml]\n"), 0o600))
	f := func(content, want string) {
		t.Helper()
		require.NoError(t, os.WriteFile(other, []byte(content), 0o600))
		_, err := Load(main, Defaults{}, nil)
		require.EqualError(t, err, want)
	}
	f("scrape_configs:\n- job_name: a\n  foo: 1\n", other+`:3: unknown field "foo"`)
	f("scrape_configs:\n- job_name: a\n- job_name: a\n", other+`:3: found multiple scrape configs with job name "a", first found in "`+other+`"`)
	_, err := Load(filepath.Join(dir, "none.yml"), Defaults{}, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "--config.file")
}

// Defaults fill what is open and change nothing that is set.
func TestDefaults(t *testing.T) {
	t.Parallel()
	d := Defaults{BodySizeLimit: 50 * units.MiB, LogLevel: "debug"}
	f := func(yml string, limits []units.Base2Bytes, level string) {
		t.Helper()
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "extra.yml"), []byte("scrape_configs: [{job_name: extra}]"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yml"), []byte(yml), 0o600))
		conf, err := Load(filepath.Join(dir, "p.yml"), d, nil)
		require.NoError(t, err)
		jobs, err := conf.GetScrapeConfigs()
		require.NoError(t, err)
		var got []units.Base2Bytes
		for _, j := range jobs {
			got = append(got, j.BodySizeLimit)
		}
		require.Equal(t, limits, got)
		require.Equal(t, level, string(conf.Runtime.LogLevel))
	}
	f("scrape_configs: [{job_name: a}, {job_name: b, body_size_limit: 1MB}]\nscrape_config_files: [extra.yml]",
		[]units.Base2Bytes{50 * units.MiB, units.MiB, 50 * units.MiB}, "debug")
	f("global: {body_size_limit: 2MB}\nscrape_configs: [{job_name: a}]\nruntime: {log_level: warn}",
		[]units.Base2Bytes{2 * units.MiB}, "warn")
	f("", nil, "debug")
}

// The built-in jobs have the names and labels that dashboards select by, and
// limits; a configuration written from them loads again.
func TestBuiltin(t *testing.T) {
	t.Parallel()
	conf, err := Builtin(5*time.Second, Defaults{},
		Exporter{Job: JobNode, Address: "127.0.0.1:9100", Labels: map[string]string{"node": "n1"}},
		Exporter{Job: JobKubelet, Address: "127.0.0.1:9101", MetricsPath: "/metrics/cadvisor", OwnTimestamps: true},
		Exporter{Job: JobKubelet, Address: "127.0.0.1:9101", MetricsPath: "/metrics/resource", OwnTimestamps: true, Interval: time.Second},
		Exporter{Job: JobKubeState, Address: "[::1]:9103", HonorLabels: true})
	require.NoError(t, err)
	jobs, err := conf.GetScrapeConfigs()
	require.NoError(t, err)
	require.Len(t, jobs, 4)
	for _, j := range jobs {
		require.NotZero(t, j.BodySizeLimit, j.JobName)
		require.NotZero(t, j.SampleLimit, j.JobName)
		require.NotZero(t, j.LabelLimit, j.JobName)
		require.NotZero(t, j.LabelNameLengthLimit, j.JobName)
		require.NotZero(t, j.LabelValueLengthLimit, j.JobName)
		require.Equal(t, j.HonorTimestamps, j.TrackTimestampsStaleness, j.JobName)
		require.LessOrEqual(t, j.ScrapeTimeout, j.ScrapeInterval, j.JobName)
	}
	require.Equal(t, "kubelet 127.0.0.1:9101/metrics/resource", jobs[2].JobName)
	require.Equal(t, model.Duration(time.Second), jobs[2].ScrapeInterval)
	require.Equal(t, model.Duration(5*time.Second), jobs[0].ScrapeInterval)
	require.True(t, jobs[3].HonorLabels)

	again, err := Parse("again", []byte(conf.String()), Defaults{})
	require.NoError(t, err)
	require.Equal(t, conf.String(), again.String())
	require.Contains(t, conf.String(), "node: n1")
	require.Contains(t, conf.String(), "metrics_path: /metrics/cadvisor")

	conf, err = Builtin(0, Defaults{})
	require.NoError(t, err)
	require.Equal(t, model.Duration(DefaultInterval), conf.GlobalConfig.ScrapeInterval)
}

func TestBuiltinErrors(t *testing.T) {
	t.Parallel()
	f := func(want string, es ...Exporter) {
		t.Helper()
		_, err := Builtin(0, Defaults{}, es...)
		require.ErrorIs(t, err, ErrJob)
		require.ErrorContains(t, err, want)
	}
	f("it has no name", Exporter{Address: "h:1"})
	f(`"a": address "h"`, Exporter{Job: "a", Address: "h"})
	f(`metrics path "x" does not start with /`, Exporter{Job: "a", Address: "h:1", MetricsPath: "x"})
	f(`label name ""`, Exporter{Job: "a", Address: "h:1", Labels: map[string]string{"": "x"}})
	e := Exporter{Job: "a", Address: "h:1"}
	f("h:1/metrics is there twice", e, e, e)
}

// A job comes out of the manager with its target, changes with the
// configuration, and everything ends with Stop.
func TestManager(t *testing.T) {
	t.Parallel()
	m, err := New(nil, nil)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- m.Run() }()
	f := func(job, want string) {
		t.Helper()
		conf, err := Builtin(0, Defaults{}, Exporter{Job: job, Address: want})
		require.NoError(t, err)
		require.NoError(t, m.ApplyConfig(conf))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for {
			select {
			case groups := <-m.Targets():
				if g := groups[job]; len(groups) == 1 && len(g) == 1 && string(g[0].Targets[0][model.AddressLabel]) == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no target of %s", job)
			}
		}
	}
	f("a", "h:1")
	f("b", "h:2")
	m.Stop()
	require.NoError(t, <-ended)
}

// Load never panics, and what it refuses it refuses in one line that names the
// file.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "global: {scrape_interval: 1s}", "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['h:1']}]",
		"scrape_configs:\n- job_name: a\n- job_name: a", "global:\n  foo: 1", "rule_files: ['*/x']", "a: &a [*a]", "- x", "\xff", "? [a]\n: b",
		"runtime: {log_level: no}", "storage: {tsdb: {retention: {time: 1d, size: 1GB}}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, yml string) {
		conf, err := Parse("p.yml", []byte(yml), Defaults{BodySizeLimit: 1})
		if err == nil {
			for _, j := range conf.ScrapeConfigs {
				require.NotZero(t, j.BodySizeLimit)
			}
			return
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.True(t, strings.HasPrefix(err.Error(), "p.yml:"))
		require.NotContains(t, err.Error(), "\n")
		require.LessOrEqual(t, e.Line, strings.Count(yml, "\n")+strings.Count(yml, "\r")+2)
	})
}

// A change that a discovery needs is refused when the file behind it is broken.
func TestApplyBrokenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yml"), []byte("scrape_config_files: [jobs.yml]\n"), 0o600))
	conf, err := Load(filepath.Join(dir, "p.yml"), Defaults{}, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jobs.yml"), []byte("x: 1\n"), 0o600))
	m, err := New(nil, nil)
	require.NoError(t, err)
	defer m.Stop()
	require.ErrorContains(t, m.ApplyConfig(conf), "jobs.yml:1: unknown field")
}
