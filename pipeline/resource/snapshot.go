package resource

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Snapshot is what is known of all nodes at one moment. It is never changed:
// a reader may keep it as long as it likes.
type Snapshot struct {
	nodes          []*nodeState // sorted by name
	index          *podIndex
	withNode, pods int
	twice          int // pods read twice: restarts at one moment do not make us unready
}

// Nodes is the number of nodes that said what they use themselves.
func (s *Snapshot) Nodes() int { return s.withNode }

// Pods is the number of pods whose usage is known. A pod that two nodes name is counted twice.
func (s *Snapshot) Pods() int { return s.pods }

func (s *Snapshot) find(node string) (int, bool) {
	return slices.BinarySearchFunc(s.nodes, node, func(n *nodeState, name string) int { return strings.Compare(n.name, name) })
}

func (s *Snapshot) state(node string) *nodeState {
	if i, ok := s.find(node); ok {
		return s.nodes[i]
	}
	return nil
}

// node gives the usage of a node, nil when it is not known.
func (s *Snapshot) node(name string) *series {
	if n := s.state(name); n != nil && n.hasNode && n.node.ok {
		return &n.node
	}
	return nil
}

func comparePod(p *podState, namespace, name string) int {
	return cmp.Or(strings.Compare(p.namespace, namespace), strings.Compare(p.name, name))
}

// prefer says whether a is to be believed rather than b, where two nodes name
// the same pod: the node that has named it for longer, since the other may have
// got a new pod of the same name that is not there yet in the objects. When the
// old node stops naming it, the new one is next.
func prefer(a, b *podState) bool { return b == nil || a.since < b.since }

// pod gives the state of a pod whose usage is known, nil when there is none.
func (s *Snapshot) pod(namespace, name string) *podState {
	var found *podState
	for node := range s.index.nodes(namespace, name) {
		n := s.state(node)
		if n == nil {
			continue
		}
		i, ok := slices.BinarySearchFunc(n.pods, name, func(p podState, name string) int { return comparePod(&p, namespace, name) })
		if ok && prefer(&n.pods[i], found) {
			found = &n.pods[i]
		}
	}
	if found == nil || !found.ok {
		return nil
	}
	return found
}

// store holds the snapshot of the moment. Readers load it without a lock;
// writers replace the state of one node, one writer at a time.
type store struct {
	writing  sync.Mutex
	snapshot atomic.Pointer[Snapshot]
}

func newStore() *store {
	s := &store{}
	s.snapshot.Store(&Snapshot{index: newPodIndex()})
	return s
}

func (s *store) load() *Snapshot { return s.snapshot.Load() }

// put replaces the state of a node.
func (s *store) put(n *nodeState) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.load()
	i, found := old.find(n.name)
	nodes := make([]*nodeState, 0, len(old.nodes)+1)
	nodes = append(append(nodes, old.nodes[:i]...), n)
	var before *nodeState
	if found {
		before = old.nodes[i]
		i++
	}
	s.publish(append(nodes, old.nodes[i:]...), old.index.replace(before, n))
}

// drop forgets a node.
func (s *store) drop(name string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.load()
	if i, found := old.find(name); found {
		s.publish(slices.Concat(old.nodes[:i], old.nodes[i+1:]), old.index.replace(old.nodes[i], nil))
	}
}

func (s *store) publish(nodes []*nodeState, index *podIndex) {
	next := &Snapshot{nodes: nodes, index: index}
	for _, n := range nodes {
		if n.hasNode && n.node.ok {
			next.withNode++
		}
		next.pods += n.podsOK
		next.twice += n.podsTwo
	}
	s.snapshot.Store(next)
}
