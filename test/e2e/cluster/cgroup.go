package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// podCgroups lists where the kubelet puts pods: one directory in each
// hierarchy, which may not exist.
func podCgroups() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("finding cgroups: %w", err)
	}
	var out []string
	for _, root := range cgroupMounts(string(data)) {
		out = append(out, filepath.Join(root, "kubepods"))
	}
	return out, nil
}

func cgroupMounts(mountinfo string) []string {
	var out []string
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if len(fields) >= 5 && strings.HasPrefix(after, "cgroup") {
			out = append(out, unescape(fields[4]))
		}
	}
	return out
}

// checkCgroups fails when pods of another kubelet run here. Empty cgroups that
// one has left are no obstacle.
func checkCgroups(roots []string) error {
	if members := cgroupProcesses(roots); len(members) > 0 {
		return fmt.Errorf("%w: %d processes run in %s: another kubelet has pods here", ErrMachine, len(members), roots[0])
	}
	return nil
}

// cgroupProcesses lists the processes in trees of cgroups.
func cgroupProcesses(roots []string) []process {
	seen := map[process]bool{}
	for _, dir := range directories(roots...) {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // it went meanwhile
		}
		for field := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			if s, err := readStat(pid); err == nil && s.state != 'Z' {
				seen[process{Name: name(pid), PID: pid, Start: s.start}] = true
			}
		}
	}
	var out []process
	for p := range seen {
		out = append(out, p)
	}
	return out
}

// directories lists trees of directories, each before those below it.
func directories(roots ...string) []string {
	var dirs []string
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what cannot be read went meanwhile
		})
	}
	return dirs
}

// removeCgroups removes trees of cgroups. One that was just left by its last
// process can be busy for a moment.
func removeCgroups(ctx context.Context, roots []string) error {
	return await(ctx, func() error {
		for _, dir := range slices.Backward(directories(roots...)) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}
