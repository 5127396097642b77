package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
)

// errMountTimeout is the text of the label device_error, as node_exporter has
// it.
var errMountTimeout = errors.New("mountpoint timeout")

const (
	// probePatience is how long a walk over the mounts may stand still before
	// another goes on with the mounts behind.
	probePatience = 20 * time.Millisecond
	// probeMargin is left of a scrape's time when mounts do not answer, to
	// write down those that did.
	probeMargin = 100 * time.Millisecond
)

// prober calls statfs for many mounts. The call hangs, deaf to everything, on
// a network file system whose server is gone. So the calls are made by walks
// in goroutines of their own; where they stand still, another goes on behind
// them, and a mount that has not answered is left alone until its call
// returns. However many scrapes come, a dead mount holds one goroutine.
type prober struct {
	statfs  func(string, *unix.Statfs_t) error
	timeout time.Duration
	walks   int // how many a run begins with

	mu    sync.Mutex
	stuck map[string]int // calls that have not returned, by path; guarded by mu
}

// probeResult is what became of a mount.
type probeResult struct {
	stat unix.Statfs_t
	err  error
}

// probeRun is the work of one scrape. Walks that come back after it was
// abandoned do not touch the results.
type probeRun struct {
	mu        sync.Mutex
	paths     []string
	results   []probeResult
	next      int   // the first path that no walk has taken
	waiting   []int // paths taken and not answered
	left      int   // how many have no result
	abandoned bool
	done      chan struct{} // closed when left is 0
}

func newProber(statfs func(string, *unix.Statfs_t) error, timeout time.Duration, walks int) *prober {
	return &prober{statfs: statfs, timeout: timeout, walks: max(walks, 1), stuck: map[string]int{}}
}

// probe asks all paths, and waits for the slow ones as long as the timeout and
// the context allow. The results are in the order of the paths.
func (p *prober) probe(ctx context.Context, paths []string) []probeResult {
	run := &probeRun{
		paths: paths, results: make([]probeResult, len(paths)), left: len(paths), done: make(chan struct{}),
	}
	if len(paths) == 0 {
		return nil
	}
	limit := p.timeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)-probeMargin)
	}
	for range min(p.walks, len(paths)) {
		collect.Go(ctx, func() { p.walk(run) })
	}
	var results []probeResult
	collect.Wait(ctx, func() { results = p.await(ctx, run, limit) })
	return results
}

// await gives the results of a run when they are there, or when its time is over.
func (p *prober) await(ctx context.Context, run *probeRun, limit time.Duration) []probeResult {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	patience := time.NewTicker(probePatience)
	defer patience.Stop()
	seen := -1
	for {
		select {
		case <-run.done:
			return run.results
		case <-deadline.C:
			return p.abandon(run)
		case <-ctx.Done():
			return p.abandon(run)
		case <-patience.C:
			var stands bool
			if seen, stands = run.standsStill(seen); stands {
				collect.Go(ctx, func() { p.walk(run) })
			}
		}
	}
}

// walk takes one path after the other.
func (p *prober) walk(run *probeRun) {
	for {
		i, ok := run.take()
		if !ok {
			return
		}
		var r probeResult
		if p.isStuck(run.paths[i]) {
			r.err = errMountTimeout
		} else {
			r.err = p.statfs(run.paths[i], &r.stat)
		}
		if !run.finish(i, r) {
			p.recover(run.paths[i])
			return
		}
	}
}

func (p *prober) isStuck(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stuck[path] > 0
}

// recover takes note that a call on a stuck path has returned.
func (p *prober) recover(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck[path]--; p.stuck[path] == 0 {
		delete(p.stuck, path)
	}
}

// abandon ends a run: mounts that have not answered are stuck, and those that
// were not reached for their sake count as late.
func (p *prober) abandon(run *probeRun) []probeResult {
	// Held over both, so that a walk that comes back now finds its path
	// marked, and takes the mark away again.
	p.mu.Lock()
	defer p.mu.Unlock()
	run.mu.Lock()
	defer run.mu.Unlock()
	run.abandoned = true
	for _, i := range run.waiting {
		run.results[i].err = errMountTimeout
		p.stuck[run.paths[i]]++
	}
	for i := run.next; i < len(run.paths); i++ {
		run.results[i].err = errMountTimeout
	}
	return run.results
}

// take gives a walk its next path.
func (r *probeRun) take() (i int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.abandoned || r.next == len(r.paths) {
		return 0, false
	}
	i = r.next
	r.next++
	r.waiting = append(r.waiting, i)
	return i, true
}

// finish keeps a result. It is false when nobody waits for it any more.
func (r *probeRun) finish(i int, result probeResult) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.abandoned {
		return false
	}
	for at, w := range r.waiting {
		if w == i {
			r.waiting = append(r.waiting[:at], r.waiting[at+1:]...)
			break
		}
	}
	r.results[i] = result
	if r.left--; r.left == 0 {
		close(r.done)
	}
	return true
}

// standsStill says whether no path was taken since the call that gave before,
// although there are some.
func (r *probeRun) standsStill(before int) (now int, stands bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next, r.next == before && r.next < len(r.paths)
}
