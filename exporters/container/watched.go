package container

import (
	"errors"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a cgroup whose end is waited for.
type watched struct {
	rel, id, dir string
	wd           int // watch of the directory
	eventsWD     int // watch of its cgroup.events, -1 on v1
	leader       int // pidfd of one of its processes, -1 for none
	begin        time.Time
	start        float64

	lived bool // it had processes of its own
	final bool // last was read after the last process ended
	last  *Cgroup
	gone  float64 // CPU time of those below it that have gone, in seconds; NaN if unknown
}

// entered notes that a process came into the cgroup.
func (w *watcher) entered(x *watched) {
	if x.rel == "" {
		return
	}
	if x.leader < 0 && !w.follow(x) {
		if !w.v2 {
			w.cameAndWent(x)
		}
		return
	}
	x.lived, x.final = true, false
	if p := w.byRel[parentRel(x.rel)]; p != nil {
		p.final = false
	}
}

// cameAndWent looks at a cgroup that a process may have entered of which nothing
// is left: also opening cgroup.procs to write to it is told as a change.
func (w *watcher) cameAndWent(x *watched) {
	before := x.last
	switch {
	case !w.readLast(x):
		x.lived = true // gone: only what was read before counts
	case before == nil && x.last.values[cpuUsage] == 0:
		x.last = nil
	case before == nil || x.last.values[cpuUsage] > before.values[cpuUsage]:
		x.lived = true
		w.readEnd(x)
	}
}

// firstProcess gives a process of the cgroup, 0 where there is none that can be
// seen from here, -1 where the cgroup does not tell.
func (w *watcher) firstProcess(x *watched) int {
	pid, ok := parsed(&w.reader, x.dir, "cgroup.procs", parsePIDs)
	if !ok {
		return -1
	}
	return pid
}

// followTries bounds the processes that end while they are looked at.
const followTries = 8

// follow waits for the end of one of the cgroup's processes. It is false when
// there is none.
func (w *watcher) follow(x *watched) bool {
	for range followTries {
		pid := w.firstProcess(x)
		if pid <= 0 {
			return false
		}
		if w.budget.Add(-1) < 0 {
			w.budget.Add(1)
			return false
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			w.budget.Add(1)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			return false
		}
		if w.wait(fd) != nil {
			w.release(fd)
			return false
		}
		x.leader, w.byLeader[fd] = fd, x
		return true
	}
	return false
}

// release closes a pidfd, which also ends the waiting for it.
func (w *watcher) release(fd int) {
	_ = unix.Close(fd) // nothing was written
	w.budget.Add(1)
}

// unfollow gives up the process that is waited for.
func (w *watcher) unfollow(x *watched) {
	if x.leader >= 0 {
		delete(w.byLeader, x.leader)
		w.release(x.leader)
		x.leader = -1
	}
}

// leaderEnded reads the cgroup at once if that was its last process: the cgroup
// may be removed at any time.
func (w *watcher) leaderEnded(x *watched) {
	w.unfollow(x)
	if !w.follow(x) {
		w.readEnd(x)
	}
}

// readEnd reads a cgroup whose last process has ended, as far as is known, and
// the one above it, which may be a pod and end with it.
func (w *watcher) readEnd(x *watched) {
	x.final = w.readLast(x) || x.final // which entered takes back
	if x.final {
		w.hooks.exited(x.last)
	}
	if p := w.byRel[parentRel(x.rel)]; p != nil && p.rel != "" && p.leader < 0 {
		p.final = w.readLast(p) || p.final
	}
}

// endGroups are read of a cgroup at its end: what is counted in itself.
const endGroups = groupCPU | groupPerCPU | groupMemory | groupOOM

// readLast reads a cgroup. It is false when that is not all of it.
func (w *watcher) readLast(x *watched) bool {
	c := &Cgroup{ID: x.id, place: placeOf(x.id)}
	from := found{id: x.id, rel: x.rel, dirs: w.dirsOf(x.rel)}
	if !w.source.read(&w.reader, &from, c, endGroups) || math.IsNaN(c.values[cpuUsage]) {
		return false
	}
	c.values[specStarted], c.values[specCreated] = x.start, x.start
	before := x.last
	x.last = c
	if w.whole(c) || from.dirs.there() {
		return true
	}
	if before != nil {
		c.values.keep(&before.values)
	}
	return false
}

// whole says that nothing is missing of what is read last. Where something is, it
// may have been removed on the way, or the kernel does not have it. A file that is
// not there reads as 0, which the greatest use of memory is of none that lived.
func (w *watcher) whole(c *Cgroup) bool {
	if w.source.h.memory.point == "" {
		return true
	}
	return c.values[memMaxUsage] > 0 && !math.IsNaN(c.values[memUsage]) && !math.IsNaN(c.values[oomKills])
}

// keep takes from an earlier reading what a later one lacks, or has less of: of
// what has ended only counts and the greatest use are shown.
func (v *values) keep(before *values) {
	for f := range v {
		if math.IsNaN(v[f]) || v[f] < before[f] {
			v[f] = before[f]
		}
	}
}

// there says that a cgroup has not been removed from any hierarchy.
func (d dirs) there() bool {
	var st unix.Stat_t
	for _, dir := range []string{d.cpuacct, d.cpu, d.memory} {
		if dir != "" && unix.Stat(dir, &st) != nil {
			return false
		}
	}
	return true
}

func (w *watcher) dirsOf(rel string) dirs {
	at := func(h hierarchy) string {
		if h.point == "" {
			return ""
		}
		return h.point + rel
	}
	h := &w.source.h
	return dirs{cpuacct: at(h.cpuacct), cpu: at(h.cpu), memory: at(h.memory)}
}

// removed says what a cgroup had used that is gone.
func (w *watcher) removed(x *watched) {
	w.forget(x)
	told := math.NaN()
	if above := w.byRel[parentRel(x.rel)]; above != nil && above.rel != "" {
		told = w.settle(x, above)
	}
	if !x.lived && x.last == nil {
		return // nothing ran in it
	}
	if x.last == nil {
		x.last = w.unread(x)
	}
	if used := &x.last.values[cpuUsage]; x.lived && told > 0 && (math.IsNaN(*used) || *used < told) {
		*used = told
	}
	e := &ending{cgroup: *x.last, complete: x.final, added: w.source.now(), shown: map[group]time.Time{}}
	e.run = e.cgroup.At.Sub(x.begin).Seconds()
	w.hooks.ended(e)
}

// forget ends the waiting for a cgroup.
func (w *watcher) forget(x *watched) {
	w.unfollow(x)
	delete(w.byRel, x.rel)
	for _, wd := range []int{x.wd, x.eventsWD} {
		if w.byWD[wd] == x {
			delete(w.byWD, wd)
			_, _ = unix.InotifyRmWatch(w.inotify, uint32(wd)) // the kernel may have done so
		}
	}
}

// parentRel gives the path above, empty for that of the root.
func parentRel(rel string) string { return rel[:max(strings.LastIndexByte(rel, '/'), 0)] }
