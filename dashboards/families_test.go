package dashboards_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/strata-metrics/strata/dashboards"
	"github.com/strata-metrics/strata/exporters/app"
	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/exporters/kubestate"
	"github.com/strata-metrics/strata/exporters/node"
	"github.com/strata-metrics/strata/internal/metric"
	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/adapter"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/resource"
)

// catalog has the labels of every metric that can be asked for. nil stands for
// labels that are not known before.
type catalog map[string][]string

// families adds what an exporter declares.
func (c catalog) families(list []*metric.Family) {
	for _, f := range list {
		c[f.Name()] = append(c[f.Name()], f.Spec().Labels...)
	}
}

var descRE = regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// registry adds what is registered, also what has no series yet.
func (c catalog) registry(t *testing.T, r prometheus.Collector) {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() { r.Describe(descs); close(descs) }()
	for d := range descs {
		m := descRE.FindStringSubmatch(d.String())
		require.NotNil(t, m, "%s is of another form", d)
		names := []string{}
		for _, l := range strings.FieldsFunc(m[2]+","+m[3], func(r rune) bool { return r == ',' }) {
			name, _, _ := strings.Cut(l, "=")
			names = append(names, name)
		}
		c.add(m[1], names)
	}
}

// gathered adds what has series now.
func (c catalog) gathered(t *testing.T, g prometheus.Gatherer) {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		c.add(f.GetName(), names)
	}
}

// add adds a family of client_golang, whose type is not known: it may be a
// histogram or a summary.
func (c catalog) add(name string, names []string) {
	c[name] = append(c[name], append(names, "quantile")...)
	c[name+"_count"] = append(c[name+"_count"], names...)
	c[name+"_sum"] = append(c[name+"_sum"], names...)
	c[name+"_bucket"] = append(c[name+"_bucket"], append(names, "le")...)
}

// scrape adds the families that a handler shows, those whose name has the
// prefix.
func (c catalog) scrape(t *testing.T, h http.Handler, prefix string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	require.NoError(t, err)
	for name, f := range families {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		names := []string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(names, l.GetName()) {
					names = append(names, l.GetName())
				}
			}
		}
		c.add(name, names)
	}
}

// ofTargets are the labels that the built-in jobs and those of the chart give
// to every series of a target, with the one that tells clusters apart.
func ofTargets() []string {
	return []string{"job", "instance", "namespace", "pod", "container", "node", "metrics_path", "cluster"}
}

// declared is everything that Strata's programs say, by their own
// declarations, and what Prometheus adds to it.
func declared(t *testing.T) catalog {
	t.Helper()
	c := catalog{}
	for _, name := range []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"} {
		c[name] = []string{}
	}
	c["ALERTS"] = []string{"alertname", "alertstate", "severity"}
	nodeFamilies(t, c)
	containerFamilies(t, c)
	kubestateFamilies(t, c)
	appFamilies(t, c)
	pipelineFamilies(t, c)
	coreFamilies(t, c)
	return c
}

func nodeFamilies(t *testing.T, c catalog) {
	t.Helper()
	o, host := node.DefaultOptions(), "../exporters/node/testdata/host"
	o.Procfs, o.Sysfs, o.Rootfs, o.UdevData = host+"/proc", host+"/sys", host, host+"/udev/data"
	o.Netdev.Netlink = false
	e, err := node.New(o)
	require.NoError(t, err)
	c.families(e.Families())

	// What memory is counted by is named by the kernel: proc_meminfo(5).
	o.Procfs, o.Enabled, o.DisableDefaults = t.TempDir(), map[string]bool{"meminfo": true}, true
	var text strings.Builder
	for _, name := range []string{"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree", "Dirty", "Writeback", "SReclaimable"} {
		fmt.Fprintf(&text, "%s: 1 kB\n", name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(o.Procfs, "meminfo"), []byte(text.String()), 0o600))
	e, err = node.New(o)
	require.NoError(t, err)
	c.scrape(t, e.Handler(), "node_memory_")
}

func containerFamilies(t *testing.T, c catalog) {
	t.Helper()
	r := prometheus.NewRegistry()
	// Nothing is read here, so there is nothing behind the interfaces.
	e, err := container.New(container.Options{Registry: r, Source: struct{ container.Source }{}, Identity: struct{ container.Identity }{}})
	require.NoError(t, err)
	c.families(e.Families())
	c.registry(t, r)
}

func kubestateFamilies(t *testing.T, c catalog) {
	t.Helper()
	c.families(kubestate.Families())
	r := prometheus.NewRegistry()
	_, err := kubestate.New(kubestate.Options{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Registry: r})
	require.NoError(t, err)
	c.registry(t, r)
}

func appFamilies(t *testing.T, c catalog) {
	t.Helper()
	o := app.DefaultOptions()
	o.App, o.Logger = "127.0.0.1:1", slog.New(slog.DiscardHandler)
	e, err := app.New(o)
	require.NoError(t, err)
	h := e.Measure(http.NotFoundHandler())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	c.scrape(t, e.Handler(), "http_request")
	c.scrape(t, e.Handler(), "strata_app_")
}

// pipelineFamilies runs a pipeline with everything that has metrics: rules, an
// Alertmanager and a remote store, which need not be there.
func pipelineFamilies(t *testing.T, c catalog) {
	t.Helper()
	r, dir := serve.NewRegistry("strata"), t.TempDir()
	_, err := serve.New(serve.Options{Name: "strata", Registry: r})
	require.NoError(t, err)
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:1"]}]}]}
remote_write: [{url: "http://127.0.0.1:1/"}]
`), 0o600))
	o := pipeline.Options{Registry: r, Load: func() (*config.Config, error) { return discover.Load(file, discover.Defaults{}, nil) }}
	o.Storage.Dir, o.Storage.Reserve = filepath.Join(dir, "data"), -1
	o.Rule.Builtin = dashboards.Rules()
	p, err := pipeline.New(o)
	require.NoError(t, err)
	_, err = adapter.New(adapter.Options{Querier: p.Querier(), Registry: r})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return p.Ready() == nil }, 30*time.Second, 10*time.Millisecond)
	c.registry(t, r.Registry)
	c.gathered(t, r)
	cancel()
	require.NoError(t, <-ended)
}

func coreFamilies(t *testing.T, c catalog) {
	t.Helper()
	r := prometheus.NewRegistry()
	_, err := resource.NewCollector(resource.Options{
		Nodes:  corelisters.NewNodeLister(cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)),
		Source: struct{ resource.Source }{}, Registerer: r,
	})
	require.NoError(t, err)
	c.registry(t, r)
}

// check reports a metric that nobody has, or labels that it has not.
func (c catalog) check(name string, labels []string) error {
	known, ok := c[name]
	if !ok {
		return fmt.Errorf("no exporter declares %s, and no rule records it", name)
	}
	if known == nil {
		return nil
	}
	for _, l := range labels {
		if !slices.Contains(known, l) && !slices.Contains(ofTargets(), l) {
			return fmt.Errorf("%s has no label %s, but %s", name, l, strings.Join(known, ", "))
		}
	}
	return nil
}
