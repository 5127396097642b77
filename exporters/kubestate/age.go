package kubestate

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// age is how old the state of a list-watch is: nothing while its watch is
// open, since what changes comes at once; else the time since it was last known
// to be complete. The lock of health guards it.
type age struct {
	asOf      time.Time // it was complete then
	opened    time.Time // of the watch; zero without one
	listing   bool      // the watch begins with a list, which is not complete
	confirmed bool      // the watch goes on from what is known
}

// settled is after which time a watch goes on from what is known, also when
// nothing comes: one from too old a version is refused at once.
const settled = 5 * time.Second

func (a *age) current(now time.Time) bool {
	return !a.opened.IsZero() && !a.listing && (a.confirmed || now.Sub(a.opened) > settled)
}

// at is the age. It is never below 0, as it would be when a clock is set back.
func (a *age) at(now time.Time) time.Duration {
	if a.current(now) {
		return 0
	}
	return max(0, now.Sub(a.asOf))
}

// received takes that something came: unless it is part of a list, the state
// is complete now.
func (a *age) received(now time.Time) {
	if !a.listing {
		a.asOf, a.confirmed = now, true
	}
}

// listed takes that a list is complete.
func (a *age) listed(now time.Time) {
	a.listing = false
	a.received(now)
}

// watchOpened takes that a watch has begun, with a list or from what is known.
func (s *state) watchOpened(listing bool) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.age.opened, s.age.listing, s.age.confirmed = s.health.now(), listing, false
}

// watchClosed takes that it has ended.
func (s *state) watchClosed() {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if now := s.health.now(); s.age.current(now) {
		s.age.asOf = now
	}
	s.age.opened, s.age.listing = time.Time{}, false
}

// ages gives the age of the state of each kind that was ever complete, the
// oldest where several list-watches follow a kind.
func (h *health) ages(into map[string]time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.states {
		if s.listed {
			into[s.kind.name] = max(into[s.kind.name], s.age.at(h.now()))
		}
	}
}

// ageCollector shows the ages of all exporters that run: of two while one
// takes over from another.
type ageCollector struct {
	desc *prometheus.Desc

	mu      sync.Mutex
	healths []*health
}

func newAgeCollector() *ageCollector {
	return &ageCollector{desc: prometheus.NewDesc("strata_kubestate_state_age_seconds",
		"How old the state of a resource is that is served: 0 while it is followed, else the time since it was last known to be complete.",
		[]string{"resource"}, nil)}
}

func (c *ageCollector) add(h *health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healths = append(c.healths, h)
}

func (c *ageCollector) remove(h *health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healths = slices.DeleteFunc(c.healths, func(other *health) bool { return other == h })
}

// Describe is of prometheus.Collector.
func (c *ageCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect is of prometheus.Collector.
func (c *ageCollector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ages := make(map[string]time.Duration)
	for _, h := range c.healths {
		h.ages(ages)
	}
	for resource, age := range ages {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, age.Seconds(), resource)
	}
}
