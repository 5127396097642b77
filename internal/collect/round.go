package collect

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// patience is for how long a round waits for its collectors before it runs
// others beside them. Nearly all end within it, one after the other in one
// goroutine: a goroutine and a timer for each would cost more than most of them.
const patience = 5 * time.Millisecond

var errTimeout = errors.New("did not end in time; left alone until it does")

// round is one scrape's way through the slots.
type round struct {
	ctx   context.Context
	slots []*slot
	done  chan struct{} // closed when none is left

	mu   sync.Mutex // guards what follows, and in runs all but the contexts
	runs []run      // one a slot
	next int        // first slot that no worker has taken
	left int        // slots without an outcome
}

// run is what a round knows of a slot.
type run struct {
	ctx     runContext
	started time.Time
	inside  bool // the collector is at work
	over    bool // there is an outcome, which may be that it is late
	outcome outcome
}

// outcome of a run. batch is nil when the collector is late; else it goes back
// to the slot when it was read.
type outcome struct {
	batch *metric.Batch
	took  time.Duration
	err   error
}

func newRound(ctx context.Context, slots []*slot) *round {
	return &round{ctx: ctx, slots: slots, done: make(chan struct{}), runs: make([]run, len(slots)), left: len(slots)}
}

// do runs all slots and returns when each has an outcome.
func (r *round) do() {
	if len(r.slots) == 0 {
		return
	}
	go r.work()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for workers, expected := 1, 1; ; {
		select {
		case <-r.done:
			return
		case <-r.ctx.Done():
			r.expire(time.Time{})
			return
		case <-timer.C:
		}
		wait, next := r.expire(time.Now())
		more := 0
		if next <= expected {
			// All workers are held up. They double, so that many collectors
			// that hang do not keep the others waiting for long.
			more = min(workers, len(r.slots)-next)
		}
		for range more {
			go r.work()
		}
		workers += more
		expected = next + more // when these take one slot each and no more
		timer.Reset(wait)
	}
}

// work runs slots that nobody has taken until there are none.
func (r *round) work() {
	var w stopwatch
	w.start()
	defer w.stop()
	for {
		i, ok := r.take()
		if !ok {
			return
		}
		r.run(i, &w)
	}
}

// take gives the next slot. Its time begins now.
func (r *round) take() (i int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == len(r.slots) {
		return 0, false
	}
	i = r.next
	r.next++
	current := &r.runs[i]
	current.started = time.Now()
	current.ctx.Context = r.ctx
	current.ctx.deadline = current.started.Add(r.slots[i].entry.Timeout)
	return i, true
}

// run collects once, unless the collector is still at work for a round before.
func (r *round) run(i int, w *stopwatch) {
	s, current := r.slots[i], &r.runs[i]
	defer current.ctx.end()
	if s.late.Load() || !s.hold(&current.ctx) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end(current, outcome{took: time.Since(current.started), err: errTimeout})
		return
	}
	defer s.release()
	r.mu.Lock()
	if current.over { // while it waited for its turn
		r.mu.Unlock()
		return
	}
	current.inside = true
	r.mu.Unlock()

	batch := s.takeBatch()
	current.ctx.cpu, current.ctx.watch = &s.cpu, w
	err := collectSafely(&current.ctx, s.entry.Collector, batch)
	took := time.Since(current.started)
	s.cpu.Add(int64(w.lap(took)))

	r.mu.Lock()
	defer r.mu.Unlock()
	if current.over {
		s.late.Store(false)
		s.giveBatch(batch)
		return
	}
	r.end(current, outcome{batch: batch, took: took, err: err})
}

// end notes an outcome, the first of a run only. The caller holds r.mu.
func (r *round) end(current *run, out outcome) {
	if current.over {
		return
	}
	current.over, current.outcome = true, out
	if r.left--; r.left == 0 {
		close(r.done)
	}
}

// expire ends the runs whose time is over at now; the zero time ends all, also
// those that were not begun. It gives how long to wait until it is to be called
// again, and the first slot that was not begun.
func (r *round) expire(now time.Time) (wait time.Duration, next int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := now.IsZero()
	if all {
		now, r.next = time.Now(), len(r.slots)
	}
	wait = time.Hour
	if r.next < len(r.slots) {
		wait = patience
	}
	for i := range r.runs {
		current := &r.runs[i]
		if current.over || !all && i >= r.next {
			continue
		}
		if rest := current.ctx.deadline.Sub(now); !all && rest > 0 {
			wait = min(wait, rest)
			continue
		}
		if current.inside {
			r.slots[i].late.Store(true)
		}
		took := time.Duration(0)
		if !current.started.IsZero() {
			took = now.Sub(current.started)
		}
		r.end(current, outcome{took: took, err: errTimeout})
	}
	return wait, r.next
}

// runContext is the context of a run. Few collectors ever wait on theirs, so
// its timer is made for those who do.
type runContext struct {
	context.Context // of the scrape
	deadline        time.Time

	cpu   *atomic.Int64 // of the slot, for Go
	watch *stopwatch    // of the collector's goroutine, for Wait

	mu    sync.Mutex      // guards what follows
	timed context.Context // nil until it is asked for
	stop  context.CancelFunc
	over  bool
}

// Deadline implements context.Context.
func (c *runContext) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

// Value implements context.Context.
func (c *runContext) Value(key any) any {
	if key == (runKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Done implements context.Context.
func (c *runContext) Done() <-chan struct{} { return c.get().Done() }

// Err implements context.Context.
func (c *runContext) Err() error { return c.get().Err() }

func (c *runContext) get() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = context.WithDeadline(c.Context, c.deadline)
		if c.over {
			c.stop()
		}
	}
	return c.timed
}

// end stops the timer, if there is one.
func (c *runContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
}
