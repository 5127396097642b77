package kubestate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// TestJump holds what the field's hash says of some UIDs, and what makes the
// hash consistent: with one shard more, an object stays or goes to the new one.
func TestJump(t *testing.T) {
	t.Parallel()
	f := func(key uint64, n int, want int32) {
		t.Helper()
		require.Equal(t, want, jump(key, n))
	}
	// From the reference implementation of the paper's authors.
	f(1, 1, 0)
	f(42, 57, 43)
	f(0xDEAD10CC, 1, 0)
	f(0xDEAD10CC, 666, 361)
	f(256, 1024, 520)
	f(7, 0, -1)
	for total := 1; total < 9; total++ {
		sizes := make([]int, total+1)
		for i := range 10_000 {
			o := &metav1.ObjectMeta{UID: types.UID(fmt.Sprint("uid-", i))}
			of := func(total int) (in []int32) {
				for ordinal := range total {
					if (Shard{int32(ordinal), total}).keeps(o) {
						in = append(in, int32(ordinal))
					}
				}
				return in
			}
			before, after := of(total), of(total+1)
			require.Len(t, before, 1)
			require.Len(t, after, 1)
			require.True(t, before[0] == after[0] || after[0] == int32(total))
			sizes[after[0]]++
		}
		require.InDelta(t, 10_000/(total+1), slices.Min(sizes), 400)
		require.InDelta(t, 10_000/(total+1), slices.Max(sizes), 400)
	}
}

func TestShardUsage(t *testing.T) {
	t.Parallel()
	f := func(want string, o Options) {
		t.Helper()
		o.Config = &rest.Config{Host: "http://127.0.0.1:1"}
		_, err := New(o)
		require.ErrorIs(t, err, ErrUsage)
		require.ErrorContains(t, err, want)
	}
	f("--shard 1 is none of --total-shards 1", Options{Shard: Shard{Ordinal: 1}})
	f("--shard 4 is none of --total-shards 4", Options{Shard: Shard{4, 4}})
	f("below 0", Options{Shard: Shard{-1, 4}})
	f("below 0", Options{Shard: Shard{0, -4}})
	f("need each other", Options{Pod: "p"})
	f("need each other", Options{PodNamespace: "p"})
	f("--object-limit is -1", Options{ObjectLimit: -1})
	f("--resources=pods", Options{TrackUnscheduledPods: true})
}

// seriesOf gives the lines of a body that are series.
func seriesLines(body string) map[string]int {
	lines := make(map[string]int)
	for line := range strings.Lines(body) {
		if line[0] != '#' {
			lines[line]++
		}
	}
	return lines
}

// fillShards makes objects of some kinds.
func fillShards(api *fakeAPI, n int) {
	for i := range n {
		api.put("pods", object("a", fmt.Sprint("p", i), nil))
		api.put("nodes", object("", fmt.Sprint("n", i), nil))
		api.put("deployments", object("b", fmt.Sprint("d", i), replicas(int64(i))))
	}
}

// TestShards holds that the parts together are the whole and share nothing,
// also after changes.
func TestShards(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		fillShards(api, 20)
		whole := follow(t, Options{Config: api.config()})
		ready(t, whole)
		parts := make(map[int][]*Exporter)
		for _, total := range []int{2, 4} {
			for ordinal := range total {
				e := follow(t, Options{Config: api.config(), Shard: Shard{int32(ordinal), total}})
				ready(t, e)
				parts[total] = append(parts[total], e)
			}
		}
		union := func(total int) map[string]int {
			all := make(map[string]int)
			for _, e := range parts[total] {
				for line, n := range seriesLines(text(e)) {
					all[line] += n
				}
			}
			return all
		}
		same := func(total int) func() bool {
			return func() bool { return maps.Equal(seriesLines(text(whole)), union(total)) }
		}
		for total, list := range parts {
			require.Equal(t, seriesLines(scrape(t, whole)), union(total))
			for _, e := range list {
				require.NotEmpty(t, seriesLines(scrape(t, e)))
			}
		}
		fillShards(api, 30)
		for i := range 10 {
			api.remove("pods", object("a", fmt.Sprint("p", i), nil))
		}
		eventually(t, "the last change", func() bool { b := text(whole); return !strings.Contains(b, `"p9"`) && strings.Contains(b, `"d29"`) })
		for total := range parts {
			eventually(t, "the same in parts", same(total))
		}
	})
}

func statefulSet(replicas int64) map[string]any {
	return object("monitoring", "state", map[string]any{"spec": map[string]any{"replicas": replicas}})
}

func member(name string) map[string]any {
	o := object("monitoring", name, nil)
	o["metadata"].(map[string]any)["ownerReferences"] = []any{
		map[string]any{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "state", "uid": "u", "controller": true},
	}
	return o
}

// TestAutomaticShards holds that the shard follows the size of a StatefulSet.
func TestAutomaticShards(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		fillShards(api, 20)
		book, registry := &logBook{}, prometheus.NewRegistry()
		e := follow(t, Options{
			Config: api.config(), Resources: []string{"pods", "nodes"}, Namespaces: []string{"a"},
			Pod: "state-1", PodNamespace: "monitoring", Logger: book.logger(), Registry: registry,
		})
		eventually(t, "no pod", func() bool { return book.count("pod monitoring/state-1 of --pod-namespace") > 0 })
		require.ErrorContains(t, e.Ready(), "which shard this is")
		require.Empty(t, text(e), "nothing is followed before the shard is known")

		api.put("pods", member("state-1"))
		api.put("statefulsets", statefulSet(2))
		ready(t, e)
		of := func(shard Shard) func() bool {
			want := make(map[string]bool)
			for i := range 20 {
				for _, name := range []string{fmt.Sprint("p", i), fmt.Sprint("n", i)} {
					want[name] = shard.keeps(&metav1.ObjectMeta{UID: types.UID("uid-" + name)})
				}
			}
			return func() bool {
				body := text(e)
				for name, shown := range want {
					if strings.Contains(body, `"`+name+`"`) != shown {
						return false
					}
				}
				return true
			}
		}
		eventually(t, "half", of(Shard{1, 2}))
		api.put("statefulsets", statefulSet(4))
		eventually(t, "a quarter", of(Shard{1, 4}))
		require.NoError(t, e.Ready(), "the last state is served on")
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP kube_state_metrics_shard_ordinal Which part of the objects this exporter shows, counted from 0.
# TYPE kube_state_metrics_shard_ordinal gauge
kube_state_metrics_shard_ordinal{shard_ordinal="1"} 1
# HELP kube_state_metrics_total_shards Parts that this exporter takes the objects to be split into.
# TYPE kube_state_metrics_total_shards gauge
kube_state_metrics_total_shards 4
`), "kube_state_metrics_shard_ordinal", "kube_state_metrics_total_shards"))
		api.put("pods", object("a", "q0", nil))
		api.put("pods", object("a", "q1", nil))
		require.Equal(t, 1, book.count("level=ERROR"), book.String())
	})
}

// TestNoStatefulSet holds that a pod that is of none is told as such.
func TestNoStatefulSet(t *testing.T) {
	t.Parallel()
	f := func(want string, pod map[string]any) {
		t.Helper()
		api, book := newFakeAPI(t, true), &logBook{}
		api.put("pods", pod)
		name, _, _ := strings.Cut(strings.TrimPrefix(nameOf(pod), "monitoring/"), "/")
		e := follow(t, Options{Config: api.config(), Pod: name, PodNamespace: "monitoring", Logger: book.logger()})
		eventually(t, "tries", func() bool { return api.count("get pods") > 3 })
		require.ErrorContains(t, e.Ready(), want)
		require.Equal(t, 1, book.count("level=ERROR"), book.String())
	}
	f("is of no StatefulSet", object("monitoring", "state-1", nil))
	f("has no number in StatefulSet state", member("other"))
}

// TestObjectLimit holds that a list takes no more objects than that.
func TestObjectLimit(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		fillShards(api, 9)
		registry := prometheus.NewRegistry()
		f := func(want int, o Options) {
			t.Helper()
			o.Config, o.Registry = api.config(), registry
			o.MetricAllowlist = []string{"^kube_node_spec_unschedulable$"}
			o.Resources = []string{"nodes"}
			e := follow(t, o)
			ready(t, e)
			require.Len(t, seriesLines(scrape(t, e)), want)
		}
		f(4, Options{ObjectLimit: 4})
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP kube_state_metrics_list_objects Objects that the last list of a resource took, where --object-limit is set.
# TYPE kube_state_metrics_list_objects gauge
kube_state_metrics_list_objects{resource="nodes"} 4
# HELP kube_state_metrics_list_objects_limit Objects that a list of a resource takes at most, where --object-limit is set.
# TYPE kube_state_metrics_list_objects_limit gauge
kube_state_metrics_list_objects_limit{resource="nodes"} 4
`), "kube_state_metrics_list_objects", "kube_state_metrics_list_objects_limit"))
		registry = prometheus.NewRegistry()
		f(4, Options{ObjectLimit: 4, UseAPIServerCache: true})
		registry = prometheus.NewRegistry()
		f(9, Options{ObjectLimit: 9, UseAPIServerCache: true})
		registry = prometheus.NewRegistry()
		f(9, Options{UseAPIServerCache: true})
	})
}

// TestUnscheduledPods holds which pods are followed by that option.
func TestUnscheduledPods(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("pods", object("a", "placed", map[string]any{"spec": map[string]any{"nodeName": "n1"}}))
	api.put("pods", object("a", "waits", nil))
	e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}, TrackUnscheduledPods: true, Node: "n1"})
	ready(t, e)
	body := scrape(t, e)
	require.Contains(t, body, `pod="waits"`)
	require.NotContains(t, body, `pod="placed"`)
}
