package kubestate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWorkloadLabels holds that the chosen families have the labels of the
// workload, that they follow it, and that nothing else is other than without.
func TestWorkloadLabels(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		pod := func(name, owner, phase string) map[string]any {
			o := ownedBy(object("a", name, map[string]any{"status": map[string]any{"phase": phase}}), "ReplicaSet", owner)
			return labelled(o, "odd", `,workload="x",workload_type="y`)
		}
		for i := range 40 { // of more than one segment
			api.put("pods", pod(fmt.Sprintf("p%02d", i), "web-1", "Running"))
		}
		api.put("pods", pod("late", "late-1", "Pending"))
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", `we"b\`))
		o := Options{
			Config: api.config(), LabelsAllowlist: Allowlist{"pods": {"*"}}, MetricDenylist: []string{"resource_version"},
			PodWorkloadLabels: []string{"kube_pod_info", "kube_pod_status_phase", "kube_pod_labels"},
		}
		e := follow(t, o)
		o.PodWorkloadLabels = nil
		without := follow(t, o)
		ready(t, e)
		ready(t, without)
		same := func() {
			t.Helper()
			labels := regexp.MustCompile(`(?m)^(kube_pod_(?:info|status_phase|labels)\{.*),workload="(?:[^"\\]|\\.)*",workload_type="\w+"\} `)
			body := labels.ReplaceAllString(scrape(t, e), "$1} ")
			lines := func(s string) []string {
				list := strings.Split(s, "\n")
				slices.Sort(list)
				return list
			}
			require.Equal(t, lines(scrape(t, without)), lines(body))
		}
		same()
		for _, family := range []string{"kube_pod_info", "kube_pod_status_phase", "kube_pod_labels"} {
			all := seriesIn(scrape(t, e), family)
			require.NotEmpty(t, all)
			for _, s := range all {
				want := `,workload="we\"b\\",workload_type="deployment"}`
				if strings.Contains(s, `"late"`) {
					want = `,workload="late-1",workload_type="replicaset"}`
				}
				require.Contains(t, s, want)
			}
		}
		api.put("pods", pod("p07", "web-1", "Failed"))
		eventually(t, "a change", func() bool {
			return slices.ContainsFunc(seriesIn(text(e), "kube_pod_status_phase"), func(s string) bool {
				return strings.Contains(s, `"p07"`) && strings.Contains(s, `phase="Failed",workload="we\"b\\",workload_type="deployment"} 1`)
			})
		})
		// A ReplicaSet behind its pod, and one that comes under another.
		api.put("replicasets", ownedBy(object("a", "late-1", nil), "Rollout", "late"))
		eventually(t, "its workload", has(e, `phase="Pending",workload="late",workload_type="Rollout"} 1`))
		api.put("replicasets", ownedBy(object("a", "web-1", nil), "Deployment", "web"))
		eventually(t, "another workload", has(e, `,workload="web",workload_type="deployment"} 1`))
		require.NotContains(t, scrape(t, e), `we\"b`)
		api.remove("pods", pod("p00", "web-1", "Running"))
		eventually(t, "the end of a pod", func() bool { return !strings.Contains(text(e), `"p00"`) && !strings.Contains(text(without), `"p00"`) })
		eventually(t, "the same everywhere", func() bool {
			return strings.Contains(text(without), `kube_replicaset_owner{namespace="a",replicaset="web-1",owner_kind="Deployment",owner_name="web"`) &&
				strings.Contains(text(e), `kube_replicaset_owner{namespace="a",replicaset="web-1",owner_kind="Deployment",owner_name="web"`)
		})
		same()
		require.NotContains(t, text(e), "kube_pod_workload")
	})
}
