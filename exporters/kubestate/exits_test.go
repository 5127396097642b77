package kubestate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ended is a container's status: how often it was started again, how it ended
// now and the time before. An end is a reason and a code; "" is none.
func ended(name string, restarts int, now, before string) map[string]any {
	state := func(s string) map[string]any {
		if s == "" {
			return map[string]any{}
		}
		var reason string
		var code int64
		_, _ = fmt.Sscan(s, &reason, &code)
		return map[string]any{"terminated": map[string]any{"reason": reason, "exitCode": code}}
	}
	return map[string]any{"name": name, "restartCount": int64(restarts), "state": state(now), "lastState": state(before)}
}

func podOf(name, uid string, owner [2]string, statuses ...map[string]any) map[string]any {
	var list []any
	for _, s := range statuses {
		list = append(list, s)
	}
	o := ownedBy(object("a", name, map[string]any{"status": map[string]any{"containerStatuses": list}}), owner[0], owner[1])
	o["metadata"].(map[string]any)["uid"] = uid
	return o
}

func exitsOf(workload, sort, reason, exit string, n int) string {
	return fmt.Sprintf(`{namespace="a",workload=%q,workload_type=%q,container="c",reason=%q,exit=%q} %d`, workload, sort, reason, exit, n)
}

func TestContainerExits(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		web, cron := [2]string{"ReplicaSet", "web-1"}, [2]string{"Job", "nightly-7"}
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", "web"))
		api.put("jobs", ownedBy(object("a", "nightly-7", nil), "CronJob", "nightly"))
		api.put("pods", podOf("p", "u1", web, ended("c", 3, "", "Error 1")))
		e := follow(t, Options{Config: api.config(), ContainerExits: true})
		ready(t, e)
		body := scrape(t, e)
		require.NotContains(t, body, "kube_workload", "what was before the start")
		require.NotContains(t, body, "kube_pod_workload")

		api.put("pods", podOf("p", "u1", web, ended("c", 3, "OOMKilled 137", "Error 1")))
		eventually(t, "an end", has(e, "%s", exitsOf("web", "deployment", "OOMKilled", "signal", 1)))
		// The same end, seen again; then two that the status tells of, then four
		// of which it tells one.
		api.put("pods", podOf("p", "u1", web, ended("c", 4, "", "OOMKilled 137")))
		api.put("pods", podOf("p", "u1", web, ended("c", 5, "Completed 0", "Error 2")))
		eventually(t, "two ends", has(e, "%s", exitsOf("web", "deployment", "Completed", "success", 1)))
		require.Contains(t, text(e), exitsOf("web", "deployment", "Error", "error", 1))
		api.put("pods", podOf("p", "u1", web, ended("c", 10, "", "Error 2")))
		eventually(t, "many ends", has(e, "%s", exitsOf("web", "deployment", "Error", "error", 5)))

		// A short pod: its end comes with its removal, and its Job is gone.
		api.put("pods", podOf("short", "u2", cron, ended("c", 0, "", "")))
		eventually(t, "the short pod", has(e, `pod="short"`))
		api.remove("jobs", ownedBy(object("a", "nightly-7", nil), "CronJob", "nightly"))
		eventually(t, "the end of the job", func() bool { return !strings.Contains(text(e), `job_name="nightly-7"`) })
		api.remove("pods", podOf("short", "u2", cron, ended("c", 0, "Completed 0", "")))
		eventually(t, "its end", has(e, "%s", exitsOf("nightly", "CronJob", "Completed", "success", 1)))
		// One of the same name is another.
		api.put("pods", podOf("short", "u3", cron, ended("c", 0, "Completed 0", "")))
		eventually(t, "another", has(e, "%s", exitsOf("nightly-7", "job", "Completed", "success", 1)))
		api.put("pods", podOf("short", "u4", web, ended("c", 0, "Error 1", "")))
		eventually(t, "another", has(e, "%s", exitsOf("web", "deployment", "Error", "error", 6)))

		// A new list counts what is new, once.
		api.mu.Lock()
		api.kinds["pods"].objects = api.kinds["pods"].objects[:1]
		api.mu.Unlock()
		api.putQuietly("pods", podOf("p", "u1", web, ended("c", 10, "Error 1", "Error 2")))
		api.putQuietly("pods", podOf("new", "u5", web, ended("c", 0, "Error 1", "")))
		api.expire("pods")
		eventually(t, "a new list", has(e, `kube_pod_info{namespace="a",pod="new"`))
		eventually(t, "its ends", has(e, "%s", exitsOf("web", "deployment", "Error", "error", 8)))
		require.Len(t, seriesIn(scrape(t, e), "kube_workload_container_exits_total"), 5)
	})
}
