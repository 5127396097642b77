package container

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Container is what a runtime tells of a container or of a pod's sandbox.
type Container struct {
	ID      string // 64 hexadecimal digits, found in the path of its cgroup
	Name    string // the label name of cAdvisor
	Sandbox bool
	// Namespace, Pod, UID and Container are Kubernetes' names. Container is
	// empty for a sandbox, but POD for CRI-O's.
	Namespace, Pod, UID, Container string
	Image                          string
	Labels                         map[string]string
	Env                            map[string]string // that is to be shown, by name in lower case
	Created                        time.Time
	PID                            int  // of a process in it as the runtime sees it; 0 if unknown
	Network                        bool // it has a network of its own, as sandboxes have

	shown atomic.Pointer[shownLabels] // made of the rest
}

// Identity tells what runs in the cgroups. It is implemented for CRI, and for
// Docker and podman.
type Identity interface {
	// Containers lists all that the runtime knows, or at least those in known:
	// it gives what an earlier list said, so that what cannot change need not be
	// asked again, and nil for those that are wanted. A list beside an error
	// counts, but lacks something. It must end soon after its context.
	Containers(ctx context.Context, known map[string]*Container) ([]*Container, error)
	// Close ends the connection.
	Close() error
}

// ErrNoRuntime is returned by an Identity when there is no runtime on the
// machine, or none that can be asked: containers are then shown by their
// cgroups alone.
var ErrNoRuntime = errors.New("no container runtime")

// directory keeps the last list of a runtime and asks anew when a container
// turns up that is not in it.
type directory struct {
	source  Identity
	timeout time.Duration // of one list
	wait    time.Duration // of one lookup for a list
	now     func() time.Time
	report  func(error) // after each list
	private bool        // of a user, who is not trusted

	mu     sync.Mutex
	byID   map[string]*Container
	pods   map[string]*Container // sandboxes by uid; the newest of each
	asked  bool                  // a list has ended
	absent bool                  // the last list said ErrNoRuntime
	failed error                 // of the last list
	since  time.Time             // when lists began to fail
	flight *flight               // the list under way, or nil

	// unknown are the containers that the last good list did not have.
	unknown map[string]bool
	// retry is when to ask again though no new container has turned up, and
	// pause what lies between such lists.
	retry time.Time
	pause time.Duration

	// news were told while a list was under way, leaving is when the runtime
	// forgot what is still known, and missed says that something may have
	// happened untold, see follow.go.
	news    []*Container
	leaving map[string]time.Time
	missed  bool

	layers layers // see layers.go
}

func newDirectory(source Identity, timeout, wait time.Duration, now func() time.Time, report func(error)) *directory {
	return &directory{source: source, timeout: timeout, wait: wait, now: now, report: report, pause: minPause}
}

// flight is one list under way.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// Pauses between lists that bring nothing new.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// view is what is known of the containers, for one pass. The maps are not
// changed any more.
type view struct {
	byID   map[string]*Container
	pods   map[string]*Container
	absent bool  // no runtime: cgroups alone are all there is
	failed error // why the view may lack what the runtime knows

	failedSince time.Time
}

// errPending says that a list takes longer than a scrape can wait.
var errPending = errors.New("the container runtime has not answered yet")

// lookup gives what is known of the containers with these ids. When it lacks
// one it waits for a new list, but not for long: a slow list goes on for the
// next lookup.
func (d *directory) lookup(ctx context.Context, ids []string) view {
	d.mu.Lock()
	flight := d.flight
	if flight == nil && d.needed(ids) {
		flight = d.launch(ids)
	}
	d.mu.Unlock()
	if flight != nil {
		ctx, cancel := context.WithTimeout(ctx, d.wait)
		defer cancel()
		select {
		case <-flight.done:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := view{byID: d.byID, pods: d.pods, absent: d.absent, failed: d.failed, failedSince: d.since}
	if d.flight != nil && v.failed == nil {
		v.failed, v.failedSince = errPending, d.now()
	}
	return v
}

// learn has the runtime asked about a container that is not known, without
// waiting for its answer.
func (d *directory) learn(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ids := []string{id}; d.flight == nil && d.byID[id] == nil && d.needed(ids) {
		d.launch(ids)
	}
}

// peek gives what is known of a cgroup.
func (d *directory) peek(c *Cgroup) (who, pod *Container) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID[c.containerID], d.pods[c.podUID]
}

// needed tells whether a list could say more than the last one. It is called
// with mu held.
func (d *directory) needed(ids []string) bool {
	if !d.asked {
		return true
	}
	again := !d.now().Before(d.retry)
	if d.failed != nil || d.absent {
		return again
	}
	if d.missed {
		return true
	}
	for _, id := range ids {
		switch {
		case d.byID[id] != nil:
		case !d.unknown[id]:
			d.pause = minPause
			return true
		case again:
			return true
		}
	}
	return false
}

// launch starts a list. It is called with mu held.
func (d *directory) launch(ids []string) *flight {
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	d.flight, d.missed = f, false
	known := d.byID
	for i, id := range ids {
		if i == 0 {
			known = maps.Clone(known)
		}
		if known == nil {
			known = map[string]*Container{}
		}
		if known[id] == nil {
			known[id] = nil
		}
	}
	go func() {
		defer close(f.done)
		defer cancel()
		all, err := d.source.Containers(ctx, known)
		d.report(err)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.flight, d.asked = nil, true
		d.take(all, ids, err)
		d.catchUp()
	}()
	return f
}

// take keeps a list that was made for ids. After an error the last one stays.
// It is called with mu held.
func (d *directory) take(all []*Container, ids []string, err error) {
	if d.failed == nil {
		d.since = d.now()
	}
	d.absent, d.failed = errors.Is(err, ErrNoRuntime), err
	switch {
	case d.absent:
		d.failed, d.byID, d.pods, d.unknown = nil, nil, nil, nil
	case err == nil:
		d.byID, d.pods = index(all)
		d.unknown = map[string]bool{}
		for _, id := range ids {
			if d.byID[id] == nil {
				d.unknown[id] = true
			}
		}
		if len(d.unknown) == 0 {
			d.pause = minPause
		}
	case all != nil:
		d.byID, d.pods = index(all)
	}
	d.pause = max(d.pause, minPause)
	d.retry = d.now().Add(d.pause)
	d.pause = min(2*d.pause, maxPause)
}

// index orders a list by id, and its sandboxes by the pod's uid. Of several
// sandboxes of one pod the newest counts.
func index(all []*Container) (byID, pods map[string]*Container) {
	byID, pods = make(map[string]*Container, len(all)), map[string]*Container{}
	for _, c := range all {
		byID[c.ID] = c
		if !c.Sandbox || c.UID == "" {
			continue
		}
		if old := pods[c.UID]; old == nil || old.Created.Before(c.Created) {
			pods[c.UID] = c
		}
	}
	return byID, pods
}

// close ends the list under way and the connection.
func (d *directory) close() error {
	d.mu.Lock()
	flight := d.flight
	d.mu.Unlock()
	if flight != nil {
		flight.cancel()
		<-flight.done
	}
	d.layers.close()
	return d.source.Close()
}
