package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

const rateRule = `
rules:
- seriesQuery: '{__name__=~".+_total",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
`

const gaugeRule = `
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

func podMetric(name string) provider.CustomMetricInfo {
	return provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: name}
}

// byName asks for one pod of namespace ns.
func (f *fixture) byName(t testing.TB, pod, metric string) (string, time.Time, error) {
	t.Helper()
	v, err := f.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "ns", Name: pod}, podMetric(metric), klabels.Everything())
	if err != nil {
		return "", time.Time{}, err
	}
	return v.Value.String(), v.Timestamp.Time, nil
}

func ago(seconds int) time.Time { return testTime().Add(-time.Duration(seconds) * time.Second) }

// TestNewSeriesAtOnce: a metric is there with its first sample, and one that
// was listed before does not wait for another listing.
func TestNewSeriesAtOnce(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	a := newAdapter(t, Options{Querier: local(t, st), Lister: pods("ns/a")}, rateRule+gaugeRule)
	load(t, st, sample{series("other"), ago(1), 1})
	require.Empty(t, a.ListAllMetrics())
	_, _, err := a.byName(t, "a", "queue")
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7})
	v, _, err := a.byName(t, "a", "queue")
	require.NoError(t, err)
	require.Equal(t, "7", v)

	load(t, st,
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(30), 0},
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(1), 58})
	v, _, err = a.byName(t, "a", "x_per_second")
	require.NoError(t, err)
	require.NotEmpty(t, v)
	require.Empty(t, a.ListAllMetrics(), "the list is cached, the answers are not")
}

// TestOneBadRule: rules that fail leave the others served, and say so once.
func TestOneBadRule(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7},
		sample{series("bad", "namespace", "ns", "pod", "a"), ago(1), 1})
	a := newAdapter(t, Options{Querier: local(t, st)}, `
rules:
- seriesQuery: '{pod=~"("'
- seriesQuery: bad
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>'
`+gaugeRule)
	require.Equal(t, 1, a.logs.count("rules[0] at rules.yaml:3", "seriesQuery"))
	require.Equal(t, 1, a.logs.count("rules[1] at rules.yaml:4", "metricsQuery gives"))
	for range 3 {
		_, _, err := a.byName(t, "a", "bad")
		require.True(t, apierrors.IsInternalError(err), "%v", err)
		v, _, err := a.byName(t, "a", "queue")
		require.NoError(t, err)
		require.Equal(t, "7", v)
	}
	require.Equal(t, 1, a.logs.count("Rule fails", "rules[1]", "at=pods"))
	require.Zero(t, a.logs.count("rules[2]"))
	require.InDelta(t, 4, testutil.ToFloat64(a.metrics.ruleFailures.WithLabelValues("rules[1]")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(a.metrics.ruleFailing.WithLabelValues("rules[0]")), 0)
	var names []string
	for _, m := range a.ListAllMetrics() {
		names = append(names, m.String())
	}
	require.Equal(t, []string{"namespaces/bad", "pods/bad(namespaced)", "namespaces/queue", "pods/queue(namespaced)"}, names)
}

// flaky is a Querier that can fail.
type flaky struct {
	*Local
	err error
}

func (f *flaky) InstantWithAge(ctx context.Context, expr string, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Local.InstantWithAge(ctx, expr, at, yield)
}

// TestRuleRecovers: the end of a failure is told too.
func TestRuleRecovers(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7})
	q := &flaky{Local: local(t, st)}
	a := newAdapter(t, Options{Querier: q}, "rules:"+gaugeRule)
	for _, err := range []error{nil, errors.New("disk"), errors.New("disk"), nil, nil, errors.New("disk")} {
		q.err = err
		_, _, got := a.byName(t, "a", "queue")
		require.Equal(t, err == nil, got == nil, "%v", got)
	}
	require.Equal(t, 2, a.logs.count("Rule fails", "disk"))
	require.Equal(t, 1, a.logs.count("works again"))
}

// TestNotReady: no data yet is not "no such metric", and no rule's fault.
func TestNotReady(t *testing.T) {
	t.Parallel()
	closed := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return nil, tsdb.ErrNotReady })
	for name, q := range map[string]storage.Queryable{"closed": closed, "empty": newStore(t)} {
		a := newAdapter(t, Options{Querier: local(t, q), Lister: pods("ns/a")}, rateRule+gaugeRule+`
externalRules:
- seriesQuery: queue
  metricsQuery: sum(<<.Series>>)
  resources: {namespaced: false}
`)
		_, _, err := a.byName(t, "a", "queue")
		require.True(t, apierrors.IsServiceUnavailable(err), "%s: %v", name, err)
		_, err = a.GetMetricBySelector(t.Context(), "ns", klabels.Everything(), podMetric("x_per_second"), klabels.Everything())
		require.True(t, apierrors.IsServiceUnavailable(err), "%s: %v", name, err)
		_, err = a.GetExternalMetric(t.Context(), "ns", klabels.Everything(), provider.ExternalMetricInfo{Metric: "queue"})
		require.True(t, apierrors.IsServiceUnavailable(err), "%s: %v", name, err)
		require.Empty(t, a.ListAllMetrics())
		require.Zero(t, a.logs.count("Rule fails"), a.logs.String())
	}
}

// TestAge: the time of an answer is that of its data: of several series, of
// the one that is behind.
func TestAge(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st,
		sample{series("x_total", "namespace", "ns", "pod", "a", "c", "1"), ago(50), 1},
		sample{series("x_total", "namespace", "ns", "pod", "a", "c", "1"), ago(40), 2},
		sample{series("x_total", "namespace", "ns", "pod", "a", "c", "2"), ago(40), 1},
		sample{series("x_total", "namespace", "ns", "pod", "a", "c", "2"), ago(10), 2},
		sample{series("x_total", "namespace", "ns", "pod", "b", "c", "1"), ago(20), 1},
		sample{series("x_total", "namespace", "ns", "pod", "b", "c", "1"), ago(5), 2},
		sample{series("queue", "namespace", "ns", "pod", "a", "c", "1"), ago(30), 2},
		sample{series("queue", "namespace", "ns", "pod", "a", "c", "2"), ago(30), 3},
		sample{series("queue", "namespace", "ns", "pod", "a", "c", "2"), ago(20), math.Float64frombits(value.StaleNaN)},
		sample{series("queue", "namespace", "ns", "pod", "a", "c", "3"), ago(15), 5},
		sample{series("queue", "namespace", "ns", "pod", "b", "c", "3"), ago(200), 5},
	)
	q := local(t, st)
	a := newAdapter(t, Options{Querier: q, Lister: pods("ns/a", "ns/b")}, rateRule+gaugeRule)
	list, err := a.GetMetricBySelector(t.Context(), "ns", klabels.Everything(), podMetric("x_per_second"), klabels.Everything())
	require.NoError(t, err)
	got := map[string]time.Time{}
	for _, v := range list.Items {
		got[v.DescribedObject.Name] = v.Timestamp.UTC()
	}
	require.Equal(t, map[string]time.Time{"a": ago(40), "b": ago(5)}, got)

	v, at, err := a.byName(t, "a", "queue")
	require.NoError(t, err)
	require.Equal(t, "7", v)
	require.Equal(t, ago(30), at.UTC(), "a series that ended is no part of an instant value")

	f := func(expr string, want ...time.Time) {
		t.Helper()
		var times []time.Time
		_, err := q.InstantWithAge(t.Context(), expr, testTime(), func(_ promql.Sample, a Age) { times = append(times, a.Time.UTC()) })
		require.NoError(t, err)
		slices.SortFunc(times, time.Time.Compare)
		require.Equal(t, want, times, expr)
	}
	f(`sum(queue)`, ago(200))
	f(`sum(queue) by (pod)`, ago(200), ago(30))
	f(`queue`, ago(200), ago(30), ago(15))
	f(`sum(queue{c!="1"}) by (pod) / on(pod) sum(rate(x_total[1m])) by (pod)`, ago(200), ago(40))
	f(`label_replace(queue{c="3",pod="a"}, "pod", "z", "", "")`, ago(15))
	f(`vector(1)`, time.Time{})
	f(`max_over_time(queue{c="2"}[5m])`, ago(30))
	f(`sum(queue offset 25s) by (pod)`, ago(200), ago(30))
	f(`sum(sum_over_time(queue{c="3"}[100s:10s])) by (pod)`, ago(200), ago(15))
}

// TestPlainQuerier: without ages and an index the answers are the same, at the
// time of evaluation.
func TestPlainQuerier(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(9), 7},
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(40), 1},
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(10), 31})
	plain := struct{ Querier }{local(t, st).Querier}
	a := newAdapter(t, Options{Querier: plain}, rateRule+gaugeRule)
	v, at, err := a.byName(t, "a", "queue")
	require.NoError(t, err)
	require.Equal(t, "7", v)
	require.Equal(t, testTime(), at.UTC())
	v, _, err = a.byName(t, "a", "x_per_second")
	require.NoError(t, err)
	require.NotEmpty(t, v)
	require.Len(t, a.ListAllMetrics(), 4)
}

// TestNoValue: what has no finite value is no answer, never 0.
func TestNoValue(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	for pod, v := range map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "ninf": math.Inf(-1), "zero": 0} {
		load(t, st, sample{series("queue", "namespace", "ns", "pod", pod), ago(1), v})
	}
	a := newAdapter(t, Options{Querier: local(t, st), Lister: pods("ns/nan", "ns/inf", "ns/ninf", "ns/zero")}, "rules:"+gaugeRule)
	list, err := a.GetMetricBySelector(t.Context(), "ns", klabels.Everything(), podMetric("queue"), klabels.Everything())
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	require.Equal(t, "zero", list.Items[0].DescribedObject.Name)
	_, _, err = a.byName(t, "nan", "queue")
	require.True(t, apierrors.IsNotFound(err))
}

func TestQuantity(t *testing.T) {
	t.Parallel()
	f := func(v float64, want string) {
		t.Helper()
		q := quantity(v)
		require.Equal(t, want, q.String())
	}
	f(0, "0")
	f(math.Copysign(0, -1), "0")
	f(19.9999, "20")
	f(0.0004, "0")
	f(0.0006, "1m")
	f(-0.5, "-500m")
	f(1024000, "1024k")
	f(9.2e15, "9200T")
	f(9.3e15, "9223372036854775807m")
	f(-1e300, "-9223372036854775807m")
}

// brokenMapper is a cluster that does not answer.
type brokenMapper struct{ meta.RESTMapper }

func (brokenMapper) ResourceFor(schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return schema.GroupVersionResource{}, errors.New("connection refused")
}

// TestBadInputClusterDoesNotAnswer: the rules load, requests are told to come
// back, and work once the cluster answers.
func TestBadInputClusterDoesNotAnswer(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7})
	a := newAdapter(t, Options{Querier: local(t, st), Mapper: brokenMapper{}}, "rules:"+gaugeRule)
	_, _, err := a.byName(t, "a", "queue")
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	a.resources.mapper = mapper()
	_, _, err = a.byName(t, "a", "queue")
	require.NoError(t, err)
	a.resources.mapper = brokenMapper{}
	_, _, err = a.byName(t, "a", "queue")
	require.NoError(t, err, "what was known is forgotten")
}

// TestResourceAppears: a resource that was unknown is looked for again.
func TestResourceAppears(t *testing.T) {
	t.Parallel()
	now := testTime()
	rs := newResources(meta.NewDefaultRESTMapper(nil), func() time.Time { return now })
	_, err := rs.get(namespaces)
	require.True(t, unknownResource(err))
	rs.mapper = mapper()
	_, err = rs.get(namespaces)
	require.True(t, unknownResource(err), "asked again at once")
	now = now.Add(unknownFor)
	res, err := rs.get(namespaces)
	require.NoError(t, err)
	require.False(t, res.namespaced)
	rs.mapper = brokenMapper{}
	now = now.Add(knownFor)
	_, err = rs.get(namespaces)
	require.NoError(t, err)
	rs.mapper = mapper()
	for i := range maxResources + 10 {
		_, err := rs.get(schema.GroupResource{Resource: fmt.Sprint("made-up-", i)})
		require.Error(t, err)
	}
	require.LessOrEqual(t, len(rs.known), maxResources)
}

// TestSelectorErrors: a selector that PromQL cannot express is the fault of
// the request.
func TestSelectorErrors(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7})
	a := newAdapter(t, Options{Querier: local(t, st)}, "rules:"+gaugeRule)
	_, err := a.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "ns", Name: "a"}, podMetric("queue"), requirement(t, "a", selection.GreaterThan, "1"))
	require.True(t, apierrors.IsBadRequest(err), "%v", err)
	_, err = a.GetMetricBySelector(t.Context(), "ns", nil, podMetric("queue"), nil)
	require.True(t, apierrors.IsServiceUnavailable(err), "no lister: %v", err)
	require.Zero(t, a.logs.count("Rule fails"))
}

// TestReload: new rules replace the old ones while requests run.
func TestReload(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{series("queue", "namespace", "ns", "pod", "a"), ago(1), 7},
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(40), 1},
		sample{series("x_total", "namespace", "ns", "pod", "a"), ago(10), 31})
	a := newAdapter(t, Options{Querier: local(t, st)}, rateRule)
	one, err := ParseConfig("one", []byte(rateRule))
	require.NoError(t, err)
	two, err := ParseConfig("two", []byte(rateRule+gaugeRule))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				if i == 0 {
					_ = a.Load([]*Config{one, two}[j%2])
				}
				if _, _, err := a.byName(t, "a", "x_per_second"); err != nil {
					t.Error(err)
				}
				a.ListAllMetrics()
			}
		})
	}
	wg.Wait()
	require.NoError(t, a.Load(one))
	_, _, err = a.byName(t, "a", "queue")
	require.True(t, apierrors.IsNotFound(err))
	require.Len(t, a.ListAllMetrics(), 2)
	require.NoError(t, a.Load(two))
	_, _, err = a.byName(t, "a", "queue")
	require.NoError(t, err)
	require.Len(t, a.ListAllMetrics(), 4)
}

// TestNewNeedsQuerier: the one thing that has no default.
func TestNewNeedsQuerier(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "Querier")
}

// BenchmarkPods answers pods/* as an HPA asks for it, the list of pods from
// memory and the store in this process.
func BenchmarkPods(b *testing.B) {
	for _, n := range []int{100, 1500} {
		for name, rules := range map[string]string{"rate": rateRule, "gauge": "rules:" + gaugeRule} {
			b.Run(fmt.Sprintf("%s/pods=%d", name, n), func(b *testing.B) {
				st := newStore(b)
				var names []string
				for i := range n {
					pod := fmt.Sprintf("web-7c9d8b6f5-%05x", i*7919)
					names = append(names, "ns/"+pod)
					for back := 75; back >= 0; back -= 15 {
						load(b, st, sample{series("http_requests_total", "namespace", "ns", "pod", pod, "code", "200"), ago(back), float64(1e6 - back)},
							sample{series("http_requests_total", "namespace", "ns", "pod", pod, "code", "500"), ago(back), float64(1e6 - back)},
							sample{series("queue", "namespace", "ns", "pod", pod), ago(back), 7})
					}
				}
				for i := range 2000 {
					load(b, st, sample{series(fmt.Sprintf("other_metric_%d_total", i), "node", "a"), ago(1), 1})
				}
				metric := map[string]string{"rate": "http_requests_per_second", "gauge": "queue"}[name]
				a := newAdapter(b, Options{Querier: local(b, st), Lister: pods(names...)}, rules)
				b.ReportAllocs()
				for b.Loop() {
					list, err := a.GetMetricBySelector(b.Context(), "ns", klabels.Everything(), podMetric(metric), klabels.Everything())
					if err != nil || len(list.Items) != n {
						b.Fatal(len(list.Items), err)
					}
				}
			})
		}
	}
}
