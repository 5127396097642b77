// Package recent keeps the newest samples of a few series in memory, beside the
// store that keeps all samples of all series.
//
// Autoscalers ask for the same short window of the same series again and again,
// and the store has to decode a chunk from its beginning, minutes before the
// window, each time. Whoever asks follows those series; whoever writes to the
// store adds what it has committed; and the window is then there to be read,
// without decoding and without garbage. What is not known to be complete is not
// answered: the store is asked.
package recent

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

const (
	// maxSeries bounds what is followed: some 500 bytes each at 5 s and a
	// window of a minute.
	maxSeries = 50_000
	// maxSamples bounds what is kept of one series, at 16 bytes each. A window
	// with more is the store's.
	maxSamples = 256
	// MaxWindow is the longest window for which series are followed. The store
	// forgets no series within it, so one that has samples in it is still fed.
	MaxWindow = 30 * time.Minute
	// spare is how far before the window samples are kept, in milliseconds:
	// whoever asks may be a little behind the newest sample.
	spare = 10_000
	// forgetAfter is how long after it was last read a series is followed.
	forgetAfter = 10 * time.Minute
	sweepEvery  = time.Minute
)

// Set is the series that are followed. The zero value follows none. It is safe
// for concurrent use.
type Set struct {
	// series is never changed but replaced: each sample that is appended anywhere
	// looks into it.
	series atomic.Pointer[map[storage.SeriesRef]*Series]

	mu    sync.Mutex // held while series is replaced
	swept time.Time
}

// Follow begins to keep the samples that will come of series, by their
// references in the store, over windows of a length; it gives one of each, nil
// for a reference of 0 and where too many are followed. What was committed
// before is not known of them, so they answer once they have seen one window.
func (s *Set) Follow(refs []storage.SeriesRef, window time.Duration, now time.Time) []*Series {
	out := make([]*Series, len(refs))
	if window > MaxWindow {
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.load())
	if next == nil {
		next = map[storage.SeriesRef]*Series{}
	}
	if now.Sub(s.swept) > sweepEvery {
		s.swept = now
		oldest := now.Add(-forgetAfter).UnixMilli()
		maps.DeleteFunc(next, func(_ storage.SeriesRef, one *Series) bool { return one.read.Load() < oldest && one.spoil() })
	}
	for i, ref := range refs {
		one := next[ref]
		if one == nil && ref != 0 && len(next) < maxSeries {
			one = &Series{since: math.MaxInt64}
			one.read.Store(now.UnixMilli())
			next[ref] = one
		}
		if one != nil {
			one.widen(window.Milliseconds() + spare)
		}
		out[i] = one
	}
	s.series.Store(&next)
	return out
}

func (s *Set) load() map[storage.SeriesRef]*Series {
	if m := s.series.Load(); m != nil {
		return *m
	}
	return nil
}

// Clear follows nothing any more, as after samples were deleted. What was given
// out answers nothing from then on.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.load()
	s.series.Store(nil)
	for _, one := range old {
		one.spoil()
	}
}

// Batch is what an appender has added and not committed. It belongs to one
// goroutine, as the appender does.
type Batch struct {
	of      *Set
	samples []sample
}

type sample struct {
	series *Series
	t      int64
	v      float64
}

// Batch makes an empty one.
func (s *Set) Batch() Batch { return Batch{of: s} }

// Add notes a sample that the store has taken, by the reference that it gave; t
// is in milliseconds.
func (b *Batch) Add(ref storage.SeriesRef, t int64, v float64) {
	if one := b.of.load()[ref]; one != nil {
		b.samples = append(b.samples, sample{one, t, v})
	}
}

// Spoil notes that something else than a float sample was added to a series.
func (b *Batch) Spoil(ref storage.SeriesRef) {
	if one := b.of.load()[ref]; one != nil {
		one.spoil()
	}
}

// Commit gives the samples to their series, once the store has committed them.
func (b *Batch) Commit() {
	for _, s := range b.samples {
		s.series.push(s.t, s.v)
	}
	b.samples = b.samples[:0]
}

// Lost says that it is not known which of the samples the store has.
func (b *Batch) Lost() {
	for _, s := range b.samples {
		s.series.spoil()
	}
	b.samples = b.samples[:0]
}

// Series are the newest samples of one series. It is safe for concurrent use.
type Series struct {
	read atomic.Int64 // when it was last asked for, ms

	mu     sync.Mutex
	keep   int64           // ms before the newest
	since  int64           // ms: from here on every sample of the store is in points
	points []promql.FPoint // oldest first, markers of staleness among them
}

func (s *Series) widen(keep int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = max(s.keep, keep)
}

// spoil forgets what is known; a series that is followed starts again with its
// next sample. It is always true.
func (s *Series) spoil() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points, s.since = s.points[:0], math.MaxInt64
	return true
}

func (s *Series) push(t int64, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.points)
	switch {
	case n == 0:
		s.since = t
	case t > s.points[n-1].T:
	case t == s.points[n-1].T && math.Float64bits(v) == math.Float64bits(s.points[n-1].F):
		return // the store has taken it once
	default:
		// Out of order: the store alone knows what became of it.
		s.points, s.since = s.points[:0], math.MaxInt64
		return
	}
	if n == cap(s.points) || n >= maxSamples {
		s.trim(t)
	}
	s.points = append(s.points, promql.FPoint{T: t, F: v})
}

// trim makes room for a sample of time t: what is too old goes, and only where
// nothing is does the memory grow.
func (s *Series) trim(t int64) {
	old, _ := slices.BinarySearchFunc(s.points, t-s.keep, byTime)
	if old == 0 && len(s.points) >= maxSamples {
		old = maxSamples / 4
	}
	if old > 0 {
		s.since = s.points[old-1].T + 1
		s.points = s.points[:copy(s.points, s.points[old:])]
	}
}

// Samples appends to into the samples after start and not after end, both in
// milliseconds, without markers of staleness. It is false where it does not know
// all of them, and where it knows of none: the store may have the series under
// another reference by now.
func (s *Series) Samples(into []promql.FPoint, start, end int64) ([]promql.FPoint, bool) {
	s.read.Store(end)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.points)
	if s.since > start+1 || n == 0 || s.points[n-1].T <= start {
		return into, false
	}
	first, _ := slices.BinarySearchFunc(s.points, start+1, byTime)
	for _, p := range s.points[first:] {
		if p.T > end {
			break
		}
		if !value.IsStaleNaN(p.F) {
			into = append(into, p)
		}
	}
	return into, true
}

func byTime(p promql.FPoint, t int64) int { return cmp.Compare(p.T, t) }
