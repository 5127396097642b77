package container

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
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
	images runtimeapi.ImageServiceClient
	names  map[string]string // of images by id
	has    func(id string) bool
}

// Follow implements follower. containerd has events from 1.7 on, CRI-O from
// 1.26 on; others say Unimplemented.
func (c *cri) Follow(ctx context.Context, known func(id string) bool, told func(change)) error {
	conn, at, err := c.connect()
	if err != nil {
		return err
	}
	f := &following{listing: listing{ctx: ctx, runtime: runtimeapi.NewRuntimeServiceClient(conn)},
		images: runtimeapi.NewImageServiceClient(conn), names: map[string]string{}, has: known}
	asked, cancel := context.WithTimeout(ctx, answerTime)
	version, err := f.runtime.Version(asked, &runtimeapi.VersionRequest{})
	cancel()
	if err != nil {
		return fmt.Errorf("container runtime at %s: asking for its version: %w", at, err)
	}
	f.name = version.GetRuntimeName()
	stream, err := f.runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return fmt.Errorf("container runtime at %s: asking for its events: %w", at, err)
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("container runtime at %s: reading its events: %w", at, err)
		}
		told(f.change(event))
	}
}

// change makes one of an event. What the runtime does not tell in time is left
// out: then the list of everything is asked for it.
func (f *following) change(event *runtimeapi.ContainerEventResponse) change {
	var out change
	for _, one := range event.GetContainersStatuses() {
		if one.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED {
			out.exits = append(out.exits, exit{one.GetId(), int(one.GetExitCode())})
		}
	}
	if event.GetContainerEventType() == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		out.deleted = event.GetContainerId()
		return out
	}
	ctx, cancel := context.WithTimeout(f.ctx, answerTime)
	defer cancel()
	l := f.listing
	l.ctx = ctx
	pod := event.GetPodSandboxStatus()
	item := &runtimeapi.PodSandbox{Id: pod.GetId(), Metadata: pod.GetMetadata(), CreatedAt: pod.GetCreatedAt(), Labels: pod.GetLabels()}
	if item.GetId() != "" && !f.has(item.GetId()) {
		made, err := l.sandboxes([]*runtimeapi.PodSandbox{item})
		if err == nil {
			out.made = made
		}
	}
	sandbox := l.sandbox(item) // for what the labels of containers lack
	for _, one := range event.GetContainersStatuses() {
		from := &runtimeapi.Container{Id: one.GetId(), PodSandboxId: pod.GetId(), Metadata: one.GetMetadata(), Image: one.GetImage(),
			ImageRef: one.GetImageRef(), ImageId: one.GetImageId(), CreatedAt: one.GetCreatedAt(), Labels: one.GetLabels()}
		if f.has(from.GetId()) || !f.nameImage(ctx, imageID(from)) {
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
	answer, err := f.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: id}})
	if err != nil {
		return false
	}
	if len(f.names) >= maxImages {
		clear(f.names)
	}
	f.names[id] = firstOf(slices.Concat(answer.GetImage().GetRepoTags(), answer.GetImage().GetRepoDigests())...)
	return true
}

// ExitCode implements exiter.
func (c *cri) ExitCode(ctx context.Context, id string) (code int, ended bool, err error) {
	conn, at, err := c.connect()
	if err != nil {
		return 0, false, err
	}
	answer, err := runtimeapi.NewRuntimeServiceClient(conn).ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	switch {
	case status.Code(err) == codes.NotFound:
		return 0, false, errForgotten
	case err != nil:
		return 0, false, fmt.Errorf("container runtime at %s: asking how %s ended: %w", at, id, err)
	}
	one := answer.GetStatus()
	return int(one.GetExitCode()), one.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED, nil
}
