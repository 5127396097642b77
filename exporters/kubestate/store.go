package kubestate

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// key names an object within its kind.
type key struct{ namespace, name string }

// rendered is all that is kept of an object: its lines in the text format. It
// never changes. It is an API object as far as a reflector needs one.
type rendered struct {
	key     key
	version string
	text    []byte
	ends    []uint32 // of each family's lines in text
}

// appendFamily appends the lines of the kind's i-th family.
func (r *rendered) appendFamily(dst []byte, i int) []byte { return append(dst, r.family(i)...) }

// family gives the lines of the kind's i-th family.
func (r *rendered) family(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.text[start:r.ends[i]]
}

// GetObjectKind is nothing: what was decoded is gone.
func (r *rendered) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject is the object itself, since it never changes.
func (r *rendered) DeepCopyObject() runtime.Object { return r }

// GetObjectMeta is what a reflector asks of an object.
func (r *rendered) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: r.key.namespace, Name: r.key.name, ResourceVersion: r.version}
}

// store is the last known state of the objects of one list-watch. It is the
// whole of what is behind a scrape: another form of it needs these methods
// only. The first five are those that a reflector calls.
type store struct {
	replaced func(objects int) // told after each Replace
	changed  func()            // told after every change; nil where nobody asks

	mu      sync.RWMutex
	index   map[key]int // into objects
	objects []*rendered
}

// Add puts an object in.
func (s *store) Add(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	s.put(r)
	s.tell()
	return nil
}

func (s *store) tell() {
	if s.changed != nil {
		s.changed()
	}
}

func (s *store) put(r *rendered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[r.key]; ok {
		s.objects[i] = r
		return
	}
	if s.index == nil {
		s.index = make(map[key]int)
	}
	s.index[r.key] = len(s.objects)
	s.objects = append(s.objects, r)
}

// Update is Add: which of both a watch says is no matter.
func (s *store) Update(object any) error { return s.Add(object) }

// Delete takes an object out.
func (s *store) Delete(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	s.take(r.key)
	s.tell()
	return nil
}

func (s *store) take(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[k]
	if !ok {
		return
	}
	last := len(s.objects) - 1
	s.objects[i] = s.objects[last]
	s.index[s.objects[i].key] = i
	s.objects[last] = nil
	s.objects = s.objects[:last]
	delete(s.index, k)
}

// Replace puts a complete list in the place of all that was known.
func (s *store) Replace(list []any, _ string) error {
	objects := make([]*rendered, 0, len(list))
	for _, object := range list {
		r, err := asRendered(object)
		if err != nil {
			return err
		}
		objects = append(objects, r)
	}
	slices.SortFunc(objects, func(a, b *rendered) int {
		return cmp.Or(cmp.Compare(a.key.namespace, b.key.namespace), cmp.Compare(a.key.name, b.key.name))
	})
	objects = slices.CompactFunc(objects, func(a, b *rendered) bool { return a.key == b.key })
	index := make(map[key]int, len(objects))
	for i, r := range objects {
		index[r.key] = i
	}
	s.mu.Lock()
	s.index, s.objects = index, objects
	s.mu.Unlock()
	s.tell() // first, so that what it begins to follow counts for readiness
	if s.replaced != nil {
		s.replaced(len(objects))
	}
	return nil
}

// Resync has nothing to do: there is no second copy to agree with.
func (s *store) Resync() error { return nil }

// appendAll appends the objects of this moment. They can be read without a
// lock, since none changes.
func (s *store) appendAll(dst []*rendered) []*rendered {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append(dst, s.objects...)
}

func asRendered(object any) (*rendered, error) {
	r, ok := object.(*rendered)
	if !ok {
		return nil, fmt.Errorf("a %T was not rendered", object)
	}
	return r, nil
}
