package adapter

import (
	"fmt"
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// maxSelections bounds the selections that are remembered of a namespace.
const maxSelections = 256

// podSelections remembers what was selected of the pods that are watched, so
// that a question that an autoscaler asks again does not look through all pods
// of its namespace again. Its event handlers forget what an event changes.
type podSelections struct {
	mu      sync.Mutex                       // guards what follows
	changes uint64                           // that there were
	known   map[string]map[string]*Selection // by namespace and selector
}

// watch makes a watch of pods keep the selections true.
func (p *podSelections) watch(pods cache.SharedInformer) error {
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    p.forget,
		DeleteFunc: p.forget,
		UpdateFunc: func(before, after any) {
			old, ok := before.(*metav1.PartialObjectMetadata)
			now, same := after.(*metav1.PartialObjectMetadata)
			if !ok || !same || !maps.Equal(old.Labels, now.Labels) {
				p.forget(after)
			}
		},
	})
	return err
}

func (p *podSelections) forget(obj any) {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = d.Obj
	}
	m, ok := obj.(*metav1.PartialObjectMetadata)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	if ok {
		delete(p.known, m.Namespace)
	} else {
		clear(p.known)
	}
}

// of is a selection of the pods of an index by namespace.
func (p *podSelections) of(pods cache.Indexer, namespace string, selector labels.Selector) (*Selection, error) {
	text := selector.String()
	p.mu.Lock()
	known, changes := p.known[namespace][text], p.changes
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	objs, err := pods.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil, fmt.Errorf("pods of namespace %s: %w", namespace, err)
	}
	names := make([]string, 0, len(objs))
	for _, o := range objs {
		if m, ok := o.(*metav1.PartialObjectMetadata); ok && selector.Matches(labels.Set(m.Labels)) {
			names = append(names, m.Name)
		}
	}
	s := Select(names...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changes != changes {
		return s, nil // true a moment ago, perhaps not any more
	}
	if p.known == nil {
		p.known = map[string]map[string]*Selection{}
	}
	if of := p.known[namespace]; of == nil || len(of) >= maxSelections {
		p.known[namespace] = map[string]*Selection{}
	}
	p.known[namespace][text] = s
	return s, nil
}
