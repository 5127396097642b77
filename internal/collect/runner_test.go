package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/strata-metrics/strata/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a collector of one family whose work is a function.
type fake struct {
	family *metric.Family
	work   func(context.Context, func(float64)) error
}

func (f fake) Families() []*metric.Family { return []*metric.Family{f.family} }

func (f fake) Collect(ctx context.Context, b *metric.Batch) error {
	return f.work(ctx, func(v float64) { b.Add(f.family, v) })
}

func entry(name string, work func(context.Context, func(float64)) error) Entry {
	return Entry{Name: name, Collector: fake{family: metric.NewGauge(name, ""), work: work}}
}

func scrape(t *testing.T, r *Runner) string {
	t.Helper()
	b := metric.NewBatch()
	require.NoError(t, r.Collect(t.Context(), b))
	var kept []string
	for line := range strings.Lines(string(b.AppendText(nil))) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "duration") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestRunnerKeepsFailuresApart(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	fail := true
	r, err := New(Options{Prefix: "x", Logger: slog.New(slog.NewTextHandler(&log, nil))},
		entry("good", func(_ context.Context, add func(float64)) error { add(1); return nil }),
		entry("none", func(context.Context, func(float64)) error { return fmt.Errorf("no such device: %w", ErrNoData) }),
		entry("panics", func(_ context.Context, add func(float64)) error { add(2); panic("index out of range") }),
		entry("partial", func(_ context.Context, add func(float64)) error {
			add(3)
			if fail {
				return errors.New("/proc/x:3: not a number")
			}
			return nil
		}),
		Entry{Name: "many", Limit: 2, Collector: entry("many", func(_ context.Context, add func(float64)) error {
			for range 5 {
				add(4)
			}
			return nil
		}).Collector},
	)
	require.NoError(t, err)
	got := scrape(t, r)
	for _, want := range []string{
		"good 1\n", "panics 2\n", "partial 3\n", "many 4\nmany 4\npanics",
		`no_data{collector="good"} 0`, `no_data{collector="none"} 1`, `no_data{collector="partial"} 0`,
		`success{collector="good"} 1`, `success{collector="none"} 0`, `success{collector="panics"} 0`,
		`success{collector="partial"} 0`, `panics_total{collector="panics"} 1`,
		`dropped_samples_total{collector="many"} 3`, `success{collector="many"} 1`,
	} {
		require.Contains(t, got, want)
	}
	scrape(t, r)
	fail = false
	scrape(t, r)
	require.Equal(t, 1, strings.Count(log.String(), "not a number"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), `"panic: index out of range"`), log.String())
	require.Equal(t, 1, strings.Count(log.String(), "collector recovered"), log.String())
	require.NotContains(t, log.String(), "no such device")
}

// burn uses a millisecond of its thread's processor time.
func burn() {
	turns := 0
	for start := threadTime(); threadTime()-start < time.Millisecond; {
		turns++
	}
}

// Processor time is counted for the collector that used it, also in goroutines
// that it starts.
func TestProcessorTime(t *testing.T) {
	t.Parallel()
	r, err := New(Options{Prefix: "x"},
		entry("burns", func(context.Context, func(float64)) error { burn(); return nil }),
		entry("panics", func(context.Context, func(float64)) error { burn(); panic("burnt") }),
		entry("starts", func(ctx context.Context, _ func(float64)) error {
			done := make(chan struct{})
			Go(ctx, func() { burn(); close(done) })
			Wait(ctx, func() { <-done })
			burn()
			return nil
		}))
	require.NoError(t, err)
	for range 3 {
		scrape(t, r)
	}
	used := func(i int) time.Duration { return time.Duration(r.slots[i].cpu.Load()) }
	require.GreaterOrEqual(t, used(0), 3*time.Millisecond)
	require.GreaterOrEqual(t, used(1), 3*time.Millisecond)
	require.Eventually(t, func() bool { return used(2) >= 6*time.Millisecond }, time.Minute, time.Millisecond)
	require.Contains(t, scrape(t, r), `strata_x_collector_cpu_seconds_total{collector="burns"} 0.00`)
}

func TestWaitingIsNoProcessorTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Options{Prefix: "x", Timeout: 3 * time.Hour},
			entry("waits", func(ctx context.Context, _ func(float64)) error {
				Wait(ctx, func() { time.Sleep(time.Hour) })
				time.Sleep(time.Hour)
				return nil
			}))
		require.NoError(t, err)
		require.Contains(t, scrape(t, r), `success{collector="waits"} 1`)
		require.Less(t, time.Duration(r.slots[0].cpu.Load()), time.Hour)
	})
}

// Without a Runner the helpers of collectors only start and call.
func TestGoAndWaitAlone(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	Go(t.Context(), func() { close(done) })
	Wait(t.Context(), func() { <-done })
}

// The bytes of a collector's families, in any format, are in the answer after.
func TestExposedBytes(t *testing.T) {
	t.Parallel()
	r, err := New(Options{Prefix: "x"},
		entry("one", func(_ context.Context, add func(float64)) error { add(1); return nil }),
		entry("none", func(context.Context, func(float64)) error { return ErrNoData }))
	require.NoError(t, err)
	h := metric.Handler(metric.HandlerOptions{Collect: r.Collect})
	ask := func(accept string) string {
		w, request := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Accept", accept)
		h.ServeHTTP(w, request)
		return w.Body.String()
	}
	const family = "# HELP one \n# TYPE one gauge\none 1\n"
	require.NotContains(t, ask(""), "exposed_bytes_total{")
	require.Contains(t, ask(""), fmt.Sprintf(`exposed_bytes_total{collector="one"} %d`, len(family)))
	ask("application/openmetrics-text;version=1.0.0")
	got := ask("")
	require.Contains(t, got, family)
	require.Contains(t, got, fmt.Sprintf(`exposed_bytes_total{collector="one"} %d`, 3*len(family)))
	require.NotContains(t, got, `exposed_bytes_total{collector="none"}`)
}

func TestNewRefusesDoubles(t *testing.T) {
	t.Parallel()
	one := entry("one", nil)
	_, err := New(Options{Prefix: "x"}, one, one)
	require.ErrorContains(t, err, "collector one is listed twice")
	_, err = New(Options{Prefix: "x"}, one, Entry{Name: "two", Collector: entry("one", nil).Collector})
	require.ErrorContains(t, err, "one is declared twice")
}

// A collector that hangs, deaf to its context, costs its own samples and one
// goroutine over many scrapes, and comes back when it ends.
func TestLateCollector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		var started atomic.Int64
		r, err := New(Options{Prefix: "x", Timeout: time.Second, Logger: slog.New(slog.DiscardHandler)},
			entry("good", func(_ context.Context, add func(float64)) error { add(1); return nil }),
			entry("stuck", func(_ context.Context, add func(float64)) error {
				if started.Add(1) == 1 {
					<-wake
				}
				add(2)
				return nil
			}))
		require.NoError(t, err)
		start := time.Now()
		for i := range 5 {
			got := scrape(t, r)
			require.Contains(t, got, "good 1\n")
			require.Contains(t, got, `success{collector="stuck"} 0`)
			require.Contains(t, got, fmt.Sprintf(`timeouts_total{collector="stuck"} %d`, i+1))
			require.NotContains(t, got, "stuck 2\n")
		}
		require.Equal(t, time.Second, time.Since(start), "only the first scrape waits")
		require.EqualValues(t, 1, started.Load())
		close(wake)
		synctest.Wait()
		require.Contains(t, scrape(t, r), "stuck 2\n")
	})
}

func TestConcurrentScrapes(t *testing.T) {
	t.Parallel()
	var inside atomic.Int64
	r, err := New(Options{Prefix: "x"}, entry("one", func(_ context.Context, add func(float64)) error {
		if inside.Add(1) != 1 {
			return errors.New("called while it runs")
		}
		defer inside.Add(-1)
		add(1)
		return nil
	}))
	require.NoError(t, err)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				b := metric.NewBatch()
				_ = r.Collect(context.Background(), b)
				if text := string(b.AppendText(nil)); !strings.Contains(text, "\none 1\n") || !strings.Contains(text, `success{collector="one"} 1`) {
					t.Errorf("a scrape lost its sample: %s", text)
				}
			}
		})
	}
	wait.Wait()
}

// Collectors that hang do not keep those behind them in the list waiting, and
// each has all of its own time.
func TestManyLateCollectors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		var list []Entry
		for i := range 20 {
			list = append(list, entry(fmt.Sprintf("stuck%d", i), func(context.Context, func(float64)) error { <-wake; return nil }))
		}
		var left, allowed time.Duration
		list = append(list, entry("last", func(ctx context.Context, add func(float64)) error {
			end, _ := ctx.Deadline()
			left = time.Until(end)
			add(1)
			return ctx.Err()
		}), entry("waits", func(ctx context.Context, _ func(float64)) error {
			begin := time.Now()
			<-ctx.Done()
			allowed = time.Since(begin)
			return ctx.Err()
		}))
		r, err := New(Options{Prefix: "x", Timeout: time.Second, Logger: slog.New(slog.DiscardHandler)}, list...)
		require.NoError(t, err)
		start := time.Now()
		got := scrape(t, r)
		require.Contains(t, got, "last 1\n")
		require.Contains(t, got, `success{collector="last"} 1`)
		require.Less(t, time.Since(start), time.Second+10*patience)
		synctest.Wait()
		require.Equal(t, time.Second, left)
		require.Equal(t, time.Second, allowed)
		close(wake)
	})
}

// The end of the scrape ends it, also for those that have not begun.
func TestEndOfScrape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		hang := func(context.Context, func(float64)) error { <-wake; return nil }
		r, err := New(Options{Prefix: "x", Logger: slog.New(slog.DiscardHandler)}, entry("a", hang), entry("b", hang))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		b := metric.NewBatch()
		require.NoError(t, r.Collect(ctx, b))
		text := string(b.AppendText(nil))
		require.Contains(t, text, `timeouts_total{collector="a"} 1`)
		require.Contains(t, text, `timeouts_total{collector="b"} 1`)
		close(wake)
		synctest.Wait()
		require.Contains(t, scrape(t, r), `success{collector="a"} 1`)
	})
}
