package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrRunning says that a cluster of ours is already there.
var ErrRunning = errors.New("a cluster is already running on this machine")

// state is what a teardown must know, kept in the state directory.
type state struct {
	Options Options
	RunID   string // differs between any two starts
	AddedIP bool   // whether NodeIP was not there before
	// Sysctls are the kernel's settings as they were; components change some.
	Sysctls map[string]string
	// Cgroups are the trees of the pods' cgroups, which had no processes before.
	Cgroups []string
	// Made are directories outside the state directory that did not exist
	// before; a teardown removes them when nothing of others is in them.
	Made []string
}

const stateFile = "state.json"

// ledger is the state with its file; safe for concurrent use.
type ledger struct {
	mu    sync.Mutex
	dir   string
	state state
}

// record changes the state and writes it down before it returns.
func (l *ledger) record(change func(*state)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
	data, err := json.MarshalIndent(l.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the cluster's state: %w", err)
	}
	aside := filepath.Join(l.dir, stateFile+".new")
	if err := os.WriteFile(aside, data, 0o600); err != nil {
		return fmt.Errorf("writing the cluster's state: %w", err)
	}
	if err := os.Rename(aside, filepath.Join(l.dir, stateFile)); err != nil {
		return fmt.Errorf("writing the cluster's state: %w", err)
	}
	return nil
}

// readState returns fs.ErrNotExist when no cluster was started in dir.
func readState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, fmt.Errorf("reading the cluster's state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("parsing %s: %w (remove the file to give up what it lists)", filepath.Join(dir, stateFile), err)
	}
	if s.Options.StateDir != dir {
		return s, fmt.Errorf("%s belongs to %s: was the directory moved?", filepath.Join(dir, stateFile), s.Options.StateDir)
	}
	return s, nil
}

// lock lets one harness at a time start or end clusters in this network
// namespace. It is an abstract socket: the kernel frees it when its holder
// dies, and it leaves no file. It waits, since a guard may still be cleaning.
func lock(ctx context.Context) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var l net.Listener
	err := await(ctx, func() error {
		var err error
		l, err = net.Listen("unix", "@strata-e2e")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w, started by a process that still runs (make e2e, make demo): %w", ErrRunning, err)
	}
	return l, nil
}

// await asks until condition holds, and returns its last error when ctx ends.
func await(ctx context.Context, condition func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// clearStale undoes what an earlier run left in dir; a kept cluster that runs
// is not touched.
func clearStale(ctx context.Context, o Options) error {
	s, err := readState(o.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.Options.Keep && len(s.processes()) > 0 {
		return fmt.Errorf("%w, kept for a person in %s: end it with make cluster ARGS=down", ErrRunning, o.StateDir)
	}
	o.Log.Info("cleaning what an earlier run left", "dir", o.StateDir)
	return teardown(ctx, s, o.Log)
}

// processes lists all that runs of the cluster: what carries its mark, and
// what is in its pods' cgroups.
func (s state) processes() []process {
	seen := map[process]bool{}
	var out []process
	for _, p := range append(clusterProcesses(s.Options.StateDir), cgroupProcesses(s.Cgroups)...) {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}
