package collect

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/strata-metrics/strata/internal/metric"
)

// slot is a collector with its memory. Its token is held while the collector is
// at work: so a collector that hangs holds one goroutine, however many scrapes
// come. It is not held until the batch is read, since two scrapes that each
// wait for what the other holds would do so until their time is over.
type slot struct {
	entry Entry
	token chan struct{}
	// late is true while a run that nobody waits for any more goes on.
	late atomic.Bool
	// spare is a batch that nobody uses.
	spare atomic.Pointer[metric.Batch]

	timeouts, panics, dropped atomic.Int64
	cpu                       atomic.Int64 // nanoseconds of processor time
	exposed                   atomic.Int64 // bytes of answers
	lastError                 atomic.Pointer[string]
}

func newSlot(e Entry) *slot { return &slot{entry: e, token: make(chan struct{}, 1)} }

// hold waits for the slot's token. It says no when the context ends before.
func (s *slot) hold(ctx context.Context) bool {
	select {
	case s.token <- struct{}{}: // at once, without asking for the context's end
		return true
	default:
	}
	select {
	case s.token <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *slot) release() { <-s.token }

// takeBatch gives an empty batch. There are more than one only when scrapes
// come at the same time.
func (s *slot) takeBatch() *metric.Batch {
	if b := s.spare.Swap(nil); b != nil {
		b.Reset()
		return b
	}
	b := metric.NewBatch()
	b.SetLimit(s.entry.Limit)
	b.SetMeter(&s.exposed)
	return b
}

func (s *slot) giveBatch(b *metric.Batch) { s.spare.Store(b) }

func (s *slot) count(out outcome) {
	var p *panicError
	switch {
	case out.err == nil:
	case errors.Is(out.err, errTimeout):
		s.timeouts.Add(1)
	case errors.As(out.err, &p):
		s.panics.Add(1)
	}
	if out.batch != nil {
		s.dropped.Add(int64(out.batch.Dropped()))
	}
}
