package kubestate

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/exporters/kubestate/custom"
)

// definition defines a kind, with the versions that are served; one more is
// not.
func definition(plural, kind, scope string, versions ...string) map[string]any {
	list := []any{map[string]any{"name": "v0", "served": false}}
	for _, v := range versions {
		list = append(list, map[string]any{"name": v, "served": true})
	}
	return object("", plural+".harbour.io", map[string]any{"spec": map[string]any{
		"group": "harbour.io", "scope": scope, "names": map[string]any{"plural": plural, "kind": kind}, "versions": list,
	}})
}

func customConfig(t *testing.T, text string) *custom.Config {
	t.Helper()
	c, err := custom.Parse([]byte(text), func(string) bool { return false })
	require.NoError(t, err)
	return c
}

const everyKind = `
spec:
  resources:
  - groupVersionKind: {group: harbour.io, version: "*", kind: "*"}
    labelsFromPath: {name: [metadata, name], namespace: [metadata, namespace]}
    metrics:
    - {name: size, help: Size., each: {type: Gauge, gauge: {path: [spec, size], nilIsZero: true}}}
  - groupVersionKind: {group: harbour.io, version: v1, kind: Boat}
    labelsFromPath: {name: [metadata, name]}
    metrics:
    - {name: size, help: Another., commonLabels: {unit: m}, each: {type: Gauge, gauge: {path: [spec, size]}}}
    - {name: phase, each: {type: StateSet, stateSet: {path: [status, phase], labelName: phase, list: [Moored, Sunk]}}}
`

// TestCustomResources holds that kinds come and go with their definitions.
func TestCustomResources(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		boats := definition("boats", "Boat", "Namespaced", "v1")
		api.put("pods", object("a", "p", nil))
		api.put("customresourcedefinitions", boats)
		api.put("boats", object("a", "ada", map[string]any{
			"spec": map[string]any{"size": int64(7)}, "status": map[string]any{"phase": "Moored"},
		}))
		book, registry := &logBook{}, prometheus.NewRegistry()
		e := follow(t, Options{
			Config: api.config(), Resources: []string{"pods"}, CustomResources: customConfig(t, everyKind), Logger: book.logger(), Registry: registry,
		})
		ready(t, e)
		require.NotContains(t, book.String(), "level=ERROR")
		body := scrape(t, e)
		require.Contains(t, body, `kube_pod_info{namespace="a",pod="p"`)
		_, got, _ := strings.Cut(body, "# HELP kube_customresource_size")
		require.Equal(t, ` Size.
# TYPE kube_customresource_size gauge
kube_customresource_size{customresource_group="harbour.io",customresource_kind="Boat",customresource_version="v1",name="ada",namespace="a"} 7
kube_customresource_size{customresource_group="harbour.io",customresource_kind="Boat",customresource_version="v1",name="ada",unit="m"} 7
# HELP kube_customresource_phase Made of custom resources as the configuration says.
# TYPE kube_customresource_phase gauge
kube_customresource_phase{customresource_group="harbour.io",customresource_kind="Boat",customresource_version="v1",name="ada",phase="Moored"} 1
kube_customresource_phase{customresource_group="harbour.io",customresource_kind="Boat",customresource_version="v1",name="ada",phase="Sunk"} 0
`, got)

		api.put("piers", object("", "long", map[string]any{"spec": map[string]any{"size": "2k"}}))
		piers := definition("piers", "Pier", "Cluster", "v1")
		api.put("customresourcedefinitions", piers)
		eventually(t, "a kind that came", has(e, `kube_customresource_size{customresource_group="harbour.io",customresource_kind="Pier",customresource_version="v1",name="long",namespace=""} 2000`))
		scrape(t, e)
		api.put("boats", object("a", "bea", nil))
		eventually(t, "a change", has(e, `name="bea"`))
		api.remove("customresourcedefinitions", boats)
		eventually(t, "a kind that went", func() bool { return !strings.Contains(text(e), `"Boat"`) })
		require.Contains(t, scrape(t, e), `"Pier"`)
		ready(t, e)
		api.put("customresourcedefinitions", boats)
		eventually(t, "a kind that came again", has(e, `"ada"`))
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP kube_state_metrics_custom_resource_state_add_events_total CustomResourceDefinitions that came.
# TYPE kube_state_metrics_custom_resource_state_add_events_total counter
kube_state_metrics_custom_resource_state_add_events_total 3
# HELP kube_state_metrics_custom_resource_state_cache CustomResourceDefinitions that there are.
# TYPE kube_state_metrics_custom_resource_state_cache gauge
kube_state_metrics_custom_resource_state_cache 2
# HELP kube_state_metrics_custom_resource_state_delete_events_total CustomResourceDefinitions that went.
# TYPE kube_state_metrics_custom_resource_state_delete_events_total counter
kube_state_metrics_custom_resource_state_delete_events_total 1
`), "kube_state_metrics_custom_resource_state_add_events_total", "kube_state_metrics_custom_resource_state_cache",
			"kube_state_metrics_custom_resource_state_delete_events_total"))
	})
}

// TestCustomSparseStates holds that sets of custom resources lose their zeros.
func TestCustomSparseStates(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("customresourcedefinitions", definition("boats", "Boat", "Namespaced", "v1"))
	api.put("boats", object("a", "ada", map[string]any{"status": map[string]any{"phase": "Moored"}, "spec": map[string]any{"size": int64(0)}}))
	e := follow(t, Options{Config: api.config(), CustomResources: customConfig(t, everyKind), CustomResourcesOnly: true, SparseStates: true})
	ready(t, e)
	body := scrape(t, e)
	require.Contains(t, body, `name="ada",phase="Moored"} 1`)
	require.NotContains(t, body, `phase="Sunk"`)
	require.Contains(t, body, `unit="m"} 0`, "a number is no state")
}

// TestCustomSelection holds that namespaces, shards and lists of families
// select among custom resources as among all.
func TestCustomSelection(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("customresourcedefinitions", definition("boats", "Boat", "Namespaced", "v1"))
	for _, ns := range []string{"a", "b"} {
		api.put("boats", object(ns, ns+"-1", nil))
		api.put("boats", object(ns, ns+"-2", nil))
	}
	api.put("pods", object("a", "p", nil))
	f := func(o Options) (names string) {
		t.Helper()
		o.Config, o.CustomResources, o.CustomResourcesOnly = api.config(), customConfig(t, everyKind), true
		e := follow(t, o)
		ready(t, e)
		body := scrape(t, e)
		require.NotContains(t, body, "kube_pod")
		var list []string
		for line := range strings.Lines(body) {
			if _, after, ok := strings.Cut(line, `name="`); ok && line[0] != '#' {
				name, _, _ := strings.Cut(after, `"`)
				list = append(list, name)
			}
		}
		return strings.Join(list, " ")
	}
	require.Equal(t, "a-1 a-2 b-1 b-2", f(Options{}))
	require.Equal(t, "b-1 b-2", f(Options{Namespaces: []string{"b"}}))
	require.Equal(t, "b-1 b-2", f(Options{NamespacesDenylist: []string{"a"}}))
	require.Empty(t, f(Options{MetricDenylist: []string{"size"}}))
	parts := f(Options{Shard: Shard{0, 2}}) + " " + f(Options{Shard: Shard{1, 2}})
	require.ElementsMatch(t, strings.Fields("a-1 a-2 b-1 b-2"), strings.Fields(parts))
}

// TestCustomMistakes holds that objects that have the same series, or none,
// cost neither the scrape nor the log much.
func TestCustomMistakes(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("customresourcedefinitions", definition("boats", "Boat", "Namespaced", "v1"))
	for _, name := range []string{"a", "b", "c"} {
		api.put("boats", object("n", name, map[string]any{"spec": map[string]any{"size": int64(1)}}))
	}
	api.put("pods", object("a", "p", nil))
	book := &logBook{}
	e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}, Logger: book.logger(), CustomResources: customConfig(t, `
spec:
  resources:
  - groupVersionKind: {group: harbour.io}
    metrics:
    - {name: same, each: {type: Gauge, gauge: {path: [spec, size]}}}
    - {name: none, each: {type: Gauge, gauge: {path: [spec, colour]}}}
    - {name: quiet, errorLogV: 5, each: {type: Gauge, gauge: {path: [spec, colour]}}}
`)})
	ready(t, e)
	require.Equal(t, 1, strings.Count(scrape(t, e), "kube_customresource_same{"))
	scrape(t, e)
	require.Equal(t, 1, book.count("two custom resources have the same series"), book.String())
	require.Equal(t, 1, book.count("there is nothing at this path"), book.String())
	require.Equal(t, 2, book.count("level=ERROR"), book.String())
	require.Contains(t, text(e), "kube_pod_info{")
}

// TestCustomDefinitionsForbidden holds that the other kinds go on.
func TestCustomDefinitionsForbidden(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, false)
	api.fail("list customresourcedefinitions", 403)
	api.put("pods", object("a", "p", nil))
	book := &logBook{}
	e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}, Logger: book.logger(), CustomResources: customConfig(t, everyKind)})
	eventually(t, "pods", has(e, "kube_pod_info{"))
	eventually(t, "refusals", func() bool { return api.count("list customresourcedefinitions") > 3 })
	require.ErrorContains(t, e.Ready(), "customresourcedefinitions: ")
	require.Equal(t, 1, book.count("level=ERROR"), book.String())
	api.fail("list customresourcedefinitions", 0)
	ready(t, e)
}
