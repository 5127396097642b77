package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// group is a set of groups of families that can be switched; each bit is one.
type group uint32

// The groups, by cAdvisor's names, see groupNames.
const (
	groupAdvTCP group = 1 << iota
	groupApp
	groupCPU
	groupCPULoad
	groupTopology
	groupCPUSet
	groupDisk
	groupDiskIO
	groupHugetlb
	groupMemory
	groupNuma
	groupNetwork
	groupOOM
	groupPerCPU
	groupPerf
	groupPressure
	groupProcess
	groupReferenced
	groupResctrl
	groupSched
	groupTCP
	groupUDP
	allGroups group = 1<<iota - 1
)

// groupNames are the names of the groups in the order of their bits, which is
// that of the alphabet.
func groupNames() []string {
	return []string{"advtcp", "app", "cpu", "cpuLoad", "cpu_topology", "cpuset", "disk", "diskIO", "hugetlb", "memory",
		"memory_numa", "network", "oom_event", "percpu", "perf_event", "pressure", "process", "referenced_memory",
		"resctrl", "sched", "tcp", "udp"}
}

// emptyGroups may be named in flags, as in cAdvisor, but have no families:
// those of app are an application's own, which Strata scrapes from it; for the
// others see impossible.
const emptyGroups = groupApp | groupPerf | groupResctrl

// offByDefault are the groups that cAdvisor does not show unless told to.
const offByDefault = groupAdvTCP | groupTopology | groupCPUSet | groupHugetlb | groupNuma | groupProcess | groupReferenced |
	groupResctrl | groupSched | groupTCP | groupUDP

// defaultGroups are shown at /metrics unless told otherwise.
const defaultGroups = allGroups &^ offByDefault

// kubeletGroups are those that the kubelet has its cAdvisor collect.
const kubeletGroups = groupCPU | groupMemory | groupDisk | groupDiskIO | groupNetwork | groupApp | groupProcess |
	groupOOM | groupPressure

// kubeletGroups are the groups at the kubelet's endpoint. As in the kubelet
// pressure is not among them where the kernel tells nothing of it at the root:
// on v1, hybrid hosts, and those that were started with psi=0.
func (o Options) kubeletGroups() group {
	most := kubeletGroups
	if f, err := os.Open(filepath.Join(o.Cgroupfs, "cpu.pressure")); err == nil {
		_ = f.Close() // to open it is what tells
	} else {
		most &^= groupPressure
	}
	return o.Groups.of(most, most)
}

// networkGroups are read in the network namespace of a pod.
const networkGroups = groupNetwork | groupTCP | groupUDP | groupAdvTCP

// String lists the names of the groups with commas.
func (g group) String() string {
	var names []string
	for i, name := range groupNames() {
		if g&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// DisabledGroups is the value of --disable_metrics when none is given.
func DisabledGroups() string { return offByDefault.String() }

// Selection says which groups of families are shown. The zero value shows at
// each endpoint what its model shows: cAdvisor's defaults at /metrics, the
// kubelet's choice at /metrics/cadvisor.
type Selection struct{ only group }

// ErrGroup is returned for a group of metrics that does not exist.
var ErrGroup = errors.New("no such group of metrics")

// SelectGroups turns the values of --enable_metrics and --disable_metrics,
// lists with commas, into the groups to show. As in cAdvisor a list to enable
// stands alone: what it does not name is off, and what is disabled does not
// count. A list to disable takes the place of the default one, so that a group
// which is off by default is on when the list does not name it.
func SelectGroups(enable, disable string) (Selection, error) {
	on, err := groupsOf("--enable_metrics", enable)
	if err != nil {
		return Selection{}, err
	}
	if on&emptyGroups == on && on != 0 {
		return Selection{}, fmt.Errorf("%w that Strata has families of among %q in --enable_metrics: see docs/compat-container.md", ErrGroup, enable)
	}
	off, err := groupsOf("--disable_metrics", disable)
	switch {
	case err != nil:
		return Selection{}, err
	case on != 0:
		return Selection{only: on}, nil
	case off == offByDefault:
		return Selection{}, nil
	case off == allGroups:
		return Selection{only: groupApp}, nil // which has no families
	default:
		return Selection{only: allGroups &^ off}, nil
	}
}

// groupsOf reads a list of names.
func groupsOf(flag, names string) (group, error) {
	var g group
	all := groupNames()
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.Index(all, name)
		if i < 0 {
			return 0, fmt.Errorf("%w as %q in %s: there are %s", ErrGroup, name, flag, allGroups)
		}
		g |= 1 << i
	}
	return g, nil
}

// of gives the groups of an endpoint with these defaults, of which it never
// shows more than most.
func (s Selection) of(defaults, most group) group {
	if s.only == 0 {
		return defaults
	}
	return s.only & most
}
