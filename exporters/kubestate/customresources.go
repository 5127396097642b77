package kubestate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/exporters/kubestate/custom"
	"github.com/strata-metrics/strata/internal/metric"
)

// customs follows the custom resources of a configuration. Which kinds there
// are is told by the CustomResourceDefinitions, which it follows too: kinds
// come and go with them.
type customs struct {
	exporter *Exporter
	config   *custom.Config
	settings settings
	crds     *source
	events   crdEvents

	// Those of one run. The reflector of the definitions alone calls changed.
	ctx     context.Context
	wait    sync.WaitGroup
	known   map[key]string // version of each definition
	running map[customKind]*runningKind

	served atomic.Pointer[[]*bound] // in order
	twice  sync.Map                 // families of which a series came twice, that was told
}

// customKind names a kind that is served.
type customKind struct {
	group, version, plural, kind string
	namespaced                   bool
}

type runningKind struct {
	bound  *bound
	cancel context.CancelFunc
}

// crdEvents counts what became of the definitions, under the names of
// kube-state-metrics.
type crdEvents struct {
	added, updated, deleted prometheus.Counter
	cache                   prometheus.Gauge
}

func newCRDEvents() crdEvents {
	counter := func(verb, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "kube_state_metrics_custom_resource_state_" + verb + "_events_total", Help: help})
	}
	return crdEvents{
		added:   counter("add", "CustomResourceDefinitions that came."),
		updated: counter("update", "Changes of CustomResourceDefinitions."),
		deleted: counter("delete", "CustomResourceDefinitions that went."),
		cache: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_state_metrics_custom_resource_state_cache", Help: "CustomResourceDefinitions that there are.",
		}),
	}
}

func (e *crdEvents) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	return errors.Join(registered(r, &e.added), registered(r, &e.updated), registered(r, &e.deleted), registered(r, &e.cache))
}

// crdVersion is the group of the definitions.
func crdVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}
}

func newCustoms(e *Exporter, config *custom.Config, set settings) (*customs, error) {
	c := &customs{
		exporter: e, config: config, settings: set, events: newCRDEvents(),
		known: make(map[key]string), running: make(map[customKind]*runningKind),
	}
	c.served.Store(new([]*bound))
	group, err := e.client.dynamic(crdVersion())
	if err != nil {
		return nil, err
	}
	e.client.groups[crdVersion()] = group
	follow := e.follow(group)
	follow.shards, follow.limit = wholeSharding(), 0
	c.crds = newSource(&bound{
		name: "customresourcedefinitions", version: crdVersion(),
		newList: func() runtime.Object { return &unstructured.UnstructuredList{} },
		render:  c.renderCRD,
		without: "leave --custom-resource-state-config and -file out",
	}, scope{}, follow)
	c.crds.store.changed = c.changed
	return c, nil
}

// run follows the definitions and what they define until the context ends.
func (c *customs) run(ctx context.Context) {
	c.ctx = ctx
	c.crds.run(ctx, c.exporter.retry)
	c.wait.Wait()
}

// renderCRD keeps of a definition the kinds that it serves, one a line, and of
// those only what the configuration asks for.
func (c *customs) renderCRD(object runtime.Object) (*rendered, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("got a %T among the customresourcedefinitions", object)
	}
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(u.Object, path...)
		return s
	}
	group, kind, plural, scope := text("spec", "group"), text("spec", "names", "kind"), text("spec", "names", "plural"), text("spec", "scope")
	var lines []string
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		served, told := version["served"].(bool)
		if _, there := version["served"]; name == "" || plural == "" || there && (!told || !served) {
			continue
		}
		if slices.ContainsFunc(c.config.Resources, func(r *custom.Resource) bool { return r.Matches(group, name, kind) }) {
			lines = append(lines, strings.Join([]string{group, name, plural, kind, scope}, " "))
		}
	}
	all := []byte(strings.Join(lines, "\n"))
	return newRendered(key{name: strings.Clone(u.GetName())}, strings.Clone(u.GetResourceVersion()), all, []uint32{uint32(len(all))}, nil), nil
}

// changed follows what is defined now, and nothing else.
func (c *customs) changed() {
	wanted := make(map[customKind]bool)
	known := make(map[key]string)
	c.crds.store.each(0, func(o *entry, lines []byte) {
		known[o.key] = o.version
		for line := range strings.Lines(string(lines)) {
			parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
			wanted[customKind{parts[0], parts[1], parts[2], parts[3], parts[4] == "Namespaced"}] = true
		}
	})
	c.events.compare(c.known, known)
	c.known = known
	for kind, r := range c.running {
		if wanted[kind] {
			continue
		}
		r.cancel()
		for _, s := range r.bound.sources {
			c.exporter.health.remove(s.state)
			c.exporter.extras.budgets.forget(s)
		}
		delete(c.running, kind)
		c.exporter.logger.Info("a custom resource is not defined any more", "group", kind.group, "version", kind.version, "kind", kind.kind)
	}
	for kind := range wanted {
		if c.running[kind] == nil {
			c.start(kind)
		}
	}
	served := make([]*bound, 0, len(c.running))
	for _, kind := range slices.SortedFunc(maps.Keys(c.running), compareKinds) {
		served = append(served, c.running[kind].bound)
	}
	c.served.Store(&served)
}

func compareKinds(a, b customKind) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.kind, b.kind), cmp.Compare(a.version, b.version), cmp.Compare(a.plural, b.plural))
}

func (e *crdEvents) compare(before, now map[key]string) {
	e.cache.Set(float64(len(now)))
	for k, version := range now {
		switch was, ok := before[k]; {
		case !ok:
			e.added.Inc()
		case was != version:
			e.updated.Inc()
		}
	}
	for k := range before {
		if _, ok := now[k]; !ok {
			e.deleted.Inc()
		}
	}
}

// start follows a kind.
func (c *customs) start(kind customKind) {
	version := schema.GroupVersion{Group: kind.group, Version: kind.version}
	group, err := c.exporter.client.dynamic(version)
	if err != nil {
		c.exporter.logger.Error("cannot follow a custom resource", "group", version.String(), "kind", kind.kind, "err", err)
		return
	}
	b := c.resource(kind).bind(c.settings)
	b.without = "leave the resource out of the custom resource state configuration"
	ctx, cancel := context.WithCancel(c.ctx)
	options := c.exporter.options
	options.Node, options.TrackUnscheduledPods = "", false // those are for pods
	for _, scope := range scopes(options, b) {
		s := newSource(b, scope, c.exporter.follow(group))
		b.sources = append(b.sources, s)
		c.wait.Go(func() { s.run(ctx, c.exporter.retry) })
	}
	c.running[kind] = &runningKind{b, cancel}
}

// resource is the kind as any other is declared. All labels of its families
// are the configuration's and differ from object to object.
func (c *customs) resource(kind customKind) *Resource[*unstructured.Unstructured] {
	type U = *unstructured.Unstructured
	r := &Resource[U]{
		Group: kind.group, Version: kind.version, Plural: kind.plural, ClusterScoped: !kind.namespaced,
		List: func() runtime.Object { return &unstructured.UnstructuredList{} },
		Key:  func(U) []string { return nil },
	}
	for _, resource := range c.config.Resources {
		if !resource.Matches(kind.group, kind.version, kind.kind) {
			continue
		}
		for _, f := range resource.Families(kind.group, kind.version, kind.kind) {
			told := new(sync.Once)
			r.Families = append(r.Families, Family[U]{
				Name: f.Name(), Help: f.Help(), Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(u U, l *Lines) {
					series, errs := f.Series(u.Object)
					for _, s := range series {
						if l.sparse && f.IsStateSet() && s.Value == 0 {
							continue
						}
						l.AddExtra(s.Value, nil, s.Names, s.Values)
					}
					if len(errs) > 0 {
						c.tell(&f, u, errs[0], told)
					}
				},
			})
		}
	}
	return r
}

// tell logs that a series cannot be made of an object: once as an error, lest
// each change of each object fill the log.
func (c *customs) tell(f *custom.Family, u *unstructured.Unstructured, err error, told *sync.Once) {
	level := slog.LevelDebug
	if f.Verbosity() == 0 {
		told.Do(func() { level = slog.LevelError })
	}
	c.exporter.logger.Log(context.Background(), level, "a series of a custom resource cannot be made; more of this family are told at level debug",
		"family", f.Name(), "kind", u.GetKind(), "namespace", u.GetNamespace(), "name", u.GetName(), "err", err)
}
