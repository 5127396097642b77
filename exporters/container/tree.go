package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupSource is the Source that reads the cgroup file systems.
type cgroupSource struct {
	h      hierarchies
	procfs string
	sysfs  string
	rootfs string
	now    func() time.Time
	keys   keys
	names  names
	boot   float64 // Unix time; no cgroup is older

	// starts are the times at which the cgroups of the last pass were made.
	// Read is not called twice at once, see Exporter.pass.
	starts map[string]start
	sched  schedules // nil until somebody wants them
	kept   map[string]*keptFiles
	budget atomic.Int64 // how many more files may stay open
	// watcher is nil where there are no real cgroups.
	watcher *watcher
}

// start is when a cgroup was made, and the inode by which it is told from a
// later one of the same name.
type start struct {
	inode uint64
	time  float64
}

// maxReaders bounds the readers of one pass: the kernel locks much of what
// they ask for, so more of them only wait.
const maxReaders = 4

func newCgroupSource(o Options) (*cgroupSource, error) {
	h, err := findHierarchies(o.Procfs, o.Cgroupfs)
	if err != nil {
		return nil, err
	}
	s := &cgroupSource{h: h, procfs: o.Procfs, sysfs: o.Sysfs, rootfs: o.Rootfs, now: o.Now, keys: newKeys()}
	s.budget.Store(filesToKeep())
	// Without /proc/stat the times of start are only less sure.
	var r reader
	defer r.close()
	boot, _ := parsed(&r, o.Procfs, "stat", parseBootTime)
	s.boot = float64(boot / 60 * 60)
	return s, nil
}

// found is a cgroup on the way from the walk to its reading.
type found struct {
	id    string
	rel   string // its path below the root of any hierarchy, empty for the root
	dirs  dirs
	start start
	kept  *keptFiles
}

// Read implements Source.
func (s *cgroupSource) Read(ctx context.Context, want group) (*Pass, error) {
	all, w, err := s.walk(ctx)
	if err != nil {
		return nil, fmt.Errorf("walking the cgroups: %w", err)
	}
	s.keep(all)
	s.learn(&w.reader, want)
	pass, err := s.readAll(ctx, all, want)
	if err != nil {
		return nil, err
	}
	if len(pass.Cgroups) > 0 && pass.Cgroups[0].ID == "/" {
		s.readFilesystems(&w.reader, &pass.Cgroups[0], want)
	}
	w.reader.close()
	pass.Failed += w.reader.failed
	pass.Err = errors.Join(w.reader.err, pass.Err)
	if want&groupSched != 0 {
		if s.sched == nil {
			s.sched = schedules{}
		}
		s.sched.take(pass.Cgroups)
	}
	s.starts = make(map[string]start, len(all))
	for _, f := range all {
		s.starts[f.id] = f.start
	}
	return pass, nil
}

// walk finds all cgroups, in the order of their ids. The reader counts what
// could not be looked into.
func (s *cgroupSource) walk(ctx context.Context) ([]found, *walker, error) {
	w := &walker{source: s, ctx: ctx, index: map[string]int{}}
	for _, point := range s.h.distinct() {
		w.root(point)
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if len(w.found) == 0 {
		return nil, nil, fmt.Errorf("%w at %s", ErrNoCgroups, strings.Join(s.h.distinct(), ", "))
	}
	slices.SortFunc(w.found, func(a, b found) int { return strings.Compare(a.id, b.id) })
	return w.found, w, nil
}

// readAll reads what the walk found, by a few readers side by side.
func (s *cgroupSource) readAll(ctx context.Context, all []found, want group) (*Pass, error) {
	pass := &Pass{Cgroups: make([]Cgroup, len(all))}
	live := make([]bool, len(all))
	readers := make([]reader, min(maxReaders, runtime.GOMAXPROCS(0), len(all)))
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			defer readers[i].close()
			for n := next.Add(1) - 1; n < int64(len(all)) && ctx.Err() == nil; n = next.Add(1) - 1 {
				c := &pass.Cgroups[n]
				c.ID, c.place = all[n].id, placeOf(all[n].id)
				live[n] = s.read(&readers[i], &all[n], c, want)
				c.values[specStarted], c.values[specCreated] = all[n].start.time, all[n].start.time
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading %d cgroups: %w", len(all), err)
	}
	for i := range readers {
		pass.Failed += readers[i].failed
		pass.Err = errors.Join(pass.Err, readers[i].err)
	}
	kept := pass.Cgroups[:0]
	for n := range pass.Cgroups {
		if live[n] {
			kept = append(kept, pass.Cgroups[n])
		}
	}
	pass.Cgroups = kept
	return pass, nil
}

// walker collects the cgroups of all hierarchies under their ids.
type walker struct {
	source *cgroupSource
	ctx    context.Context
	reader reader // for its count of failures
	found  []found
	index  map[string]int // id to found
	names  []string       // of directories on the way down
}

func (w *walker) root(point string) {
	var st unix.Stat_t
	if err := unix.Stat(point, &st); err != nil {
		w.reader.fail(&fs.PathError{Op: "stat", Path: point, Err: err})
		return
	}
	w.dir(point, point, "/", &st)
}

// dir takes in one cgroup and walks those below it. id is its path as shown,
// which differs from the real one where that is not UTF-8.
func (w *walker) dir(point, dir, id string, st *unix.Stat_t) {
	if w.ctx.Err() != nil || !w.add(point, dir, id, st) {
		return
	}
	// On a cgroup file system a directory of two links has none below it. On
	// others a directory may say 1, which tells nothing.
	if st.Nlink == 2 {
		return
	}
	// Names first, since the reader's directory is one at a time.
	first := len(w.names)
	w.reader.fail(w.reader.entries(dir, func(_ int, e entry) {
		// Mounts have cgroups of their own under systemd, which are no
		// containers.
		if e.dir && !bytes.HasSuffix(e.name, []byte(".mount")) {
			w.names = append(w.names, string(e.name))
		}
	}))
	names := w.names[first:]
	defer func() { w.names = w.names[:first] }()
	for _, name := range names {
		var below unix.Stat_t
		path := dir + "/" + name
		if err := unix.Lstat(path, &below); err != nil {
			w.reader.fail(&fs.PathError{Op: "stat", Path: path, Err: err})
			continue
		}
		w.dir(point, path, strings.TrimSuffix(id, "/")+"/"+printable(name), &below)
	}
}

// add notes that the cgroup is in the hierarchy at point. It is false for a
// second directory whose name is shown as the same id.
func (w *walker) add(point, dir, id string, st *unix.Stat_t) bool {
	i, ok := w.index[id]
	if !ok {
		i = len(w.found)
		w.index[id] = i
		w.found = append(w.found, found{id: id, rel: strings.TrimSuffix(dir[len(point):], "/")})
	}
	f, h := &w.found[i], &w.source.h
	fill := func(to *string, of hierarchy) bool {
		if of.point != point {
			return true
		}
		if *to != "" {
			return false
		}
		*to = dir
		return true
	}
	// The fields of one hierarchy are filled together, so any tells.
	if !fill(&f.dirs.cpuacct, h.cpuacct) || !fill(&f.dirs.cpu, h.cpu) || !fill(&f.dirs.memory, h.memory) {
		return false
	}
	if f.start.inode == 0 {
		f.start = w.source.startOf(id, dir, st)
	}
	return true
}

// startOf tells when a cgroup was made. The directory's time of change moves
// with each cgroup made below it, that of a file that nobody writes does not;
// and the kernel makes up both anew when it has forgotten the inode. So the
// earliest that was ever seen counts.
func (s *cgroupSource) startOf(id, dir string, st *unix.Stat_t) start {
	if known, ok := s.starts[id]; ok && known.inode == st.Ino {
		return known
	}
	made := seconds(st.Mtim)
	for _, name := range []string{"cgroup.clone_children", "cgroup.events"} {
		var file unix.Stat_t
		if unix.Stat(filepath.Join(dir, name), &file) == nil {
			made = min(made, seconds(file.Mtim))
		}
	}
	return start{inode: st.Ino, time: max(made, s.boot)}
}

func seconds(t unix.Timespec) float64 { return math.Floor(float64(t.Nano()) / 1e9) }
