package container

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// NoEndpoint is the endpoint of a runtime that is not asked.
const NoEndpoint = "none"

// Bounds for those whose runtime is their own: they are not trusted.
const (
	maxUsers = 256
	userWait = 200 * time.Millisecond
)

// downFor is how long containers of Docker and podman wait for a runtime that
// fails, before they are shown by their cgroups alone.
const downFor = time.Minute

// runtimes are those beside the one with CRI: Docker, podman, and those of users
// (rootless), each with a directory of its own, so that one which fails or is
// slow costs the others nothing.
type runtimes struct {
	docker, podman *directory // nil when it is not asked
	open           func(path string, named bool) *directory
	users          string // the directory of the users' sockets
	userWait       time.Duration

	mu       sync.Mutex
	rootless map[string]*directory // by path
}

// newRuntimes makes the directories of the endpoints. Nothing is dialled yet.
func (e *Exporter) newRuntimes() (*runtimes, error) {
	r := &runtimes{users: filepath.Join(e.o.Rootfs, "run/user"), userWait: userWait, rootless: map[string]*directory{}}
	r.open = func(path string, named bool) *directory {
		report := func(err error) { e.answered(path, err) }
		return newDirectory(newDocker(path, named, e.o.Env), e.o.RuntimeTimeout, runtimeWait, e.o.Now, report)
	}
	for _, one := range []struct {
		to                   **directory
		flag, endpoint, path string
	}{
		{&r.docker, "--docker", e.o.DockerEndpoint, "run/docker.sock"},
		{&r.podman, "--podman", e.o.PodmanEndpoint, "run/podman/podman.sock"},
	} {
		switch path := filepath.Join(e.o.Rootfs, one.path); one.endpoint {
		case NoEndpoint:
		case "":
			*one.to = r.open(path, false)
		default:
			path, err := socketPath(one.flag, one.endpoint)
			if err != nil {
				return nil, err
			}
			*one.to = r.open(path, true)
		}
	}
	return r, nil
}

// of gives the directory of the runtime that made a container's cgroup, as its
// path tells. It is nil where the path does not tell or it has CRI. What is in
// the slice of a user is known to the runtime of that user alone, who must not
// speak for others.
func (r *runtimes) of(c *Cgroup) *directory {
	if c.containerID == "" || c.kubepods {
		return nil
	}
	base := c.ID[strings.LastIndexByte(c.ID, '/')+1:]
	above := c.ID[:len(c.ID)-len(base)]
	switch user, rootless := userOf(c.ID); {
	case strings.HasPrefix(base, "libpod-") && rootless:
		return r.rootlessAt(user, "podman/podman.sock", r.podman)
	case strings.HasPrefix(base, "docker-") && rootless:
		return r.rootlessAt(user, "docker.sock", r.docker)
	case rootless:
		return nil
	case strings.HasPrefix(base, "libpod-"):
		return r.podman
	case strings.HasPrefix(base, "docker-") || strings.HasSuffix(above, "/docker/"):
		return r.docker
	}
	return nil
}

// second gives the directory that is asked beside the one with CRI about a
// container whose path does not tell who made it: Docker may have been told to
// make its cgroup anywhere.
func (r *runtimes) second(c *Cgroup) *directory {
	if c.containerID == "" || c.kubepods || strings.HasSuffix(c.ID, ".scope") {
		return nil
	}
	if _, rootless := userOf(c.ID); rootless {
		return nil
	}
	return r.docker
}

// userOf tells whose slice a cgroup is in.
func userOf(id string) (uid string, ok bool) {
	_, rest, ok := strings.Cut(id, "/user-")
	if !ok {
		return "", false
	}
	uid, _, ok = strings.Cut(rest, ".slice/")
	if !ok || uid == "" || len(uid) > 10 || strings.Trim(uid, "0123456789") != "" {
		return "", false
	}
	return uid, true
}

// rootlessAt gives the directory of a user's runtime. It is not asked where that
// of the machine is not.
func (r *runtimes) rootlessAt(user, socket string, machine *directory) *directory {
	if machine == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := user + "/" + socket
	d := r.rootless[key]
	if d == nil && len(r.rootless) < maxUsers {
		d = r.open(filepath.Join(r.users, key), false)
		d.private, d.wait = true, r.userWait
		r.rootless[key] = d
	}
	return d
}

// each does something with all directories.
func (r *runtimes) each(do func(*directory)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range []*directory{r.docker, r.podman} {
		if d != nil {
			do(d)
		}
	}
	for _, d := range r.rootless {
		do(d)
	}
}

func (r *runtimes) close() (err error) {
	r.each(func(d *directory) { err = errors.Join(err, d.close()) })
	return err
}

// views is what is known of all containers, for one pass.
type views struct {
	view     // by CRI
	other    map[*directory]view
	runtimes *runtimes
	now      time.Time
}

// lookup asks the runtimes who runs in the cgroups, all at once.
func (e *Exporter) lookup(ctx context.Context, all []Cgroup) views {
	var ids []string // for CRI
	others := map[*directory][]string{}
	for i := range all {
		c := &all[i]
		switch d := e.runtimes.of(c); {
		case c.containerID == "":
		case d != nil:
			others[d] = append(others[d], c.containerID)
		default:
			if d := e.runtimes.second(c); d != nil {
				others[d] = append(others[d], c.containerID)
			}
			ids = append(ids, c.containerID)
		}
	}
	out := views{other: make(map[*directory]view, len(others)), runtimes: e.runtimes, now: e.o.Now()}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for d, wanted := range others {
		asking.Go(func() {
			d.keepOnly(wanted)
			v := d.lookup(ctx, wanted)
			mu.Lock()
			defer mu.Unlock()
			out.other[d] = v
		})
	}
	out.view = e.directory.lookup(ctx, ids)
	asking.Wait()
	return out
}

// viewOf gives what the runtime that made a cgroup knows. waits tells that the
// cgroup is not shown before that runtime has said who it is.
func (v *views) viewOf(c *Cgroup) (of view, waits bool) {
	failing := func(of view) bool { return of.failed != nil && v.now.Sub(of.failedSince) < downFor }
	if d := v.runtimes.of(c); d != nil {
		return v.other[d], failing(v.other[d])
	}
	second := v.other[v.runtimes.second(c)]
	if second.byID[c.containerID] == nil || v.view.byID[c.containerID] != nil {
		return v.view, v.view.failed != nil || failing(second)
	}
	return second, false
}

// anyFailed gives an error of a runtime, if there was one.
func (v *views) anyFailed() error {
	err := v.view.failed
	for _, one := range v.other {
		err = errors.Join(err, one.failed)
	}
	return err
}

// keepOnly forgets, after a while, all but these: their cgroups are gone.
func (d *directory) keepOnly(ids []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.byID) <= len(ids) && len(d.leaving) == 0 {
		return
	}
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		delete(d.leaving, id)
	}
	for id := range d.byID {
		if !there[id] {
			d.leave(id, d.now())
		}
	}
	d.merge(nil)
}

// forget drops a container that has ended: one of the same id may be started
// again and differ.
func (d *directory) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byID[id] != nil {
		d.leave(id, time.Time{})
		d.merge(nil)
	}
}

// answers are whether the runtimes answered when they were asked last, by their
// sockets. Of one that is not there it has nothing.
type answers struct {
	mu sync.Mutex
	ok map[string]bool
}

// answered takes note of an answer of one of the runtimes, CRI's being that
// without a path.
func (e *Exporter) answered(path string, err error) {
	h := &e.answers
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && !errors.Is(err, ErrNoRuntime) {
		e.own.runtimeErrors.Inc()
	}
	if path != "" && strings.HasPrefix(path, e.runtimes.users+"/") {
		return // a user's own affair
	}
	if h.ok == nil {
		h.ok = map[string]bool{}
	}
	if h.ok[path] = err == nil; errors.Is(err, ErrNoRuntime) {
		delete(h.ok, path)
		e.o.Logger.Debug("showing containers without this runtime", "reason", err)
	}
	up := len(h.ok) > 0
	for _, ok := range h.ok {
		up = up && ok
	}
	e.own.runtimeUp.Set(number(up))
}

// directoryOf gives the directory that may know a cgroup.
func (e *Exporter) directoryOf(c *Cgroup) *directory {
	if d := e.runtimes.of(c); d != nil {
		return d
	}
	return e.directory
}
