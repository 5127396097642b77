package kubestate

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// shownPods are the pods of a namespace that kube_pod_info has, and how many
// series there are of each.
func shownPods(body, namespace string) (names []string, series map[string]int) {
	series = make(map[string]int)
	for line := range strings.Lines(body) {
		_, after, ok := strings.Cut(line, `{namespace="`+namespace+`",pod="`)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(after, `"`)
		if series[name]++; strings.HasPrefix(line, "kube_pod_info{") {
			names = append(names, name)
		}
	}
	return names, series
}

func dropped(registry *prometheus.Registry, lines string) func() bool {
	return func() bool {
		return testutil.GatherAndCompare(registry, strings.NewReader(lines), "strata_kubestate_budget_objects_dropped", "strata_kubestate_budget_series_dropped") == nil
	}
}

const (
	headOfObjects = `# HELP strata_kubestate_budget_objects_dropped Objects that are left out now, wholly for --series-budget-namespace or of one family for --series-budget-family.
# TYPE strata_kubestate_budget_objects_dropped gauge
`
	headOfSeries = `# HELP strata_kubestate_budget_series_dropped Series that are left out now for --series-budget-namespace or --series-budget-family.
# TYPE strata_kubestate_budget_series_dropped gauge
`
)

// TestNamespaceBudget holds that a namespace that explodes takes no other
// down, that whole objects are left out, and that which ones is stable.
func TestNamespaceBudget(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		for i := range 9 {
			api.put("pods", object("big", fmt.Sprint("p", 9-i), nil))
		}
		api.put("pods", object("small", "q1", nil))
		free := follow(t, Options{Config: api.config(), Resources: []string{"pods"}})
		ready(t, free)
		_, series := shownPods(scrape(t, free), "big")
		each := series["p1"]

		registry, book := prometheus.NewRegistry(), &logBook{}
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}, SeriesBudgetNamespace: 3*each + 1, Registry: registry, Logger: book.logger()})
		ready(t, e)
		now := time.Now()
		e.extras.budgets.mu.Lock()
		e.extras.budgets.now = func() time.Time { return now }
		e.extras.budgets.mu.Unlock()
		names := func() string {
			names, series := shownPods(scrape(t, e), "big")
			for _, name := range names {
				require.Equal(t, each, series[name], "whole objects")
			}
			require.Len(t, series, len(names))
			return strings.Join(names, " ")
		}
		require.Equal(t, "p1 p2 p3", names(), "the first by name")
		require.Contains(t, text(e), `pod="q1"`)
		eventually(t, "drops", dropped(registry, headOfObjects+"strata_kubestate_budget_objects_dropped{budget=\"namespace\",name=\"big\"} 6\n"+
			headOfSeries+fmt.Sprintf("strata_kubestate_budget_series_dropped{budget=\"namespace\",name=\"big\"} %d\n", 6*each)))
		require.Equal(t, 1, book.count("name=big"))

		api.put("pods", object("big", "p0", nil))
		api.put("pods", object("big", "p2", nil))
		api.put("pods", object("small", "q2", nil))
		eventually(t, "another namespace", has(e, `pod="q2"`))
		require.Equal(t, "p1 p2 p3", names(), "who is shown stays, and who comes must fit")
		// When there is room the API server is asked again for what there is.
		api.remove("pods", object("big", "p1", nil))
		eventually(t, "the first that fits", func() bool { return strings.Contains(text(e), `pod="p0"`) })
		require.Equal(t, "p0 p2 p3", names())
		// That is not done more than once a minute, and all is well in the end.
		for i := range 5 {
			api.remove("pods", object("big", fmt.Sprint("p", i*2), nil))
		}
		eventually(t, "changes", func() bool { return names() == "p3" })
		e.extras.budgets.mu.Lock()
		now = now.Add(between)
		e.extras.budgets.mu.Unlock()
		eventually(t, "what fits now", func() bool { return names() == "p3 p5 p7" })
	})
}

// TestFamilyBudget holds that a family is cut by whole objects, and the others
// are not.
func TestFamilyBudget(t *testing.T) {
	t.Parallel()
	api, registry := newFakeAPI(t, true), prometheus.NewRegistry()
	for i := range 5 {
		conditions := []any{map[string]any{"type": "Ready", "status": "True"}}
		api.put("pods", object("a", fmt.Sprint("p", i), map[string]any{"status": map[string]any{"conditions": conditions}}))
		api.put("nodes", object("", fmt.Sprint("n", i), nil))
	}
	o := Options{
		Config: api.config(), Resources: []string{"pods", "nodes"}, SeriesBudgetFamily: 8, Registry: registry,
		MetricAllowlist: []string{"kube_pod_status_ready$", "kube_pod_info", "kube_node_info"},
	}
	e := follow(t, o)
	ready(t, e)
	body := scrape(t, e)
	require.Len(t, seriesIn(body, "kube_pod_status_ready"), 6, "the three rows of an object are not parted")
	require.Len(t, seriesIn(body, "kube_pod_info"), 5)
	require.Len(t, seriesIn(body, "kube_node_info"), 5)
	eventually(t, "drops", dropped(registry, headOfObjects+"strata_kubestate_budget_objects_dropped{budget=\"family\",name=\"kube_pod_status_ready\"} 3\n"+
		headOfSeries+"strata_kubestate_budget_series_dropped{budget=\"family\",name=\"kube_pod_status_ready\"} 9\n"))
	api.remove("pods", object("a", "p0", nil))
	eventually(t, "room", func() bool {
		return !strings.Contains(text(e), `pod="p0"`) && len(seriesIn(text(e), "kube_pod_status_ready")) == 6
	})
	require.Contains(t, scrape(t, e), `kube_pod_status_ready{namespace="a",pod="p2"`)
	next, err := New(o)
	require.NoError(t, err, "one exporter may follow another")
	eventually(t, "its figures", dropped(registry, ""))
	next.extras.end()
}

// TestBudgetOfWorkloads holds that families that need other objects are within
// the budgets, and come when there is room.
func TestBudgetOfWorkloads(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	for i := range 5 {
		api.put("pods", object("a", fmt.Sprint("p", i), nil))
	}
	e := follow(t, Options{
		Config: api.config(), Resources: []string{"pods"}, PodWorkloads: true, SeriesBudgetFamily: 3,
		MetricAllowlist: []string{"kube_pod_info", "kube_pod_workload"},
	})
	ready(t, e)
	body := scrape(t, e)
	require.Len(t, seriesIn(body, "kube_pod_info"), 3)
	require.Len(t, seriesIn(body, "kube_pod_workload"), 3)
	api.remove("pods", object("a", "p1", nil))
	for _, family := range []string{"kube_pod_info", "kube_pod_workload"} {
		eventually(t, family, func() bool { // the fourth is there, and which of them went
			all := seriesIn(text(e), family)
			return len(all) == 3 && !strings.Contains(strings.Join(all, ""), `"p1"`)
		})
	}
	scrape(t, e)
}

// TestBudgetsAddUp holds over any history that the accounts are those of what
// is shown, and that no bound is passed.
func TestBudgetsAddUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 0))
		kind := &bound{name: "things", families: []*metric.Family{metric.NewGauge("a", "A."), metric.NewGauge("b", "B.")}}
		b := newBudgets(30, 25, slog.New(slog.DiscardHandler))
		inner := &store{}
		s := newBudgetedStore(inner, b, kind)
		thing := func() *rendered {
			text := strings.Repeat("a 1\n", r.IntN(4))
			ends := []uint32{uint32(len(text))}
			text += strings.Repeat("b 1\n", r.IntN(4))
			return newRendered(key{fmt.Sprint("n", r.IntN(3)), fmt.Sprint("o", r.IntN(12))}, "", []byte(text), append(ends, uint32(len(text))), nil)
		}
		for range 150 {
			switch r.IntN(12) {
			case 0:
				var list []any
				for range r.IntN(20) {
					list = append(list, thing())
				}
				require.NoError(t, s.Replace(list, ""))
			case 1, 2, 3:
				require.NoError(t, s.Delete(thing()))
			default:
				require.NoError(t, s.Add(thing()))
			}
			used := map[string]int{"n0": 0, "n1": 0, "n2": 0}
			for i, name := range []string{"a", "b"} {
				inner.each(i, func(o *entry, lines []byte) {
					used[name] += strings.Count(string(lines), "\n")
					used[o.key.namespace] += strings.Count(string(lines), "\n")
				})
				require.LessOrEqual(t, used[name], 30)
				require.Equal(t, used[name], accountOf(b.families, name).used)
			}
			for _, name := range []string{"n0", "n1", "n2"} {
				require.LessOrEqual(t, used[name], 25)
				require.Equal(t, used[name], accountOf(b.namespaces, name).used)
			}
		}
		require.NoError(t, s.Replace(nil, ""))
		require.Zero(t, b.out)
		for _, a := range b.families {
			require.Equal(t, account{}, *a)
		}
	}
}
