package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// kind is a cgroup that is made to be compared.
type kind struct {
	name    string            // below parent
	process []string          // that lives in it; nil for none
	set     map[string]string // files of the cgroup, where the kernel has them
	below   bool              // others are below it
	only    string            // the one hierarchy of v1 that it is in; empty for all
}

// memoryAlone is known to one hierarchy of v1.
const memoryAlone = "memory"

// kinds are such that every group has something to tell: throttled, limited,
// with cgroups below, never used.
func kinds() []kind {
	works, sleeps := []string{"/proc/self/exe", busyArgument}, []string{"sleep", "infinity"}
	return []kind{
		{name: "unused"},
		{name: "idle", process: sleeps},
		{name: "quota", process: works, set: map[string]string{"cpu.cfs_quota_us": "5000", "cpu.max": "5000 100000", "cpu.shares": "512"}},
		{name: "limits", process: works, set: map[string]string{
			"memory.limit_in_bytes": "67108864", "memory.soft_limit_in_bytes": "33554432", "memory.max": "67108864", "memory.min": "33554432",
			"pids.max": "50", "cpuset.memory_migrate": "1",
		}},
		{name: memoryAlone, process: sleeps, only: "memory"},
		{name: "outer", below: true},
		{name: "outer/one", process: works},
		{name: "outer/two", process: works},
	}
}

// makeKinds makes a cgroup of each kind in every hierarchy.
func makeKinds() (*cgroups, error) {
	c := &cgroups{}
	points, err := hierarchies()
	if err != nil {
		return c, err
	}
	for _, k := range append([]kind{{below: true}}, kinds()...) {
		var process *exec.Cmd
		if k.process != nil {
			process = exec.Command(k.process[0], k.process[1:]...)
			process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := process.Start(); err != nil {
				return c, fmt.Errorf("a process for a cgroup: %w", err)
			}
			c.sleepers = append(c.sleepers, process)
		}
		for _, point := range points {
			if k.only != "" && len(points) > 1 && filepath.Base(point) != k.only {
				continue
			}
			dir := filepath.Join(point, parent, k.name)
			if err := c.mkdir(dir, k.below); err != nil {
				return c, err
			}
			if err := k.configure(dir); err != nil {
				return c, err
			}
			if process == nil {
				continue
			}
			if err := enter(dir, process); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// configure writes what the cgroup has files for.
func (k kind) configure(dir string) error {
	for file, value := range k.set {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); err != nil {
			continue // of another hierarchy or version
		}
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("setting up a cgroup: %w", err)
		}
	}
	return nil
}

// busyArgument makes this program one that uses something of everything.
const busyArgument = "busy"

// busy uses the processor, memory, the disk and sockets until it is ended.
func busy(ctx context.Context) error {
	for _, network := range []string{"tcp4", "tcp6"} {
		if l, err := net.Listen(network, "localhost:0"); err == nil {
			defer func() { _ = l.Close() }()
		}
	}
	if l, err := net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
		defer func() { _ = l.Close() }()
	}
	file, err := os.CreateTemp("", "strata-bench-")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil { // however this ends
		return err
	}
	defer func() { _ = file.Close() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for held := make([]byte, 1<<20); ctx.Err() == nil; <-tick.C {
		for begin := time.Now(); time.Since(begin) < 2*time.Millisecond; {
			for i := range held {
				held[i]++
			}
		}
		if _, err := file.WriteAt(held[:4096], 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}
