package kubestate

import (
	"fmt"
	"slices"

	"github.com/strata-metrics/strata/internal/metric"
)

// extras are what is shown that kube-state-metrics does not have. Without an
// option that asks for any, they are empty and cost nothing.
type extras struct {
	watchers map[string][]watcher // by the plural of their kind
	whole    map[string]string    // kinds to follow whole, and the flag they are for
	writers  []func(*body)
}

// newExtras makes what the options ask for.
func newExtras(o Options, shop *workshop, show func(declaration) bool) *extras {
	x := &extras{watchers: make(map[string][]watcher), whole: make(map[string]string)}
	if o.PodWorkloads {
		j := newJoins(shop)
		x.watchers["pods"] = append(x.watchers["pods"], j.watchPods())
		j.addWorkloads(show)
		for _, plural := range []string{"replicasets", "jobs"} {
			x.need(plural, "--pod-workloads", j.ownersOf(plural))
		}
		x.writers = append(x.writers, j.write)
	}
	return x
}

// need watches all objects of a kind, also those that other shards show.
func (x *extras) need(plural, flag string, w watcher) {
	x.watchers[plural] = append(x.watchers[plural], w)
	x.whole[plural] = flag
}

// addedFamilies are those of Families that kube-state-metrics does not have.
func addedFamilies() []*metric.Family {
	return []*metric.Family{podWorkload()}
}

// validateExtras finds mistakes in the options of extras.
func (o Options) validateExtras(chosen []kind) error {
	if o.PodWorkloads && !slices.ContainsFunc(chosen, func(k kind) bool { return k.plural() == "pods" }) {
		return fmt.Errorf("%w: --pod-workloads shows something of pods: add pods to --resources", ErrUsage)
	}
	return nil
}

// besides are the kinds that are followed for the facts alone: those that are
// needed whole, and are not chosen or not followed whole.
func (x *extras) besides(o Options, chosen []kind) []kind {
	part := o.Pod != "" || o.Shard.Total > 1 || o.ObjectLimit > 0
	var list []kind
	for _, k := range kinds() {
		_, needed := x.whole[k.plural()]
		isChosen := slices.ContainsFunc(chosen, func(c kind) bool { return c.plural() == k.plural() })
		if needed && (part || !isChosen) {
			list = append(list, k)
		}
	}
	return list
}

// watch has a kind's objects observed, unless they are by a list-watch of its
// own.
func (x *extras) watch(b *bound, besides []kind) {
	if !slices.ContainsFunc(besides, func(k kind) bool { return k.plural() == b.name }) {
		b.watchers = x.watchers[b.name]
	}
}

// followBesides makes the list-watches of the kinds that are followed for the
// facts alone.
func (e *Exporter) followBesides(list []kind) {
	for _, k := range list {
		b := k.bind(settings{show: func(declaration) bool { return false }, logger: e.logger})
		b.watchers, b.factsOnly = e.extras.watchers[b.name], true
		b.without = "leave " + e.extras.whole[b.name] + " out"
		follow := e.follow(e.client.groups[b.version])
		follow.shards, follow.limit = wholeSharding(), 0
		o := e.options
		o.Node, o.TrackUnscheduledPods = "", false // those are for pods
		for _, scope := range scopes(o, b) {
			b.sources = append(b.sources, newSource(b, scope, follow))
		}
		e.besides = append(e.besides, b)
	}
}
