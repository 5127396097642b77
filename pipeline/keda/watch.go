package keda

import (
	"context"
	"sync"
	"time"
)

// answer is what a question gave: a value or an error.
type answer struct {
	value float64
	err   error
}

// watches evaluate each question that streams ask once an interval, however
// many streams there are.
type watches struct {
	evaluate func(context.Context, Question) (float64, error)
	interval time.Duration
	// changed is told when a question begins to fail and when it has recovered.
	changed func(Question, error)

	mu   sync.Mutex // guards open and what is in it
	open map[Question]*watch
	wg   sync.WaitGroup
}

// watch is the evaluation of one question.
type watch struct {
	stop   context.CancelFunc
	last   *answer // nil before the first
	places map[chan answer]struct{}
}

// subscribe gives the answers to a question: the latest at once, where there is
// one, and then each new one; who is slow misses those between. The returned
// function ends it. It must be called.
func (w *watches) subscribe(q Question) (<-chan answer, func()) {
	place := make(chan answer, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.open[q]
	if o == nil {
		ctx, stop := context.WithCancel(context.Background())
		o = &watch{stop: stop, places: map[chan answer]struct{}{}}
		w.open[q] = o
		w.wg.Go(func() { w.run(ctx, q, o) })
	}
	o.places[place] = struct{}{}
	if o.last != nil {
		place <- *o.last
	}
	return place, func() { w.leave(q, o, place) }
}

func (w *watches) leave(q Question, o *watch, place chan answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(o.places, place)
	if len(o.places) == 0 && w.open[q] == o {
		delete(w.open, q)
		o.stop()
	}
}

// wait waits for the evaluations of questions that nobody asks any more.
func (w *watches) wait() { w.wg.Wait() }

// count is how many questions are watched.
func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *watches) run(ctx context.Context, q Question, o *watch) {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	failing := false
	for {
		var a answer
		a.value, a.err = w.evaluate(ctx, q)
		if ctx.Err() != nil {
			return
		}
		if failed := a.err != nil; failed != failing {
			failing = failed
			w.changed(q, a.err)
		}
		w.tell(o, a)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tell puts an answer into the place of each stream, instead of one that has
// not been taken.
func (w *watches) tell(o *watch, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.last = &a
	for place := range o.places {
		select {
		case <-place:
		default:
		}
		place <- a // only tell and subscribe write, under mu
	}
}
