// Package recent keeps the newest samples of a few series in memory, beside the
// store that keeps all samples of all series.
//
// Autoscalers ask for the same short window of the same series again and again,
// and each time the store has to look for the series and to decode a chunk of
// each from its beginning, minutes before the window. Whoever asks watches for
// series that come and follows those that are there; whoever writes to the store
// adds what it has committed; and the window is then there to be read, without
// searching, decoding or garbage. What is not known to be complete is not
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

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
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
	// maxWatches bounds the questions whose series are watched.
	maxWatches = 10_000
	// spare is how far clocks may be apart, in milliseconds: of those who ask, who
	// may be that much behind the newest sample, and of those who write.
	spare = 10_000
	// forgetAfter and unwatchAfter are how long series are followed and watched
	// for that nobody asks for. Where pods come and go, the matchers that name
	// them are of no use soon, and large.
	forgetAfter  = 10 * time.Minute
	unwatchAfter = 2 * time.Minute
	sweepEvery   = time.Minute
)

// Set is what is followed and watched. The zero value has nothing. It is safe for
// concurrent use.
type Set struct {
	// Both are never changed but replaced: each sample that is appended anywhere
	// looks into them.
	series  atomic.Pointer[map[storage.SeriesRef]*Series]
	watches atomic.Pointer[map[string][]*Watch] // by metric name

	mu    sync.Mutex // held while they are replaced
	swept time.Time
}

// Follow begins to keep the samples that will come of series, by their
// references in the store, over windows of a length; it gives one of each, nil
// where too many are followed. What was committed before is not known of them,
// so they answer after one window.
func (s *Set) Follow(refs []storage.SeriesRef, window time.Duration, now time.Time) []*Series {
	out := make([]*Series, len(refs))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	known := load(&s.series)
	next := known
	for i, ref := range refs {
		one := next[ref]
		if one == nil && len(next) < maxSeries {
			if len(next) == len(known) {
				next = copied(known)
			}
			one = &Series{since: now.UnixMilli() + spare}
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

// Watch begins to look for new series that match. It is nil for matchers that
// leave the metric name open, and where too many are watched.
func (s *Set) Watch(matchers []*labels.Matcher, now time.Time) *Watch {
	i := slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual })
	if i < 0 {
		return nil
	}
	name := matchers[i].Value
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	next := copied(load(&s.watches))
	n := 0
	for _, ws := range next {
		n += len(ws)
	}
	if n >= maxWatches {
		return nil
	}
	w := &Watch{matchers: slices.Delete(slices.Clone(matchers), i, i+1)}
	w.asked.Store(now.UnixMilli())
	calm := slices.DeleteFunc(slices.Clone(next[name]), func(w *Watch) bool { return w.seen.Load() })
	next[name] = append(calm, w)
	s.watches.Store(&next)
	return w
}

func load[K comparable, V any](p *atomic.Pointer[map[K]V]) map[K]V {
	if m := p.Load(); m != nil {
		return *m
	}
	return nil
}

func copied[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// sweep forgets, once a minute, what nobody asks for.
func (s *Set) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	oldest, unwatched := now.Add(-forgetAfter).UnixMilli(), now.Add(-unwatchAfter).UnixMilli()
	series := copied(load(&s.series))
	maps.DeleteFunc(series, func(_ storage.SeriesRef, one *Series) bool { return one.read.Load() < oldest && one.end() })
	watches := map[string][]*Watch{}
	for name, all := range load(&s.watches) {
		left := slices.DeleteFunc(slices.Clone(all), func(w *Watch) bool { return w.seen.Load() || w.asked.Load() < unwatched && w.see() })
		if len(left) > 0 {
			watches[name] = left
		}
	}
	s.series.Store(&series)
	s.watches.Store(&watches)
}

// Clear follows nothing any more, as after samples were deleted. What was given
// out answers nothing from then on.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range load(&s.series) {
		one.end()
	}
	for _, all := range load(&s.watches) {
		for _, w := range all {
			w.see()
		}
	}
	s.series.Store(nil)
	s.watches.Store(nil)
}

// Selection is all series that match a question, until its Watch is calm no more.
type Selection struct {
	Watch  *Watch
	Labels []labels.Labels
	Series []*Series // of each, nil for one that is not followed
}

// Watch looks for series that are new.
type Watch struct {
	matchers []*labels.Matcher // but that of the name
	asked    atomic.Int64      // when Calm was last asked for, ms
	seen     atomic.Bool
}

// Calm tells whether no series that matches has come since the Watch was made:
// what the store gave after that is still all that there is. At is in
// milliseconds.
func (w *Watch) Calm(at int64) bool {
	w.asked.Store(at)
	return !w.seen.Load()
}

// End stops the looking, as nobody will ask: the Watch is calm no more.
func (w *Watch) End() { w.see() }

func (w *Watch) see() bool {
	w.seen.Store(true)
	return true
}

func (w *Watch) matches(l labels.Labels) bool {
	for _, m := range w.matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// Batch is what an appender has added and not committed. It belongs to one
// goroutine, as the appender does.
type Batch struct {
	of      *Set
	samples []sample
	perhaps []labels.Labels // series that may be new
}

type sample struct {
	series *Series
	t      int64
	v      float64
}

// Batch makes an empty one.
func (s *Set) Batch() Batch { return Batch{of: s} }

// Add notes a sample that the store has taken: the reference by which it was
// given, that which the store gave back, and t in milliseconds.
func (b *Batch) Add(given, ref storage.SeriesRef, l labels.Labels, t int64, v float64) {
	if one := b.note(given, ref, l); one != nil {
		b.samples = append(b.samples, sample{one, t, v})
	}
}

// Spoil notes that something else than a float sample was given to a series.
func (b *Batch) Spoil(given, ref storage.SeriesRef, l labels.Labels, t int64) {
	if one := b.note(given, ref, l); one != nil {
		one.restart(t)
	}
}

// note remembers a series that may be new, and gives the one that is followed,
// nil for none.
func (b *Batch) note(given, ref storage.SeriesRef, l labels.Labels) *Series {
	if given != ref {
		b.perhaps = append(b.perhaps, l)
	}
	return load(&b.of.series)[ref]
}

// Commit gives the samples to their series, once the store has committed them,
// and tells those who watch for series: only then does the store show them.
func (b *Batch) Commit() {
	for _, s := range b.samples {
		s.series.push(s.t, s.v)
	}
	b.tell()
}

// Lost says that it is not known which of the samples the store has.
func (b *Batch) Lost() {
	for _, s := range b.samples {
		s.series.restart(s.t)
	}
	b.tell()
}

// Rollback forgets the samples. The store keeps the series that were new, and
// whoever appends to them next is given no other reference than it gives.
func (b *Batch) Rollback() { b.tell() }

func (b *Batch) tell() {
	watches := load(&b.of.watches)
	if len(watches) > 0 {
		for _, l := range b.perhaps {
			for _, w := range watches[l.Get(model.MetricNameLabel)] {
				if !w.seen.Load() && w.matches(l) {
					w.see()
				}
			}
		}
	}
	b.samples, b.perhaps = b.samples[:0], b.perhaps[:0]
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

// end forgets everything, as no samples will come any more. It is always true.
func (s *Series) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points, s.since = nil, math.MaxInt64
	return true
}

// restart forgets what is known until t, of which the store alone knows what
// became of it.
func (s *Series) restart(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(t)
}

func (s *Series) forget(t int64) {
	if n := len(s.points); n > 0 {
		t = max(t, s.points[n-1].T)
	}
	if t >= s.since {
		s.since = t + 1
	}
	s.points = s.points[:0]
}

func (s *Series) push(t int64, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.points)
	switch {
	case t < s.since && n == 0:
		return
	case n == 0 || t > s.points[n-1].T:
	case t == s.points[n-1].T && math.Float64bits(v) == math.Float64bits(s.points[n-1].F):
		return // the store has taken it once
	default:
		s.forget(t) // out of order
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
// all of them.
func (s *Series) Samples(into []promql.FPoint, start, end int64) ([]promql.FPoint, bool) {
	s.read.Store(end)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since > start+1 {
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
