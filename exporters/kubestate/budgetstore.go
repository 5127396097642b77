package kubestate

import (
	"bytes"
	"slices"
	"time"

	"k8s.io/client-go/tools/cache"
)

// budgetedStore lets into a store what the budgets have room for. It is used
// by one goroutine, but for what the lock of the budgets guards.
type budgetedStore struct {
	cache.ReflectorStore
	budgets  *budgets
	kind     *bound
	again    chan struct{} // asks for a list
	buf      []byte
	grants   map[key]*grant // guarded
	relisted time.Time      // guarded
	ended    bool           // guarded
}

// grant is what became of an object.
type grant struct {
	shown uint32  // series
	of    []share // of families, when those have budgets
	cut   []share // what was left out of families
	whole uint32  // series that were left out for the namespace
}

// share is some series of a family.
type share struct{ family, series uint32 }

func newBudgetedStore(next cache.ReflectorStore, b *budgets, kind *bound) *budgetedStore {
	s := &budgetedStore{ReflectorStore: next, budgets: b, kind: kind, again: make(chan struct{}, 1), grants: make(map[key]*grant)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stores = append(b.stores, s)
	return s
}

// Add puts an object in, or what there is room for.
func (s *budgetedStore) Add(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	all := s.sharesOf(r)
	s.budgets.mu.Lock()
	s.release(r.key)
	g := s.admit(r.key, all)
	s.budgets.mu.Unlock()
	if g.whole > 0 {
		return s.ReflectorStore.Delete(r)
	}
	s.trim(r, g)
	return s.ReflectorStore.Add(r)
}

// Update is Add.
func (s *budgetedStore) Update(object any) error { return s.Add(object) }

// Delete takes an object out.
func (s *budgetedStore) Delete(object any) error {
	r, err := asRendered(object)
	if err != nil {
		return err
	}
	s.budgets.mu.Lock()
	s.release(r.key)
	s.budgets.mu.Unlock()
	return s.ReflectorStore.Delete(object)
}

// Replace puts a complete list in, or what there is room for: first what was
// shown before, then the rest by name.
func (s *budgetedStore) Replace(list []any, version string) error {
	all := make([]*rendered, len(list))
	shares := make(map[*rendered][]share, len(list))
	for i, object := range list {
		r, err := asRendered(object)
		if err != nil {
			return err
		}
		all[i], shares[r] = r, s.sharesOf(r)
	}
	kept := s.admitAll(all, shares)
	return s.ReflectorStore.Replace(kept, version)
}

func (s *budgetedStore) admitAll(all []*rendered, shares map[*rendered][]share) (kept []any) {
	s.budgets.mu.Lock()
	defer s.budgets.mu.Unlock()
	before := func(r *rendered) int {
		if g := s.grants[r.key]; g != nil && g.whole == 0 {
			return len(g.cut)
		}
		return len(s.kind.families) + 1
	}
	slices.SortStableFunc(all, func(a, b *rendered) int {
		if c := before(a) - before(b); c != 0 {
			return c
		}
		return a.key.compare(b.key)
	})
	for k := range s.grants {
		s.release(k)
	}
	for _, r := range all {
		if s.grants[r.key] != nil {
			continue // it is in the list twice
		}
		if g := s.admit(r.key, shares[r]); g.whole == 0 {
			s.trim(r, g)
			kept = append(kept, r)
		}
	}
	return kept
}

// sharesOf counts the series of an object.
func (s *budgetedStore) sharesOf(r *rendered) []share {
	s.buf = r.text(s.buf)
	var list []share
	start := uint32(0)
	for i, end := range r.ends {
		if end > start {
			list = append(list, share{uint32(i), uint32(bytes.Count(s.buf[start:end], []byte{'\n'}))})
		}
		start = end
	}
	return list
}

// admit says what of an object there is room for, and takes that.
func (s *budgetedStore) admit(k key, all []share) *grant {
	b, g := s.budgets, &grant{}
	if s.ended {
		return g // nobody will see it
	}
	var sum uint32
	for _, one := range all {
		sum += one.series
		if b.family > 0 {
			if s.account(one).used+int(one.series) > b.family {
				g.cut = append(g.cut, one)
				continue
			}
			g.of = append(g.of, one)
		}
		g.shown += one.series
	}
	if b.namespace > 0 && k.namespace != "" && accountOf(b.namespaces, k.namespace).used+int(g.shown) > b.namespace {
		g = &grant{whole: max(1, sum)}
	}
	s.grants[k] = g
	s.charge(k, g, 1)
	return g
}

// release gives back what an object had.
func (s *budgetedStore) release(k key) {
	if g := s.grants[k]; g != nil {
		delete(s.grants, k)
		s.charge(k, g, -1)
		s.budgets.released = true
	}
}

func (s *budgetedStore) account(one share) *account {
	return accountOf(s.budgets.families, s.kind.families[one.family].Name())
}

// charge adds what an object has to the accounts, or with -1 takes it off.
func (s *budgetedStore) charge(k key, g *grant, sign int) {
	b := s.budgets
	if g.whole > 0 || len(g.cut) > 0 {
		b.out += sign
	}
	for _, one := range g.of {
		s.account(one).used += sign * int(one.series)
	}
	for _, one := range g.cut {
		a := s.account(one)
		a.objects, a.series = a.objects+sign, a.series+sign*int(one.series)
		b.tell("--series-budget-family", s.kind.families[one.family].Name(), a)
	}
	if b.namespace == 0 || k.namespace == "" {
		return
	}
	a := accountOf(b.namespaces, k.namespace)
	a.used += sign * int(g.shown)
	if g.whole > 0 {
		a.objects, a.series = a.objects+sign, a.series+sign*int(g.whole)
		b.tell("--series-budget-namespace", k.namespace, a)
	}
	if a.used == 0 && a.objects == 0 {
		delete(b.namespaces, k.namespace)
	}
}

// misses says whether there is room for something that was left out.
func (s *budgetedStore) misses() bool {
	b := s.budgets
	for k, g := range s.grants {
		if g.whole > 0 && accountOf(b.namespaces, k.namespace).used+int(g.whole) <= b.namespace {
			return true
		}
		for _, one := range g.cut {
			if s.account(one).used+int(one.series) <= b.family {
				return true
			}
		}
	}
	return false
}

// trim takes the lines out of an object that there was no room for.
func (s *budgetedStore) trim(r *rendered, g *grant) {
	if len(g.cut) == 0 {
		return
	}
	s.buf = r.text(s.buf)
	text, ends, cut := make([]byte, 0, len(s.buf)), make([]uint32, len(r.ends)), g.cut
	start := uint32(0)
	for i, end := range r.ends {
		if len(cut) > 0 && cut[0].family == uint32(i) {
			cut = cut[1:]
		} else {
			text = append(text, s.buf[start:end]...)
		}
		start, ends[i] = end, uint32(len(text))
	}
	short := newRendered(r.key, r.version, text, ends, nil)
	r.packed, r.ends = short.packed, short.ends
}
