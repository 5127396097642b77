package container

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errForgotten says that a runtime does not know a container (any more).
var errForgotten = errors.New("the container runtime does not know it")

// Bounds of the asking for exit codes.
const (
	// maxExits is how many endings may wait for their code at once; of more
	// none is shown.
	maxExits = 512
	// maxCodes is how many codes may wait for their ending.
	maxCodes = 4096
)

// exitPauses gives the pauses between tries: a runtime removes the cgroup before
// it notes the end, and may forget the container soon after.
func exitPauses() [6]time.Duration {
	const ms = time.Millisecond
	return [6]time.Duration{0, 20 * ms, 100 * ms, 400 * ms, 2000 * ms, 8000 * ms}
}

// exitAsker asks the runtime for the exit codes of what has ended. It tells them
// to the endings; nobody waits for it.
type exitAsker struct {
	endings *endings
	code    func(ctx context.Context, c *Cgroup) (code int, ended bool, err error)
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	waiting chan struct{}
	asking  chan struct{}
}

func newExitAsker(e *Exporter) *exitAsker {
	a := &exitAsker{endings: &e.endings, code: e.exitCode, waiting: make(chan struct{}, maxExits), asking: make(chan struct{}, maxAsked)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// exitCode asks the runtime how the container of a cgroup ended.
func (e *Exporter) exitCode(ctx context.Context, c *Cgroup) (code int, ended bool, err error) {
	if x, ok := e.directoryOf(c).source.(exiter); ok {
		return x.ExitCode(ctx, c.containerID)
	}
	return 0, false, errForgotten
}

// start asks for the code of an ending unless it is known or none can be.
func (a *exitAsker) start(e *ending) {
	c := &e.cgroup
	if c.containerID == "" || c.who != nil && c.who.Sandbox || e.exit.Load() != nil {
		return
	}
	select {
	case a.waiting <- struct{}{}:
	default:
		return
	}
	a.running.Go(func() {
		defer func() { <-a.waiting }()
		for _, pause := range exitPauses() {
			if !a.wait(pause) || e.exit.Load() != nil || a.try(e) {
				return
			}
		}
	})
}

func (a *exitAsker) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// try asks once. It is true when there is no more to ask.
func (a *exitAsker) try(e *ending) bool {
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-a.ctx.Done():
		return true
	}
	ctx, cancel := context.WithTimeout(a.ctx, answerTime)
	defer cancel()
	code, ended, err := a.code(ctx, &e.cgroup)
	if err == nil && ended {
		e.exit.Store(&exit{e.cgroup.containerID, code})
	}
	return ended || errors.Is(err, errForgotten)
}

// close ends what is under way.
func (a *exitAsker) close() {
	a.cancel()
	a.running.Wait()
}

// exited takes in an exit that the runtime has told of itself.
func (es *endings) exited(x exit) {
	es.mu.Lock()
	defer es.mu.Unlock()
	found := false
	for _, e := range es.all {
		if e.cgroup.containerID == x.id && x.id != "" {
			e.exit.Store(&x)
			found = true
		}
	}
	if found || x.id == "" {
		return
	}
	if es.codes == nil || len(es.codes) >= maxCodes {
		es.codes = map[string]exit{}
	}
	es.codes[x.id] = x
}

// takeExit gives an ending the code that was told before. It is called with mu
// held.
func (es *endings) takeExit(e *ending) {
	if x, ok := es.codes[e.cgroup.containerID]; ok {
		e.exit.Store(&x)
		delete(es.codes, x.id)
	}
}
