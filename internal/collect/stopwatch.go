package collect

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// brief is a run that takes its processor time to be the time that passed. So
// much may be wrong when the thread was taken off its processor meanwhile; to
// ask the kernel costs a system call, more than some collectors.
const brief = 50 * time.Microsecond

// stopwatch measures the processor time, user and system, that a goroutine uses.
// The kernel knows that of threads, so the goroutine keeps its own.
type stopwatch struct {
	last time.Duration // of the thread's clock
	// spent is what was read and not given by lap. It is negative for what
	// lap gave without reading.
	spent time.Duration
}

func (w *stopwatch) start() {
	runtime.LockOSThread()
	w.last = threadTime()
}

func (w *stopwatch) stop() { runtime.UnlockOSThread() }

// lap gives the time since the lap before, of a run that took as long.
func (w *stopwatch) lap(took time.Duration) time.Duration {
	if took < brief {
		w.spent -= took
		return took
	}
	w.read()
	spent := max(w.spent, 0)
	w.spent = 0
	return spent
}

func (w *stopwatch) read() {
	now := threadTime()
	w.spent += now - w.last
	w.last = now
}

// threadTime is the processor time that the thread has used, by the clock that
// clock_gettime(2) describes.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // every kernel that Go runs on has it
	return time.Duration(t.Nano())
}

// runKey is the key by which a context gives the runContext that it is made of.
type runKey struct{}

// Go runs work in a goroutine of its own and counts its processor time for the
// collector whose context this is.
func Go(ctx context.Context, work func()) {
	run, ok := ctx.Value(runKey{}).(*runContext)
	if !ok {
		go work()
		return
	}
	cpu := run.cpu // read now: the work may outlive the run
	go func() {
		var w stopwatch
		w.start()
		defer w.stop()
		work()
		w.read()
		cpu.Add(int64(w.spent))
	}()
}

// Wait calls a function that waits for other goroutines, in the goroutine that
// a collector was called in. Its thread is free for them meanwhile: a thread
// that one goroutine keeps must be put to sleep, and another be woken.
func Wait(ctx context.Context, wait func()) {
	if run, ok := ctx.Value(runKey{}).(*runContext); ok {
		run.watch.read()
		run.watch.stop()
		defer run.watch.start()
	}
	wait()
}
