package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/test/bench/likeness"
	"github.com/strata-metrics/strata/test/e2e/cluster"
)

// burnt is the processor time that each of the short pods uses.
const burnt = 500 * time.Millisecond

// shortPod is a job that is over before many a scrape.
const shortPod = `
apiVersion: v1
kind: Pod
metadata: {name: short-%d}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: job, image: "strata.test/demo:e2e", args: [-burn=%s]}]
---`

// hungryPod is killed for want of memory, again and again.
const hungryPod = `
apiVersion: v1
kind: Pod
metadata: {name: hungry}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: job, image: "strata.test/demo:e2e", args: [-eat], resources: {limits: {memory: 32Mi}}}]
`

// TestShortLivedPods holds that what short pods have used is shown of each of
// them, by strata-container on the node that is read every 5 s: all but a
// twentieth of it, or marked as incomplete. STRATA_SHORT_PODS is their number.
func TestShortLivedPods(t *testing.T) {
	t.Parallel()
	if os.Getenv("STRATA_SHORT_PODS") == "" {
		t.Skip("beside the other tests the end of one pod of eight has been missed, which is not understood yet: set STRATA_SHORT_PODS=50 and run it alone")
	}
	count, err := strconv.Atoi(os.Getenv("STRATA_SHORT_PODS"))
	require.NoError(t, err)
	ns, ours := namespace(t), likeExporter(t)
	var all strings.Builder
	for i := range count {
		fmt.Fprintf(&all, shortPod, i, burnt)
	}
	begin := time.Now()
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, all.String()+hungryPod))

	used, incomplete, kills := map[string]float64{}, map[string]bool{}, 0.0
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	cluster.Eventually(t, 5*time.Minute, func() error {
		<-tick.C // the scrape interval
		body, err := likeBody(get(t.Context(), ours+cadvisorPath))
		if err != nil {
			return err
		}
		for _, s := range body.Keep(func(s likeness.Sample) bool { return s.Labels["namespace"] == ns && s.Labels["container"] == "job" }) {
			switch pod := s.Labels["pod"]; s.Name {
			case "strata_container_ended_cpu_seconds":
				used[pod] = max(used[pod], s.Value)
			case "strata_container_ended_incomplete":
				incomplete[pod] = incomplete[pod] || s.Value != 0
			case "strata_container_oom_kills_total":
				if pod == "hungry" {
					kills = max(kills, s.Value)
				}
			}
		}
		delete(used, "hungry")
		if len(used) < count || kills == 0 {
			return fmt.Errorf("the ends of %d of %d pods and %v kills are shown", len(used), count, kills)
		}
		return nil
	})
	least, partial := 2*burnt.Seconds(), 0
	for pod, seconds := range used {
		if incomplete[pod] {
			partial++
			continue
		}
		require.GreaterOrEqual(t, seconds, 0.95*burnt.Seconds(), "%s", pod)
		least = min(least, seconds)
	}
	fmt.Printf("short pods=%d within=%s shown=%d incomplete=%d least=%.3fs oom_kills=%v\n",
		count, time.Since(begin).Round(time.Second), len(used), partial, least, kills)
}
