package container

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/strata-metrics/strata/exporters/container/cri"
)

// Pauses between tries to follow a runtime, and how long what it has forgotten
// stays known: its cgroup may have gone a moment before.
const (
	maxFollowPause = time.Minute
	// noEventsPause is for runtimes that have no events: one that does may
	// take its place.
	noEventsPause = 10 * time.Minute
	leavesAfter   = time.Minute
)

// maxKnown bounds the containers that events may make known.
const maxKnown = 1 << 16

// follow takes in what a runtime tells until the context ends. Where it tells
// nothing, lists at the sight of new cgroups do, as they do for what is missed
// between two streams.
func (d *directory) follow(ctx context.Context, f follower, exited func(exit)) {
	pause := minPause
	for {
		heard := false
		err := f.Follow(ctx, d.has, func(c change) {
			heard = true
			d.told(c)
			for _, one := range c.exits {
				exited(one)
			}
		})
		switch {
		case heard:
			pause = minPause
			d.mu.Lock()
			d.missed = true
			d.mu.Unlock()
		case errors.Is(err, cri.ErrUnimplemented):
			pause = noEventsPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxFollowPause)
	}
}

func (d *directory) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID[id] != nil
}

// told takes in a change. What is known of a container stays as it is: its
// labels must not change while it is shown.
func (d *directory) told(c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flight != nil {
		d.news = append(d.news, c.made...) // the list may have been made before
	}
	if !d.asked || d.absent {
		return // the first list has it too
	}
	if d.byID[c.deleted] != nil {
		d.leave(c.deleted, d.now())
	}
	d.merge(c.made)
}

// leave notes when a container was last known to be there. It is called with mu
// held.
func (d *directory) leave(id string, at time.Time) {
	if d.leaving == nil {
		d.leaving = map[string]time.Time{}
	}
	if _, ok := d.leaving[id]; !ok || at.IsZero() {
		d.leaving[id] = at
	}
}

// merge makes containers known beside those that are, and forgets those that
// left. Those who look at what was known before are not disturbed. It is called
// with mu held.
func (d *directory) merge(more []*Container) {
	left := map[string]bool{}
	for id, at := range d.leaving {
		if d.now().Sub(at) >= leavesAfter {
			left[id] = true
			delete(d.leaving, id)
		}
	}
	all := make([]*Container, 0, len(d.byID)+len(more))
	for _, c := range more {
		if d.byID[c.ID] == nil && len(d.byID)+len(all) < maxKnown {
			all = append(all, c)
			delete(d.unknown, c.ID)
		}
	}
	if len(all) == 0 && len(left) == 0 {
		return
	}
	for id, c := range d.byID {
		if !left[id] {
			all = append(all, c)
		}
	}
	d.byID, d.pods = index(all)
}

// catchUp makes known what was told while a list was made. It is called with mu
// held.
func (d *directory) catchUp() {
	d.merge(d.news)
	d.news = nil
}

// follow has the runtime's changes followed from now on, where it tells of them.
func (e *Exporter) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if f, ok := e.o.Identity.(follower); ok {
		running.Go(func() { e.directory.follow(ctx, f, e.endings.exited) })
	}
	e.unfollow = func() {
		cancel()
		running.Wait()
	}
}
