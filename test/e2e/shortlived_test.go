package e2e

import (
	"cmp"
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

// hungryPods are killed for want of memory: one once, the other again and again,
// each time in a new container.
const hungryPods = `
apiVersion: v1
kind: Pod
metadata: {name: hungry}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: job, image: "strata.test/demo:e2e", args: [-eat], resources: {limits: {memory: 32Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: ever-hungry}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: job, image: "strata.test/demo:e2e", args: [-eat], resources: {limits: {memory: 32Mi}}}]
`

// TestShortLivedPods holds that what short pods have used is shown of each of
// them, by strata-container on the node that is read every 5 s: all but a
// twentieth of it, or marked as incomplete; and each kill for want of memory.
// STRATA_SHORT_PODS is their number.
func TestShortLivedPods(t *testing.T) {
	t.Parallel()
	count, err := strconv.Atoi(cmp.Or(os.Getenv("STRATA_SHORT_PODS"), "8"))
	require.NoError(t, err)
	ns, ours := namespace(t), likeExporter(t)
	var all strings.Builder
	for i := range count {
		fmt.Fprintf(&all, shortPod, i, burnt)
	}
	begin := time.Now()
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, all.String()+hungryPods))

	used, incomplete, kills := map[string]float64{}, map[string]bool{}, map[string]float64{}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	cluster.Eventually(t, 5*time.Minute, func() error {
		<-tick.C // the scrape interval
		body, err := likeBody(get(t.Context(), ours+cadvisorPath))
		if err != nil {
			return err
		}
		for _, s := range body.Keep(func(s likeness.Sample) bool { return s.Labels["namespace"] == ns && s.Labels["container"] == "job" }) {
			pod := s.Labels["pod"]
			switch short := strings.HasPrefix(pod, "short-"); {
			case short && s.Name == "strata_container_ended_cpu_seconds":
				used[pod] = max(used[pod], s.Value)
			case short && s.Name == "strata_container_ended_incomplete":
				incomplete[pod] = s.Value != 0 // shown of every ending
			case s.Name == "strata_container_oom_kills_total":
				kills[pod] = s.Value
			}
		}
		if len(incomplete) < count || kills["hungry"] == 0 || kills["ever-hungry"] < 2 {
			return fmt.Errorf("the ends of %d of %d pods and kills %v are shown", len(incomplete), count, kills)
		}
		return nil
	})
	partial, known := 0, 0 // known of the partial ones is the time, from their pods
	least := 2 * burnt.Seconds()
	for pod, short := range incomplete {
		enough := used[pod] >= 0.95*burnt.Seconds()
		if !short {
			require.True(t, enough, "%s: %v s", pod, used[pod])
			least = min(least, used[pod])
			continue
		}
		partial++
		if enough {
			known++
		}
	}
	require.EqualValues(t, 1, kills["hungry"])
	fmt.Printf("short pods=%d within=%s shown=%d incomplete=%d (cpu of %d known) least=%.3fs oom_kills=%v\n",
		count, time.Since(begin).Round(time.Second), len(incomplete), partial, known, least, kills["ever-hungry"])
}
