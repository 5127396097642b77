package collect

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// slot is a collector with its memory. Its token is held from the start of a
// run until the run's batch was merged, or, for a run that is late, until the
// collector returns at last: so a collector that hangs holds one goroutine,
// however many scrapes come.
type slot struct {
	entry Entry
	batch *metric.Batch
	token chan struct{}
	// late is true while a run that nobody waits for any more goes on.
	late atomic.Bool

	timeouts, panics, dropped atomic.Int64
	lastError                 atomic.Pointer[string]
}

// outcome of a run. batch is nil when the run is late; else the slot must be
// released when the batch was read.
type outcome struct {
	batch *metric.Batch
	took  time.Duration
	err   error
}

func newSlot(e Entry) *slot {
	s := &slot{entry: e, batch: metric.NewBatch(), token: make(chan struct{}, 1)}
	s.batch.SetLimit(e.Limit)
	return s
}

func (s *slot) release() { <-s.token }

// run collects once, for as long as the context and the entry's timeout allow.
func (s *slot) run(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, s.entry.Timeout)
	defer cancel()
	start := time.Now()
	if s.late.Load() {
		return outcome{err: errTimeout}
	}
	select {
	case s.token <- struct{}{}:
	case <-ctx.Done():
		return outcome{took: time.Since(start), err: errTimeout}
	}
	s.batch.Reset()
	const running, done, abandoned = 0, 1, 2
	var state atomic.Int32
	result := make(chan error, 1)
	go func() {
		err := collectSafely(ctx, s.entry.Collector, s.batch)
		if state.CompareAndSwap(running, done) {
			result <- err
			return
		}
		s.late.Store(false)
		s.release()
	}()
	select {
	case err := <-result:
		return outcome{batch: s.batch, took: time.Since(start), err: err}
	case <-ctx.Done():
	}
	s.late.Store(true)
	if state.CompareAndSwap(running, abandoned) {
		return outcome{took: time.Since(start), err: errTimeout}
	}
	s.late.Store(false) // it ended in the same moment
	return outcome{batch: s.batch, took: time.Since(start), err: <-result}
}

func (s *slot) count(out outcome) {
	var p *panicError
	switch {
	case errors.Is(out.err, errTimeout):
		s.timeouts.Add(1)
	case errors.As(out.err, &p):
		s.panics.Add(1)
	}
	if out.batch != nil {
		s.dropped.Add(int64(out.batch.Dropped()))
	}
}
