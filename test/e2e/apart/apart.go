// Package apart runs a program again in namespaces of its own (network,
// processes, mounts): its addresses and ports collide with nothing of this
// machine, and nothing can be left running.
package apart

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run runs this program again, with these variables too, as the first process
// of its namespaces: when it ends, or when this one does, the kernel ends all
// others. It gives the code that it ended with.
func Run(env ...string) (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("namespaces of its own need root: run this as root")
	}
	runtime.LockOSThread() // the signal comes when the thread ends that started it
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // what went wrong is told already
	}
	if err != nil {
		return 1, fmt.Errorf("running in namespaces of its own: %w", err)
	}
	return 0, nil
}

// Settle makes the namespaces usable: a /proc of their own, and the loopback
// device with one more address.
func Settle(address string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", address + "/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v (is iproute2 installed?): %w: %s", args, err, out)
		}
	}
	return nil
}
