package kubestate

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/internal/metric"
)

// extras are what is shown that kube-state-metrics does not have. Without an
// option that asks for any, they are empty and cost nothing.
type extras struct {
	watchers map[string][]watcher // by the plural of their kind
	whole    map[string]string    // kinds to follow whole, and the flag they are for
	writers  []func(*body)
	own      []func(prometheus.Registerer) error
	labelled *joins   // has families of pods with labels of workloads; nil means none
	budgets  *budgets // nil means none
	shown    *budgetCollector
	drops    *prometheus.CounterVec // of tallies, nil without one
}

// defaultCounterSeries is how many series a family of counts has at most, if
// nothing else is said.
const defaultCounterSeries = 10_000

// newExtras makes what the options ask for.
func newExtras(o Options, shop *workshop, show func(declaration) bool) *extras {
	x := &extras{watchers: make(map[string][]watcher), whole: make(map[string]string)}
	if o.SeriesBudgetFamily > 0 || o.SeriesBudgetNamespace > 0 {
		x.budgets, x.shown = newBudgets(o.SeriesBudgetFamily, o.SeriesBudgetNamespace, o.Logger), newBudgetCollector()
		x.own = append(x.own, func(r prometheus.Registerer) error {
			err := registered(r, &x.shown)
			x.shown.current.Store(x.budgets)
			return err
		})
	}
	if o.PodWorkloads || o.ContainerExits || len(o.JoinLabels)+len(o.PodWorkloadLabels) > 0 {
		x.join(o, newJoins(shop, x.budgets), show)
	}
	if slices.Contains(o.Resources, "events") {
		x.watchers["events"] = []watcher{watchEvents(x.tally(o, show, events().declarations()[0]), shop.seed)}
	}
	return x
}

// tally makes and shows a family that counts.
func (x *extras) tally(o Options, show func(declaration) bool, d declaration) *tally {
	if x.drops == nil {
		x.drops = newTallyDrops()
		x.own = append(x.own, func(r prometheus.Registerer) error { return registered(r, &x.drops) })
	}
	limit := o.CounterSeriesLimit
	if limit == 0 {
		limit = defaultCounterSeries
	}
	t := newTally(d.family, limit, &x.drops)
	if show(d) {
		x.writers = append(x.writers, t.write)
	}
	return t
}

// join shows families of pods that need to know other objects.
func (x *extras) join(o Options, j *joins, show func(declaration) bool) {
	x.watchers["pods"] = append(x.watchers["pods"], j.watchPods())
	if o.PodWorkloads {
		j.addWorkloads(show)
	}
	if o.ContainerExits {
		j.exits = &exits{x.tally(o, show, containerExits()), j.shop.seed}
	}
	if len(o.PodWorkloadLabels) > 0 {
		j.labels, x.labelled = newWorkloadLabels(o.PodWorkloadLabels), j
	}
	if o.PodWorkloads || o.ContainerExits || j.labels != nil {
		for _, plural := range []string{"replicasets", "jobs"} {
			x.need(plural, "--pod-workloads, --pod-workload-labels and --container-exits", j.ownersOf(plural))
		}
	}
	if len(o.JoinLabels) > 0 {
		cuts := newJoinCuts()
		x.own = append(x.own, func(r prometheus.Registerer) error { return registered(r, &cuts) })
		j.addJoinedLabels(show)
		for plural := range o.JoinLabels {
			x.need(plural, "--metric-join-labels", j.labelsToJoin(plural, o.JoinLabels.of(plural), &cuts))
		}
	}
	x.writers = append(x.writers, j.write)
}

// end stops showing what is no more.
func (x *extras) end() {
	if x.shown != nil {
		x.shown.current.CompareAndSwap(x.budgets, nil)
	}
}

// register shows the metrics about the extras themselves.
func (x *extras) register(r prometheus.Registerer) error {
	for _, register := range x.own {
		if err := register(r); err != nil {
			return fmt.Errorf("registering the exporter's own metrics: %w", err)
		}
	}
	return nil
}

// need watches all objects of a kind, also those that other shards show.
func (x *extras) need(plural, flag string, w watcher) {
	x.watchers[plural] = append(x.watchers[plural], w)
	x.whole[plural] = flag
}

// addedFamilies are those of Families that kube-state-metrics does not have.
func addedFamilies() []*metric.Family {
	return []*metric.Family{podWorkload(), podJoinedLabels(), containerExits().family, events().declarations()[0].family}
}

// validateExtras finds mistakes in the options of extras.
func (o Options) validateExtras(chosen []kind) error {
	pods := slices.ContainsFunc(chosen, func(k kind) bool { return k.plural() == "pods" })
	for _, extra := range []struct {
		flag  string
		asked bool
	}{
		{"--pod-workloads", o.PodWorkloads}, {"--pod-workload-labels", len(o.PodWorkloadLabels) > 0},
		{"--container-exits", o.ContainerExits},
		{"--metric-join-labels", len(o.JoinLabels) > 0},
	} {
		if extra.asked && !pods {
			return fmt.Errorf("%w: %s shows something of pods: add pods to --resources", ErrUsage, extra.flag)
		}
	}
	if o.SeriesBudgetFamily < 0 || o.SeriesBudgetNamespace < 0 {
		return fmt.Errorf("%w: --series-budget-family %d and --series-budget-namespace %d are numbers of series, or 0 for no bound", ErrUsage, o.SeriesBudgetFamily, o.SeriesBudgetNamespace)
	}
	if o.CounterSeriesLimit < 0 {
		return fmt.Errorf("%w: --counter-series-limit is %d; it is a number of series, 0 means %d", ErrUsage, o.CounterSeriesLimit, defaultCounterSeries)
	}
	if err := validateWorkloadLabels(o.PodWorkloadLabels); err != nil {
		return err
	}
	return validateJoin(o.JoinLabels)
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
	b.factsOnly = b.name == "events"
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
