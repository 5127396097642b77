package adapter

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
)

// errNoData means that the store has no sample of late, not even of something
// else: it has just started.
var errNoData = errors.New("the store has no samples yet")

// ruleSet is a loaded configuration. All of it is replaced by the next one.
type ruleSet struct {
	custom   []*Rule
	external []*Rule
	// byName says whether rules can select series of names that only the store
	// knows; else the table never changes.
	byName bool
	table  atomic.Pointer[nameTable]
}

// candidate is a family of series that has an API name by one rule.
type candidate struct {
	rule   *Rule
	family string
}

// nameTable finds the series behind the names of the API, the ones to prefer
// first: those of the last rule, and among these the last by name.
type nameTable struct {
	names    []string // of the store, that it was made from
	custom   map[string][]candidate
	external map[string][]candidate
}

func newRuleSet(custom, external []*Rule) *ruleSet {
	s := &ruleSet{custom: custom, external: external}
	for _, r := range slices.Concat(custom, external) {
		s.byName = s.byName || r.family() == "" && r.broken == nil
	}
	s.table.Store(s.newTable(nil))
	return s
}

func (s *ruleSet) newTable(names []string) *nameTable {
	return &nameTable{names: names, custom: candidates(s.custom, names), external: candidates(s.external, names)}
}

func candidates(rules []*Rule, names []string) map[string][]candidate {
	names = slices.Sorted(slices.Values(names))
	out := map[string][]candidate{}
	for _, r := range slices.Backward(rules) {
		families := names
		if f := r.family(); f != "" {
			families = []string{f}
		}
		if r.broken != nil {
			continue
		}
		for _, f := range slices.Backward(families) {
			if name, ok := r.APIName(f); ok {
				out[name] = append(out[name], candidate{rule: r, family: f})
			}
		}
	}
	return out
}

// names is the table for what the store has now.
func (a *Adapter) names(ctx context.Context, s *ruleSet) (*nameTable, error) {
	t := s.table.Load()
	if !s.byName {
		return t, nil
	}
	now := a.now()
	names, err := a.index.Names(ctx, now.Add(-a.window), now, t.names)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(names, t.names) {
		t = s.newTable(names)
		s.table.Store(t)
	}
	return t, nil
}

// find is the series behind a name of the API, nil for none: of the first
// candidate of which there are series that the rule selects and, unless want
// is nil, that name an object of it.
func (a *Adapter) find(ctx context.Context, from []candidate, want *resource) (*candidate, error) {
	for i := range from {
		ok, err := a.exists(ctx, &from[i], want)
		if err != nil {
			return nil, err
		}
		if ok {
			return &from[i], nil
		}
	}
	return nil, nil
}

func (a *Adapter) exists(ctx context.Context, c *candidate, want *resource) (bool, error) {
	found, failed := false, error(nil)
	now := a.now()
	err := a.index.Scan(ctx, now.Add(-a.window), now, c.family, func(l labels.Labels) bool {
		if !c.rule.selects(l) {
			return true
		}
		if found = want == nil; !found {
			found, failed = c.rule.labels.has(l, want)
		}
		return !found && failed == nil
	})
	return found, errors.Join(failed, err)
}

// notReady is errNoData while the store is empty; nil once it is not, so that
// a name without series is unknown for good.
func (a *Adapter) notReady(ctx context.Context) error {
	now := a.now()
	names, err := a.index.Names(ctx, now.Add(-a.window), now, nil)
	if err == nil && len(names) == 0 {
		err = errNoData
	}
	return err
}
