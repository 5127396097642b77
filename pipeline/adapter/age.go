package adapter

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Ages is a Queryable that notes the newest sample that was read of each
// series, since PromQL forgets it. It serves one query, which reads it in one
// goroutine.
type Ages struct {
	storage.Queryable
	series []*age
}

// age is what was seen of one series.
type age struct {
	labels labels.Labels
	newest int64 // ms; math.MinInt64 for none
	stale  bool  // the newest is the marker of an end
	ranged bool  // read as a range, which goes on after such a marker
}

// counts tells whether the series can be part of an answer.
func (a *age) counts() bool { return a.newest != math.MinInt64 && (a.ranged || !a.stale) }

func (a *age) saw(t int64, v float64) {
	stale := value.IsStaleNaN(v)
	if t < a.newest || stale && a.ranged {
		return
	}
	a.newest, a.stale = t, stale
}

// Querier implements storage.Queryable.
func (a *Ages) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := a.Queryable.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &ageQuerier{Querier: q, ages: a}, nil
}

type ageQuerier struct {
	storage.Querier
	ages *Ages
}

func (q *ageQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	return &ageSet{SeriesSet: q.Querier.Select(ctx, sorted, hints, ms...), ages: q.ages, ranged: hints != nil && hints.Range > 0}
}

type ageSet struct {
	storage.SeriesSet
	ages   *Ages
	ranged bool
}

func (s *ageSet) At() storage.Series {
	in := s.SeriesSet.At()
	a := &age{labels: in.Labels(), newest: math.MinInt64, ranged: s.ranged}
	s.ages.series = append(s.ages.series, a)
	return &ageSeries{Series: in, age: a}
}

type ageSeries struct {
	storage.Series
	age *age
}

func (s *ageSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if own, ok := it.(*ageIterator); ok {
		own.Iterator, own.age = s.Series.Iterator(own.Iterator), s.age
		return own
	}
	return &ageIterator{Iterator: s.Series.Iterator(it), age: s.age}
}

type ageIterator struct {
	chunkenc.Iterator
	age *age
}

func (it *ageIterator) At() (int64, float64) {
	t, v := it.Iterator.At()
	it.age.saw(t, v)
	return t, v
}

func (it *ageIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := it.Iterator.AtHistogram(h)
	it.age.saw(t, h.Sum)
	return t, h
}

func (it *ageIterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := it.Iterator.AtFloatHistogram(h)
	it.age.saw(t, h.Sum)
	return t, h
}

// older is the one of two, either of which may be nil, whose newest sample is
// further back.
func older(a, b *age) *age {
	if a == nil || b != nil && b.newest < a.newest {
		return b
	}
	return a
}

// Of says, for each sample of a query's result, how old the data behind it is:
// the oldest of the newest samples of its series. A series belongs to a sample
// whose labels it does not contradict; where none does, all of them. The time
// is zero where no series was read.
func (a *Ages) Of(vec promql.Vector) []Age {
	out := make([]Age, len(vec))
	var oldest *age
	for _, s := range a.series {
		if s.counts() {
			oldest = older(oldest, s)
		}
	}
	if oldest == nil {
		return out
	}
	// Samples with the same label names share the work.
	groups := map[string][]int{}
	var key []byte
	for i, s := range vec {
		key = key[:0]
		s.Metric.Range(func(l labels.Label) { key = append(append(key, l.Name...), 0xff) })
		groups[string(key)] = append(groups[string(key)], i)
	}
	for _, at := range groups {
		a.group(vec, at, oldest, out)
	}
	return out
}

// maxMask is how many labels of a result can be told apart; the others do not
// separate series.
const maxMask = 64

// joint are the series that have the same of the result's labels.
type joint struct {
	names  []string
	oldest map[uint64]*age // by hash of the values of names
}

func (a *Ages) group(vec promql.Vector, at []int, oldest *age, out []Age) {
	var names []string
	vec[at[0]].Metric.Range(func(l labels.Label) { names = append(names, l.Name) })
	names = names[:min(len(names), maxMask)]
	slices.Sort(names)
	joints := map[uint64]*joint{}
	var buf []byte
	for _, s := range a.series {
		if !s.counts() {
			continue
		}
		var mask uint64
		for i, n := range names {
			if s.labels.Has(n) {
				mask |= 1 << i
			}
		}
		j := joints[mask]
		if j == nil {
			j = &joint{oldest: map[uint64]*age{}}
			for i, n := range names {
				if mask&(1<<i) != 0 {
					j.names = append(j.names, n)
				}
			}
			joints[mask] = j
		}
		var h uint64
		h, buf = s.labels.HashForLabels(buf, j.names...)
		j.oldest[h] = older(j.oldest[h], s)
	}
	for _, i := range at {
		var own *age
		for _, j := range joints {
			var h uint64
			h, buf = vec[i].Metric.HashForLabels(buf, j.names...)
			own = older(own, j.oldest[h])
		}
		if own == nil {
			own = oldest
		}
		out[i] = Age{Time: time.UnixMilli(own.newest), Series: own.labels}
	}
}
