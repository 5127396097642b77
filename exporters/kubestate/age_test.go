package kubestate

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// ageOf is what a registry shows of a resource's age, -1 for nothing.
func ageOf(t *testing.T, r *prometheus.Registry, resource string) float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "strata_kubestate_state_age_seconds" && m.Label[0].GetValue() == resource {
				return m.Gauge.GetValue()
			}
		}
	}
	return -1
}

// TestAge holds that the last complete state is served on while the watch is
// away, and that its age says since when.
func TestAge(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("pods", object("a", "p", nil))
		api.fail("list nodes", http.StatusForbidden)
		api.fail("watch nodes", http.StatusForbidden)
		registry := prometheus.NewRegistry()
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods", "nodes"}, Registry: registry})
		eventually(t, "pods", has(e, `pod="p"`))
		require.Error(t, e.Ready(), "not ready before every kind is listed")
		require.InDelta(t, -1, ageOf(t, registry, "nodes"), 0, "what was never complete has no age")
		api.fail("list nodes", 0)
		api.fail("watch nodes", 0)
		ready(t, e)

		now, clock := time.Now(), func(set func(*health)) {
			e.health.mu.Lock()
			defer e.health.mu.Unlock()
			set(e.health)
		}
		clock(func(h *health) { h.now = func() time.Time { return now } })
		later := func(d time.Duration) { clock(func(*health) { now = now.Add(d) }) }
		api.put("pods", object("a", "q", nil))
		eventually(t, "a watch that works", has(e, `pod="q"`))
		later(time.Hour)
		require.InDelta(t, 0, ageOf(t, registry, "pods"), 0, "nothing changes, which is no age")
		eventually(t, "a watch of the other kind", func() bool {
			later(time.Second)
			return ageOf(t, registry, "nodes") == 0
		})

		api.setDown(true)
		eventually(t, "the end of the watch", func() bool {
			later(time.Second)
			return ageOf(t, registry, "pods") > 0
		})
		later(time.Hour)
		require.Greater(t, ageOf(t, registry, "pods"), 3600.0)
		require.Less(t, ageOf(t, registry, "pods"), 7000.0)
		require.Contains(t, scrape(t, e), `pod="q"`)
		require.NoError(t, e.Ready())

		api.putQuietly("pods", object("a", "r", nil))
		api.expire("pods")
		api.setDown(false)
		eventually(t, "the new state", has(e, `pod="r"`))
		eventually(t, "an age that is over", func() bool { return ageOf(t, registry, "pods") == 0 })
		eventually(t, "that of a quiet kind, too", func() bool {
			later(time.Second)
			return ageOf(t, registry, "nodes") == 0
		})
	})
}

// TestAgeOfExporters holds that one exporter may take over from another, and
// that the oldest of a kind's states counts.
func TestAgeOfExporters(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	c := newAgeCollector()
	for _, age := range []time.Duration{3 * time.Second, 7 * time.Second} {
		h := newHealth(new(logBook).logger(), "")
		h.now = func() time.Time { return now }
		s := h.add(&bound{name: "pods"}, scope{})
		h.add(&bound{name: "nodes"}, scope{})
		s.replaced(1)
		h.now = func() time.Time { return now.Add(age) }
		c.add(h)
	}
	require.InDelta(t, 7, testutil.ToFloat64(c), 0)
	c.remove(c.healths[1])
	require.InDelta(t, 3, testutil.ToFloat64(c), 0)
}

func TestWatchThatIsRefusedLate(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	h := newHealth(new(logBook).logger(), "")
	h.now = func() time.Time { return now }
	s := h.add(&bound{name: "pods"}, scope{})
	s.replaced(1)
	now = now.Add(time.Hour)
	s.watchOpened(false)
	now = now.Add(time.Second)
	s.watchClosed()
	require.Equal(t, time.Hour+time.Second, s.age.at(now), "a watch that is refused confirms nothing")
	s.watchOpened(true)
	s.received()
	now = now.Add(time.Minute)
	require.Equal(t, time.Hour+time.Second+time.Minute, s.age.at(now), "half a list is no state")
	s.replaced(1)
	require.Zero(t, s.age.at(now))
	s.watchClosed()
	s.watchOpened(false)
	now = now.Add(time.Minute)
	require.Zero(t, s.age.at(now))
	s.watchClosed()
	now = now.Add(time.Second)
	require.Equal(t, time.Second, s.age.at(now))
	now = now.Add(-time.Hour)
	require.Zero(t, s.age.at(now), "a clock that was set back")
}
