package kubestate

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/klauspost/compress/s2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// key names an object within its kind.
type key struct{ namespace, name string }

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.namespace, other.namespace), cmp.Compare(k.name, other.name))
}

// rendered is an object on its way to a store: its lines in the text format.
// They are packed, since a list brings those of all objects at once. It is an
// API object as far as a reflector needs one.
type rendered struct {
	key     key
	version string
	packed  []byte   // S2, which costs less than to render
	ends    []uint32 // of each family's lines in the text
	facts   []any    // for each watcher of the kind
	known   bool     // the store has these lines already, and they are not here
}

// newRendered packs a text, by way of a buffer if it fits.
func newRendered(k key, version string, text []byte, ends []uint32, buf []byte) *rendered {
	return &rendered{key: k, version: version, packed: bytes.Clone(s2.Encode(buf[:cap(buf)], text)), ends: ends}
}

// text gives the lines of all families, in a buffer if they fit.
func (r *rendered) text(buf []byte) []byte {
	text, err := s2.Decode(buf[:cap(buf)], r.packed)
	if err != nil {
		panic(fmt.Sprintf("lines of %s/%s: %v", r.key.namespace, r.key.name, err)) // we have packed them
	}
	return text
}

// GetObjectKind is nothing: what was decoded is gone.
func (r *rendered) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject is the object itself, since nobody but its store changes it.
func (r *rendered) DeepCopyObject() runtime.Object { return r }

// GetObjectMeta is what a reflector asks of an object.
func (r *rendered) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: r.key.namespace, Name: r.key.name, ResourceVersion: r.version}
}

func asRendered(object any) (*rendered, error) {
	r, ok := object.(*rendered)
	if !ok {
		return nil, fmt.Errorf("a %T was not rendered", object)
	}
	return r, nil
}
