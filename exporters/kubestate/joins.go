package kubestate

import (
	"slices"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/strata-metrics/strata/internal/metric"
)

// joins shows families of pods that need to know other objects. Of a pod it
// keeps whom it refers to, as interned words; of the others only what is shown.
// What a change of those changes is made anew at the next scrape.
type joins struct {
	kind     *bound // names the families
	families []joined
	shop     *workshop
	budgets  *budgets        // nil means none
	exits    *exits          // nil when they are not counted
	labels   *workloadLabels // nil when none are put on

	mu      sync.Mutex
	lines   Lines
	pods    []*podTable
	others  map[string][]*otherTable // by the plural of their kind
	changed map[objectRef]struct{}   // other objects, since the last scrape
}

// joined is a family of pods, and what makes the series of one.
type joined struct {
	family *metric.Family
	render func(key, podFacts, *Lines)
}

// objectRef is an object that a pod refers to.
type objectRef struct {
	plural string
	key    key
}

// ref is an owner.
type ref struct{ kind, name string }

// podFacts are what is kept of a pod.
type podFacts struct {
	owner unique.Handle[ref] // its controller
	node  unique.Handle[string]
	// workload is the last that owner was found to belong to. It stays when
	// what the answer came from is gone, as that of a Job may be before its
	// pods.
	workload unique.Handle[ref]
}

func newJoins(shop *workshop, b *budgets) *joins {
	return &joins{
		kind: &bound{name: "pods"}, shop: shop, budgets: b,
		others: make(map[string][]*otherTable), changed: make(map[objectRef]struct{}),
	}
}

// add takes a family, if it is shown.
func (j *joins) add(show func(declaration) bool, family *metric.Family, render func(key, podFacts, *Lines)) {
	if show(declaration{family: family}) {
		j.kind.families = append(j.kind.families, family)
		j.families = append(j.families, joined{family, render})
	}
}

// putLabels has the labels of workloads put on families of pods, and gives the
// settings for the pods' other families.
func (j *joins) putLabels(k kind, set settings) settings {
	others := j.labels.take(k, set)
	j.kind.families = slices.Concat(j.labels.kind.families, j.kind.families)
	return others
}

// podTable has the pods of one list-watch.
type podTable struct {
	joins *joins
	pods  map[key]podFacts
	store store
	exits *podExits // nil when they are not counted

	target cache.ReflectorStore // the store, or the budgets before it
	again  chan struct{}        // asks for all pods; nil without budgets
}

// podSeen is what is taken of a pod.
type podSeen struct {
	podFacts
	endings podEndings // when they are counted
	base    *rendered  // lines that get labels
}

// watchPods watches pods.
func (j *joins) watchPods() watcher {
	return watcher{
		facts: func(o runtime.Object) any {
			p, ok := o.(*corev1.Pod)
			if !ok {
				return podSeen{}
			}
			seen := podSeen{podFacts: podFactsOf(p)}
			if j.exits != nil {
				seen.endings = j.exits.of(p)
			}
			if j.labels != nil {
				seen.base, _ = j.labels.kind.render(p) // it fails for what is no pod
			}
			return seen
		},
		observe: func() observer {
			t := &podTable{joins: j, pods: make(map[key]podFacts)}
			t.store.shop, t.target = j.shop, &t.store
			if j.budgets != nil {
				b := newBudgetedStore(t.target, j.budgets, j.kind)
				t.target, t.again = b, b.again
			}
			if j.exits != nil {
				t.exits = &podExits{exits: j.exits, pods: make(map[key]countedPod)}
			}
			j.pods = append(j.pods, t)
			return t
		},
	}
}

func podFactsOf(p *corev1.Pod) podFacts {
	f := podFacts{node: unique.Make(p.Spec.NodeName), owner: unique.Make(ref{})}
	if c := metav1.GetControllerOfNoCopy(p); c != nil {
		f.owner = unique.Make(ref{c.Kind, c.Name})
	}
	return f
}

func (t *podTable) seen(k key, facts any) {
	t.joins.mu.Lock()
	defer t.joins.mu.Unlock()
	is := t.count(k, facts, (*podExits).seen)
	if t.joins.labels != nil || is != t.pods[k] && len(t.joins.families) > 0 {
		text, ends := facts.(podSeen).takeLines()
		t.put(t.joins.render(k, is, text, ends))
	}
	t.pods[k] = is
}

// count finds the workload of a pod, and counts what has ended.
func (t *podTable) count(k key, facts any, count func(*podExits, key, ref, podEndings)) podFacts {
	seen := facts.(podSeen)
	t.joins.resolve(k, &seen.podFacts, t.pods[k])
	if t.exits != nil {
		count(t.exits, k, seen.workload.Value(), seen.endings)
	}
	return seen.podFacts
}

func (t *podTable) gone(k key, facts any) {
	t.joins.mu.Lock()
	defer t.joins.mu.Unlock()
	t.count(k, facts, (*podExits).gone)
	delete(t.pods, k)
	_ = t.target.Delete(&rendered{key: k}) // it is wrong only about what was not rendered
}

func (t *podTable) listed(all []observed) {
	t.joins.mu.Lock()
	defer t.joins.mu.Unlock()
	pods := make(map[key]podFacts, len(all))
	var list []any
	for _, o := range all {
		is := t.count(o.key, o.facts, (*podExits).seen)
		pods[o.key] = is
		if len(t.joins.kind.families) > 0 {
			text, ends := o.facts.(podSeen).takeLines()
			list = append(list, t.joins.render(o.key, is, text, ends))
		}
	}
	t.pods = pods
	if t.exits != nil {
		t.exits.keepOnly(pods)
	}
	_ = t.target.Replace(list, "") // as above
}

func (t *podTable) put(r *rendered) { _ = t.target.Add(r) } // as above

// asked says whether there is room for pods that the budgets left out.
func (t *podTable) asked() bool {
	select {
	case <-t.again:
		return true
	default:
		return false
	}
}

// takeLines gives those that get labels, once: a list still has all of them
// when it has been taken.
func (s podSeen) takeLines() (text []byte, ends []uint32) {
	if s.base == nil {
		return nil, nil
	}
	text, ends = s.base.text(nil), s.base.ends
	s.base.packed, s.base.ends = nil, nil
	return text, ends
}

// render makes the lines of a pod, some of which are there but for labels.
func (j *joins) render(k key, facts podFacts, text []byte, ends []uint32) *rendered {
	l := &j.lines
	l.open([]string{k.namespace, k.name})
	start := uint32(0)
	for i := range len(j.kind.families) - len(j.families) {
		if i < len(ends) {
			l.text = j.labels.append(l.text, text[start:ends[i]], k, facts.workload.Value())
			start = ends[i]
		}
		l.ends = append(l.ends, uint32(len(l.text)))
	}
	for _, f := range j.families {
		l.family(f.family, func() { f.render(k, facts, l) })
	}
	return l.rendered(k, "")
}

// flush makes anew what the other objects have changed.
func (j *joins) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.pods {
		asked := t.asked()
		if len(j.changed) == 0 && !asked {
			continue
		}
		for k, facts := range t.pods {
			if !asked && !j.touched(k, facts) {
				continue
			}
			j.resolve(k, &facts, facts)
			t.pods[k] = facts
			if len(j.kind.families) > 0 {
				var text []byte
				var ends []uint32
				if j.labels != nil {
					text, ends = t.store.linesOf(k)
				}
				t.put(j.render(k, facts, text, ends))
			}
		}
	}
	clear(j.changed)
}

// touched says whether something that a pod refers to has changed.
func (j *joins) touched(k key, facts podFacts) bool {
	for _, r := range refsOf(k, facts) {
		if _, ok := j.changed[r]; ok {
			return true
		}
	}
	return false
}

// refsOf are the objects that a pod refers to.
func refsOf(k key, facts podFacts) [3]objectRef {
	return [3]objectRef{
		ownerRef(k, facts.owner.Value()), {"nodes", key{name: facts.node.Value()}}, {"namespaces", key{name: k.namespace}},
	}
}

// write writes the families.
func (j *joins) write(b *body) {
	j.flush()
	var segments [][]metric.Piece
	for _, t := range j.pods {
		segments = t.store.appendPieces(segments)
	}
	b.kind(j.kind, segments)
}

// otherTable has what is to be known of the objects of another list-watch: the
// owner of each, or labels.
type otherTable struct {
	joins  *joins
	plural string
	known  map[key]any // comparable
}

// watchOthers watches the objects of another kind. Of one of which nothing is
// to be known the facts are nil.
func (j *joins) watchOthers(plural string, facts func(runtime.Object) any) watcher {
	return watcher{facts: facts, observe: func() observer {
		t := &otherTable{joins: j, plural: plural, known: make(map[key]any)}
		j.others[plural] = append(j.others[plural], t)
		return t
	}}
}

// know gives what is known of an object, nil when that is nothing.
func (j *joins) know(r objectRef) any {
	for _, t := range j.others[r.plural] {
		if facts := t.known[r.key]; facts != nil {
			return facts
		}
	}
	return nil
}

func (t *otherTable) seen(k key, facts any) {
	t.joins.mu.Lock()
	defer t.joins.mu.Unlock()
	t.set(k, facts)
}

func (t *otherTable) set(k key, facts any) {
	if t.known[k] == facts {
		return
	}
	if t.known[k] = facts; facts == nil {
		delete(t.known, k)
	}
	t.joins.changed[objectRef{t.plural, k}] = struct{}{}
}

func (t *otherTable) gone(k key, _ any) { t.seen(k, nil) }

func (t *otherTable) listed(all []observed) {
	t.joins.mu.Lock()
	defer t.joins.mu.Unlock()
	here := make(map[key]struct{}, len(all))
	for _, o := range all {
		here[o.key] = struct{}{}
		t.set(o.key, o.facts)
	}
	for k := range t.known {
		if _, ok := here[k]; !ok {
			t.set(k, nil)
		}
	}
}
