package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watcher waits for the end of cgroups, to read them before they are removed:
// afterwards the kernel tells nothing, not even to who has their files open.
// inotify tells of new and removed directories and of processes that enter, a
// pidfd (and cgroup.events on v2) of processes that end. One goroutine sleeps
// in the kernel until there is something to do.
type watcher struct {
	source *cgroupSource // its own, that keeps no files
	point  string
	v2     bool
	hooks  hooks
	budget *atomic.Int64 // of open files, shared with the passes

	inotify, epoll, stop int
	byWD                 map[int]*watched
	byRel                map[string]*watched
	byLeader             map[int]*watched
	reader               reader
	buf                  []byte
	done                 chan struct{}
}

// hooks are who is told by a watcher, in its goroutine.
type hooks struct {
	exited    func(*Cgroup) // the last process; its cgroup is there
	ended     func(*ending)
	unwatched func() // a cgroup is not watched, as there are too many
}

// maxWatched bounds the cgroups that are watched.
const maxWatched = 16384

// errNotReal says that there are no cgroups but files that look like them.
var errNotReal = errors.New("not a cgroup file system")

// startWatcher watches the cgroups of the source from now on.
func startWatcher(of *cgroupSource, h hooks) (*watcher, error) {
	var st unix.Statfs_t
	point := of.h.cpuacct.point
	if err := unix.Statfs(point, &st); err != nil || st.Type != unix.CGROUP_SUPER_MAGIC && st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, errNotReal
	}
	w := &watcher{
		source: &cgroupSource{h: of.h, procfs: of.procfs, sysfs: of.sysfs, rootfs: of.rootfs, now: of.now, keys: of.keys, boot: of.boot},
		point:  point, v2: of.h.cpuacct.v2, hooks: h, budget: &of.budget, inotify: -1, epoll: -1, stop: -1,
		byWD: map[int]*watched{}, byRel: map[string]*watched{}, byLeader: map[int]*watched{},
		buf: make([]byte, 64<<10), done: make(chan struct{}),
	}
	w.source.learn(&w.reader, endGroups)
	if err := w.open(); err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watching %s for containers that end: %w; fs.inotify.max_user_instances may be too low", point, err)
	}
	go w.run()
	return w, nil
}

func (w *watcher) open() (err error) {
	if w.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return err
	}
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if w.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	return errors.Join(w.wait(w.inotify), w.wait(w.stop))
}

// wait has the loop told when a descriptor is ready. A process ends once.
func (w *watcher) wait(fd int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if fd != w.inotify && fd != w.stop {
		e.Events |= unix.EPOLLONESHOT
	}
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &e)
}

// close ends the loop and waits for that.
func (w *watcher) close() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(w.stop, one) // cannot fail: the counter is 0
	<-w.done
}

func (w *watcher) closeFiles() {
	for fd := range w.byLeader {
		w.release(fd)
	}
	for _, fd := range []int{w.inotify, w.epoll, w.stop} {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing is left to do
		}
	}
	w.reader.close()
}

func (w *watcher) run() {
	defer close(w.done)
	defer w.closeFiles()
	w.add("", false)
	w.countGone()
	var events [64]unix.EpollEvent
	for {
		n, err := retry(func() (int, error) { return unix.EpollWait(w.epoll, events[:], -1) })
		if err != nil {
			return
		}
		// Processes that ended come first: their cgroups may go any moment.
		told := false
		for _, e := range events[:n] {
			switch fd := int(e.Fd); {
			case fd == w.stop:
				return
			case fd == w.inotify:
				told = true
			default:
				if x := w.byLeader[fd]; x != nil {
					w.leaderEnded(x)
				}
			}
		}
		if told {
			w.drain()
		}
		w.reader.close() // not to hold a directory that is removed
	}
}

// drain takes what inotify has to tell, one buffer at a time, so that the ends
// of processes are not kept waiting by much news.
func (w *watcher) drain() {
	n, err := retry(func() (int, error) { return unix.Read(w.inotify, w.buf) })
	if err != nil {
		return // nothing was there
	}
	for rest := w.buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
		wd := int(int32(binary.NativeEndian.Uint32(rest)))
		mask := binary.NativeEndian.Uint32(rest[4:])
		size := min(unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(rest[12:])), len(rest))
		name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:size], []byte{0})
		w.event(wd, mask, string(name))
		rest = rest[size:]
	}
}

func (w *watcher) event(wd int, mask uint32, name string) {
	x := w.byWD[wd]
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		w.catchUp()
	case x == nil:
	case mask&unix.IN_ISDIR != 0 && mask&unix.IN_CREATE != 0:
		w.add(x.rel+"/"+name, true)
	case mask&unix.IN_ISDIR != 0 && mask&unix.IN_DELETE != 0:
		if below := w.byRel[x.rel+"/"+name]; below != nil {
			w.removed(below)
		}
	case mask&unix.IN_MODIFY == 0:
	case wd == x.eventsWD:
		w.populated(x)
	case name == "cgroup.procs" || name == "tasks":
		w.entered(x)
	}
}

// populated asks a cgroup of v2 whether there are processes in it or below.
func (w *watcher) populated(x *watched) {
	some, ok := false, false
	_, _ = parsed(&w.reader, x.dir, "cgroup.events", func(data []byte) (struct{}, error) {
		return struct{}{}, parseKeyed(data, func(key []byte, n uint64) {
			if string(key) == "populated" {
				some, ok = n > 0, true
			}
		})
	})
	switch {
	case some:
		x.lived, x.final = true, false
		w.entered(x)
	case ok && x.lived:
		w.readEnd(x)
	}
}

// catchUp looks at everything: more happened than the kernel could keep.
func (w *watcher) catchUp() {
	for _, x := range w.byRel {
		var st unix.Stat_t
		if errors.Is(unix.Stat(x.dir, &st), unix.ENOENT) {
			w.removed(x)
		}
	}
	w.add("", true)
	w.countGone()
}

// add watches a cgroup and those below it. fresh tells that it was made just
// now.
func (w *watcher) add(rel string, fresh bool) {
	if strings.HasSuffix(rel, ".mount") {
		return
	}
	dir := w.point + rel
	if len(w.byRel) >= maxWatched {
		w.hooks.unwatched()
		return
	}
	wd, err := unix.InotifyAddWatch(w.inotify, dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MODIFY|unix.IN_ONLYDIR)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			w.hooks.unwatched()
		} else if fresh {
			w.removed(w.missed(rel))
		}
		return
	}
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		st.Nlink = 0 // gone again, of which inotify tells
	}
	if w.byWD[wd] == nil {
		w.adopt(rel, wd, &st, fresh)
	}
	if st.Nlink == 2 || st.Nlink == 0 {
		return // there are none below it; of later ones inotify tells
	}
	entries, _ := os.ReadDir(dir) // what it gives before an error counts
	for _, e := range entries {
		if e.IsDir() {
			w.add(rel+"/"+e.Name(), fresh)
		}
	}
}

// adopt makes a cgroup known and waits for the end of what is in it.
func (w *watcher) adopt(rel string, wd int, st *unix.Stat_t, fresh bool) {
	x := w.missed(rel)
	if old := w.byRel[rel]; old != nil {
		w.removed(old) // another has its name
	}
	x.wd, x.lived, w.byWD[wd], w.byRel[rel] = wd, false, x, x
	if st.Nlink > 0 {
		x.start = w.source.startOf(x.id, x.dir, st).time
	}
	if !fresh {
		x.begin = time.Unix(int64(x.start), 0)
	}
	if w.v2 && rel != "" {
		events, err := unix.InotifyAddWatch(w.inotify, x.dir+"/cgroup.events", unix.IN_MODIFY)
		if err == nil {
			x.eventsWD, w.byWD[events] = events, x
		}
	}
	if rel == "" {
		return
	}
	if w.v2 {
		w.populated(x)
	}
	if x.leader >= 0 || w.follow(x) {
		x.lived = true
	} else if fresh && !w.v2 {
		w.cameAndWent(x)
	}
}

// missed is a cgroup of which nothing is known but that it was made.
func (w *watcher) missed(rel string) *watched {
	now := w.source.now()
	return &watched{
		rel: rel, id: "/" + printable(strings.TrimPrefix(rel, "/")), dir: w.point + rel, wd: -1, eventsWD: -1, leader: -1,
		begin: now, start: math.Floor(unixSeconds(now)), lived: true,
	}
}
