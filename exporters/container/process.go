package container

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readProcesses reads what is told of processes, one by one.
func (s *cgroupSource) readProcesses(r *reader, f *found, c *Cgroup, want group) {
	v := &c.values
	var pids []int
	if dir := s.processesDir(f, c); dir != "" {
		var ok bool
		pids, ok = parsed(r, dir, "cgroup.procs", parseAllPIDs)
		r.kept = nil // what follows is of processes, which end
		if !ok {
			return
		}
	}
	if want&groupProcess != 0 {
		v[procCount], v[procFiles], v[procSockets] = float64(len(pids)), 0, 0
		v[procThreads], v[procThreadsMax] = 0, 0
		if s.h.pids.point != "" && c.ID != "/" { // the root has no such files
			r.number(v, procThreads, s.h.pids.point+f.rel, "pids.current")
			if r.limit(v, procThreadsMax, s.h.pids.point+f.rel, "pids.max"); v[procThreadsMax] > unlimited {
				v[procThreadsMax] = 0
			}
		}
		if c.containerID != "" && len(pids) > 0 {
			s.readMaxFiles(r, pids[0], v)
		} else if c.ID == "/" {
			s.readMaxFiles(r, 1, v)
		}
	}
	if want&groupReferenced != 0 {
		v[memReferenced] = 0
	}
	for _, pid := range pids {
		dir := filepath.Join(s.procfs, strconv.Itoa(pid))
		if pid == 0 {
			continue // of another PID namespace
		}
		if want&groupProcess != 0 {
			files, sockets := r.descriptors(dir)
			v[procFiles] += float64(files)
			v[procSockets] += float64(sockets)
		}
		if want&groupReferenced != 0 {
			if n, ok := parsed(r, dir, "smaps_rollup", parseReferenced); ok {
				v[memReferenced] += n
			}
		}
		if want&groupSched != 0 {
			if sched, ok := parsed(r, dir, "schedstat", parseSchedstat); ok {
				c.sched = append(c.sched, processSched{pid: pid, sched: sched})
			}
		}
	}
}

// processesDir is where the processes of a cgroup are told. On v1 a process is
// in one cgroup of each hierarchy; that of cpu counts, so that none counts twice.
func (s *cgroupSource) processesDir(f *found, c *Cgroup) string {
	if s.h.cpu.point == "" {
		return c.proc
	}
	return f.dirs.cpu
}

func (s *cgroupSource) readMaxFiles(r *reader, pid int, v *values) {
	if n, ok := parsed(r, filepath.Join(s.procfs, strconv.Itoa(pid)), "limits", parseMaxFiles); ok {
		v[procMaxFiles] = n
	}
}

// descriptors counts the files that a process has open, and the sockets among
// them.
func (r *reader) descriptors(dir string) (files, sockets int) {
	var link [32]byte
	r.fail(r.entries(dir+"/fd", func(fd int, e entry) {
		files++
		n, err := unix.Readlinkat(fd, string(e.name), link[:])
		if err == nil && bytes.HasPrefix(link[:n], []byte("socket:")) {
			sockets++
		}
	}))
	return files, sockets
}

// processSched is the schedstat of one process.
type processSched struct {
	pid   int
	sched [3]float64
}

// schedules keeps the schedstat of processes from one pass to the next, so that
// the sums do not go back when a process ends.
type schedules map[string]*schedule // by the cgroup's id

type schedule struct {
	live  map[int][3]float64
	ended [3]float64
}

// take brings the sums of a pass up to date and writes them into the cgroups,
// parents with what is below them. What a cgroup that is gone had used stays
// with its parent.
func (all schedules) take(cgroups []Cgroup) {
	seen := make(map[string]*Cgroup, len(cgroups))
	for i := range cgroups {
		c := &cgroups[i]
		seen[c.ID] = c
		if all[c.ID] == nil {
			all[c.ID] = &schedule{live: map[int][3]float64{}}
		}
		all[c.ID].update(c.sched)
		c.values[schedRun], c.values[schedQueue], c.values[schedPeriods] = 0, 0, 0
	}
	for id, s := range all {
		if seen[id] != nil {
			continue
		}
		s.update(nil)
		for parent := parentOf(id); parent != ""; parent = parentOf(parent) {
			if seen[parent] != nil {
				add(&all[parent].ended, s.ended)
				break
			}
		}
		delete(all, id)
	}
	for i := range cgroups {
		sum := all[cgroups[i].ID].sum()
		for id := cgroups[i].ID; id != ""; id = parentOf(id) {
			if c := seen[id]; c != nil {
				c.values[schedRun] += sum[0] / 1e9
				c.values[schedQueue] += sum[1] / 1e9
				c.values[schedPeriods] += sum[2]
			}
		}
	}
}

// parentOf gives the id above, empty for that of the root.
func parentOf(id string) string {
	if id == "/" {
		return ""
	}
	return firstOf(id[:strings.LastIndexByte(id, '/')], "/")
}

func (s *schedule) update(now []processSched) {
	before := s.live
	s.live = make(map[int][3]float64, len(now))
	for _, p := range now {
		s.live[p.pid] = p.sched
		if old, ok := before[p.pid]; ok && old[0] > p.sched[0] {
			add(&s.ended, old) // another process by the same number
		}
	}
	for pid, old := range before {
		if _, ok := s.live[pid]; !ok {
			add(&s.ended, old)
		}
	}
}

func (s *schedule) sum() [3]float64 {
	sum := s.ended
	for _, one := range s.live {
		add(&sum, one)
	}
	return sum
}

func add(to *[3]float64, n [3]float64) {
	for i := range to {
		to[i] += n[i]
	}
}
