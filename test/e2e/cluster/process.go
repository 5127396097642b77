package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process names a process for good: a pid may be given again, a pid with its
// time of start is not.
type process struct {
	Name  string
	PID   int
	Start uint64 // clock ticks since boot, field 22 of /proc/pid/stat
}

// stat is what we need of /proc/pid/stat.
type stat struct {
	state  byte
	parent int
	start  uint64
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// parseStat starts after the name, which may hold blanks and parentheses.
func parseStat(data []byte) (stat, error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("a stat line of %d fields", len(fields))
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, fmt.Errorf("the parent in a stat line: %w", err)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("the start in a stat line: %w", err)
	}
	return stat{state: fields[0][0], parent: parent, start: start}, nil
}

// alive is false for a zombie: it holds nothing any more.
func (p process) alive() bool {
	s, err := readStat(p.PID)
	return err == nil && s.start == p.Start && s.state != 'Z' && s.state != 'X'
}

// signal reaches p only if it still is the process that was seen.
func (p process) signal(sig syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(p.PID, sig) // it may have ended meanwhile
	}
}

// allProcesses lists what runs on this machine, by pid.
func allProcesses() map[int]stat {
	out := map[int]stat{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return out
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // it may have ended meanwhile
			out[pid] = s
		}
	}
	return out
}

// markName marks every process of a cluster with its state directory, in its
// environment: shims inherit it from containerd, and no process of others has
// it, so nothing can be forgotten and no stranger be taken for ours.
const markName = "STRATA_E2E_STATE"

// clusterProcesses lists the processes that carry the mark of dir and all
// below them, which are the pods' own.
func clusterProcesses(dir string) []process {
	all := allProcesses()
	ours := map[int]bool{}
	for pid := range all {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && slices.Contains(strings.Split(string(environ), "\x00"), markName+"="+dir) {
			ours[pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range all {
			if !ours[pid] && ours[s.parent] {
				ours[pid], grown = true, true
			}
		}
	}
	var out []process
	for pid := range ours {
		if s := all[pid]; s.state != 'Z' {
			out = append(out, process{Name: name(pid), PID: pid, Start: s.start})
		}
	}
	return out
}

// name is the short name of a process, for messages.
func name(pid int) string {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "ended"
	}
	return strings.TrimSpace(string(comm))
}

// component is a running process of ours with its log.
type component struct {
	process
	log    string
	exited chan struct{}
	err    error // why it ended; read after exited is closed
}

// launch starts a program in a session of its own, so that no terminal and no
// signal to our group reaches it; all output goes to the log file.
func launch(name, dir, log string, argv []string) (*component, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), markName+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	s, err := readStat(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &component{
		process: process{Name: name, PID: cmd.Process.Pid, Start: s.start},
		log:     log, exited: make(chan struct{}),
	}
	go func() {
		c.err = cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// ready waits until condition holds. An end of the component ends the wait too,
// and every error carries the last lines of its log.
func (c *component) ready(ctx context.Context, limit time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %s", limit))
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	go func() {
		select {
		case <-c.exited:
			ended(c.ending())
		case <-ctx.Done():
		}
	}()
	err := await(ctx, func() error { return condition(ctx) })
	if err != nil {
		return fmt.Errorf("%s: %w\n--- %s\n%s", c.Name, err, c.log, tail(c.log, 30))
	}
	return nil
}

// ending says how an ended component ended.
func (c *component) ending() error {
	if c.err == nil {
		return errors.New("it ended: exit status 0")
	}
	return fmt.Errorf("it ended: %w", c.err)
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
