package container

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// keptFiles are the files of one cgroup that stay open from one pass to the
// next: to find and open them is most of the cost of reading them. The kernel
// makes their content anew for each reading from the start, and says ENODEV
// once the cgroup is gone, also where another has its name. They are used by
// one reader at a time.
type keptFiles struct {
	open   map[fileName]int
	budget *atomic.Int64
}

type fileName struct{ dir, name string }

// filesToKeep is how many files may stay open: half of what the process may
// open, so that connections and the rest find room.
func filesToKeep() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int64(min(limit.Cur, 1<<20) / 2)
}

// get gives the open file, if there is one.
func (k *keptFiles) get(dir, name string) (int, bool) {
	if k == nil {
		return 0, false
	}
	fd, ok := k.open[fileName{dir, name}]
	return fd, ok
}

// put keeps a file open, or says that it cannot.
func (k *keptFiles) put(dir, name string, fd int) bool {
	if k == nil {
		return false
	}
	if k.budget.Add(-1) < 0 {
		k.budget.Add(1)
		return false
	}
	k.open[fileName{dir, name}] = fd
	return true
}

// drop closes a file.
func (k *keptFiles) drop(dir, name string) {
	at := fileName{dir, name}
	if fd, ok := k.open[at]; ok {
		_ = unix.Close(fd) // nothing was written
		delete(k.open, at)
		k.budget.Add(1)
	}
}

// close closes all.
func (k *keptFiles) close() {
	for at := range k.open {
		k.drop(at.dir, at.name)
	}
}

// keep finds the files of each cgroup of a pass that are open, and closes those
// of cgroups that are gone.
func (s *cgroupSource) keep(all []found) {
	now := make(map[string]*keptFiles, len(all))
	for i := range all {
		f := &all[i]
		f.kept = s.kept[f.id]
		if f.kept == nil {
			f.kept = &keptFiles{open: map[fileName]int{}, budget: &s.budget}
		}
		now[f.id] = f.kept
	}
	for id, k := range s.kept {
		if now[id] == nil {
			k.close()
		}
	}
	s.kept = now
}

// Close ends the watcher and closes the files that stay open. Read must not be called afterwards.
func (s *cgroupSource) Close() error {
	if s.watcher != nil {
		s.watcher.close()
		s.watcher = nil
	}
	s.keep(nil)
	return nil
}
