package serve

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may end a sleep, in nanoseconds, see
// PR_SET_TIMERSLACK in prctl(2). The kernel's own bound is 50 us.
const timerSlack = 1_000_000

// CoarseTimers makes the kernel wake this process up for its sleeps and timers
// to a millisecond only, which is fine enough for who answers scrapes. Go's
// runtime has a thread that looks after the others and sleeps for 20 us between
// two looks whenever something begins to run: those wakes were a sixth of the
// processor time of a scrape of a host. The price is that a goroutine in a slow
// system call hands its processor on after a millisecond.
//
// That thread is there before main is, and only a privileged process may set
// another thread's slack, so the program is executed again with its arguments:
// the slack of a thread is kept by execve(2), and every thread begins with
// that of its maker. To be called first in main; it returns where the slack is
// as it should be (as after itself, or by systemd's TimerSlackNSec), and where
// it cannot be changed, which a line on stderr says and which costs nothing but
// the time.
func CoarseTimers(program string, stderr io.Writer) {
	if err := coarseTimers(); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: timers stay as fine as they were, which costs processor time: %v\n", program, err)
	}
}

func coarseTimers() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := currentSlack()
	if err != nil || slack >= timerSlack {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		return fmt.Errorf("setting the timer slack: %w", err)
	}
	// A thread of a realtime class has none, whatever is set.
	if slack, err = currentSlack(); err != nil || slack < timerSlack {
		return err
	}
	path, err := os.Executable() // by its name, which is the process's from then on
	if err != nil {
		return fmt.Errorf("looking for the program's file: %w", err)
	}
	if err := syscall.Exec(path, os.Args, os.Environ()); err != nil {
		return fmt.Errorf("executing %s again: %w", path, err)
	}
	return nil
}

// currentSlack is that of the calling thread, in nanoseconds.
func currentSlack() (int, error) {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("reading the timer slack: %w", err)
	}
	return slack, nil
}
