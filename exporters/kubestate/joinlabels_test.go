package kubestate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// labelled gives an object labels, by turns names and values.
func labelled(o map[string]any, labels ...string) map[string]any {
	m := make(map[string]any)
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	o["metadata"].(map[string]any)["labels"] = m
	return o
}

func onNode(name, node string) map[string]any {
	return object("a", name, map[string]any{"spec": map[string]any{"nodeName": node}})
}

func TestJoinedLabels(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		node := func(zone string) map[string]any {
			return labelled(object("", "n1", nil), "topology.kubernetes.io/zone", zone, "disk-type", "ssd", "disk.type", "old", "other", "x")
		}
		api.put("nodes", node("z1"))
		api.put("namespaces", labelled(object("", "a", nil), "team", "shop\"s"))
		api.put("pods", onNode("p", "n1"))
		api.put("pods", onNode("late", "n2"))
		api.put("pods", onNode("waits", ""))
		list, err := ParseAllowlist("nodes=[topology.kubernetes.io/*,disk*],namespaces=[team,cost]")
		require.NoError(t, err)
		e := follow(t, Options{Config: api.config(), JoinLabels: list})
		ready(t, e)
		row := func(pod, labels string) string {
			return fmt.Sprintf(`{namespace="a",pod=%q%s} 1`, pod, labels)
		}
		n1 := `,node_label_disk_type_conflict1="ssd",node_label_disk_type_conflict2="old",node_label_topology_kubernetes_io_zone="z1"`
		team := `,namespace_label_team="shop\"s"`
		require.Equal(t, []string{row("late", team), row("p", n1+team), row("waits", team)}, seriesIn(scrape(t, e), "kube_pod_joined_labels"))

		api.put("nodes", node("z2"))
		z2 := strings.Replace(n1, "z1", "z2", 1)
		eventually(t, "another zone", has(e, "%s", row("p", z2+team)))
		api.put("nodes", labelled(object("", "n2", nil), "topology.kubernetes.io/zone", "z3"))
		eventually(t, "a node behind its pod", has(e, "%s", row("late", `,node_label_topology_kubernetes_io_zone="z3"`+team)))
		api.put("namespaces", labelled(object("", "a", nil), "cost", "7"))
		eventually(t, "other labels of the namespace", has(e, "%s", row("p", z2+`,namespace_label_cost="7"`)))
		api.put("pods", onNode("waits", "n1"))
		eventually(t, "a node for a pod", has(e, "%s", row("waits", z2+`,namespace_label_cost="7"`)))
		api.remove("nodes", node("z2"))
		eventually(t, "the end of a node", has(e, "%s", row("p", `,namespace_label_cost="7"`)))
		scrape(t, e)
	})
}

// TestJoinedLabelsAreBounded holds that a node with very many labels costs its
// pods a bounded number, and that the rest is counted.
func TestJoinedLabelsAreBounded(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	var many []string
	for i := range mostJoined + 5 {
		many = append(many, fmt.Sprintf("l%02d", i), "x")
	}
	api.put("nodes", labelled(object("", "n1", nil), many...))
	api.put("pods", onNode("p", "n1"))
	registry := prometheus.NewRegistry()
	options := Options{Config: api.config(), Registry: registry, Resources: []string{"pods"}, JoinLabels: Allowlist{"nodes": {"*"}}, PodWorkloads: true}
	e := follow(t, options)
	ready(t, e)
	body := scrape(t, e)
	require.Equal(t, mostJoined, strings.Count(body, ",node_label_"))
	require.Contains(t, body, workload("p", "p", "barepod"))
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP strata_kubestate_joined_labels_dropped_total Labels of nodes and namespaces that were left out because one object had more than 32 that --metric-join-labels names, counted at each change of the object.
# TYPE strata_kubestate_joined_labels_dropped_total counter
strata_kubestate_joined_labels_dropped_total{resource="nodes"} 5
`), "strata_kubestate_joined_labels_dropped_total"))
	_, err := New(options)
	require.NoError(t, err, "one exporter may follow another")
}
