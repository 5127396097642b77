package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// parent is where the bench makes its cgroups, in each hierarchy.
const parent = "/strata-bench"

// cgroups are those that were made, and what sleeps in them.
type cgroups struct {
	dirs     []string // parents before children
	sleepers []*exec.Cmd
}

// makeCgroups makes n cgroups in every hierarchy that has controllers, named as
// a runtime names them, each with a process.
func makeCgroups(n int) (*cgroups, error) {
	c := &cgroups{}
	points, err := hierarchies()
	if err != nil {
		return c, err
	}
	for _, point := range points {
		if err := c.mkdir(point+parent, true); err != nil {
			return c, err
		}
	}
	for i := range n {
		sleeper := exec.Command("sleep", "infinity")
		if err := sleeper.Start(); err != nil {
			return c, fmt.Errorf("a process for a cgroup: %w", err)
		}
		c.sleepers = append(c.sleepers, sleeper)
		for _, point := range points {
			dir := point + parent + "/" + fmt.Sprintf("%064x", i+1)
			if err := c.mkdir(dir, false); err != nil {
				return c, err
			}
			if err := enter(dir, sleeper); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// enter puts a process into a cgroup.
func enter(dir string, process *exec.Cmd) error {
	pid := []byte(strconv.Itoa(process.Process.Pid))
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), pid, 0o644); err != nil {
		return fmt.Errorf("moving a process: %w", err)
	}
	return nil
}

// hierarchies lists where cgroups are mounted: each of v1 with a controller, or
// the unified one where there is no other.
func hierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("finding the cgroup mounts: %w", err)
	}
	var v1, unified []string
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		fields := strings.Fields(before)
		switch kind := strings.Fields(after); {
		case len(fields) < 5 || len(kind) < 3:
		case kind[0] == "cgroup" && !strings.Contains(kind[2], "name="):
			v1 = append(v1, fields[4])
		case kind[0] == "cgroup2":
			unified = append(unified, fields[4])
		}
	}
	if len(v1) > 0 {
		return v1, nil
	}
	if len(unified) == 0 {
		return nil, errors.New("no cgroup file system is mounted")
	}
	return unified[:1], nil
}

// mkdir makes one cgroup. Its cpuset must be told before a process can enter
// (v1). If others come below it they get the controllers that it has (v2).
func (c *cgroups) mkdir(dir string, below bool) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("making a cgroup (as root, and remove what an earlier run has left): %w", err)
	}
	c.dirs = append(c.dirs, dir)
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		from, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil || len(strings.TrimSpace(string(from))) == 0 {
			continue // not a cpuset, or v2
		}
		if err := os.WriteFile(filepath.Join(dir, name), from, 0o644); err != nil {
			return fmt.Errorf("setting up a cpuset: %w", err)
		}
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil || !below {
		return nil
	}
	on := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(on), 0o644); on != "+" && err != nil {
		return fmt.Errorf("switching controllers on: %w", err)
	}
	return nil
}

// remove ends the processes and takes the cgroups away.
func (c *cgroups) remove() error {
	for _, s := range c.sleepers {
		_ = s.Process.Kill() // that it has ended is as good
		_ = s.Wait()
	}
	var errs []error
	for _, dir := range slices.Backward(c.dirs) {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
