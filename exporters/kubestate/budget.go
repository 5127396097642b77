package kubestate

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// budgets bound the series of each family, and those of each namespace over
// all kinds. What is beyond is left out by whole objects: of a family all lines
// of an object, for a namespace all lines of it in all families. An object that
// is shown stays shown as long as it fits; of those that a list brings anew
// the first by name are taken.
type budgets struct {
	family, namespace int // 0 is no bound
	logger            *slog.Logger
	now               func() time.Time

	mu         sync.Mutex
	families   map[string]*account
	namespaces map[string]*account
	stores     []*budgetedStore
	out        int  // objects that are left out of anything
	released   bool // there may be room for them
}

// account is what a family, or a namespace, has.
type account struct {
	used            int // series that are shown
	objects, series int // those that are left out
	told            bool
}

func newBudgets(family, namespace int, logger *slog.Logger) *budgets {
	return &budgets{
		family: family, namespace: namespace, logger: logger, now: time.Now,
		families: make(map[string]*account), namespaces: make(map[string]*account),
	}
}

// accountOf finds or opens an account.
func accountOf(all map[string]*account, name string) *account {
	a := all[name]
	if a == nil {
		a = &account{}
		all[name] = a
	}
	return a
}

// between is the least time between two lists that are for the budgets alone.
const between = time.Minute

// review has the objects of a kind listed anew when there is room for some
// that were left out, since nothing is kept of those.
func (b *budgets) review() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.released || b.out == 0 {
		return
	}
	b.released = false
	for _, s := range b.stores {
		if !s.misses() {
			continue
		}
		if b.now().Sub(s.relisted) < between {
			b.released = true // later
			continue
		}
		s.relisted = b.now()
		select {
		case s.again <- struct{}{}:
		default:
		}
	}
}

// tell logs that something is left out, once for each name until all is shown
// again.
func (b *budgets) tell(flag, name string, a *account) {
	if a.objects > 0 && !a.told {
		b.logger.Warn("objects are left out, since there are more series than "+flag+" allows; strata_kubestate_budget_* on the telemetry port say how many", "name", name)
	}
	a.told = a.objects > 0
}

// budgetCollector shows what is left out by the budgets of the exporter that
// was made last.
type budgetCollector struct {
	current         atomic.Pointer[budgets]
	objects, series *prometheus.Desc
}

func newBudgetCollector() *budgetCollector {
	desc := func(what, help string) *prometheus.Desc {
		return prometheus.NewDesc("strata_kubestate_budget_"+what+"_dropped", help, []string{"budget", "name"}, nil)
	}
	return &budgetCollector{
		objects: desc("objects", "Objects that are left out now, wholly for --series-budget-namespace or of one family for --series-budget-family."),
		series:  desc("series", "Series that are left out now for --series-budget-namespace or --series-budget-family."),
	}
}

// Describe is of prometheus.Collector.
func (c *budgetCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.objects
	out <- c.series
}

// Collect is of prometheus.Collector.
func (c *budgetCollector) Collect(out chan<- prometheus.Metric) {
	b := c.current.Load()
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for sort, accounts := range map[string]map[string]*account{"family": b.families, "namespace": b.namespaces} {
		for name, a := range accounts {
			if a.objects > 0 {
				out <- prometheus.MustNewConstMetric(c.objects, prometheus.GaugeValue, float64(a.objects), sort, name)
				out <- prometheus.MustNewConstMetric(c.series, prometheus.GaugeValue, float64(a.series), sort, name)
			}
		}
	}
}

// forget ends the account of a list-watch that is no more.
func (b *budgets) forget(s *source) {
	if b == nil || s.budgeted == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, g := range s.budgeted.grants {
		s.budgeted.charge(k, g, -1)
	}
	clear(s.budgeted.grants)
	s.budgeted.ended = true
	b.stores = slices.DeleteFunc(b.stores, func(other *budgetedStore) bool { return other == s.budgeted })
}
