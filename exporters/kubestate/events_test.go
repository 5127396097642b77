package kubestate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

func event(name, kind, reason string, count int64, more map[string]any) map[string]any {
	o := object("a", name, map[string]any{
		"involvedObject": map[string]any{"kind": kind, "name": "x"}, "reason": reason, "type": "Warning", "count": count,
	})
	for k, v := range more {
		o[k] = v
	}
	return o
}

func occurrences(kind, reason string, n int) string {
	return fmt.Sprintf(`{namespace="a",kind=%q,reason=%q,type="Warning"} %d`, kind, reason, n)
}

func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("events", event("old", "Pod", "BackOff", 40, nil))
		api.put("pods", object("a", "p", nil))
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods", "events"}})
		ready(t, e)
		require.NotContains(t, scrape(t, e), "kube_event", "what was before the start")
		api.put("events", event("new", "Pod", "BackOff", 1, nil))
		eventually(t, "a first event", has(e, "%s", occurrences("Pod", "BackOff", 1)))
		api.put("events", event("old", "Pod", "BackOff", 42, nil))
		eventually(t, "more of an old event", has(e, "%s", occurrences("Pod", "BackOff", 3)))
		api.put("events", event("node", "Node", "Rebooted", 0, map[string]any{"series": map[string]any{"count": int64(5)}}))
		eventually(t, "an event with a series", has(e, "%s", occurrences("Node", "Rebooted", 5)))

		// A new list has an event twice at most: here it has one more than the
		// watch told, and another no more.
		api.mu.Lock()
		k := api.kinds["events"]
		k.objects = k.objects[1:]
		api.mu.Unlock()
		api.putQuietly("events", event("quiet", "Pod", "Killing", 2, nil))
		api.putQuietly("events", event("new", "Pod", "BackOff", 4, nil))
		api.expire("events")
		eventually(t, "a new list", has(e, "%s", occurrences("Pod", "Killing", 2)))
		want := []string{occurrences("Node", "Rebooted", 5), occurrences("Pod", "BackOff", 6), occurrences("Pod", "Killing", 2)}
		require.Equal(t, want, seriesIn(scrape(t, e), "kube_event_occurrences_total"))
		// Counts stay when the events go.
		api.remove("events", event("quiet", "Pod", "Killing", 2, nil))
		api.put("events", event("last", "Job", "Done", 1, nil))
		eventually(t, "a mark behind it", has(e, "%s", occurrences("Job", "Done", 1)))
		require.Contains(t, scrape(t, e), occurrences("Pod", "Killing", 2))
		require.Empty(t, e.kinds[0].sources[0].store.segments, "nothing is kept of events")
	})
}

// TestTally holds that the series of counts are bounded, and who makes room.
func TestTally(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	drops := newTallyDrops()
	c := newTally(metric.NewCounter("x_total", "X.", "a", "b"), 2, &drops)
	c.now = func() time.Time { return now }
	show := func() string {
		var out strings.Builder
		b := &body{w: &out, head: func(*metric.Family, []byte) []byte { return nil }}
		c.write(b)
		b.flush(true)
		return strings.ReplaceAll(out.String(), "x_total", "")
	}
	require.Empty(t, show())
	c.add(1, "b", "")
	now = now.Add(time.Minute)
	c.add(2, "a", "x")
	c.add(1, "b", "")
	c.add(5, "c", "x")
	require.Equal(t, "{a=\"a\",b=\"x\"} 2\n{a=\"b\",b=\"\"} 2\n", show())
	require.InDelta(t, 5, testutil.ToFloat64(drops.WithLabelValues("x_total")), 0)
	now = now.Add(idleEnough)
	c.add(1, "b", "")
	c.add(7, "c", "x")
	require.Equal(t, "{a=\"b\",b=\"\"} 3\n{a=\"c\",b=\"x\"} 7\n", show(), "the idle one has made room")
	c.add(1, "d", "x")
	require.InDelta(t, 6, testutil.ToFloat64(drops.WithLabelValues("x_total")), 0)
}

// TestEventsAreBounded holds that the limit is the option's, and that what is
// dropped is on the telemetry port.
func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	api, registry := newFakeAPI(t, true), prometheus.NewRegistry()
	e := follow(t, Options{Config: api.config(), Resources: []string{"events"}, CounterSeriesLimit: 2, Registry: registry})
	ready(t, e)
	for i := range 5 {
		api.put("events", event(fmt.Sprint("e", i), "Pod", fmt.Sprint("Reason", i), 2, nil))
	}
	eventually(t, "drops", func() bool {
		return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP strata_kubestate_counts_dropped_total Occurrences that were not counted since their family has as many series as --counter-series-limit allows.
# TYPE strata_kubestate_counts_dropped_total counter
strata_kubestate_counts_dropped_total{family="kube_event_occurrences_total"} 6
`), "strata_kubestate_counts_dropped_total") == nil
	})
	require.Len(t, seriesIn(scrape(t, e), "kube_event_occurrences_total"), 2)
}
