package kubestate

import (
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/internal/metric"
)

// Object is what a kind's Go type must be: a pointer type of k8s.io/api.
type Object interface {
	metav1.Object
	runtime.Object
}

// Resource declares a kind of Kubernetes objects and the families that are
// shown of it.
type Resource[T Object] struct {
	// Group, Version and Plural name the kind in the API: apps, v1,
	// deployments. Plural is its name in flags as well.
	Group, Version, Plural string
	// ClusterScoped kinds have no namespace.
	ClusterScoped bool
	// OptIn kinds are followed only when Options.Resources names them.
	OptIn bool
	// Scheme adds the kind's group to what can be decoded.
	Scheme func(*runtime.Scheme) error
	// List makes an empty list to decode into.
	List func() runtime.Object
	// Labels are the names of the labels that every series of the kind starts
	// with, and Key their values for an object. They tell objects apart.
	Labels []string
	Key    func(T) []string
	// Families are shown in this order.
	Families []Family[T]
}

// Family declares one family of a kind.
type Family[T Object] struct {
	Name, Help string
	Type       metric.Type
	Stability  metric.Stability // empty means Stable
	Labels     []string         // behind those of the kind
	OptIn      bool             // shown only when asked for by name
	// Render adds the series of one object. A missing field is a missing
	// series, or the zero of a set of states.
	Render func(T, *Lines)
}

// kind is a Resource without its type.
type kind interface {
	plural() string
	byDefault() bool
	version() schema.GroupVersion
	addTo(*runtime.Scheme) error
	declarations() []declaration
	bind(settings) *bound
}

type declaration struct {
	family *metric.Family
	optIn  bool
}

// settings are what options change in a kind.
type settings struct {
	show                func(declaration) bool
	labels, annotations []pattern
	sparse              bool
	logger              *slog.Logger
}

// bound is a kind with the families that are shown, and what is known of its
// objects.
type bound struct {
	name       string
	version    schema.GroupVersion
	namespaced bool
	families   []*metric.Family
	newList    func() runtime.Object
	render     func(runtime.Object) (*rendered, error)
	sources    []*source
	without    string // how to do without the kind, for errors
	watchers   []watcher
	factsOnly  bool // nothing is shown of the kind
	together   bool // Options.LinesByObject
}

func (r *Resource[T]) plural() string { return r.Plural }

func (r *Resource[T]) byDefault() bool { return !r.OptIn }

func (r *Resource[T]) version() schema.GroupVersion {
	return schema.GroupVersion{Group: r.Group, Version: r.Version}
}

func (r *Resource[T]) addTo(s *runtime.Scheme) error { return r.Scheme(s) }

func (r *Resource[T]) declarations() []declaration {
	list := make([]declaration, len(r.Families))
	for i, f := range r.Families {
		family, err := metric.New(metric.Spec{
			Name: f.Name, Help: f.Help, Type: f.Type, Stability: f.Stability,
			Labels: append(append([]string(nil), r.Labels...), f.Labels...),
		})
		if err != nil {
			panic(err) // a mistake in a literal of this package
		}
		list[i] = declaration{family, f.OptIn}
	}
	return list
}

func (r *Resource[T]) bind(set settings) *bound {
	b := &bound{name: r.Plural, version: r.version(), namespaced: !r.ClusterScoped, newList: r.List,
		without: "leave the resource out with --resources"}
	var renders []func(T, *Lines)
	for i, d := range r.declarations() {
		if set.show(d) {
			b.families = append(b.families, d.family)
			renders = append(renders, r.Families[i].Render)
		}
	}
	pool := sync.Pool{New: func() any {
		return &Lines{labels: set.labels, annotations: set.annotations, sparse: set.sparse}
	}}
	var told sync.Once
	b.render = func(object runtime.Object) (*rendered, error) {
		o, ok := object.(T)
		if !ok {
			return nil, fmt.Errorf("got a %T among the %s", object, r.Plural)
		}
		l := pool.Get().(*Lines)
		defer pool.Put(l)
		l.open(r.Key(o))
		for i, render := range renders {
			if cause := l.family(b.families[i], func() { render(o, l) }); cause != nil {
				told.Do(func() {
					set.logger.Error("a family cannot be made of an object and is left out; this is told once a kind, please report it",
						"family", b.families[i].Name(), "namespace", o.GetNamespace(), "name", o.GetName(), "cause", cause)
				})
			}
		}
		return l.close(o), nil
	}
	return b
}
