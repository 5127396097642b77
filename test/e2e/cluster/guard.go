package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The guard is a process that waits at the end of a pipe whose other end only
// the owner of the cluster holds. However the owner ends, panic, timeout or
// kill -9, the kernel closes the pipe, and the guard tears the cluster down.

const guardRun = "STRATA_E2E_GUARD_RUN"

// startGuard starts the guard; the function that it returns lets it go.
func startGuard(o Options, runID string) (func(), error) {
	if len(o.Guard) == 0 || o.Keep {
		return nil, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the guard's pipe: %w", err)
	}
	defer read.Close()
	if err := os.MkdirAll(o.LogDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of logs: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(o.LogDir, "guard.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the guard's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(o.Guard[0], append(o.Guard[1:len(o.Guard):len(o.Guard)], o.StateDir)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, log, log
	cmd.Env = append(os.Environ(), guardRun+"="+runID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	return func() {
		write.Close()
		_ = cmd.Wait() // it finds nothing to do; if it failed, its log says why
	}, nil
}

// Guard waits until standard input ends, then tears down the cluster in
// stateDir unless its owner did, and returns. It is the body of the process
// that Options.Guard names, which gets stateDir as its last argument.
func Guard(ctx context.Context, stateDir string) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("waiting for the owner's end: %w", err)
	}
	s, err := readState(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the owner stopped it
	}
	if err != nil {
		return err
	}
	l, err := lock(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if s, err = readState(stateDir); err != nil || s.RunID != os.Getenv(guardRun) {
		return nil // a later Start has cleaned it, and what is there is another's
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return teardown(ctx, s, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// Down ends the cluster in stateDir, kept or left behind; with none there it
// does nothing and returns false.
func Down(ctx context.Context, stateDir string, log *slog.Logger) (bool, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, err := lock(ctx)
	if err != nil {
		return false, err
	}
	defer l.Close()
	s, err := readState(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return true, teardown(ctx, s, log)
}
