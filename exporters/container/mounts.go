package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is one cgroup mount.
type hierarchy struct {
	point string // where it is mounted
	v2    bool
}

// hierarchies says where each controller's files are. On a hybrid host they
// are of both versions, so the version stands with each.
type hierarchies struct {
	cpuacct hierarchy // usage
	cpu     hierarchy // quota, shares, throttling; the same as cpuacct on v2
	memory  hierarchy
	// The others are not walked: a cgroup has the same path in all of them.
	blkio, cpuset, hugetlb, pids hierarchy
}

// ErrNoCgroups is returned by New when no cgroup file system is mounted.
var ErrNoCgroups = errors.New("no cgroup file system")

// distinct lists the mounts to walk, each once.
func (h hierarchies) distinct() []string {
	var points []string
	for _, one := range []hierarchy{h.cpuacct, h.cpu, h.memory} {
		if one.point != "" && !slices.Contains(points, one.point) {
			points = append(points, one.point)
		}
	}
	return points
}

// findHierarchies reads <procfs>/self/mountinfo, which is of our own mount
// namespace also when procfs is the host's, and takes the mounts at or under
// root.
func findHierarchies(procfs, root string) (hierarchies, error) {
	path := filepath.Join(procfs, "self", "mountinfo")
	data, err := os.ReadFile(path)
	if err != nil {
		return hierarchies{}, fmt.Errorf("finding the cgroup mounts: %w", err)
	}
	h := chooseHierarchies(parseMountinfo(data), filepath.Clean(root))
	if len(h.distinct()) == 0 {
		return h, fmt.Errorf("%w: %s has no mount of type cgroup or cgroup2 at or under %s that has cpuacct or memory; mount the host's /sys/fs/cgroup there or set --path.cgroup",
			ErrNoCgroups, path, root)
	}
	return h, nil
}

// mount is a line of mountinfo that is of a cgroup file system.
type mount struct {
	point       string
	v2          bool
	controllers []string // of v1
}

// parseMountinfo takes the cgroup mounts out of /proc/PID/mountinfo. Lines that
// are not of its form (proc(5)) are not mounts of cgroups.
func parseMountinfo(data []byte) []mount {
	var out []mount
	for line := range bytes.Lines(data) {
		before, after, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		fields, tail := strings.Split(before, " "), strings.Split(after, " ")
		if !ok || len(fields) < 6 || len(tail) < 3 {
			continue
		}
		m := mount{point: unescapeOctal(fields[4]), v2: tail[0] == "cgroup2"}
		if tail[0] == "cgroup" {
			m.controllers = strings.Split(tail[2], ",")
		} else if !m.v2 {
			continue
		}
		out = append(out, m)
	}
	return out
}

// unescapeOctal undoes the \040 for blank, tab, newline and backslash.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// chooseHierarchies takes each controller from its v1 mount where there is one
// and from the unified mount elsewhere. The last mount on a point hides those
// before it.
func chooseHierarchies(mounts []mount, root string) hierarchies {
	var h hierarchies
	var unified hierarchy
	for _, m := range mounts {
		if m.point != root && !strings.HasPrefix(m.point, strings.TrimSuffix(root, "/")+"/") {
			continue
		}
		at := hierarchy{point: m.point, v2: m.v2}
		if m.v2 {
			unified = at
			continue
		}
		for _, c := range m.controllers {
			switch c {
			case "cpuacct":
				h.cpuacct = at
			case "cpu":
				h.cpu = at
			case "memory":
				h.memory = at
			case "blkio":
				h.blkio = at
			case "cpuset":
				h.cpuset = at
			case "hugetlb":
				h.hugetlb = at
			case "pids":
				h.pids = at
			}
		}
	}
	if unified.point == "" {
		return h
	}
	// Without v1's cpuacct and cpu both are the unified hierarchy's cpu.stat.
	if h.cpuacct.point == "" && h.cpu.point == "" {
		h.cpuacct, h.cpu = unified, unified
	}
	for _, one := range []*hierarchy{&h.memory, &h.blkio, &h.cpuset, &h.hugetlb, &h.pids} {
		if one.point == "" {
			*one = unified
		}
	}
	return h
}
