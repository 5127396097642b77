package query

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/strata-metrics/strata/pipeline/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sample struct {
	labels []string
	at     time.Time
	v      float64
}

// stored is a store with some samples, until the test ends.
func stored(t *testing.T, samples ...sample) *store.Storage {
	t.Helper()
	s := store.New(store.Options{Dir: t.TempDir(), Reserve: -1})
	require.NoError(t, s.Open())
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	app := s.AppenderV2(t.Context())
	for _, x := range samples {
		_, err := app.Append(0, labels.FromStrings(x.labels...), 0, x.at.UnixMilli(), x.v, nil, nil, storage.AppendV2Options{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	return s
}

func engine(t *testing.T, o Options) *Engine {
	t.Helper()
	e := NewEngine(o)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestInstant(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := stored(t, sample{[]string{"__name__", "m", "i", "1"}, now, 1}, sample{[]string{"__name__", "m", "i", "2"}, now, 2})
	q := NewQuerier(engine(t, Options{}), s)
	f := func(expr string, want ...float64) {
		t.Helper()
		v, _, err := q.Instant(t.Context(), expr, now)
		require.NoError(t, err)
		var got []float64
		for _, x := range v {
			got = append(got, x.F)
		}
		require.Equal(t, want, got)
	}
	f("sum(m)", 3)
	f("sort(m)", 1, 2)
	f("42", 42)
	f("absent(n)", 1)
	f("n")

	fails := func(expr, want string, is error) {
		t.Helper()
		_, _, err := q.Instant(t.Context(), expr, now)
		require.ErrorContains(t, err, want)
		if is != nil {
			require.ErrorIs(t, err, is)
		}
	}
	fails("sum(", `query "sum(": `, nil)
	fails("m[5m]", "a matrix", ErrNotVector)
	fails(`"x"`, "a string", ErrNotVector)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := q.Instant(ctx, "m", now)
	require.ErrorIs(t, err, context.Canceled)

	small := NewQuerier(engine(t, Options{MaxSamples: 1}), s)
	_, _, err = small.Instant(t.Context(), "m", now)
	require.ErrorAs(t, err, new(promql.ErrTooManySamples))
	closed := store.New(store.Options{Dir: t.TempDir()})
	require.NoError(t, closed.Close())
	_, _, err = NewQuerier(engine(t, Options{}), closed).Instant(t.Context(), "m", now)
	require.ErrorIs(t, err, tsdb.ErrNotReady)
	_, err = NewQuerier(engine(t, Options{}), closed).Series(t.Context(), now, now)
	require.ErrorIs(t, err, tsdb.ErrNotReady)
}

func TestSeries(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := stored(t,
		sample{[]string{"__name__", "m", "i", "2"}, now, 1},
		sample{[]string{"__name__", "m", "i", "1"}, now, 1},
		sample{[]string{"__name__", "n", "i", "1"}, now, 1})
	q := NewQuerier(engine(t, Options{}), s)
	f := func(start, end time.Time, want ...string) {
		t.Helper()
		ls, err := q.Series(t.Context(), start, end, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
		require.NoError(t, err)
		var got []string
		for _, l := range ls {
			got = append(got, l.String())
		}
		require.Equal(t, want, got)
	}
	f(now.Add(-time.Second), now, `{__name__="m", i="1"}`, `{__name__="m", i="2"}`)
	f(now.Add(-2*time.Hour), now.Add(-time.Hour))
}

// No more queries run than may, whether they are tracked in a file or not.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	f := func(track bool) {
		t.Helper()
		e := engine(t, Options{MaxConcurrency: 1})
		if track {
			require.NoError(t, e.Track(t.TempDir()))
		}
		i, err := e.tracker.Insert(t.Context(), "first")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = e.tracker.Insert(ctx, "second")
		require.ErrorIs(t, err, context.Canceled)
		e.tracker.Delete(i)
		i, err = e.tracker.Insert(t.Context(), "third")
		require.NoError(t, err)
		e.tracker.Delete(i)
	}
	f(false)
	f(true)
	require.Error(t, engine(t, Options{}).Track(filepath.Join(t.TempDir(), "\x00")))
}

// The configuration sets the query log and the step of subqueries.
func TestApplyConfig(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	s := stored(t, sample{[]string{"__name__", "m"}, now, 1})
	e := engine(t, Options{})
	log := filepath.Join(t.TempDir(), "queries.log")
	conf := config.DefaultConfig
	conf.GlobalConfig.QueryLogFile = log
	conf.GlobalConfig.EvaluationInterval = model.Duration(10 * time.Second)
	require.NoError(t, e.ApplyConfig(&conf))
	v, _, err := NewQuerier(e, s).Instant(t.Context(), "count_over_time(vector(1)[1m:])", now)
	require.NoError(t, err)
	require.InDelta(t, 6, v[0].F, 0)
	content, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(content), "count_over_time")
	conf.GlobalConfig.QueryLogFile = filepath.Join(log, "x")
	require.ErrorContains(t, e.ApplyConfig(&conf), "global.query_log_file")
}

// Federation gives the newest sample of each series with its own time, once,
// without the stale ones, and tells servers apart.
func TestFederate(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(time.Now().UnixMilli())
	at := now.Add(-time.Minute)
	s := stored(t,
		sample{[]string{"__name__", "b", "instance", "i", "zone", "own"}, at.Add(-time.Second), 1},
		sample{[]string{"__name__", "b", "instance", "i", "zone", "own"}, at, 2},
		sample{[]string{"__name__", "a"}, at, 3},
		sample{[]string{"__name__", "gone"}, at, math.Float64frombits(value.StaleNaN)},
		sample{[]string{"__name__", "old"}, now.Add(-time.Hour), 4})
	var notReady error
	conf := config.DefaultConfig
	conf.GlobalConfig.ExternalLabels = labels.FromStrings("zone", "z")
	h := NewFederate(engine(t, Options{}), s, func() error { return notReady }, func() config.Config { return conf }, nil, prometheus.NewRegistry())
	f := func(status int, want string, match ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/federate?"+url.Values{"match[]": match}.Encode(), nil))
		require.Equal(t, status, w.Code)
		require.Equal(t, want, w.Body.String())
	}
	t1 := strconv.FormatInt(at.UnixMilli(), 10)
	f(200, "# TYPE a untyped\na{instance=\"\",zone=\"z\"} 3 "+t1+"\n# TYPE b untyped\nb{instance=\"i\",zone=\"own\"} 2 "+t1+"\n",
		`{__name__=~"a|b"}`, "b", "gone", "old")
	f(200, "")
	f(400, "1:3: parse error: unexpected end of input inside braces\n", "a{")
	notReady = errors.New("starting")
	f(503, "Service Unavailable: starting\n", "a")
}

// A gate is closed until it is opened.
func TestGate(t *testing.T) {
	t.Parallel()
	var g Gate
	require.ErrorIs(t, g.Ready(), tsdb.ErrNotReady)
	g.Open()
	require.NoError(t, g.Ready())
	g.Close(context.Canceled)
	require.ErrorIs(t, g.Ready(), context.Canceled)
}

// TestRange: one value a step, in memory of the caller's.
func TestRange(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	s := stored(t,
		sample{[]string{"__name__", "x", "a", "1"}, now.Add(-20 * time.Second), 1},
		sample{[]string{"__name__", "x", "a", "1"}, now.Add(-10 * time.Second), 2})
	q := NewQuerier(engine(t, Options{}), s)
	m, notes, err := q.Range(t.Context(), "x + 1", now.Add(-30*time.Second), now, 10*time.Second)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, promql.Matrix{{Metric: labels.FromStrings("a", "1"), Floats: []promql.FPoint{
		{T: now.Add(-20 * time.Second).UnixMilli(), F: 2}, {T: now.Add(-10 * time.Second).UnixMilli(), F: 3}, {T: now.UnixMilli(), F: 3},
	}}}, m)
	_, _, err = q.Range(t.Context(), "x[1m]", now, now, time.Second)
	require.ErrorContains(t, err, `"x[1m]"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = q.Range(ctx, "x", now, now, time.Second)
	require.ErrorIs(t, err, context.Canceled)
}
