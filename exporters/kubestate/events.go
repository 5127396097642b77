package kubestate

import (
	"hash/maphash"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// events is the kind Event. Its objects are many and short-lived, so that they
// are counted and not shown: see eventCounts.
func events() kind {
	type E = *corev1.Event
	return &Resource[E]{
		Version: "v1", Plural: "events", OptIn: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.EventList{} },
		Labels: []string{"namespace"},
		Key:    func(e E) []string { return []string{e.Namespace} },
		Families: []Family[E]{{
			Name: "kube_event_occurrences_total",
			Help: "Events since the start of this program, by the kind of the object that they are about, their reason and their type. One that stands for several counts as many times.",
			Type: metric.Counter, Stability: metric.Alpha, Labels: []string{"kind", "reason", "type"},
			Render: func(E, *Lines) {},
		}},
	}
}

// eventFacts are what is taken of an event.
type eventFacts struct {
	id                 uint64 // hash of the UID
	count              uint32
	kind, reason, sort string
}

func watchEvents(t *tally, seed maphash.Seed) watcher {
	return watcher{
		facts: func(o runtime.Object) any {
			e, ok := o.(*corev1.Event)
			if !ok {
				return eventFacts{}
			}
			f := eventFacts{
				id: maphash.String(seed, string(e.UID)), count: uint32(max(1, e.Count)),
				kind: e.InvolvedObject.Kind, reason: e.Reason, sort: e.Type,
			}
			if e.Series != nil {
				f.count = max(f.count, uint32(max(0, e.Series.Count)))
			}
			return f
		},
		observe: func() observer { return &eventCounts{tally: t, known: make(map[uint64]uint32)} },
	}
}

// eventCounts counts the events of one list-watch. Of an event it keeps how
// often it was counted, until it is gone: neither a change nor a new list
// counts anything twice. What the first list has was before the start, and is
// not counted: a restart would count it again.
type eventCounts struct {
	tally *tally
	known map[uint64]uint32
	begun bool
}

func (c *eventCounts) seen(k key, facts any) {
	f := facts.(eventFacts)
	was := c.known[f.id]
	if f.count <= was {
		return
	}
	c.known[f.id] = f.count
	if c.begun {
		c.tally.add(float64(f.count-was), k.namespace, f.kind, f.reason, f.sort)
	}
}

func (c *eventCounts) gone(_ key, facts any) { delete(c.known, facts.(eventFacts).id) }

func (c *eventCounts) listed(all []observed) {
	here := make(map[uint64]struct{}, len(all))
	for _, o := range all {
		c.seen(o.key, o.facts)
		here[o.facts.(eventFacts).id] = struct{}{}
	}
	for id := range c.known {
		if _, ok := here[id]; !ok {
			delete(c.known, id)
		}
	}
	c.begun = true
}
