package kubestate

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// watcher learns more of a kind's objects than its families say.
type watcher struct {
	// facts are what is taken of an object in the moment in which it is
	// decoded. They must not keep it, nor parts of it.
	facts func(runtime.Object) any
	// observe makes what is told of the objects of one list-watch.
	observe func() observer
}

// observer is told of one list-watch's objects, by one goroutine.
type observer interface {
	// seen tells of an object that came or changed.
	seen(k key, facts any)
	// gone tells of an object that went, with its last facts.
	gone(k key, facts any)
	// listed tells all objects that there are.
	listed(all []observed)
}

// observed is an object of a list.
type observed struct {
	key   key
	facts any
}

// observedStore tells observers of what comes to a store.
type observedStore struct {
	cache.ReflectorStore
	observers []observer
	replaced  func(objects int) // told after each list when nothing is kept
	facts     bool              // the objects have no lines, and are not kept
}

// Add puts an object in, and tells of it.
func (s *observedStore) Add(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	for i, o := range s.observers {
		o.seen(r.key, r.facts[i])
	}
	if s.facts {
		return nil
	}
	r.facts = nil
	return s.ReflectorStore.Add(r)
}

// Update is Add.
func (s *observedStore) Update(object any) error { return s.Add(object) }

// Delete takes an object out, and tells of it.
func (s *observedStore) Delete(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	for i, o := range s.observers {
		o.gone(r.key, r.facts[i])
	}
	return s.ReflectorStore.Delete(r)
}

// Replace puts a complete list in the place of all that was known, and tells
// of it.
func (s *observedStore) Replace(list []any, version string) error {
	all := make([]observed, len(list))
	for i, o := range s.observers {
		for j, object := range list {
			r, err := asRendered(object)
			if err != nil {
				return err
			}
			all[j] = observed{r.key, r.facts[i]}
		}
		o.listed(all)
	}
	if s.facts {
		s.replaced(len(list))
		return nil
	}
	for _, object := range list {
		object.(*rendered).facts = nil
	}
	return s.ReflectorStore.Replace(list, version)
}

// factsOf takes what the watchers of a kind want to know of an object.
func factsOf(watchers []watcher, object runtime.Object) []any {
	if len(watchers) == 0 {
		return nil
	}
	facts := make([]any, len(watchers))
	for i, w := range watchers {
		facts[i] = w.facts(object)
	}
	return facts
}
