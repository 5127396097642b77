package adapter

import (
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxRendered bounds what a Selection remembers: autoscalers ask a few things
// about the same objects.
const maxRendered = 16

// Selection are the names of objects. It is shared and must not be changed.
// What is made of the names alone, such as the text of a query about 1,500 of
// them, is made once and kept as long as the Selection is.
type Selection struct {
	names []string
	has   map[string]struct{}

	mu       sync.Mutex // guards rendered
	rendered map[renderKey]rendering
}

// renderKey is all that a rule's query is made of besides the names.
type renderKey struct {
	rule              *Rule
	series, namespace string
	resource          schema.GroupResource
	selector          string // of series
}

type rendering struct {
	expr, label string
	err         error
}

// Select makes a Selection of names, which it takes over.
func Select(names ...string) *Selection {
	s := &Selection{names: names, has: make(map[string]struct{}, len(names)), rendered: map[renderKey]rendering{}}
	for _, n := range names {
		s.has[n] = struct{}{}
	}
	return s
}

// Names are the names, in no order; none of a nil Selection.
func (s *Selection) Names() []string {
	if s == nil {
		return nil
	}
	return s.names
}

// Has tells whether a name is among them.
func (s *Selection) Has(name string) bool {
	_, ok := s.has[name]
	return ok
}

// expression is that of the rule for o, whose names are s.
func (s *Selection) expression(r *Rule, o Objects, selector labels.Selector) (expr, label string, err error) {
	k := renderKey{rule: r, series: o.Series, namespace: o.Namespace, resource: o.Resource}
	if selector != nil {
		k.selector = selector.String()
	}
	s.mu.Lock()
	known, ok := s.rendered[k]
	s.mu.Unlock()
	if ok {
		return known.expr, known.label, known.err
	}
	expr, label, err = r.expression(o, selector)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rendered) >= maxRendered {
		clear(s.rendered)
	}
	s.rendered[k] = rendering{expr, label, err}
	return expr, label, err
}
