package kubestate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ownedBy adds a controller to an object.
func ownedBy(o map[string]any, kind, name string) map[string]any {
	o["metadata"].(map[string]any)["ownerReferences"] = []any{
		map[string]any{"apiVersion": "v1", "kind": "Noise", "name": "noise", "uid": "n"},
		map[string]any{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true},
	}
	return o
}

// seriesIn are the lines of a family in a body, sorted.
func seriesIn(body, family string) []string {
	var list []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, family+"{") {
			list = append(list, strings.TrimSuffix(strings.TrimPrefix(line, family), "\n"))
		}
	}
	slices.Sort(list)
	return list
}

func workload(pod, name, sort string) string {
	return fmt.Sprintf(`{namespace="a",pod=%q,workload=%q,workload_type=%q} 1`, pod, name, sort)
}

func TestPodWorkloads(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", "web"))
		api.put("replicasets", ownedBy(object("a", "roll-1", nil), "Rollout", "roll"))
		api.put("replicasets", ownedBy(object("b", "lone", nil), "Deployment", "other-namespace"))
		api.put("jobs", ownedBy(object("a", "nightly-7", nil), "CronJob", "nightly"))
		api.put("jobs", object("a", "once", nil))
		want := []string{
			workload("p-bare", "p-bare", "barepod"), workload("p-cron", "nightly", "CronJob"), workload("p-daemon", "logs", "daemonset"),
			workload("p-job", "once", "job"), workload("p-lone", "lone", "replicaset"), workload("p-rc", "rc", "ReplicationController"),
			workload("p-roll", "roll", "Rollout"), workload("p-set", "db", "statefulset"), workload("p-static", "p-static", "staticpod"),
			workload("p-web", "web", "deployment"),
		}
		for name, owner := range map[string][2]string{
			"p-cron": {"Job", "nightly-7"}, "p-daemon": {"DaemonSet", "logs"}, "p-job": {"Job", "once"}, "p-lone": {"ReplicaSet", "lone"},
			"p-rc": {"ReplicationController", "rc"}, "p-roll": {"ReplicaSet", "roll-1"}, "p-set": {"StatefulSet", "db"},
			"p-static": {"Node", "n1"}, "p-web": {"ReplicaSet", "web-1"},
		} {
			api.put("pods", ownedBy(object("a", name, nil), owner[0], owner[1]))
		}
		api.put("pods", object("a", "p-bare", nil))
		e := follow(t, Options{Config: api.config(), PodWorkloads: true})
		ready(t, e)
		require.Equal(t, want, seriesIn(scrape(t, e), "kube_pod_workload"))

		// A ReplicaSet that is seen after its pod.
		api.put("pods", ownedBy(object("a", "late", nil), "ReplicaSet", "late-1"))
		eventually(t, "the pod", has(e, "%s", workload("late", "late-1", "replicaset")))
		api.put("replicasets", ownedBy(object("a", "late-1", nil), "Deployment", "late"))
		eventually(t, "its workload", has(e, "%s", workload("late", "late", "deployment")))
		// What it was found by may go before it, and come under another.
		api.remove("replicasets", ownedBy(object("a", "late-1", nil), "Deployment", "late"))
		api.put("pods", ownedBy(object("a", "mark", nil), "Job", "nightly-7"))
		eventually(t, "a mark behind it", has(e, "%s", workload("mark", "nightly", "CronJob")))
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", "web2"))
		eventually(t, "another owner", has(e, "%s", workload("p-web", "web2", "deployment")))
		require.Contains(t, scrape(t, e), workload("late", "late", "deployment"))
		// A pod may be let go by its owner, and goes at last.
		api.put("pods", object("a", "late", nil))
		eventually(t, "no owner", has(e, "%s", workload("late", "late", "barepod")))
		api.remove("pods", object("a", "late", nil))
		eventually(t, "its end", func() bool { return !strings.Contains(text(e), `"late"`) })
		scrape(t, e)
	})
}

// TestPodWorkloadsAfterAList holds that what a new list no longer has is
// forgotten, and that what it still has is shown.
func TestPodWorkloadsAfterAList(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", "web"))
		api.put("pods", ownedBy(object("a", "kept", nil), "ReplicaSet", "web-1"))
		api.put("pods", object("a", "lost", nil))
		e := follow(t, Options{Config: api.config(), PodWorkloads: true})
		ready(t, e)
		api.mu.Lock()
		api.kinds["pods"].objects = api.kinds["pods"].objects[:1]
		api.kinds["replicasets"].objects = nil
		api.mu.Unlock()
		api.putQuietly("pods", object("a", "new", nil))
		api.expire("replicasets")
		api.expire("pods")
		eventually(t, "new list", has(e, "%s", workload("new", "new", "barepod")))
		require.Equal(t, []string{workload("kept", "web", "deployment"), workload("new", "new", "barepod")}, seriesIn(scrape(t, e), "kube_pod_workload"))
	})
}

// TestPodWorkloadsOfShards holds that a shard finds workloads by objects that
// other shards show, and that namespaces and lists of families count.
func TestPodWorkloadsOfShards(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	for _, ns := range []string{"a", "b"} {
		for i := range 8 {
			set := fmt.Sprint("web-", i)
			api.put("replicasets", ownedBy(object(ns, set, nil), "Deployment", "web"))
			api.put("pods", ownedBy(object(ns, "p-"+ns+set, nil), "ReplicaSet", set))
		}
	}
	all := make(map[string]int)
	for i := range 3 {
		e := follow(t, Options{Config: api.config(), PodWorkloads: true, Shard: Shard{int32(i), 3}})
		ready(t, e)
		body := scrape(t, e)
		require.Len(t, seriesIn(body, "kube_pod_workload"), len(seriesIn(body, "kube_pod_info")))
		for _, s := range seriesIn(body, "kube_pod_workload") {
			require.Contains(t, s, `workload="web",workload_type="deployment"`)
			all[s]++
		}
	}
	require.Len(t, all, 16)

	one := follow(t, Options{Config: api.config(), PodWorkloads: true, Resources: []string{"pods"}, Namespaces: []string{"a", "b"}})
	ready(t, one)
	body := scrape(t, one)
	require.Len(t, seriesIn(body, "kube_pod_workload"), 16)
	require.NotContains(t, body, "kube_replicaset")
	require.NotContains(t, body, `type="replicaset"`)
	none := follow(t, Options{Config: api.config(), PodWorkloads: true, MetricDenylist: []string{"kube_pod_workload"}})
	ready(t, none)
	require.NotContains(t, scrape(t, none), "kube_pod_workload")
	_, err := New(Options{Config: api.config(), PodWorkloads: true, Resources: []string{"nodes"}})
	require.ErrorIs(t, err, ErrUsage)
	require.ErrorContains(t, err, "add pods to --resources")
}
