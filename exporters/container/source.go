package container

import (
	"context"
	"time"
)

// Source reads the cgroups of a machine.
type Source interface {
	// Read makes one pass over the tree and reads the groups of families that
	// are wanted, cpu and memory always. What cannot be read is left out and
	// counted; what vanishes on the way is left out. It fails only when the
	// context ends or there is no tree. The result is the caller's own.
	Read(ctx context.Context, want group) (*Pass, error)
}

// Pass is what one walk over the cgroups found.
type Pass struct {
	// Cgroups in the order of their ids, parents before children.
	Cgroups []Cgroup
	// Failed is the number of files and directories that could not be read
	// or made no sense; Err is one of them.
	Failed int
	Err    error
}

// Cgroup is what was read of one cgroup.
type Cgroup struct {
	// ID is its path from the root of the hierarchy, such as
	// /kubepods/burstable/pod.../...; valid UTF-8.
	ID string
	// At is the time of the reading.
	At time.Time

	place
	values values
	more   []labelled
	sched  []processSched // of its processes
	// proc is a directory with a cgroup.procs.
	proc string

	// who is the container or sandbox that runs in it, pod the sandbox of
	// the pod whose cgroup it is. At most one is set.
	who, pod *Container
	// ended is set of one that is gone.
	ended   *ending
	network []Interface
	// networkMore is what else was read of the network namespace.
	networkMore []labelled
	// networkAt is the time at which network was read.
	networkAt time.Time
}

// values are the numbers read of a cgroup; NaN is what is not known.
type values [fields]float64
