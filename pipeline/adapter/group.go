package adapter

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// maxGrouping is how many series a grouping is remembered of, at some 50 bytes
// each; their labels are the store's.
const maxGrouping = 20_000

// grouping says which series go into which sample of the result. Once it is
// complete, it is never changed: evaluations that run side by side share it.
type grouping struct {
	series []labels.Labels // in the order in which the store gave them
	group  []int           // of each
	groups []labels.Labels // what they have of the labels
}

// grouper makes one.
type grouper struct {
	grouping
	by    []string
	index map[string]int // of groups, by the values of the labels
}

func (q *quickQuery) newGrouper() *grouper { return &grouper{by: q.by, index: map[string]int{}} }

// add gives the group of a series.
func (g *grouper) add(l labels.Labels) int {
	var buf [128]byte
	key := buf[:0]
	for _, name := range g.by {
		key = append(append(key, l.Get(name)...), 0xff) // in no UTF-8
	}
	i, ok := g.index[string(key)]
	if !ok {
		i = len(g.groups)
		g.index[string(key)] = i
		g.groups = append(g.groups, groupLabels(l, g.by))
	}
	g.series, g.group = append(g.series, l), append(g.group, i)
	return i
}

// groupLabels are what a series has of some labels.
func groupLabels(l labels.Labels, by []string) labels.Labels {
	var b labels.ScratchBuilder
	for i, name := range by {
		if v := l.Get(name); v != "" && !slices.Contains(by[:i], name) {
			b.Add(name, v)
		}
	}
	b.Sort()
	return b.Labels()
}
