package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/scrape"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// remote.Storage and the API share the process' own idle connections.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		// osutil.GetFQDN of the scrape manager looks the host up once.
		goleak.IgnoreAnyFunction("internal/singleflight.(*Group).doCall"),
	)
}

// patience bounds every wait of these tests; none waits for it to pass.
const patience = 30 * time.Second

// logs collects log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) logger() *slog.Logger { return promslog.New(&promslog.Config{Writer: l}) }

// running is a pipeline under test with its HTTP routes.
type running struct {
	*pipeline.Pipeline
	t    *testing.T
	url  string
	file string // prometheus.yml
	logs *logs
	stop func() error
}

// start runs a pipeline on a prometheus.yml until the test ends, and waits
// until it is ready.
func start(t *testing.T, yml string, tune ...func(*pipeline.Options)) *running {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(yml), 0o600))
	r := &running{t: t, file: file, logs: &logs{}}
	o := pipeline.Options{
		Load: func() (*config.Config, error) {
			return discover.Load(file, discover.Defaults{BodySizeLimit: 1 << 20}, nil)
		},
		Scrape:          scrape.Options{DefaultBodySizeLimit: 1 << 20, DiscoveryInterval: 100 * time.Millisecond},
		EnableLifecycle: true,
		Logger:          r.logs.logger(),
	}
	o.Storage.Dir = filepath.Join(dir, "data")
	o.Storage.Reserve = -1
	for _, f := range tune {
		f(&o)
	}
	p, err := pipeline.New(o)
	require.NoError(t, err)
	r.Pipeline = p
	mux := http.NewServeMux()
	p.Routes(func(pattern, _ string, h http.Handler) { mux.Handle(pattern, h) })
	web := httptest.NewServer(mux)
	r.url = web.URL
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		web.Close()
		cancel()
		return <-ended
	})
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	r.wait("ready", func() error { return p.Ready() })
	return r
}

// wait asks until there is no error.
func (r *running) wait(what string, ok func() error) {
	r.t.Helper()
	var err error
	require.Eventually(r.t, func() bool { err = ok(); return err == nil }, patience, 20*time.Millisecond,
		"%s: %v", what, lazy(func() any { return err }))
}

// lazy is printed with what it is when it is printed.
type lazy func() any

func (l lazy) String() string { return fmt.Sprint(l()) }

// get reads one answer of the API into data.
func (r *running) get(path string, query url.Values, data any) error {
	resp, err := http.Get(r.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, &struct{ Data any }{data})
}

// vector evaluates an expression over HTTP: the value of each series.
func (r *running) vector(expr string) (map[string]string, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := r.get("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range data.Result {
		m, err := json.Marshal(s.Metric)
		if err != nil {
			return nil, err
		}
		out[string(m)] = fmt.Sprint(s.Value[1])
	}
	return out, nil
}

// waitValue asks until an expression gives one series with a value.
func (r *running) waitValue(expr, want string) {
	r.t.Helper()
	r.wait(expr, func() error {
		v, err := r.vector(expr)
		if err != nil {
			return err
		}
		for _, got := range v {
			if len(v) == 1 && got == want {
				return nil
			}
		}
		return fmt.Errorf("%v, want one series of value %s", v, want)
	})
}

// waitNone asks until an expression gives nothing.
func (r *running) waitNone(expr string) {
	r.t.Helper()
	r.wait(expr, func() error {
		v, err := r.vector(expr)
		if err == nil && len(v) > 0 {
			err = fmt.Errorf("%v, want nothing", v)
		}
		return err
	})
}

type target struct {
	Labels             map[string]string
	Health, LastError  string
	ScrapePool         string
	LastScrapeDuration float64
}

// targets lists the active targets by job.
func (r *running) targets() (map[string]target, error) {
	var data struct{ ActiveTargets []target }
	err := r.get("/api/v1/targets", nil, &data)
	out := map[string]target{}
	for _, t := range data.ActiveTargets {
		out[t.Labels["job"]] = t
	}
	return out, err
}

// reload asks for a reload over HTTP and gives the status and the body.
func (r *running) reload() (int, string) {
	resp, err := http.Post(r.url+"/-/reload", "", nil)
	require.NoError(r.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(body)
}

// exporter serves a body as a target; its address is host:port.
func exporter(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// text serves a fixed exposition.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, body)
	}
}

// static is a prometheus.yml with one job for each pair of name and address.
func static(pairs ...string) string {
	b := strings.Builder{}
	b.WriteString("global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\nscrape_configs:\n")
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "- job_name: %s\n  static_configs: [{targets: ['%s']}]\n", pairs[i], pairs[i+1])
	}
	return b.String()
}
