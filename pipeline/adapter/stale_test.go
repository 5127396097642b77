package adapter

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

const agedRules = `
rules:
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
  maxAge: 30s
externalRules:
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
  maxAge: 30s
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: 'queue_any'}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
`

// queueOf is a series of the tests' app.
func queueOf(pod, service string) labels.Labels {
	return series("queue", "namespace", "ns", "pod", pod, "service", service, "job", "app", "instance", pod+":80")
}

func up(pod string) labels.Labels { return series("up", "job", "app", "instance", pod+":80") }

// TestMaxAge: nobody scales on a number that is older than the rule allows, and
// who asks is told why it is.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st,
		sample{queueOf("a", "web"), ago(10), 1},
		sample{queueOf("b", "web"), ago(90), 2}, sample{up("b"), ago(90), 1}, sample{up("b"), ago(60), 0}, sample{up("b"), ago(5), 0},
		sample{queueOf("c", "old"), ago(95), 3},
	)
	a := newAdapter(t, Options{Querier: local(t, st), Lister: pods("ns/a", "ns/b", "ns/c")}, agedRules)

	list, err := a.GetMetricBySelector(t.Context(), "ns", klabels.Everything(), podMetric("queue"), klabels.Everything())
	require.NoError(t, err)
	require.Len(t, list.Items, 1, "stale pods are left out")
	require.Equal(t, "a", list.Items[0].DescribedObject.Name)

	only := klabels.SelectorFromSet(klabels.Set{"app": "c"})
	_, err = a.GetMetricBySelector(t.Context(), "ns", only, podMetric("queue"), klabels.Everything())
	require.True(t, apierrors.IsServiceUnavailable(err), "none is fresh: %v", err)
	require.ErrorContains(t, err, "queue of 1 pods, such as c: samples are too old: 1m35s old, more than maxAge 30s: the series ended at 11:58:25Z")

	_, _, err = a.byName(t, "b", "queue")
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.ErrorContains(t, err, "queue of pods b: samples are too old: 1m30s old, more than maxAge 30s: target b:80 of job app is down since 11:59:00Z")

	service := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: "queue"}
	_, err = a.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "ns", Name: "web"}, service, klabels.Everything())
	require.True(t, apierrors.IsServiceUnavailable(err), "one of the series behind it is stale: %v", err)

	_, err = a.GetExternalMetric(t.Context(), "ns", klabels.Everything(), provider.ExternalMetricInfo{Metric: "queue"})
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.ErrorContains(t, err, "the series ended at")
	fine, err := a.GetExternalMetric(t.Context(), "ns", klabels.SelectorFromSet(klabels.Set{"pod": "a"}), provider.ExternalMetricInfo{Metric: "queue"})
	require.NoError(t, err)
	require.Len(t, fine.Items, 1)
	fine, err = a.GetExternalMetric(t.Context(), "ns", klabels.Everything(), provider.ExternalMetricInfo{Metric: "queue_any"})
	require.NoError(t, err, "a rule without maxAge has no limit")
	require.Equal(t, "6", fine.Items[0].Value.String())
	require.Zero(t, a.logs.count("Rule fails"), "old data is no fault of the rule: %s", a.logs)
}

// TestMaxAgeOfAll: the limit of all rules holds where one has none.
func TestMaxAgeOfAll(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	load(t, st, sample{queueOf("a", "web"), ago(50), 1})
	a := newAdapter(t, Options{Querier: local(t, st), MaxAge: 40 * time.Second}, agedRules)
	_, err := a.GetExternalMetric(t.Context(), "ns", klabels.Everything(), provider.ExternalMetricInfo{Metric: "queue_any"})
	require.ErrorContains(t, err, "50s old, more than maxAge 40s")
}

func TestFate(t *testing.T) {
	t.Parallel()
	marker := math.Float64frombits(value.StaleNaN)
	f := func(want string, ups ...sample) {
		t.Helper()
		st := newStore(t)
		load(t, st, sample{queueOf("a", "web"), ago(90), 1})
		load(t, st, ups...)
		got, err := local(t, st).Fate(t.Context(), Age{Time: ago(90), Series: queueOf("a", "web")}, testTime())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("the series ended at 11:58:30Z")
	f("target a:80 of job app is up, but the series ended at 11:58:30Z", sample{up("a"), ago(100), 1}, sample{up("a"), ago(5), 1})
	f("target a:80 of job app is down since 11:59:00Z", sample{up("a"), ago(100), 1}, sample{up("a"), ago(60), 0}, sample{up("a"), ago(5), 0})
	f("target a:80 of job app is down since 11:59:50Z",
		sample{up("a"), ago(100), 0}, sample{up("a"), ago(60), 1}, sample{up("a"), ago(10), 0}, sample{up("a"), ago(5), 0})
	f("target a:80 of job app is down for more than 1h0m0s", sample{up("a"), ago(100), 0}, sample{up("a"), ago(5), 0})
	f("target a:80 of job app is no longer scraped since 11:59:50Z", sample{up("a"), ago(60), 1}, sample{up("a"), ago(10), marker})
	f("target a:80 of job app is no longer scraped since 11:51:40Z", sample{up("a"), ago(600), 1}, sample{up("a"), ago(500), 1})
	f("target a:80 of job app is up, but the series ended at 11:58:30Z",
		sample{series("up", "job", "app", "instance", "a:80", "was", "before"), ago(300), 0}, sample{up("a"), ago(5), 1})

	got, err := local(t, newStore(t)).Fate(t.Context(), Age{Time: ago(90), Series: series("job:queue:sum", "job", "app")}, testTime())
	require.NoError(t, err)
	require.Equal(t, "the series ended at 11:58:30Z", got, "a recorded series has no target")
}
