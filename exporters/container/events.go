package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strata-metrics/strata/exporters/container/cri"
)

// change is what a runtime tells as it happens.
type change struct {
	made    []*Container // not known before
	deleted string       // the id of one that the runtime forgets, or empty
	exits   []exit
}

// exit is how a container ended.
type exit struct {
	id   string
	code int
}

// follower is an Identity that tells of changes as they happen.
type follower interface {
	// Follow tells of changes until the stream of them breaks, which is an
	// error, or the context ends. Of containers that are known it need not
	// tell that they were made.
	Follow(ctx context.Context, known func(id string) bool, told func(change)) error
}

// exiter is an Identity that tells how a container ended.
type exiter interface {
	// ExitCode is false while the container has not ended as far as the
	// runtime has seen. The error is errForgotten when it does not know it.
	ExitCode(ctx context.Context, id string) (code int, ended bool, err error)
}

// answerTime bounds one answer about one container or image.
const answerTime = 5 * time.Second

// maxImages bounds the names of images that a stream keeps.
const maxImages = 4096

// following is one stream of events of a runtime with CRI.
type following struct {
	listing
	names map[string]string // of images by id
	has   func(id string) bool
}

// Follow implements follower.
func (c *criRuntime) Follow(ctx context.Context, known func(id string) bool, told func(change)) error {
	client, at, err := c.connect()
	if err != nil {
		return err
	}
	f := &following{listing: listing{ctx: ctx, runtime: client}, names: map[string]string{}, has: known}
	asked, cancel := context.WithTimeout(ctx, answerTime)
	f.name, err = client.Name(asked)
	cancel()
	if err != nil {
		return fmt.Errorf("container runtime at %s: asking for its version: %w", at, err)
	}
	err = client.Events(ctx, func(event cri.Event) { told(f.change(&event)) })
	return fmt.Errorf("container runtime at %s: reading its events: %w", at, err)
}

// change makes one of an event. What the runtime does not tell in time is left
// out: then the list of everything is asked for it.
func (f *following) change(event *cri.Event) change {
	var out change
	for i := range event.Containers {
		if one := &event.Containers[i]; one.Exited {
			out.exits = append(out.exits, exit{one.ID, one.ExitCode})
		}
	}
	if event.Deleted {
		out.deleted = event.ContainerID
		return out
	}
	ctx, cancel := context.WithTimeout(f.ctx, answerTime)
	defer cancel()
	l := f.listing
	l.ctx = ctx
	if id := event.Sandbox.ID; id != "" && !f.has(id) {
		made, err := l.sandboxes([]cri.Sandbox{event.Sandbox})
		if err == nil {
			out.made = made
		}
	}
	sandbox := l.sandbox(&event.Sandbox) // for what the labels of containers lack
	for i := range event.Containers {
		from := &event.Containers[i]
		if f.has(from.ID) || !f.nameImage(ctx, imageID(from)) {
			continue
		}
		if c := l.container(from, sandbox, f.names); c != nil {
			out.made = append(out.made, c)
		}
	}
	return out
}

// nameImage finds the name by which a list would show an image. It is false
// when the runtime does not tell.
func (f *following) nameImage(ctx context.Context, id string) bool {
	if _, ok := f.names[id]; ok {
		return true
	}
	image, err := f.runtime.Image(ctx, id)
	if err != nil {
		return false
	}
	if len(f.names) >= maxImages {
		clear(f.names)
	}
	f.names[id] = image.Name
	return true
}

// ExitCode implements exiter.
func (c *criRuntime) ExitCode(ctx context.Context, id string) (code int, ended bool, err error) {
	client, at, err := c.connect()
	if err != nil {
		return 0, false, err
	}
	one, err := client.Container(ctx, id)
	switch {
	case errors.Is(err, cri.ErrNotFound):
		return 0, false, errForgotten
	case err != nil:
		return 0, false, fmt.Errorf("container runtime at %s: asking how %s ended: %w", at, id, err)
	}
	return one.ExitCode, one.Exited, nil
}
