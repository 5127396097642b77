package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/pipeline/discover"
)

func TestBadCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "")
	f := func(want string, args ...string) {
		t.Helper()
		status, out := launch(t, dir, args...).ends()
		require.Equal(t, 2, status, out)
		require.Equal(t, "strata: "+want+"\n", oneLine(t, out))
		require.NoDirExists(t, filepath.Join(dir, "data"))
	}
	f("unknown long flag '--no-such'; strata --help lists what there is", "server", "--no-such")
	f(`expected command but got "sever"; strata --help lists what there is`, "sever")
	f(`--query.timeout: not a valid duration string: "soon"; strata --help lists what there is`, "server", "--query.timeout=soon")
	f("--query.max-samples must be above 0, not -1", "server", "--query.max-samples=-1")
	f(`--web.external-url: "here" has no scheme or no host`, "server", "--web.external-url=here")
	status, out := launch(t, dir, "server", "--enable-feature=exemplar-storage,old-ui").ends()
	require.Equal(t, 2, status)
	require.Contains(t, oneLine(t, out), "--enable-feature=old-ui is not supported; there are concurrent-rule-eval, ")
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		status, out := launch(t, t.TempDir(), args...).ends()
		require.Zero(t, status)
		require.Contains(t, out, want)
	}
	f("strata, version", "--version")
	f("server [<flags>]", "--help")
	f("--storage.tsdb.retention.time", "server", "--help")
}

// What is wrong with the files is said in one line with file and line, before
// anything is opened.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	f := func(config, rules, want string) {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, "prometheus.yml", config)
		write(t, dir, "rules.yml", rules)
		status, out := launch(t, dir, "server", "--web.listen-address=127.0.0.1:0").ends()
		require.Equal(t, 1, status, out)
		require.Contains(t, oneLine(t, out), want)
		require.NoDirExists(t, filepath.Join(dir, "data"))
	}
	f("scrape_configs:\n- job_name: a\n  scrape_interva: 1s\n", "", `strata: prometheus.yml:3: unknown field "scrape_interva"`)
	f("rule_files: [rules.yml]\n", "groups:\n- name: a\n  rules:\n  - record: b\n    expr: 1 +\n", "strata: rules.yml:5:11: invalid rules: ")
	status, out := launch(t, t.TempDir(), "server").ends()
	require.Equal(t, 1, status)
	require.Contains(t, oneLine(t, out), "configuration prometheus.yml does not exist; name another with --config.file")
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, holder.Close()) }()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "")
	status, out := launch(t, dir, "server", "--web.listen-address="+holder.Addr().String()).ends()
	require.Equal(t, 1, status)
	line := oneLine(t, out)
	require.Contains(t, line, fmt.Sprintf("%s is in use by strata.test (pid %d); choose another address with --web.listen-address", holder.Addr(), os.Getpid()))
}

// Whatever a query returned before kill -9 is returned after it.
func TestKill(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for i := range 200 {
			_, _ = fmt.Fprintf(w, "m{i=\"%d\"} %d\n", i, i)
		}
	}))
	defer target.Close()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n- job_name: j\n  static_configs: [{targets: ['"+
		strings.TrimPrefix(target.URL, "http://")+"']}]\n")
	seen := map[string]string{}
	for range 3 {
		p := server(t, dir)
		after, err := p.samples()
		require.NoError(t, err)
		for k, v := range seen {
			if after[k] != v {
				t.Fatalf("%s was %s and is %q", k, v, after[k])
			}
		}
		more := len(seen) + 2000
		p.wait("samples", func() error {
			got, err := p.samples()
			if err != nil {
				return err
			}
			seen = got
			if len(seen) < more {
				return fmt.Errorf("%d samples, want %d", len(seen), more)
			}
			return nil
		})
		require.NoError(t, p.cmd.Process.Kill()) // SIGKILL
		status, _ := p.ends()
		require.Equal(t, -1, status)
	}
}

// SIGHUP reloads, a broken file is refused in one line, SIGTERM ends in peace.
func TestSignals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const good = "global: {external_labels: {v: '%d'}}\n"
	write(t, dir, "prometheus.yml", fmt.Sprintf(good, 1))
	p := server(t, dir)
	hangup := func(content string, seen func() error) {
		t.Helper()
		write(t, dir, "prometheus.yml", content)
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
		p.wait("the reload", seen)
	}
	version := func(v string) func() error {
		return func() error {
			body, err := p.get("/api/v1/status/config")
			if err == nil && !strings.Contains(body, `v: \"`+v+`\"`) {
				err = errors.New(body)
			}
			return err
		}
	}
	require.NoError(t, version("1")())
	hangup(fmt.Sprintf(good, 2), version("2"))
	hangup("globl: {}\n", func() error {
		if !strings.Contains(p.logged(), "prometheus.yml:1: unknown field") {
			return errors.New("not refused yet")
		}
		return version("2")()
	})
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	status, out := p.ends()
	require.Zero(t, status, out)
	require.NoFileExists(t, filepath.Join(dir, "data", "lock"))
}

// Behind a proxy with a path, routes and page are below that path; the process
// shows itself, its flags and its configuration.
func TestPrefixAndSelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "")
	p := server(t, dir, "--web.external-url=https://example.org/strata/", "--query.timeout=7s", "--web.enable-pprof")
	f := func(path, want string) {
		t.Helper()
		body, err := p.get(path)
		require.NoError(t, err)
		require.Contains(t, body, want)
	}
	f("/strata/api/v1/query?query=1", `"resultType":"scalar"`)
	f("/strata/-/ready", "is ready")
	f("/strata/", `/strata/`)
	f("/", "<html")
	f("/metrics", "prometheus_tsdb_head_series 0")
	f("/metrics", "process_open_fds")
	f("/debug/pprof/", "goroutine")
	f("/version", "strata, version")
	f("/api/v1/status/flags", `"query.timeout":"7s"`)
	f("/api/v1/status/config", "body_size_limit: 50MiB")
}

// The configuration sets the process' log level and garbage collection; what it
// leaves open, the flags set.
func TestTuneProcess(t *testing.T) {
	t.Parallel()
	e := &env{log: promslog.Config{Level: promslog.NewLevel()}}
	require.NoError(t, e.log.Level.Set("error"))
	f := func(yml, level string) {
		t.Helper()
		conf, err := discover.Parse("test", []byte(yml), (&pipelineFlags{}).defaults(e))
		require.NoError(t, err)
		e.tuneProcess(slog.New(slog.DiscardHandler))(conf)
		require.Equal(t, level, e.log.Level.String())
	}
	f("", "error")
	f("runtime: {gogc: 75}", "error")
	f("runtime: {log_level: debug}", "debug")
}

// promtool works against the server and its files.
func TestPromtool(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("building promtool takes long")
	}
	dir := t.TempDir()
	promtool := filepath.Join(dir, "promtool")
	// With the flags of make build, which has compiled most of it already.
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", promtool, "github.com/prometheus/prometheus/cmd/promtool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	write(t, dir, "prometheus.yml", "rule_files: [rules.yml]\n")
	write(t, dir, "rules.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: vector(3)}\n")
	p := server(t, dir)
	f := func(want string, args ...string) {
		t.Helper()
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), want)
	}
	f("SUCCESS: prometheus.yml is valid", "check", "config", "prometheus.yml")
	f("SUCCESS: 1 rules found", "check", "rules", "rules.yml")
	f("42 @[", "query", "instant", p.url, "42")
	f("is healthy", "check", "healthy", "--url="+p.url)
	f("is ready", "check", "ready", "--url="+p.url)
}
