package kubestate

import (
	"hash/maphash"
	"slices"
	"sort"
	"sync"

	"github.com/strata-metrics/strata/internal/metric"
)

// store is the last known state of the objects of one list-watch. It is the
// whole of what is behind a scrape: another form of it needs these methods
// only. The first five are those that a reflector calls.
type store struct {
	replaced func(objects int) // told after each Replace
	changed  func()            // told after every change; nil where nobody asks
	shop     *workshop         // shared with other stores; nil makes one
	together bool              // all lines of an object are kept as those of one family

	mu       sync.Mutex
	segments []*segment // sorted, none of them empty
}

// workshop lends builders, since each takes more memory than most stores.
type workshop struct {
	seed maphash.Seed
	pool sync.Pool
}

func newWorkshop() *workshop {
	w := &workshop{seed: maphash.MakeSeed()}
	w.pool.New = func() any { return newBuilder(w.seed) }
	return w
}

// sum is of all lines that an object is to have.
func (w *workshop) sum(r *rendered) uint64 { return maphash.Bytes(w.seed, r.packed) }

// with lends a builder.
func (w *workshop) with(do func(*builder)) {
	b := w.pool.Get().(*builder)
	defer w.pool.Put(b)
	do(b)
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

// find gives the place of a key, or that where it would be.
func (s *store) find(k key) (i, j int, found bool) {
	i = sort.Search(len(s.segments), func(i int) bool {
		objects := s.segments[i].objects
		return objects[len(objects)-1].key.compare(k) >= 0
	})
	if i == len(s.segments) {
		if i == 0 {
			return 0, 0, false
		}
		return i - 1, len(s.segments[i-1].objects), false
	}
	j, found = slices.BinarySearchFunc(s.segments[i].objects, k, func(o *entry, k key) int { return o.key.compare(k) })
	return i, j, found
}

// segmentSize is how many objects a segment is made with.
func (s *store) segmentSize() int {
	if s.together {
		return perSegmentTogether
	}
	return perSegment
}

// unite lets the lines of an object count as those of one family where they are
// kept together.
func (s *store) unite(r *rendered) {
	if s.together && len(r.ends) > 0 {
		r.ends = r.ends[len(r.ends)-1:]
	}
}

func (s *store) put(r *rendered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(r)
}

// insert is put for those who hold the lock.
func (s *store) insert(r *rendered) {
	s.unite(r)
	i, j, found := s.find(r.key)
	sum := s.borrowed().sum(r)
	if found {
		o := s.segments[i].objects[j]
		o.version = r.version
		if !r.known && !o.shows(sum) {
			o.sum, o.fresh, o.gone, s.segments[i].waiting = sum, r, false, true
		}
		return
	}
	if len(s.segments) == 0 {
		s.segments = append(s.segments, &segment{})
	}
	g := s.segments[i]
	g.waiting = true
	g.objects = slices.Insert(g.objects, j, &entry{key: r.key, version: r.version, sum: sum, fresh: r})
	if len(g.objects) > 2*s.segmentSize() {
		s.split(i)
	}
}

// split cuts a segment in two, unless all that is too much is to go.
func (s *store) split(i int) {
	s.borrowed().with(func(b *builder) {
		if b.settle(s.segments[i]); len(s.segments[i].objects) > s.segmentSize() {
			left, right := b.split(s.segments[i])
			s.segments = slices.Replace(s.segments, i, i+1, left, right)
		}
	})
}

// borrow is borrowed for those who do not hold the lock.
func (s *store) borrow() *workshop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.borrowed()
}

func (s *store) borrowed() *workshop {
	if s.shop == nil {
		s.shop = newWorkshop()
	}
	return s.shop
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
	s.remove(k)
}

// remove is take for those who hold the lock.
func (s *store) remove(k key) {
	i, j, found := s.find(k)
	if !found || s.segments[i].objects[j].gone {
		return
	}
	g := s.segments[i]
	o := g.objects[j]
	o.gone, o.fresh, g.waiting = true, nil, true
	if len(o.lines) > 0 {
		return
	}
	// The pieces have nothing of it: it need not wait.
	if g.objects = slices.Delete(g.objects, j, j+1); len(g.objects) == 0 {
		s.segments = slices.Delete(s.segments, i, i+1)
	}
}

// Replace puts a complete list in the place of all that was known. It takes
// the lines of the list's objects away while it goes.
func (s *store) Replace(list []any, _ string) error {
	all := make([]*rendered, 0, len(list))
	for _, object := range list {
		r, err := asRendered(object)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b *rendered) int { return a.key.compare(b.key) })
	all = slices.CompactFunc(all, func(a, b *rendered) bool { return a.key == b.key })
	s.mu.Lock()
	empty := len(s.segments) == 0
	if !empty {
		s.adopt(all)
	}
	s.mu.Unlock()
	if empty {
		s.fill(all)
	} else {
		s.settleEach()
	}
	s.tell() // first, so that what it begins to follow counts for readiness
	if s.replaced != nil {
		s.replaced(len(all))
	}
	return nil
}

// fill puts a sorted list into a store that has nothing.
func (s *store) fill(all []*rendered) {
	var segments []*segment
	shop := s.borrow()
	shop.with(func(b *builder) {
		for some := range slices.Chunk(all, s.segmentSize()) {
			g := &segment{waiting: true}
			for _, r := range some {
				s.unite(r)
				g.objects = append(g.objects, &entry{key: r.key, version: r.version, sum: shop.sum(r), fresh: r})
			}
			b.settle(g)
			for _, r := range some {
				r.packed, r.ends = nil, nil // the caller still has all of them
			}
			segments = append(segments, g)
		}
	})
	s.mu.Lock()
	s.segments = segments
	s.mu.Unlock()
}

// adopt takes a sorted list in by what is other than before. The lock is held.
func (s *store) adopt(all []*rendered) {
	var gone []key
	at := 0
	for _, g := range s.segments {
		for _, o := range g.objects {
			for at < len(all) && all[at].key.compare(o.key) < 0 {
				at++
			}
			if at == len(all) || all[at].key != o.key {
				gone = append(gone, o.key)
			}
		}
	}
	for _, k := range gone {
		s.remove(k)
	}
	for _, r := range all {
		s.insert(r)
	}
}

// settleEach is settle for those who do not hold the lock: nobody waits for
// more than a segment.
func (s *store) settleEach() {
	s.borrow().with(func(b *builder) {
		for i, more := 0, true; more; {
			s.mu.Lock()
			if more = i < len(s.segments); !more {
				s.tidy(b)
			} else if b.settle(s.segments[i]); len(s.segments[i].objects) == 0 {
				s.segments = slices.Delete(s.segments, i, i+1)
			} else {
				i++
			}
			s.mu.Unlock()
		}
	})
}

// lighten lets go of the lines of an object of a list when the store has the
// same: of most, where a list only makes up for a watch that has broken. Until
// the list is complete, nothing else may change the store.
func (s *store) lighten(r *rendered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, j, found := s.find(r.key)
	if found && s.segments[i].objects[j].shows(s.borrowed().sum(r)) {
		r.packed, r.ends, r.known = nil, nil, true
	}
}

// Resync has nothing to do: there is no second copy to agree with.
func (s *store) Resync() error { return nil }

// settle puts all that waits into pieces.
func (s *store) settle() {
	if !slices.ContainsFunc(s.segments, func(g *segment) bool { return g.waiting }) {
		return
	}
	s.borrowed().with(func(b *builder) {
		for _, g := range s.segments {
			b.settle(g)
		}
		s.tidy(b)
	})
}

// tidy drops the segments that have no object any more, and joins those that
// have shrunk. None of them waits.
func (s *store) tidy(b *builder) {
	joined := s.segments[:0]
	for _, g := range s.segments {
		last := len(joined) - 1
		switch {
		case len(g.objects) == 0:
		case last >= 0 && len(joined[last].objects)+len(g.objects) <= s.segmentSize():
			joined[last] = b.join(joined[last], g)
		default:
			joined = append(joined, g)
		}
	}
	clear(s.segments[len(joined):])
	s.segments = joined
}

// appendPieces appends the pieces of this moment, one list of families for
// each segment. They can be read without a lock, since none changes.
func (s *store) appendPieces(dst [][]metric.Piece) [][]metric.Piece {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, g := range s.segments {
		dst = append(dst, g.pieces)
	}
	return dst
}

// view is a segment of one moment.
type view struct {
	objects []entry
	pieces  []metric.Piece
}

// appendViews is appendPieces with the objects.
func (s *store) appendViews(dst []view) []view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, g := range s.segments {
		v := view{pieces: g.pieces, objects: make([]entry, len(g.objects))}
		for i, o := range g.objects {
			v.objects[i] = *o
		}
		dst = append(dst, v)
	}
	return dst
}

// each calls a function with the lines that each object has of a family.
func (v *view) each(p *metric.Packer, family int, do func(o *entry, lines []byte)) {
	var text []byte
	if family < len(v.pieces) {
		text = p.Unpack(nil, &v.pieces[family])
	}
	for i := range v.objects {
		size := sizeOf(v.objects[i].lines, family)
		do(&v.objects[i], text[:size])
		text = text[size:]
	}
}

// each calls a function with the lines that each object has of a family.
func (s *store) each(family int, do func(o *entry, lines []byte)) {
	views := s.appendViews(nil)
	s.borrow().with(func(b *builder) {
		for i := range views {
			views[i].each(b.packer, family, do)
		}
	})
}
