package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// Options of a Runner.
type Options struct {
	// Prefix starts the names of the Runner's own families, such as node in
	// node_scrape_collector_success.
	Prefix string
	// Timeout is what each collector has for a scrape, unless its Entry says
	// otherwise; the scrape's own deadline holds besides. 0 means 5 s.
	Timeout time.Duration
	// Limit bounds the samples of each collector, unless its Entry says
	// otherwise. 0 means 100,000.
	Limit int
	// Logger gets one line when a collector begins to fail, and one when it
	// recovers. nil means slog.Default().
	Logger *slog.Logger
}

// Entry is a collector in a Runner's list.
type Entry struct {
	Name      string // value of the label collector
	Collector Collector
	Timeout   time.Duration // 0 means that of the Options
	Limit     int           // 0 means that of the Options
}

// Runner is the list of an exporter's collectors. It is safe for concurrent
// scrapes; a collector runs for one of them at a time.
type Runner struct {
	Options
	slots                                                []*slot
	duration, success, noData, timeouts, panics, dropped *metric.Family
	cpu, exposed                                         *metric.Family
}

// panicError is a recovered panic. Its text leaves the stack out, which
// differs from scrape to scrape.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// New makes a Runner of the entries. It fails when two have the same name or
// declare the same family.
func New(o Options, entries ...Entry) (*Runner, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Limit == 0 {
		o.Limit = 100_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	p, own := o.Prefix+"_scrape_collector_", "strata_"+o.Prefix+"_collector_"
	r := &Runner{
		Options:  o,
		duration: metric.NewGauge(p+"duration_seconds", "Duration of a collector scrape in seconds.", "collector"),
		success:  metric.NewGauge(p+"success", "Whether a collector succeeded.", "collector"),
		noData:   metric.NewGauge(p+"no_data", "Whether what a collector measures does not exist on this machine, which is no success and no failure.", "collector"),
		timeouts: metric.NewCounter(p+"timeouts_total", "Scrapes for which a collector was late.", "collector"),
		panics:   metric.NewCounter(p+"panics_total", "Scrapes in which a collector panicked and was recovered.", "collector"),
		dropped:  metric.NewCounter(p+"dropped_samples_total", "Samples dropped over the collector's limit.", "collector"),
		cpu:      metric.NewCounter(own+"cpu_seconds_total", "CPU time that a collector used, user and system, in steps of 0.1 ms.", "collector"),
		exposed:  metric.NewCounter(own+"exposed_bytes_total", "Bytes of a collector's families in the answers before this one, not compressed.", "collector"),
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Name] {
			return nil, fmt.Errorf("collector %s is listed twice", e.Name)
		}
		seen[e.Name] = true
		if e.Timeout == 0 {
			e.Timeout = o.Timeout
		}
		if e.Limit == 0 {
			e.Limit = o.Limit
		}
		r.slots = append(r.slots, newSlot(e))
	}
	if err := metric.Check(r.Families()); err != nil {
		return nil, err
	}
	return r, nil
}

// Families lists the declared families of all collectors and the Runner's own.
func (r *Runner) Families() []*metric.Family {
	all := []*metric.Family{r.duration, r.success, r.noData, r.timeouts, r.panics, r.dropped, r.cpu, r.exposed}
	for _, s := range r.slots {
		all = append(all, s.entry.Collector.Families()...)
	}
	return all
}

// Collect runs all collectors and adds their samples to b. It returns when
// each has ended or is late; it never fails, since each collector's failure is
// in its own samples.
func (r *Runner) Collect(ctx context.Context, b *metric.Batch) error {
	all := newRound(ctx, r.slots)
	all.do()
	for i, s := range r.slots {
		r.end(b, s, all.runs[i].outcome)
	}
	r.report(b, all.runs)
	return nil
}

// end takes the samples of a run over, and gives its batch back to the slot.
func (r *Runner) end(b *metric.Batch, s *slot, out outcome) {
	s.count(out)
	if out.batch != nil {
		b.Merge(out.batch)
		s.giveBatch(out.batch)
	}
	r.log(s, out.err)
}

// report adds the Runner's own families, one after the other: a batch is
// quickest with samples that are of the same one.
func (r *Runner) report(b *metric.Batch, runs []run) {
	each := func(f *metric.Family, value func(*slot, *outcome) float64) {
		for i, s := range r.slots {
			b.Add(f, value(s, &runs[i].outcome), s.entry.Name)
		}
	}
	each(r.duration, func(_ *slot, out *outcome) float64 { return out.took.Seconds() })
	each(r.success, func(_ *slot, out *outcome) float64 { return truth(out.err == nil) })
	each(r.noData, func(_ *slot, out *outcome) float64 { return truth(errors.Is(out.err, ErrNoData)) })
	// Many collectors find nothing on a machine, and nothing happens to them: the
	// zeros would cost more than they do.
	some := func(f *metric.Family, value func(*slot) float64) {
		for i, s := range r.slots {
			if v := value(s); v > 0 || !errors.Is(runs[i].outcome.err, ErrNoData) {
				b.Add(f, v, s.entry.Name)
			}
		}
	}
	some(r.timeouts, func(s *slot) float64 { return float64(s.timeouts.Load()) })
	some(r.panics, func(s *slot) float64 { return float64(s.panics.Load()) })
	some(r.dropped, func(s *slot) float64 { return float64(s.dropped.Load()) })
	some(r.cpu, func(s *slot) float64 { return seconds(s.cpu.Load()) })
	for _, s := range r.slots {
		if n := s.exposed.Load(); n > 0 {
			b.Add(r.exposed, float64(n), s.entry.Name)
		}
	}
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds gives nanoseconds in whole steps of 0.1 ms, as the rest is not lost and
// short numbers make an answer of few bytes.
func seconds(nanos int64) float64 { return float64(nanos/100_000) / 10_000 }

// log says when a collector's state changes, not at every scrape.
func (r *Runner) log(s *slot, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if last := s.lastError.Swap(&text); last != nil && *last == text || last == nil && text == "" {
		return
	}
	switch {
	case err == nil:
		r.Logger.Info("collector recovered", "collector", s.entry.Name)
	case errors.Is(err, ErrNoData):
		r.Logger.Debug("collector has no data", "collector", s.entry.Name, "err", err)
	default:
		attrs := []any{"collector", s.entry.Name, "err", err}
		var p *panicError
		if errors.As(err, &p) {
			attrs = append(attrs, "stack", string(p.stack))
		}
		r.Logger.Error("collector failed", attrs...)
	}
}

// collectSafely turns a panic into an error.
func collectSafely(ctx context.Context, c Collector, b *metric.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	return c.Collect(ctx, b)
}
