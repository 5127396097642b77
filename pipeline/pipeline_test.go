package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/rule"
	"github.com/strata-metrics/strata/pipeline/store"
)

// Nothing is shared between pipelines: each sees only its own target.
func TestThreeSideBySide(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := start(t, static("one", exporter(t, text(fmt.Sprintf("which %d\n", i)))))
			r.waitValue("which", fmt.Sprint(i))
			r.waitValue("up", "1")
		})
	}
}

// Every list of the API v1 answers, from Prometheus' own code.
func TestAPI(t *testing.T) {
	t.Parallel()
	addr := exporter(t, text("# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total{code=\"200\"} 7\n"))
	r := start(t, static("shop", addr), func(o *pipeline.Options) { o.Flags = map[string]string{"config.file": "x"} })
	r.waitValue(`requests_total{job="shop"}`, "7")

	for _, path := range []string{"targets", "scrape_pools", "alertmanagers", "rules", "alerts", "metadata", "labels",
		"label/job/values", "status/config", "status/flags", "status/runtimeinfo", "status/buildinfo", "status/tsdb",
		"status/walreplay", "status/tsdb/blocks", "status/self_metrics", "notifications", "features"} {
		var data any
		require.NoError(t, r.get("/api/v1/"+path, nil, &data), path)
		require.NotNil(t, data, path)
	}
	var series []map[string]string
	require.NoError(t, r.get("/api/v1/series", url.Values{"match[]": {"requests_total"}}, &series))
	require.Equal(t, []map[string]string{{"__name__": "requests_total", "code": "200", "instance": addr, "job": "shop"}}, series)
	var info struct {
		ReloadConfigSuccess bool
		StorageRetention    string
	}
	require.NoError(t, r.get("/api/v1/status/runtimeinfo", nil, &info))
	require.True(t, info.ReloadConfigSuccess)
	require.Equal(t, "15d", info.StorageRetention)

	resp, err := http.Get(r.url + "/federate?match[]=requests_total")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	require.Regexp(t, `^# TYPE requests_total untyped\nrequests_total{code="200",instance="`+addr+`",job="shop"} 7 \d+\n$`, string(body))
}

// What answers inside the process gets the same as over HTTP.
func TestQuerier(t *testing.T) {
	t.Parallel()
	r := start(t, static("shop", exporter(t, text("requests{code=\"200\"} 7\nrequests{code=\"500\"} 1\n"))))
	r.waitValue("sum(requests)", "8")
	q := r.Querier()

	v, warnings, err := q.Instant(t.Context(), `sum by (code) (requests)`, time.Now())
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Len(t, v, 2)
	v, _, err = q.Instant(t.Context(), `1 + 1`, time.Now())
	require.NoError(t, err)
	require.InDelta(t, 2, v[0].F, 0)
	_, _, err = q.Instant(t.Context(), `requests[5m]`, time.Now())
	require.ErrorIs(t, err, query.ErrNotVector)
	_, _, err = q.Instant(t.Context(), `sum(`, time.Now())
	require.ErrorContains(t, err, "parse error")

	ls, err := q.Series(t.Context(), time.Now().Add(-time.Minute), time.Now(),
		labels.MustNewMatcher(labels.MatchEqual, "__name__", "requests"))
	require.NoError(t, err)
	require.Len(t, ls, 2)
	require.Equal(t, "200", ls[0].Get("code"))
}

// With the experiment, what a target says of a metric are labels.
func TestTypeAndUnitLabels(t *testing.T) {
	t.Parallel()
	target := exporter(t, text("# TYPE requests_total counter\nrequests_total 7\n"))
	r := start(t, static("shop", target), func(o *pipeline.Options) { o.Scrape.TypeAndUnit = true })
	r.waitValue(`requests_total{__type__="counter"}`, "7")
}

// One target that gives garbage and one that gives 100 MB: both are shown with
// their error, and the third goes on.
func TestBadTargets(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	huge := exporter(t, func(w http.ResponseWriter, r *http.Request) {
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 100 << 10 {
			n, err := w.Write(line)
			served.Add(int64(n))
			if err != nil {
				return // the scraper has seen enough
			}
		}
	})
	garbage := exporter(t, text("\xff{{{ not metrics\n"))
	good := exporter(t, text("good 1\n"))
	// Two megabytes take a busy machine longer than the 200ms of the others.
	r := start(t, static("good", good, "garbage", garbage)+fmt.Sprintf(`
- {job_name: huge, scrape_interval: 5s, scrape_timeout: 5s, static_configs: [{targets: ['%[1]s']}], body_size_limit: 2MB}
- {job_name: default, scrape_interval: 5s, scrape_timeout: 5s, static_configs: [{targets: ['%[1]s']}]}
`, huge))
	r.wait("errors of targets", func() error {
		ts, err := r.targets()
		if err != nil {
			return err
		}
		for job, want := range map[string]string{
			"garbage": "expected a valid start token",
			"huge":    "body is larger than the limit of 2MiB, the job's body_size_limit",
			"default": "body is larger than the limit of 1MiB, the default of --scrape.body-size-limit-default; set body_size_limit in the job to allow more",
		} {
			if got := ts[job]; got.Health != "down" || !strings.Contains(got.LastError, want) {
				return fmt.Errorf("%s: %+v, want %q", job, got, want)
			}
		}
		return nil
	})
	r.waitValue("good", "1")
	r.waitValue(`sum(up)`, "1")
	r.waitValue(`up{job="huge"}`, "0")
	require.NoError(t, r.Ready())
}

func TestBrokenRuleFileAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := filepath.Join(dir, "r.yml")
	require.NoError(t, os.WriteFile(rules, []byte("groups:\n- name: g\n  rules:\n  - record: a:b\n    expr: sum(\n"), 0o600))
	_, err := pipeline.New(pipeline.Options{
		Storage: store.Options{Dir: filepath.Join(dir, "data")},
		Load: func() (*config.Config, error) {
			return discover.Parse("test", []byte("rule_files: ['"+rules+"']\n"), discover.Defaults{})
		},
	})
	require.ErrorIs(t, err, rule.ErrRules)
	require.ErrorContains(t, err, rules+":5:11: invalid rules: ")
	require.NotContains(t, err.Error(), "\n")
	require.NoDirExists(t, filepath.Join(dir, "data"))
}

// Whatever is wrong with a new configuration, the old one goes on everywhere,
// and the answer names the file and the line.
func TestReloadKeepsTheOld(t *testing.T) {
	t.Parallel()
	addr := exporter(t, text("requests 7\n"))
	good := static("shop", addr) + "rule_files: ['rules.yml']\n"
	r := start(t, good)
	rules := filepath.Join(filepath.Dir(r.file), "rules.yml")
	write := func(file, content string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	const group = "groups:\n- name: g\n  rules:\n  - {record: twice, expr: requests * 2}\n"
	write(rules, group)
	code, body := r.reload()
	require.Equal(t, http.StatusOK, code, body)
	r.waitValue("twice", "14")

	refused := func(want string) {
		t.Helper()
		code, body := r.reload()
		require.Equal(t, http.StatusInternalServerError, code)
		require.Contains(t, body, want)
		require.Equal(t, 1, strings.Count(body, "\n"), body)
		var info struct{ ReloadConfigSuccess bool }
		require.NoError(t, r.get("/api/v1/status/runtimeinfo", nil, &info))
		require.False(t, info.ReloadConfigSuccess)
	}
	write(rules, group+"  - {record: 'bad', expr: 'sum(', labels: {}}\n")
	refused(rules + ":5:")
	write(rules, group)
	write(r.file, good+"scrape_confgs: []\n")
	refused(r.file + ":6: unknown field \"scrape_confgs\"")
	write(r.file, static("shop", addr, "shop", addr))
	refused(r.file + ":5: found multiple scrape configs with job name \"shop\"")
	require.NoError(t, os.Remove(r.file))
	refused("does not exist; name another with --config.file")

	// The rule still runs, over new samples.
	now := time.Now()
	r.waitValue(fmt.Sprintf("timestamp(twice) > bool %d", now.Unix()), "1")

	write(r.file, static("store", addr))
	code, body = r.reload()
	require.Equal(t, http.StatusOK, code, body)
	r.waitValue(`requests{job="store"}`, "7")
	r.waitNone(`twice`)
}

// Lifecycle routes want the flag and a method that no link uses.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	closed := start(t, "", func(o *pipeline.Options) { o.EnableLifecycle = false })
	code, body := closed.reload()
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, body, "--web.enable-lifecycle")

	r := start(t, "")
	resp, err := http.Get(r.url + "/-/quit")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	resp, err = http.Post(r.url+"/-/quit", "", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	r.wait("the end", func() error {
		if !errors.Is(r.Ready(), pipeline.ErrStopping) {
			return fmt.Errorf("ready: %v", r.Ready())
		}
		return nil
	})
	require.NoError(t, r.stop())
	require.ErrorIs(t, r.Reload(t.Context()), pipeline.ErrStopping)
}

// An alert goes from a sample through a rule to an Alertmanager.
func TestAlert(t *testing.T) {
	t.Parallel()
	posted := make(chan string, 100)
	am := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case posted <- r.URL.Path + " " + string(body):
		default:
		}
	}))
	t.Cleanup(am.Close)
	yml := static("shop", exporter(t, text("errors 5\n"))) + "rule_files: ['rules.yml']\n" +
		"alerting: {alertmanagers: [{static_configs: [{targets: ['" + strings.TrimPrefix(am.URL, "http://") + "']}]}]}\n"
	r := start(t, yml)
	rules := filepath.Join(filepath.Dir(r.file), "rules.yml")
	require.NoError(t, os.WriteFile(rules, []byte("groups:\n- name: g\n  rules:\n  - {alert: Errors, expr: errors > 1, labels: {severity: page}}\n"), 0o600))
	require.NoError(t, r.Reload(t.Context()))
	select {
	case got := <-posted:
		require.Contains(t, got, "/api/v2/alerts")
		require.Contains(t, got, `"alertname":"Errors"`)
		require.Contains(t, got, `"severity":"page"`)
	case <-time.After(patience):
		t.Fatal("no alert came")
	}
}

// One pipeline writes to another, which accepts it only with its flag.
func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	receiver := start(t, "", func(o *pipeline.Options) {
		access := query.DefaultAccess()
		access.EnableRemoteWrite = true
		o.Access = &access
	})
	r := start(t, static("shop", exporter(t, text("requests 7\n")))+
		"remote_write: [{url: '"+receiver.url+"/api/v1/write', queue_config: {batch_send_deadline: 100ms}}]\n")
	receiver.waitValue("requests", "7")
	resp, err := http.Post(r.url+"/api/v1/write", "", strings.NewReader("x"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// A series that is gone from a body with its own times, as /metrics/cadvisor
// has, leaves queries at once and not after five minutes.
func TestBuiltinStaleness(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	addr := exporter(t, func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf("usage{pod=\"stays\"} 1 %d\n", time.Now().UnixMilli())
		if !gone.Load() {
			body += fmt.Sprintf("usage{pod=\"goes\"} 1 %d\n", time.Now().UnixMilli())
		}
		text(body)(w, r)
	})
	r := start(t, "", func(o *pipeline.Options) {
		o.Load = func() (*config.Config, error) {
			return discover.Builtin(200*time.Millisecond, discover.Defaults{},
				discover.Exporter{Job: discover.JobKubelet, Address: addr, MetricsPath: "/metrics/cadvisor", OwnTimestamps: true})
		}
	})
	r.waitValue(`usage{pod="goes",job="kubelet",metrics_path="/metrics/cadvisor"}`, "1")
	gone.Store(true)
	r.waitNone(`usage{pod="goes"}`)
	r.waitValue(`usage`, "1")
}

// Run says what is wrong with the data directory.
func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	p, err := pipeline.New(pipeline.Options{
		Storage: store.Options{Dir: filepath.Join(filepath.Dir(r.file), "data")},
		Load:    func() (*config.Config, error) { return discover.Parse("test", nil, discover.Defaults{}) },
	})
	require.NoError(t, err)
	err = p.Run(context.Background())
	require.ErrorIs(t, err, store.ErrLocked)
	require.NotContains(t, err.Error(), "\n")
	r.waitValue("vector(1)", "1") // the first is not harmed
}

// A server whose samples have a gap is whole only when rates are there again, so
// that of two servers the other is not stopped before.
func TestWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(o *pipeline.Options) { o.Storage.Dir = filepath.Join(dir, "data") }
	const slowly = "global: {scrape_interval: 1h}\n"
	first := start(t, slowly, in)
	require.ErrorIs(t, first.Whole(), pipeline.ErrGap, "nothing is stored")
	app := first.Store().Appender(t.Context())
	_, err := app.Append(0, labels.FromStrings("__name__", "x"), time.Now().UnixMilli(), 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	require.NoError(t, first.stop())
	require.ErrorIs(t, first.Whole(), pipeline.ErrStopping)

	second := start(t, slowly, in)
	require.NoError(t, second.Whole(), "what was stored is of just now")
	require.NoError(t, second.stop())

	quickly := start(t, "global: {scrape_interval: 10ms, scrape_timeout: 10ms}\n")
	quickly.wait("rates", quickly.Whole)
}
