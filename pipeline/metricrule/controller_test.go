package metricrule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// cluster is a fake API server, an adapter and a Controller between them.
type cluster struct {
	t       *testing.T
	client  *dynamicfake.FakeDynamicClient
	adapter *adapter.Adapter
	control *Controller
	logs    *lines
	created int
}

func newCluster(t *testing.T, a *adapter.Adapter, reactors ...clienttesting.ReactionFunc) *cluster {
	t.Helper()
	c := &cluster{t: t, adapter: a, logs: &lines{}}
	c.client = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{GVR(): Kind + "List"})
	for _, r := range reactors {
		c.client.PrependReactor("*", Resource, r)
	}
	var err error
	c.control, err = New(Options{Client: c.client, Adapter: a, Logger: slog.New(slog.NewTextHandler(c.logs, nil)), Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	return c
}

// run runs the Controller until the test ends.
func (c *cluster) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.control.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		require.NoError(c.t, <-ended)
	})
	require.Eventually(c.t, func() bool { return c.logs.count("Watching") > 0 }, time.Minute, time.Millisecond)
}

func (c *cluster) apply(namespace, name string, generation int64, spec map[string]any) {
	c.t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(GVR().GroupVersion().WithKind(Kind))
	u.SetNamespace(namespace)
	u.SetName(name)
	u.SetUID(types.UID(name))
	u.SetGeneration(generation)
	r := c.client.Resource(GVR()).Namespace(namespace)
	var err error
	if generation == 1 {
		c.created++
		u.SetCreationTimestamp(metav1.NewTime(testTime().Add(time.Duration(c.created) * time.Second)))
		_, err = r.Create(context.Background(), u, metav1.CreateOptions{})
	} else {
		old, gerr := r.Get(context.Background(), name, metav1.GetOptions{})
		require.NoError(c.t, gerr)
		u.SetCreationTimestamp(old.GetCreationTimestamp())
		u.Object["status"] = old.Object["status"]
		_, err = r.Update(context.Background(), u, metav1.UpdateOptions{})
	}
	require.NoError(c.t, err)
}

func (c *cluster) remove(namespace, name string) {
	c.t.Helper()
	require.NoError(c.t, c.client.Resource(GVR()).Namespace(namespace).Delete(context.Background(), name, metav1.DeleteOptions{}))
}

// status waits for a status of a generation.
func (c *cluster) status(namespace, name string, generation int64) (Status, metav1.Condition) {
	c.t.Helper()
	var s Status
	c.eventually(func() bool {
		u, err := c.client.Resource(GVR()).Namespace(namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		s = Status{}
		in, _, err := unstructured.NestedMap(u.Object, "status")
		return err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(in, &s) == nil && s.ObservedGeneration == generation
	})
	return s, *meta.FindStatusCondition(s.Conditions, ConditionReady)
}

// custom is a metric of an object, "" when the adapter has none.
func (c *cluster) custom(namespace, resource, object, metric string) string {
	c.t.Helper()
	name, namespaced := types.NamespacedName{Namespace: namespace, Name: object}, true
	if resource == "namespaces" {
		name.Namespace, namespaced = "", false
	}
	v, err := c.adapter.GetMetricByName(context.Background(), name, provider.CustomMetricInfo{
		GroupResource: schema.ParseGroupResource(resource), Namespaced: namespaced, Metric: metric}, klabels.Everything())
	if apierrors.IsNotFound(err) {
		return ""
	}
	require.NoError(c.t, err)
	return v.Value.String()
}

// external are the values of an external metric.
func (c *cluster) external(namespace, metric string, selector klabels.Set) []string {
	c.t.Helper()
	list, err := c.adapter.GetExternalMetric(context.Background(), namespace, klabels.SelectorFromSet(selector), provider.ExternalMetricInfo{Metric: metric})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(c.t, err)
	out := []string{}
	for _, v := range list.Items {
		out = append(out, v.Value.String())
	}
	return out
}

func (c *cluster) eventually(what func() bool) {
	c.t.Helper()
	require.Eventually(c.t, what, time.Minute, time.Millisecond)
}

// shopAdapter has series of two namespaces.
func shopAdapter(t *testing.T) *adapter.Adapter {
	t.Helper()
	st := newStore(t)
	put(t, st, 10, "__name__", "orders", "namespace", "shop", "pod", "a", "state", "new")
	put(t, st, 20, "__name__", "orders", "namespace", "shop", "pod", "b", "state", "new")
	put(t, st, 30, "__name__", "orders", "namespace", "shop", "pod", "b", "state", "old")
	put(t, st, 500, "__name__", "orders", "namespace", "bank", "pod", "a", "state", "new")
	return newAdapter(t, st, `
rules:
- seriesQuery: 'claimed{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`)
}

// TestServe: rules of both types are served as soon as they are there, in their
// namespace and with its series only, until they are gone.
func TestServe(t *testing.T) {
	t.Parallel()
	c := newCluster(t, shopAdapter(t))
	c.apply("shop", "before", 1, map[string]any{"metric": "before", "query": "sum by (pod) (orders)"})
	c.run()
	c.eventually(func() bool { return c.custom("shop", "pods", "b", "before") == "50" })
	require.Empty(t, c.custom("bank", "pods", "a", "before"))

	c.apply("shop", "new", 1, map[string]any{"metric": "new_orders", "resource": "pods", "query": `sum by (pod) (orders{state="new"})`, "maxAge": "1m"})
	c.eventually(func() bool { return c.custom("shop", "pods", "b", "new_orders") == "20" })
	s, ready := c.status("shop", "new", 1)
	require.Equal(t, metav1.ConditionTrue, ready.Status, ready.Message)
	require.Equal(t, ReasonServed, ready.Reason)
	require.Equal(t, `"new_orders" of pods is served in this namespace`, ready.Message)
	require.Equal(t, "10 to 20", s.Value)
	require.EqualValues(t, 2, s.Count)
	require.Equal(t, []Value{{Object: "a", Value: "10"}, {Object: "b", Value: "20"}}, s.LastValues)
	require.Equal(t, testTime(), s.LastSampleTime.UTC())
	require.Empty(t, s.Error)

	c.apply("shop", "ext", 1, map[string]any{"metric": "backlog", "type": "External", "query": "sum by (state) (orders)"})
	c.eventually(func() bool { return len(c.external("shop", "backlog", nil)) == 2 })
	require.Equal(t, []string{"30"}, c.external("shop", "backlog", klabels.Set{"state": "new"}))
	require.Nil(t, c.external("bank", "backlog", nil))
	s, _ = c.status("shop", "ext", 1)
	require.Equal(t, "60", s.Value)
	require.Equal(t, Value{Labels: map[string]string{"state": "new"}, Value: "30"}, s.LastValues[0])

	c.apply("shop", "whole", 1, map[string]any{"metric": "all", "resource": "namespaces", "query": "sum by (namespace) (orders)"})
	c.eventually(func() bool { return c.custom("shop", "namespaces", "shop", "all") == "60" })
	require.Empty(t, c.custom("bank", "namespaces", "bank", "all"))

	// A name that zero configuration has is the rule's here, and its own there.
	require.Equal(t, "500", c.custom("bank", "pods", "a", "orders"))
	require.Equal(t, "50", c.custom("shop", "pods", "b", "orders"))
	c.apply("shop", "own", 1, map[string]any{"metric": "orders", "query": "max by (pod) (orders)"})
	c.eventually(func() bool { return c.custom("shop", "pods", "b", "orders") == "30" })
	require.Equal(t, "500", c.custom("bank", "pods", "a", "orders"))
	listed := fmt.Sprint(c.adapter.ListAllMetrics(), c.adapter.ListAllExternalMetrics())
	for _, name := range []string{"new_orders", "backlog", "namespaces/all"} {
		require.Contains(t, listed, name)
	}

	c.apply("shop", "new", 2, map[string]any{"metric": "new_orders", "query": `sum by (pod) (orders{state="new"})`, "dryRun": true})
	c.eventually(func() bool { return c.custom("shop", "pods", "b", "new_orders") == "" })
	_, ready = c.status("shop", "new", 2)
	require.Equal(t, ReasonDryRun, ready.Reason)
	require.Equal(t, metav1.ConditionFalse, ready.Status)
	c.remove("shop", "ext")
	c.eventually(func() bool { return c.external("shop", "backlog", nil) == nil })
	require.NotContains(t, fmt.Sprint(c.adapter.ListAllExternalMetrics()), "backlog")
	require.InDelta(t, 3, testutil.ToFloat64(c.control.metrics.rules.WithLabelValues("true")), 0)
}

// TestTeach: each way to go wrong costs that rule only, and its status says what
// to do.
func TestTeach(t *testing.T) {
	t.Parallel()
	c := newCluster(t, shopAdapter(t))
	c.run()
	c.apply("shop", "good", 1, map[string]any{"metric": "good", "query": "sum by (pod) (orders)"})
	f := func(name, reason, message string, spec map[string]any) {
		t.Helper()
		if spec["metric"] == nil {
			spec["metric"] = name
		}
		c.apply("shop", name, 1, spec)
		s, ready := c.status("shop", name, 1)
		require.Equal(t, reason, ready.Reason, ready.Message)
		require.Equal(t, metav1.ConditionFalse, ready.Status)
		require.Contains(t, ready.Message, message)
		require.Empty(t, s.Value)
		require.Equal(t, "50", c.custom("shop", "pods", "b", "good"))
	}
	f("broken", ReasonInvalid, "spec.query: 1:5: parse error", map[string]any{"query": "sum("})
	f("theft", ReasonInvalid, "another namespace", map[string]any{"query": `sum by (pod) (orders{namespace="bank"})`})
	f("shape", ReasonInvalid, "spec: ", map[string]any{"query": map[string]any{}})
	f("kind", ReasonUnknownResource, "kubectl api-resources", map[string]any{"resource": "gadgets.example.org", "query": "orders"})
	f("nodes", ReasonInvalid, "have no namespace", map[string]any{"resource": "nodes", "objectLabel": "pod", "query": "orders"})
	f("typo", ReasonNoData, `matches ordres{namespace="shop"}`, map[string]any{"query": "sum by (pod) (ordres)"})
	f("pattern", ReasonNoData, `matches {__name__=~"ordres.*",namespace="shop"}`, map[string]any{"query": `sum by (pod) ({__name__=~"ordres.*"})`})
	f("empty", ReasonNoData, "each of its selectors finds series", map[string]any{"query": "sum by (pod) (orders) > 1000"})
	f("label", ReasonNoObject, "sum by (pod)", map[string]any{"query": "sum(orders)"})
	f("many", ReasonFailed, "cannot be evaluated", map[string]any{"query": `orders / on (pod) orders`})
	f("claimed", ReasonShadowed, "rules[0] at rules.yaml:3 of the server's configuration", map[string]any{"query": "orders"})
	f("second", ReasonShadowed, "the MetricRule good of this namespace", map[string]any{"metric": "good", "query": "max by (pod) (orders)"})

	// The one behind comes forward when the older goes.
	c.remove("shop", "good")
	c.eventually(func() bool { return c.custom("shop", "pods", "b", "good") == "30" })
	c.apply("shop", "several", 1, map[string]any{"metric": "several", "query": "orders"})
	_, ready := c.status("shop", "several", 1)
	require.Equal(t, ReasonServed, ready.Reason)
	require.Contains(t, ready.Message, "several values")
}

// TestStale: values beyond maxAge are not shown as if they were there.
func TestStale(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	app := st.Appender(t.Context())
	put(t, st, 1, "__name__", "other", "namespace", "shop")
	_, err := app.Append(0, labelsOf("old", "pod", "a"), testTime().Add(-2*time.Minute).UnixMilli(), 5)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	c := newCluster(t, newAdapter(t, st, ""))
	c.run()
	c.apply("shop", "r", 1, map[string]any{"metric": "m", "query": "old", "maxAge": "1m"})
	s, ready := c.status("shop", "r", 1)
	require.Equal(t, ReasonStale, ready.Reason)
	require.Equal(t, testTime().Add(-2*time.Minute), s.LastSampleTime.UTC())
	require.Empty(t, s.LastValues)
}

// TestNoDefinition: a cluster without MetricRules is told of once, and nothing
// is hurt.
func TestNoDefinition(t *testing.T) {
	t.Parallel()
	var there atomic.Bool
	c := newCluster(t, shopAdapter(t), func(clienttesting.Action) (bool, runtime.Object, error) {
		if there.Load() {
			return false, nil, nil
		}
		return true, nil, apierrors.NewNotFound(GVR().GroupResource(), "")
	})
	for range 3 {
		err := c.control.watch(t.Context())
		require.True(t, apierrors.IsNotFound(err))
		c.control.say(err)
	}
	require.Equal(t, 1, c.logs.count("has no MetricRules"))
	c.control.say(apierrors.NewForbidden(GVR().GroupResource(), "", errors.New("no")))
	require.Equal(t, 1, c.logs.count("ClusterRole"))
	there.Store(true)
	c.run()
	c.apply("shop", "r", 1, map[string]any{"metric": "m", "query": "sum by (pod) (orders)"})
	c.eventually(func() bool { return c.custom("shop", "pods", "a", "m") == "10" })
}

// TestNotReady: a store that cannot be asked yet is no reason to say anything of
// a rule, and is asked again soon.
func TestNotReady(t *testing.T) {
	t.Parallel()
	c := newCluster(t, newAdapter(t, newStore(t), ""))
	m := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"metric": "m", "query": "orders"}}}
	m.SetNamespace("shop")
	m.SetName("r")
	require.Equal(t, []string{"shop/r"}, c.control.sync([]*unstructured.Unstructured{m}))
	objects := cache.NewStore(cache.MetaNamespaceKeyFunc)
	require.NoError(t, objects.Add(m))
	w := &watch{Controller: c.control, objects: objects}
	require.Equal(t, retryAfter, w.status(t.Context(), "shop/r"))
	require.Zero(t, w.status(t.Context(), "shop/none"))
	require.Empty(t, c.client.Actions())
}

// TestManyRules: 500 objects cost one write each and then none while nothing
// changes, with two replicas too.
func TestManyRules(t *testing.T) {
	t.Parallel()
	a := shopAdapter(t)
	c := newCluster(t, a)
	c.control.writes = unlimited{}
	for i := range 500 {
		c.apply("shop", fmt.Sprintf("r%d", i), 1, map[string]any{"metric": fmt.Sprintf("m%d", i), "query": "sum by (pod) (orders)"})
	}
	// What is written goes no further: the fake's watch has room for 100 events.
	var mu sync.Mutex
	written := map[string][]*unstructured.Unstructured{}
	c.client.PrependReactor("update", Resource, func(act clienttesting.Action) (bool, runtime.Object, error) {
		u := act.(clienttesting.UpdateAction).GetObject().(*unstructured.Unstructured)
		mu.Lock()
		defer mu.Unlock()
		written[u.GetName()] = append(written[u.GetName()], u)
		return true, u, nil
	})
	c.run()
	c.eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(written) == 500
	})
	require.Equal(t, "10", c.custom("shop", "pods", "a", "m499"))
	mu.Lock()
	defer mu.Unlock()
	for name, writes := range written {
		require.Len(t, writes, 1, name)
	}

	// Another replica, or this one's next round, finds nothing to say.
	u := written["r7"][0]
	c.control.mu.Lock()
	o := c.control.rules["shop/r7"]
	c.control.mu.Unlock()
	for _, later := range []time.Duration{0, statusEvery, time.Hour} {
		s, ok := c.control.observe(t.Context(), o)
		require.True(t, ok)
		require.False(t, c.control.worthy(o, u, &s, time.Now().Add(later)), later)
	}
}

// unlimited is a rate limiter that lets all through.
type unlimited struct{}

func (unlimited) TryAccept() bool                { return true }
func (unlimited) Accept()                        {}
func (unlimited) Stop()                          {}
func (unlimited) QPS() float32                   { return 1e6 }
func (unlimited) Wait(ctx context.Context) error { return ctx.Err() }
