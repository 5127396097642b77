package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// typed is a Builtin whose targets tell these types.
func typed(types map[string]model.MetricType) *Builtin {
	return &Builtin{Type: func(_, family string) model.MetricType { return types[family] }}
}

// scraped appends a series for a pod of namespace ns, every 15 s for two
// minutes, which grows by rate a second.
func scraped(t testing.TB, st storage.Appendable, pod, name string, rate float64, pairs ...string) {
	t.Helper()
	l := append([]string{"namespace", "ns", "pod", pod, "job", "kubernetes-pods"}, pairs...)
	for back := 120; back >= 0; back -= 15 {
		load(t, st, sample{series(name, l...), ago(back), rate * float64(120-back)})
	}
}

// ask is the value of a metric of an object in namespace ns, "" for none.
func (f *fixture) ask(t testing.TB, resource, object, metric string) string {
	t.Helper()
	name := types.NamespacedName{Namespace: "ns", Name: object}
	if resource == "namespaces" {
		name.Namespace = ""
	}
	info := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: resource}, Namespaced: name.Namespace != "", Metric: metric}
	v, err := f.GetMetricByName(t.Context(), name, info, klabels.Everything())
	if err != nil {
		require.True(t, apierrors.IsNotFound(err), "%s of %s %s: %v", metric, resource, object, err)
		return ""
	}
	return v.Value.String()
}

// fill stores something of each kind.
func fill(t testing.TB, st storage.Appendable) {
	t.Helper()
	scraped(t, st, "a", "requests_total", 2, "code", "200")
	scraped(t, st, "a", "requests_total", 1, "code", "500")
	scraped(t, st, "b", "requests_total", 4, "service", "web")
	for i, le := range []string{"0.1", "0.2", "+Inf"} {
		scraped(t, st, "a", "latency_seconds_bucket", float64(i)*10, "le", le)
		scraped(t, st, "b", "latency_seconds_bucket", 10, "le", le)
	}
	scraped(t, st, "a", "latency_seconds_count", 20)
	scraped(t, st, "a", "latency_seconds_sum", 3)
	load(t, st,
		sample{series("queue", "namespace", "ns", "pod", "a", "q", "1"), ago(5), 3},
		sample{series("queue", "namespace", "ns", "pod", "a", "q", "2"), ago(5), 4},
		sample{series("queue", "namespace", "other", "pod", "a"), ago(5), 100},
		sample{series("gc_seconds", "namespace", "ns", "pod", "a", "quantile", "0.5"), ago(5), 4},
		sample{series("thing_total", "namespace", "ns", "pod", "a"), ago(5), 5},
		sample{series("pod_count", "namespace", "ns", "pod", "a"), ago(5), 6},
		sample{series("node_load1", "instance", "n"), ago(5), 6},
		sample{series(`odd"na.me`, "namespace", "ns", "pod", "a"), ago(5), 8},
	)
	scraped(t, st, "a", "switches", 7)
}

// TestBuiltinValues: what each kind of series gives, of each kind of object.
func TestBuiltinValues(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	fill(t, st)
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(map[string]model.MetricType{
		"thing_total": model.MetricTypeGauge, "switches": model.MetricTypeCounter,
	})}, "")
	f := func(resource, object, metric, want string) {
		t.Helper()
		require.Equal(t, want, a.ask(t, resource, object, metric), "%s of %s %s", metric, resource, object)
	}
	f("pods", "a", "requests_per_second", "3")
	f("pods", "b", "requests_per_second", "4")
	f("namespaces", "ns", "requests_per_second", "7")
	f("services", "web", "requests_per_second", "4")
	f("services", "none", "requests_per_second", "")
	f("pods", "a", "requests_total", "") // a counter as it stands says nothing
	f("pods", "a", "requests", "")
	f("pods", "a", "latency_seconds_p50", "200m")
	f("pods", "b", "latency_seconds_p90", "90m")
	f("namespaces", "ns", "latency_seconds_p50", "150m") // of 30 a second, 10 up to 0.1 and 10 up to 0.2
	f("pods", "a", "latency_seconds_per_second", "20")
	f("pods", "a", "latency_seconds_count", "")
	f("pods", "a", "latency_seconds_sum", "")
	f("pods", "a", "latency_seconds_bucket", "")
	f("pods", "a", "latency_seconds_p42", "")
	f("pods", "a", "queue", "7")
	f("services", "a", "queue", "")
	f("pods", "c", "queue", "")
	f("deployments", "a", "queue", "")
	f("pods", "a", "gc_seconds", "")
	f("pods", "a", "pod_count", "6")
	f("pods", "a", `odd"na.me`, "8")
	f("pods", "a", "thing_total", "5")
	f("pods", "a", "thing_per_second", "")
	f("pods", "a", "switches_per_second", "7")
	f("pods", "a", "switches", "")
	f("pods", "a", "node_load1", "")
	f("pods", "a", "_per_second", "")
	_, err := a.GetExternalMetric(t.Context(), "ns", klabels.Everything(), provider.ExternalMetricInfo{Metric: "queue"})
	require.True(t, apierrors.IsNotFound(err), "an external metric without a rule: %v", err)
}

// TestBuiltinList: discovery names what can be asked for, and for what.
func TestBuiltinList(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	fill(t, st)
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(nil)}, "")
	got := map[string][]string{}
	for _, m := range a.ListAllMetrics() {
		got[m.Metric] = append(got[m.Metric], m.GroupResource.Resource)
	}
	common := []string{"namespaces", "pods"}
	require.Equal(t, map[string][]string{
		"latency_seconds_p50": common, "latency_seconds_p90": common, "latency_seconds_p95": common, "latency_seconds_p99": common,
		"latency_seconds_per_second": common, "requests_per_second": {"namespaces", "pods", "services"},
		"queue": common, "gc_seconds": common, "thing_per_second": common, "pod_count": common, "switches": common, `odd"na.me`: common,
	}, got)
	require.Empty(t, a.ListAllExternalMetrics())
}

// TestBuiltinAppears: a name is there with its first sample, and leaves with
// its series.
func TestBuiltinAppears(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	now := testTime()
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(nil), Now: func() time.Time { return now }}, "")
	_, _, err := a.byName(t, "a", "queue")
	require.True(t, apierrors.IsServiceUnavailable(err), "an empty store: %v", err)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), now, 7})
	require.Equal(t, "7", a.ask(t, "pods", "a", "queue"))
	now = now.Add(DefaultWindow + time.Second)
	load(t, st, sample{series("other"), now, 1})
	require.Empty(t, a.ask(t, "pods", "a", "queue"))
}

// TestBuiltinNative: native histograms, which their targets must have named.
func TestBuiltinNative(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	for back := 120; back >= 0; back -= 15 {
		h := tsdbutil.GenerateTestHistogram(int64(120 - back))
		h.CounterResetHint = histogram.UnknownCounterReset
		app := st.Appender(t.Context())
		_, err := app.AppendHistogram(0, series("latency", "namespace", "ns", "pod", "a"), ago(back).UnixMilli(), h, nil)
		require.NoError(t, err)
		require.NoError(t, app.Commit())
	}
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(map[string]model.MetricType{"latency": model.MetricTypeHistogram})}, "")
	require.NotEmpty(t, a.ask(t, "pods", "a", "latency_per_second"))
	require.NotEmpty(t, a.ask(t, "pods", "a", "latency_p99"))
	require.Empty(t, a.ask(t, "pods", "a", "latency"))
	var names []string
	for _, m := range a.ListAllMetrics() {
		names = append(names, m.Metric)
	}
	require.Equal(t, []string{"latency_p50", "latency_p90", "latency_p95", "latency_p99", "latency_per_second"}, slices.Compact(names))
}

// TestBuiltinLeavesRulesAlone: a name that the configuration claims keeps its
// meaning, even where nothing answers it just now.
func TestBuiltinLeavesRulesAlone(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	fill(t, st)
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(nil)}, `
rules:
- seriesQuery: '{team="x"}'   # selects no series: claims nothing
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'requests_total{code=~"4.."}'
  resources: {overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}
  name: {as: requests_per_second}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: 'queue{q="1"}'
  resources: {overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`)
	require.Empty(t, a.ask(t, "pods", "a", "requests_per_second"), "there is no 4xx now, which is not all requests")
	require.Empty(t, a.ask(t, "services", "web", "requests_per_second"))
	require.Equal(t, "4", a.ask(t, "pods", "a", "queue"), "the file's max, not the sum")
	require.Equal(t, "6", a.ask(t, "pods", "a", "pod_count"))
	var names []string
	for _, m := range a.ListAllMetrics() {
		names = append(names, m.Metric)
	}
	require.NotContains(t, names, "requests_per_second")
	require.Contains(t, names, "pod_count")
}

// TestBuiltinWindow: the window of a rate holds four scrapes of the job.
func TestBuiltinWindow(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	for back := 600; back >= 0; back -= 60 {
		load(t, st, sample{series("x_total", "namespace", "ns", "pod", "a", "job", "slow"), ago(back), float64(600 - back)})
	}
	b := &Builtin{Interval: func(job string) time.Duration { return map[string]time.Duration{"slow": time.Minute}[job] }}
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: b}, "")
	require.Equal(t, "1", a.ask(t, "pods", "a", "x_per_second"))
	require.Contains(t, slices.Collect(maps.Keys(a.builtin.rules)),
		`sum(rate({__name__=<<printf "%q" .Series>>,<<.LabelMatchers>>}[4m])) by (<<.GroupBy>>)`)
}

// TestBuiltinLimit: with 10,000 names the list is bounded, and a name beyond
// the bound is answered.
func TestBuiltinLimit(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	fillMany(t, st, 10000)
	a := newAdapter(t, Options{Querier: local(t, st), Builtin: typed(nil)}, "")
	require.Len(t, a.ListAllMetrics(), 2*maxBuiltinNames)
	a.catalogue.version.Add(1)
	a.ListAllMetrics()
	require.Equal(t, 1, a.logs.count("Not every metric"))
	require.Equal(t, "9999", a.ask(t, "pods", "p", "metric_9999"))
}

func fillMany(t testing.TB, st storage.Appendable, names int) {
	t.Helper()
	var all []sample
	for i := range names {
		name := fmt.Sprintf("metric_%d", i)
		all = append(all, sample{series(name, "namespace", "ns", "pod", "p"), ago(1), float64(i)})
	}
	load(t, st, all...)
}

// FuzzBuiltinNames: a name that is offered for a family is found from the name.
func FuzzBuiltinNames(f *testing.F) {
	for _, s := range []string{"x_total", "x", "x_bucket", "x_count", "_total", "x_per_second", "a_total_total", "x_p99", ".", "a/b", "ä_total", ""} {
		for k := kindNothing; k <= kindNative; k++ {
			f.Add(s, int(k))
		}
	}
	f.Fuzz(func(t *testing.T, family string, k int) {
		kind := familyKind(k)
		if (kind == kindCount || kind == kindBucket) && !strings.HasSuffix(family, kind.cut()) {
			t.Skip("no family of this kind")
		}
		for _, o := range kind.offers(family) {
			require.Contains(t, families(o.name), family, o.name)
			require.NotContains(t, o.name, "/")
		}
	})
}

// BenchmarkBuiltin finds one name among 10,000, and lists them.
func BenchmarkBuiltin(b *testing.B) {
	st := newStore(b)
	fillMany(b, st, 10000)
	a := newAdapter(b, Options{Querier: local(b, st), Builtin: typed(nil)}, "")
	pods, err := a.resources.get(schema.GroupResource{Resource: "pods"})
	require.NoError(b, err)
	b.Run("find", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := a.custom(b.Context(), "ns", "metric_9999", pods)
			if c == nil || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if l, err := a.makeList(b.Context()); err != nil || len(l.custom) != 2*maxBuiltinNames {
				b.Fatal(err)
			}
		}
	})
}
