package adapter

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/strata-metrics/strata/pipeline/store/recent"
)

// Follower is a store that keeps the newest samples of series at hand.
type Follower interface {
	// Follow gives all series that match, nil where it does not follow them.
	Follow(ctx context.Context, matchers []*labels.Matcher, window time.Duration, now time.Time) (*recent.Selection, error)
}

// followed is the series of a query whose samples are at hand.
type followed struct {
	grouping
	selection *recent.Selection
}

// followAgain is for how many ms a refusal holds: a store looks at as many series
// as it can follow before it refuses.
const followAgain = 60_000

// follow takes a selection, which is nil where the store refuses. At is in ms.
func (q *quickQuery) follow(s *recent.Selection, at int64) *followed {
	var f *followed
	if s == nil {
		q.refused.Store(at)
	} else {
		g := q.newGrouper()
		for _, l := range s.Labels {
			g.add(l)
		}
		f = &followed{grouping: g.grouping, selection: s}
	}
	q.followed.Store(f)
	return f
}

// walk finds, of the series that a store gives, those that are followed. Both are
// in the order of the store's references.
type walk struct {
	of     *followed // may be nil
	at     int
	misses int
}

// maxMisses is how many series may be none of them until no more are looked for.
const maxMisses = 8

func (w *walk) next(l labels.Labels) *recent.Series {
	if w.of == nil || w.misses > maxMisses {
		return nil
	}
	for i := w.at; i < len(w.of.series); i++ {
		if labels.Equal(w.of.series[i], l) {
			w.at = i + 1
			return w.of.selection.Series[i]
		}
	}
	w.misses++
	return nil
}
