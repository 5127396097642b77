package recent

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

var start = time.UnixMilli(0)

// follow follows one series over a minute.
func follow(s *Set, ref storage.SeriesRef, now time.Time) *Series {
	return s.Follow([]storage.SeriesRef{ref}, time.Minute, now)[0]
}

// commit adds samples whose values are their times in seconds.
func commit(s *Set, ref storage.SeriesRef, seconds ...int64) {
	b := s.Batch()
	for _, t := range seconds {
		b.Add(ref, ref, labels.EmptyLabels(), t*1000, float64(t))
	}
	b.Commit()
}

// times are those of the samples from one second to another, nil where they are
// not known.
func times(s *Series, from, to int64) []int64 {
	points, ok := s.Samples(nil, from*1000-1, to*1000)
	if !ok {
		return nil
	}
	out := []int64{}
	for _, p := range points {
		out = append(out, p.T/1000)
	}
	return out
}

func TestSamples(t *testing.T) {
	t.Parallel()
	var set Set
	commit(&set, 7, 5)          // nobody follows it
	s := follow(&set, 7, start) // known from 10 s on
	require.Nil(t, times(s, 0, 100))
	require.Nil(t, times(s, 9, 100), "what was before is not known")
	require.Equal(t, []int64{}, times(s, 10, 100), "there was nothing since")
	commit(&set, 8, 15) // another one
	commit(&set, 7, 8, 20, 30, 40)
	require.Nil(t, times(s, 9, 100))
	require.Equal(t, []int64{20, 30, 40}, times(s, 10, 100))
	require.Equal(t, []int64{30, 40}, times(s, 21, 40))
	require.Equal(t, []int64{30}, times(s, 21, 39))
	require.Equal(t, []int64{}, times(s, 21, 29))
	require.Equal(t, []int64{}, times(s, 41, 100))
	require.Same(t, s, follow(&set, 7, start))

	b := set.Batch()
	b.Add(7, 7, labels.EmptyLabels(), 50_000, math.Float64frombits(value.StaleNaN))
	require.Equal(t, []int64{40}, times(s, 31, 60), "not committed")
	b.Commit()
	require.Equal(t, []int64{40}, times(s, 31, 60), "a marker is no sample")
	require.Equal(t, []int64{}, times(s, 41, 60))
}

func TestKept(t *testing.T) {
	t.Parallel()
	var set Set
	s := follow(&set, 7, start)
	for n := range int64(1000) {
		commit(&set, 7, n*5)
		if end := n * 5; end >= 75 {
			require.Len(t, times(s, end-60, end), 13)
			require.Len(t, times(s, end-65, end-5), 13, "also of a moment ago")
		}
	}
	require.LessOrEqual(t, cap(s.points), 16)
	require.Same(t, s, set.Follow([]storage.SeriesRef{7}, 5*time.Minute, start)[0])
	for n := range int64(1000) {
		commit(&set, 7, 5000+n*5)
	}
	require.Len(t, times(s, 9995-300, 9995), 61)

	// Too many samples: the window is the store's.
	for n := range int64(1000) {
		b := set.Batch()
		b.Add(7, 7, labels.EmptyLabels(), 10_000_000+n, 0)
		b.Commit()
	}
	require.LessOrEqual(t, len(s.points), maxSamples)
	_, ok := s.Samples(nil, 10_000_000, 10_001_000)
	require.False(t, ok)
	points, ok := s.Samples(nil, 10_000_999-100, 10_001_000)
	require.True(t, ok)
	require.Len(t, points, 100)
}

// What is not in order, or may not be in the store, is the store's to tell.
func TestSpoiled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*Set)
		known int64 // from then on, in seconds
	}{
		"out of order":              {func(s *Set) { commit(s, 7, 25) }, 31},
		"another value of its time": {func(s *Set) { b := s.Batch(); b.Add(7, 7, labels.EmptyLabels(), 30_000, 1); b.Commit() }, 31},
		"histogram":                 {func(s *Set) { b := s.Batch(); b.Spoil(7, 7, labels.EmptyLabels(), 35_000) }, 36},
		"failed commit":             {func(s *Set) { b := s.Batch(); b.Add(7, 7, labels.EmptyLabels(), 40_000, 40); b.Lost() }, 41},
		"deleted":                   {func(s *Set) { s.Clear() }, 1 << 40},
		"forgotten":                 {func(s *Set) { s.Follow(nil, time.Minute, start.Add(forgetAfter+time.Hour)) }, 1 << 40},
	} {
		var set Set
		s := follow(&set, 7, start)
		commit(&set, 7, 10, 20, 30)
		commit(&set, 7, 30) // the same once more
		require.Equal(t, []int64{10, 20, 30}, times(s, 10, 100), name)
		s.read.Store(start.UnixMilli())
		c.spoil(&set)
		require.Nil(t, times(s, 10, 100), name)
		commit(&set, 7, 28) // out of order again
		commit(&set, 7, 50)
		require.Nil(t, times(s, c.known-1, 100), name)
		if c.known < 50 {
			require.Equal(t, []int64{50}, times(s, c.known+1, 100), name)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var set Set
	refs := make([]storage.SeriesRef, maxSeries+1)
	for i := range refs {
		refs[i] = storage.SeriesRef(i + 1)
	}
	got := set.Follow(refs, time.Minute, start)
	require.NotNil(t, got[maxSeries-1])
	require.Nil(t, got[maxSeries])
	got[5].Samples(nil, 0, start.Add(forgetAfter).UnixMilli()) // is read
	set.Follow(nil, time.Minute, start.Add(forgetAfter+2*time.Second))
	require.Len(t, load(&set.series), 1, "who is not read any more")
	require.NotNil(t, follow(&set, maxSeries+1, start))
}

func TestWatch(t *testing.T) {
	t.Parallel()
	matchers := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "namespace", "a"),
		labels.MustNewMatcher(labels.MatchEqual, "__name__", "x"),
		labels.MustNewMatcher(labels.MatchRegexp, "pod", "p|q"),
	}
	x := func(pairs ...string) labels.Labels { return labels.FromStrings(append(pairs, "__name__", "x")...) }
	for name, c := range map[string]struct {
		do   func(*Set)
		calm bool
	}{
		"new":               {func(s *Set) { b := s.Batch(); b.Add(0, 9, x("namespace", "a", "pod", "q"), 1, 1); b.Commit() }, false},
		"under another ref": {func(s *Set) { b := s.Batch(); b.Add(3, 9, x("namespace", "a", "pod", "q"), 1, 1); b.Commit() }, false},
		"histogram":         {func(s *Set) { b := s.Batch(); b.Spoil(0, 9, x("namespace", "a", "pod", "q"), 1); b.Commit() }, false},
		"perhaps committed": {func(s *Set) { b := s.Batch(); b.Add(0, 9, x("namespace", "a", "pod", "q"), 1, 1); b.Lost() }, false},
		"rolled back":       {func(s *Set) { b := s.Batch(); b.Add(0, 9, x("namespace", "a", "pod", "q"), 1, 1); b.Rollback() }, false},
		"not committed":     {func(s *Set) { b := s.Batch(); b.Add(0, 9, x("namespace", "a", "pod", "q"), 1, 1) }, true},
		"known":             {func(s *Set) { b := s.Batch(); b.Add(9, 9, x("namespace", "a", "pod", "q"), 1, 1); b.Commit() }, true},
		"elsewhere":         {func(s *Set) { b := s.Batch(); b.Add(0, 9, x("namespace", "b", "pod", "q"), 1, 1); b.Commit() }, true},
		"another name": {func(s *Set) {
			b := s.Batch()
			b.Add(0, 9, labels.FromStrings("__name__", "y", "namespace", "a", "pod", "q"), 1, 1)
			b.Commit()
		}, true},
		"deleted":            {(*Set).Clear, false},
		"not asked for long": {func(s *Set) { s.Watch(matchers, start.Add(unwatchAfter+time.Minute)) }, false},
		"asked by another":   {func(s *Set) { require.NotNil(t, s.Watch(matchers, start)) }, true},
	} {
		var set Set
		w := set.Watch(matchers, start)
		require.True(t, w.Calm(start.UnixMilli()), name)
		c.do(&set)
		require.Equal(t, c.calm, w.Calm(start.UnixMilli()), name)
	}

	// An appender that was there before tells too.
	var set Set
	b := set.Batch()
	b.Add(0, 9, x("namespace", "a", "pod", "q"), 1, 1)
	w := set.Watch(matchers, start)
	b.Commit()
	require.False(t, w.Calm(start.UnixMilli()))

	require.Nil(t, set.Watch(matchers[:1], start), "of any name")
	for range maxWatches - 1 {
		require.NotNil(t, set.Watch(matchers, start))
	}
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	var set Set
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range int64(2000) {
			commit(&set, 7, n)
		}
	}()
	for n := range 500 {
		s := follow(&set, 7, start)
		points, _ := s.Samples(nil, 0, math.MaxInt64)
		for i := range points {
			require.Equal(t, float64(points[i].T)/1000, points[i].F)
		}
		if n%50 == 0 {
			set.Clear()
		}
	}
	<-done
}

func BenchmarkAdd(b *testing.B) {
	var set Set
	refs := make([]storage.SeriesRef, 20_000)
	for i := range refs {
		refs[i] = storage.SeriesRef(i * 50)
	}
	set.Follow(refs, time.Minute, start)
	batch := set.Batch()
	var n storage.SeriesRef
	for b.Loop() {
		batch.Add(n%1_000_000, n%1_000_000, labels.EmptyLabels(), int64(n), 1)
		batch.samples = batch.samples[:0]
		n++
	}
}

func BenchmarkSamples(b *testing.B) {
	var set Set
	s := follow(&set, 7, start)
	for n := range int64(100) {
		commit(&set, 7, n*5)
	}
	var points []promql.FPoint
	for b.Loop() {
		points, _ = s.Samples(points[:0], 435_000, 495_000)
	}
	if len(points) != 12 {
		b.Fatal(len(points))
	}
}
