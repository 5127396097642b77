package node

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

const (
	// topMemorySpan is for how long what a group used counts when groups are
	// compared by processor time or io: the time constant of the mean.
	topMemorySpan = 5 * time.Minute
	// topStay is by how much a group that is not shown must exceed one that
	// is to take its place, so that series do not come and go.
	topStay = 1.25
)

// end finishes a walk over all processes and adds what groups use most.
func (t *topProcesses) end(b *metric.Batch) {
	for pid, p := range t.processes {
		if p.pass != t.pass {
			delete(t.processes, pid)
		}
	}
	t.score()
	t.forget()
	for criterion := range topCriteria {
		for _, g := range t.rank(criterion) {
			t.add(b, criterion, g)
		}
	}
}

// score brings the means to this walk. At the first there is no time yet that
// something was used in.
func (t *topProcesses) score() {
	seconds := t.at.Sub(t.before).Seconds()
	first := t.before.IsZero()
	t.before = t.at
	weight := 1 - math.Exp(-seconds/topMemorySpan.Seconds())
	for _, g := range t.groups {
		for _, criterion := range []int{topCPU, topIO} {
			spent := g.spent[criterion]
			if first {
				g.spent[criterion] = 0
			} else if seconds > 0 {
				g.score[criterion] += (float64(spent)/seconds - g.score[criterion]) * weight
				g.spent[criterion] = 0
			}
		}
		g.score[topMemory], g.score[topFiles] = float64(g.rss), float64(g.files)
	}
}

// forget drops groups over the bound: those first whose last process ended
// longest ago. One that is dropped and comes back begins at zero, which is a
// reset as every program that starts anew makes it.
func (t *topProcesses) forget() {
	if len(t.groups) <= topGroups {
		return
	}
	var ended []*topGroup
	for _, g := range t.groups {
		if g.pass != t.pass {
			ended = append(ended, g)
		}
	}
	slices.SortFunc(ended, func(g, h *topGroup) int {
		return cmp.Or(cmp.Compare(g.pass, h.pass), cmp.Compare(g.name, h.name))
	})
	for _, g := range ended[:min(len(ended), len(t.groups)-topGroups*9/10)] {
		delete(t.groups, g.name)
	}
}

// total is what a group has used at all, which decides between those that use
// the same now.
func (g *topGroup) total(criterion int) uint64 {
	switch criterion {
	case topCPU:
		return g.cpu
	case topMemory:
		return g.rss
	case topIO:
		return g.read + g.written
	default:
		return g.files
	}
}

// rank gives the groups to show, by name.
func (t *topProcesses) rank(criterion int) []*topGroup {
	t.ranked = t.ranked[:0]
	for _, g := range t.groups {
		if g.total(criterion) > 0 {
			t.ranked = append(t.ranked, g)
		} else {
			g.shown[criterion] = false
		}
	}
	weight := func(g *topGroup) float64 {
		if g.shown[criterion] {
			return g.score[criterion] * topStay
		}
		return g.score[criterion]
	}
	slices.SortFunc(t.ranked, func(g, h *topGroup) int {
		return cmp.Or(cmp.Compare(weight(h), weight(g)), cmp.Compare(h.total(criterion), g.total(criterion)), cmp.Compare(g.name, h.name))
	})
	for i, g := range t.ranked {
		g.shown[criterion] = i < t.limit
	}
	top := t.ranked[:min(len(t.ranked), t.limit)]
	slices.SortFunc(top, func(g, h *topGroup) int { return cmp.Compare(g.name, h.name) })
	return top
}

func (t *topProcesses) add(b *metric.Batch, criterion int, g *topGroup) {
	switch criterion {
	case topCPU:
		b.Add(t.cpu, float64(g.cpu)/userHZ, g.name)
	case topMemory:
		b.Add(t.memory, float64(g.rss)*t.pageSize, g.name)
	case topIO:
		b.Add(t.read, float64(g.read), g.name)
		b.Add(t.written, float64(g.written), g.name)
	default:
		b.Add(t.files, float64(g.files), g.name)
	}
}
