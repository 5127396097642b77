package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// listFor is how long a list of metrics serves discovery.
const listFor = 5 * time.Second

// listTimeout bounds the making of such a list, whose callers have no context.
const listTimeout = 10 * time.Second

// maxBuiltinNames is how many names of zero configuration are listed, the first
// by alphabet, each for at most three resources: clients read all of the list.
// The others can be asked for all the same.
const maxBuiltinNames = 2000

// catalogue keeps the list of metrics for a short time.
type catalogue struct {
	// version counts the changes of rules. A list is of one version.
	version atomic.Int64

	mu      sync.Mutex // held while listing: one lists, the others wait
	until   time.Time
	of      int64 // the version of list
	list    metricList
	atLimit bool
}

type metricList struct {
	custom   []provider.CustomMetricInfo
	external []provider.ExternalMetricInfo
}

// lists is what discovery shows.
func (a *Adapter) lists() metricList {
	c := &a.catalogue
	c.mu.Lock()
	defer c.mu.Unlock()
	version := c.version.Load()
	if c.of == version && a.now().Before(c.until) {
		return c.list
	}
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	list, err := a.makeList(ctx)
	a.health.report(nil, "discovery", err)
	if err == nil {
		c.list = list
	}
	c.of, c.until = version, a.now().Add(listFor)
	return c.list
}

// makeList lists the metrics of all sources. A rule that fails is left out
// alone.
func (a *Adapter) makeList(ctx context.Context) (metricList, error) {
	t, err := a.names(ctx, a.rules.Load())
	if err != nil {
		return metricList{}, fmt.Errorf("list metrics: %w", err)
	}
	l := &lister{a: a, table: t, custom: map[provider.CustomMetricInfo]bool{}, external: map[provider.ExternalMetricInfo]bool{}}
	l.configured(ctx)
	for _, r := range a.objects.Load().rules {
		l.ofNamespace(r)
	}
	if a.builtin != nil {
		if err := l.builtin(ctx); err != nil {
			return metricList{}, fmt.Errorf("list metrics: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return metricList{}, fmt.Errorf("list metrics: %w", err)
	}
	var list metricList
	for info := range l.custom {
		list.custom = append(list.custom, info)
	}
	for info := range l.external {
		list.external = append(list.external, info)
	}
	slices.SortFunc(list.custom, func(x, y provider.CustomMetricInfo) int {
		return cmp.Or(strings.Compare(x.Metric, y.Metric), strings.Compare(x.GroupResource.String(), y.GroupResource.String()))
	})
	slices.SortFunc(list.external, func(x, y provider.ExternalMetricInfo) int { return strings.Compare(x.Metric, y.Metric) })
	return list, nil
}

// lister makes one list.
type lister struct {
	a        *Adapter
	table    *nameTable
	custom   map[provider.CustomMetricInfo]bool
	external map[provider.ExternalMetricInfo]bool
}

func (l *lister) add(metric string, res *resource) {
	l.custom[provider.CustomMetricInfo{GroupResource: res.gvr.GroupResource(), Namespaced: res.namespaced, Metric: metric}] = true
}

// configured adds the metrics of the configuration file.
func (l *lister) configured(ctx context.Context) {
	for name, from := range l.table.custom {
		for i := range from {
			found, err := l.a.resourcesOf(ctx, &from[i])
			l.a.health.report(from[i].rule, "discovery", err)
			for _, res := range found {
				l.add(name, res)
			}
		}
	}
	for name, from := range l.table.external {
		for i := range from {
			ok, err := l.a.exists(ctx, &from[i], nil)
			l.a.health.report(from[i].rule, "discovery", err)
			if ok {
				l.external[provider.ExternalMetricInfo{Metric: name}] = true
				break
			}
		}
	}
}

// ofNamespace adds what a NamespaceRule serves somewhere.
func (l *lister) ofNamespace(r *Rule) {
	if r.kind == kindExternal {
		l.external[provider.ExternalMetricInfo{Metric: r.metric}] = true
		return
	}
	if res, err := l.a.resources.get(r.resource); err == nil {
		l.add(r.metric, res)
	}
}

// builtin adds the names of zero configuration, of as many families as the
// limit allows.
func (l *lister) builtin(ctx context.Context) error {
	a := l.a
	now := a.now()
	families, err := a.index.Names(ctx, now.Add(-a.window), now, nil)
	if err != nil {
		return err
	}
	slices.Sort(families)
	has := func(family string) bool {
		_, ok := slices.BinarySearch(families, family)
		return ok
	}
	var of [3]*resource
	for i, name := range []string{"pods", "namespaces", "services"} {
		of[i], err = a.resources.get(schema.GroupResource{Resource: name})
		if err != nil {
			a.health.report(nil, "zero configuration", err)
			return nil // it costs these names alone
		}
	}
	listed, limit := 0, false
	for _, family := range families {
		if limit = listed >= maxBuiltinNames; limit || ctx.Err() != nil {
			break
		}
		view, found, err := a.look(ctx, family, "", maxLookListed)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		for _, o := range a.builtin.kindOf(family, view, has).offers(family) {
			if taken, err := a.claimed(ctx, l.table.custom[o.name], nil); err != nil || taken {
				continue
			}
			listed++
			for i, res := range of {
				if i < 2 || view.service {
					l.add(o.name, res)
				}
			}
		}
	}
	if limit && !a.catalogue.atLimit {
		a.log.Warn("Not every metric of zero configuration is listed; all can be asked for by name", "listed", listed)
	}
	a.catalogue.atLimit = limit
	return nil
}

// resourcesOf are the resources whose objects the series of a candidate name.
func (a *Adapter) resourcesOf(ctx context.Context, c *candidate) ([]*resource, error) {
	var out []*resource
	var failed error
	m := c.rule.labels
	known := map[string]bool{}
	missing := len(m.overrides)
	now := a.now()
	err := a.index.Scan(ctx, now.Add(-a.window), now, c.family, func(l labels.Labels) bool {
		if !c.rule.selects(l) {
			return true
		}
		l.Range(func(lb labels.Label) {
			if known[lb.Name] {
				return
			}
			known[lb.Name] = true
			if _, ok := m.overrides[lb.Name]; ok {
				missing--
			}
			res, err := m.resourceOf(lb.Name)
			failed = errors.Join(failed, err)
			if res != nil {
				out = append(out, res)
			}
		})
		return m.template != nil || missing > 0
	})
	return out, errors.Join(failed, err)
}
