package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/pipeline/store"
	"github.com/strata-metrics/strata/pipeline/store/recent"
)

func TestNewQuick(t *testing.T) {
	t.Parallel()
	for expr, quick := range map[string]bool{
		`sum(rate(x{a="b"}[1m])) by (pod)`:              true,
		`(sum by (pod, namespace) ((increase(x[5m]))))`: true,
		`sum(rate(x[1m]))`:                              false,
		`sum(rate(x[1m])) without (pod)`:                false,
		`avg(rate(x[1m])) by (pod)`:                     false,
		`sum(rate(x[1m] offset 1m)) by (pod)`:           false,
		`sum(rate(x[1m] @ 100)) by (pod)`:               false,
		`sum(rate(x[1m] @ end())) by (pod)`:             false,
		`sum(rate(x[5m:1m])) by (pod)`:                  false,
		`sum(irate(x[1m])) by (pod)`:                    false,
		`sum(x) by (pod)`:                               false,
		`sum(rate(x[1m]) * 2) by (pod)`:                 false,
		`rate(x[1m])`:                                   false,
	} {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err)
		require.Equal(t, quick, newQuick(e) != nil, expr)
	}
}

// TestQuickIsTheEngine holds that a quick answer is the engine's, and that its
// age is what was seen while the engine read, over counters that restart, end,
// begin, pause, and lack labels; and that it stays so while series come and the
// same is asked again.
func TestQuickIsTheEngine(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		st := teststorage.New(t)
		code := 0
		more := func() {
			for range 15 {
				code++
				pairs := []string{"code", fmt.Sprint(code), "pod", fmt.Sprintf("p%d", random.IntN(8))}
				if round%4 == 3 && random.IntN(10) == 0 {
					pairs = pairs[:2]
				}
				load(t, st, counter(random, series("x", pairs...))...)
			}
		}
		more()
		l := local(t, st)
		l.quick.share = 5 // several goroutines
		for n, expr := range slices.Repeat([]string{
			`sum(rate(x[1m])) by (pod)`, `sum(increase(x{pod=~"p1|p2|p3"}[2m])) by (pod, code)`, `sum(rate(x[5m])) by (pod, pod)`,
			`sum(rate(x[7s])) by (none)`, `sum(rate(none[1m])) by (pod)`,
		}, 4) {
			if n%10 == 9 {
				more()
			}
			at := testTime().Add(time.Duration(random.IntN(60_000)) * time.Millisecond)
			var vec promql.Vector
			var ages []Age
			_, ok := l.quick.ask(t.Context(), st, expr, at, func(s promql.Sample, age Age) { vec, ages = append(vec, s), append(ages, age) })
			require.True(t, ok, expr)
			seen := &Ages{Queryable: st}
			want, _, err := l.make(seen).Instant(t.Context(), expr, at)
			require.NoError(t, err)
			wantAges := seen.Of(want)
			if round%4 == 3 {
				wantAges = nil // Ages takes a series without the label for one of all groups
			}
			sameAnswer(t, fmt.Sprintf("round %d: %s at %s", round, expr, at), want, wantAges, vec, ages)
		}
	}
}

// TestFollowedIsTheEngine holds the same while time goes on and the same is
// asked at each step, when most samples come from what is kept of followed
// series.
func TestFollowedIsTheEngine(t *testing.T) {
	t.Parallel()
	st := store.New(store.Options{Dir: t.TempDir()})
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	require.NoError(t, st.Open())
	random := rand.New(rand.NewPCG(3, 4))
	l := local(t, st)
	values, refs := map[int]float64{}, map[int]storage.SeriesRef{}
	kept := 0
	for step := range 400 {
		at := testTime().Add(time.Duration(step) * 5 * time.Second)
		app := st.AppenderV2(t.Context())
		for i := range 40 + step/50 {
			if i%10 == 7 && step >= 100 && step < 150 {
				continue // a target that is away for longer than any window
			}
			values[i] += random.Float64()
			v := values[i]
			switch random.IntN(40) {
			case 0:
				continue // a scrape that failed
			case 1:
				v = math.Float64frombits(value.StaleNaN)
			case 2:
				values[i] = 0 // a restart
			}
			if random.IntN(2000) == 0 {
				refs[i] = 0 // a scraper that begins anew
			}
			var err error
			refs[i], err = app.Append(refs[i], series("x", "pod", fmt.Sprintf("p%d", i%10), "code", fmt.Sprint(i)), 0, at.UnixMilli(), v, nil, nil, storage.AppendV2Options{})
			require.NoError(t, err)
		}
		if step%97 == 50 {
			require.NoError(t, app.Rollback())
			continue
		}
		require.NoError(t, app.Commit())
		if step%131 == 100 {
			from := at.Add(-20 * time.Second)
			require.NoError(t, st.Local().Delete(t.Context(), from.UnixMilli(), at.UnixMilli(), labels.MustNewMatcher(labels.MatchEqual, "pod", "p3")))
		}
		exprs := []string{`sum(rate(x[1m])) by (pod)`, `sum(increase(x{code=~"1."}[2m])) by (code)`}
		if step > 130 {
			exprs = append(exprs, `sum(rate(x[30s])) by (code)`) // not asked before a target was away
		}
		for _, expr := range exprs {
			asked := at.Add(time.Duration(random.IntN(5000)) * time.Millisecond)
			var vec promql.Vector
			var ages []Age
			_, ok := l.quick.ask(t.Context(), st, expr, asked, func(s promql.Sample, age Age) { vec, ages = append(vec, s), append(ages, age) })
			require.True(t, ok)
			seen := &Ages{Queryable: st}
			want, _, err := l.make(seen).Instant(t.Context(), expr, asked)
			require.NoError(t, err)
			sameAnswer(t, fmt.Sprintf("step %d: %s", step, expr), want, seen.Of(want), vec, ages)
			q := l.quick.get(expr)
			r := quickRun{q: q, share: 1000}
			if _, err := r.evaluate(t.Context(), closed{st}, asked, func(promql.Sample, Age) {}); err == nil {
				kept++
			}
		}
	}
	require.Greater(t, kept, 400, "many are answered without the store")
}

// refusing counts how often it does not follow.
type refusing struct {
	storage.Queryable
	asked int
}

func (r *refusing) Follow(context.Context, []*labels.Matcher, time.Duration, time.Time) (*recent.Selection, error) {
	r.asked++
	return nil, nil
}

// TestRefusedIsRemembered holds that a store is not asked at each evaluation to
// follow what is too much for it.
func TestRefusedIsRemembered(t *testing.T) {
	t.Parallel()
	data := teststorage.New(t)
	load(t, data, sample{series("x", "pod", "a"), testTime().Add(-10 * time.Second), 1})
	st := &refusing{Queryable: data}
	l := local(t, st)
	for second := range 130 {
		_, ok := l.quick.ask(t.Context(), st, `sum(rate(x[1m])) by (pod)`, testTime().Add(time.Duration(second)*time.Second), func(promql.Sample, Age) {})
		require.True(t, ok)
	}
	require.Equal(t, 3, st.asked, "once a minute")
}

// closed is a store that is not asked.
type closed struct{ storage.Queryable }

func (closed) Querier(int64, int64) (storage.Querier, error) { return nil, errors.New("closed") }

// counter is one with some of what happens to counters, in the minutes before
// and after testTime.
func counter(random *rand.Rand, l labels.Labels) []sample {
	var out []sample
	v := random.Float64() * 1000
	step := time.Duration(1+random.IntN(15)) * time.Second
	at := testTime().Add(-time.Duration(random.IntN(300)) * time.Second)
	for range random.IntN(30) {
		at = at.Add(step + time.Duration(random.IntN(100))*time.Millisecond)
		switch random.IntN(12) {
		case 0:
			v = random.Float64() // a restart
		case 1:
			out = append(out, sample{l, at, math.Float64frombits(value.StaleNaN)})
			continue
		case 2:
			at = at.Add(time.Duration(random.IntN(60)) * time.Second)
		default:
			v += random.Float64() * 100
		}
		out = append(out, sample{l, at, v})
	}
	return out
}

func sameAnswer(t *testing.T, what string, want promql.Vector, wantAges []Age, got promql.Vector, gotAges []Age) {
	t.Helper()
	require.Len(t, got, len(want), what)
	byLabels := map[string]int{}
	for i := range want {
		byLabels[want[i].Metric.String()] = i
	}
	for i := range got {
		j, ok := byLabels[got[i].Metric.String()]
		require.True(t, ok, "%s: %s", what, got[i].Metric)
		require.InEpsilon(t, 1+want[j].F, 1+got[i].F, 1e-12, "%s: %s", what, got[i].Metric)
		require.Equal(t, want[j].T, got[i].T)
		if wantAges != nil {
			require.Equal(t, wantAges[j].Time, gotAges[i].Time, "%s: %s", what, got[i].Metric)
		}
	}
}

func TestQuickQueriesForget(t *testing.T) {
	t.Parallel()
	qs := newQuickQueries()
	for i := range 20 {
		require.NotNil(t, qs.get(fmt.Sprintf(`sum(rate(x{a="%d%s"}[1m])) by (pod)`, i, strings.Repeat("y", 100_000))))
		require.LessOrEqual(t, qs.bytes, maxQuick)
	}
	require.Less(t, len(qs.known), 20)
	require.Nil(t, qs.get("sum("))
	require.Nil(t, qs.get("sum("))
}

// BenchmarkPods1500 is what an autoscaler on the rate of 1,500 pods costs, by
// the quick way, by it once their series are followed, and by the engine.
func BenchmarkPods1500(b *testing.B) {
	st := teststorage.New(b)
	var names []string
	for i := range 1500 {
		names = append(names, fmt.Sprintf("web-5d4f8c7b9-%05d", i))
		for n := range 60 {
			load(b, st, sample{series("x", "namespace", "a", "pod", names[i]), testTime().Add(time.Duration(n-59) * 5 * time.Second), float64(n * i)})
		}
	}
	l := local(b, st)
	expr := `sum(rate(x{namespace="a",pod=~"` + strings.Join(names, "|") + `"}[1m])) by (pod)`
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			n := 0
			if _, ok := l.quick.ask(b.Context(), st, expr, testTime(), func(promql.Sample, Age) { n++ }); !ok || n != 1500 {
				b.Fatal(n)
			}
		}
	})
	b.Run("followed", func(b *testing.B) {
		st := store.New(store.Options{Dir: b.TempDir()})
		b.Cleanup(func() { _ = st.Close() })
		require.NoError(b, st.Open())
		l := local(b, st)
		for n := range 60 {
			at := testTime().Add(time.Duration(n-59) * 5 * time.Second)
			for i := range names {
				load(b, st, sample{series("x", "namespace", "a", "pod", names[i]), at, float64(n * i)})
			}
			l.quick.ask(b.Context(), st, expr, at, func(promql.Sample, Age) {})
		}
		for b.Loop() {
			n := 0
			if _, ok := l.quick.ask(b.Context(), st, expr, testTime(), func(promql.Sample, Age) { n++ }); !ok || n != 1500 {
				b.Fatal(n)
			}
		}
	})
	b.Run("engine", func(b *testing.B) {
		for b.Loop() {
			seen := &Ages{Queryable: st}
			vec, _, err := l.make(seen).Instant(b.Context(), expr, testTime())
			if err != nil || len(seen.Of(vec)) != 1500 {
				b.Fatal(len(vec), err)
			}
		}
	})
}

// broken is a store whose series panic when they are read.
type broken struct{ storage.Queryable }

func (b broken) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := b.Queryable.Querier(mint, maxt)
	return brokenQuerier{q}, err
}

type brokenQuerier struct{ storage.Querier }

func (q brokenQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	return brokenSet{q.Querier.Select(ctx, sorted, hints, ms...)}
}

type brokenSet struct{ storage.SeriesSet }

func (s brokenSet) At() storage.Series { return brokenSeries{s.SeriesSet.At()} }

type brokenSeries struct{ storage.Series }

func (brokenSeries) Iterator(chunkenc.Iterator) chunkenc.Iterator { panic("broken") }

// A panic in one of several goroutines leaves the query to the engine, and the
// process alive.
func TestQuickSurvivesAPanic(t *testing.T) {
	t.Parallel()
	st := teststorage.New(t)
	for i := range 20 {
		load(t, st, sample{series("x", "pod", fmt.Sprint(i)), testTime(), 1})
	}
	qs := newQuickQueries()
	qs.share = 2
	_, ok := qs.ask(t.Context(), broken{st}, `sum(rate(x[1m])) by (pod)`, testTime(), func(promql.Sample, Age) { t.Error("a sample") })
	require.False(t, ok)
}
