package cri

import (
	"cmp"
	"context"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Container is what a runtime tells of a container, in lists, statuses and
// events.
type Container struct {
	ID, SandboxID string
	Name          string // that it has in its pod
	Attempt       uint32 // how often it was started before
	Image         string // by which it was asked for, mostly an id
	UserImage     string // the name that the user gave the image
	ImageRef      string
	ImageID       string
	Created       int64 // in nanoseconds since 1970
	Labels        map[string]string
	// Exited says that it has ended, with ExitCode. Only statuses and events
	// tell it.
	Exited   bool
	ExitCode int
}

// Sandbox is what a runtime tells of the sandbox of a pod.
type Sandbox struct {
	ID                   string
	Name, Namespace, UID string // of the pod
	Attempt              uint32
	Created              int64 // in nanoseconds since 1970
	Labels               map[string]string
}

// Image is what a runtime tells of an image.
type Image struct {
	ID string
	// Name is its first tag, or its first digest if it has none, or empty.
	Name string
}

// Layer is what a container has written into the layer of its own.
type Layer struct {
	ContainerID string
	Mountpoint  string  // of the file system where the layer is
	Used        float64 // in bytes; NaN if the runtime has not counted yet
	Inodes      float64 // NaN if they are not counted
}

// Event is a change that a runtime tells.
type Event struct {
	ContainerID string
	Deleted     bool // the runtime forgets the container
	Sandbox     Sandbox
	Containers  []Container // all of the sandbox
}

// Name asks for the name of the runtime, such as containerd.
func (c *Client) Name(ctx context.Context) (name string, err error) {
	err = c.ask(ctx, "RuntimeService/Version", nil, func(message []byte) error {
		return fields(message, func(n protowire.Number, v value) error {
			if n == 2 {
				name = v.text()
			}
			return nil
		})
	})
	return name, err
}

// Containers lists the containers.
func (c *Client) Containers(ctx context.Context) ([]Container, error) {
	return messages(ctx, c, "RuntimeService/ListContainers", nil, readContainer)
}

// Container asks for the status of a container. The error is ErrNotFound when the
// runtime does not know it (any more).
func (c *Client) Container(ctx context.Context, id string) (Container, error) {
	return last(messages(ctx, c, "RuntimeService/ContainerStatus", withText(nil, 1, id), readStatus))
}

// Sandboxes lists the sandboxes of pods.
func (c *Client) Sandboxes(ctx context.Context) ([]Sandbox, error) {
	return messages(ctx, c, "RuntimeService/ListPodSandbox", nil, func(message []byte) (Sandbox, error) { return readSandbox(message, 5) })
}

// SandboxInfo asks for what a runtime tells of a sandbox beyond CRI, by topics.
func (c *Client) SandboxInfo(ctx context.Context, id string) (info map[string]string, err error) {
	request := protowire.AppendVarint(protowire.AppendTag(withText(nil, 1, id), 2, protowire.VarintType), 1) // verbose
	err = c.ask(ctx, "RuntimeService/PodSandboxStatus", request, func(message []byte) error {
		return only(message, 2, func(entry []byte) error { return put(&info, entry) })
	})
	return info, err
}

// Images lists the images.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return messages(ctx, c, "ImageService/ListImages", nil, readImage)
}

// Image asks for an image by its id or one of its names. It has no ID when the
// runtime does not know it.
func (c *Client) Image(ctx context.Context, image string) (Image, error) {
	request := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), withText(nil, 1, image))
	return last(messages(ctx, c, "ImageService/ImageStatus", request, readImage))
}

// Layers lists what containers have written.
func (c *Client) Layers(ctx context.Context) ([]Layer, error) {
	return messages(ctx, c, "RuntimeService/ListContainerStats", nil, readLayer)
}

// messages asks for an answer whose first field is one message or a list of them.
func messages[T any](ctx context.Context, c *Client, method string, request []byte, read func(message []byte) (T, error)) (all []T, err error) {
	err = c.ask(ctx, method, request, func(answer []byte) error {
		return only(answer, 1, func(message []byte) error {
			one, err := read(message)
			all = append(all, one)
			return err
		})
	})
	return all, err
}

// last gives the one message there should be; of several the last counts, as
// protobuf has it.
func last[T any](all []T, err error) (one T, _ error) {
	if len(all) > 0 {
		one = all[len(all)-1]
	}
	return one, err
}

// Events tells of changes until the stream of them breaks, which is an error:
// io.EOF if the runtime ends it. Runtimes without events (containerd before 1.7,
// CRI-O before 1.26) say ErrUnimplemented.
func (c *Client) Events(ctx context.Context, told func(Event)) error {
	answer, err := c.call(ctx, "RuntimeService/GetContainerEvents", nil)
	if err != nil {
		return err
	}
	defer answer.close()
	for {
		message, err := answer.next()
		if err != nil {
			return err
		}
		event, err := readEvent(message)
		if err != nil {
			return err
		}
		told(event)
	}
}

func readContainer(message []byte) (c Container, err error) {
	err = fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			c.ID = v.text()
		case 2:
			c.SandboxID = v.text()
		case 3:
			return c.metadata(v.bytes)
		case 4:
			return c.image(v.bytes)
		case 5:
			c.ImageRef = v.text()
		case 7:
			c.Created = int64(v.number) //nolint:gosec // as protobuf has it
		case 8:
			return put(&c.Labels, v.bytes)
		case 10:
			c.ImageID = v.text()
		}
		return nil
	})
	return c, err
}

// stateExited is CONTAINER_EXITED.
const stateExited = 2

func readStatus(message []byte) (c Container, err error) {
	err = fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			c.ID = v.text()
		case 2:
			return c.metadata(v.bytes)
		case 3:
			c.Exited = v.number == stateExited
		case 4:
			c.Created = int64(v.number) //nolint:gosec // as protobuf has it
		case 7:
			c.ExitCode = int(int32(v.number)) //nolint:gosec // an int32 in the format of protobuf
		case 8:
			return c.image(v.bytes)
		case 9:
			c.ImageRef = v.text()
		case 12:
			return put(&c.Labels, v.bytes)
		case 17:
			c.ImageID = v.text()
		}
		return nil
	})
	return c, err
}

func (c *Container) metadata(message []byte) error {
	return fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			c.Name = v.text()
		case 2:
			c.Attempt = uint32(v.number) //nolint:gosec // as protobuf has it
		}
		return nil
	})
}

func (c *Container) image(message []byte) error {
	return fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			c.Image = v.text()
		case 18:
			c.UserImage = v.text()
		}
		return nil
	})
}

// readSandbox reads a sandbox of a list or its status, which have the labels in
// different fields.
func readSandbox(message []byte, labels protowire.Number) (s Sandbox, err error) {
	err = fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			s.ID = v.text()
		case 2:
			return s.metadata(v.bytes)
		case 4:
			s.Created = int64(v.number) //nolint:gosec // as protobuf has it
		case labels:
			return put(&s.Labels, v.bytes)
		}
		return nil
	})
	return s, err
}

func (s *Sandbox) metadata(message []byte) error {
	return fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			s.Name = v.text()
		case 2:
			s.UID = v.text()
		case 3:
			s.Namespace = v.text()
		case 4:
			s.Attempt = uint32(v.number) //nolint:gosec // as protobuf has it
		}
		return nil
	})
}

func readImage(message []byte) (i Image, err error) {
	var tag, digest string
	err = fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			i.ID = v.text()
		case 2:
			tag = cmp.Or(tag, v.text())
		case 3:
			digest = cmp.Or(digest, v.text())
		}
		return nil
	})
	i.Name = cmp.Or(tag, digest)
	return i, err
}

func readLayer(message []byte) (l Layer, err error) {
	l.Used, l.Inodes = math.NaN(), math.NaN()
	err = fields(message, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			return only(v.bytes, 1, func(id []byte) error {
				l.ContainerID = value{bytes: id}.text()
				return nil
			})
		case 4:
			return l.usage(v.bytes)
		}
		return nil
	})
	return l, err
}

// usage reads what is said of the file system where a layer is.
func (l *Layer) usage(message []byte) error {
	return fields(message, func(n protowire.Number, v value) (err error) {
		switch n {
		case 2:
			return only(v.bytes, 1, func(mountpoint []byte) error {
				l.Mountpoint = value{bytes: mountpoint}.text()
				return nil
			})
		case 3:
			l.Used, err = readCount(v.bytes)
		case 4:
			l.Inodes, err = readCount(v.bytes)
		}
		return err
	})
}

// readCount reads a number that is in a message of its own, so that it can be
// missing.
func readCount(message []byte) (count float64, err error) {
	err = fields(message, func(n protowire.Number, v value) error {
		if n == 1 {
			count = float64(v.number)
		}
		return nil
	})
	return count, err
}

// eventDeleted is CONTAINER_DELETED_EVENT.
const eventDeleted = 3

func readEvent(message []byte) (e Event, err error) {
	err = fields(message, func(n protowire.Number, v value) (err error) {
		switch n {
		case 1:
			e.ContainerID = v.text()
		case 2:
			e.Deleted = v.number == eventDeleted
		case 4:
			e.Sandbox, err = readSandbox(v.bytes, 7)
		case 5:
			var one Container
			one, err = readStatus(v.bytes)
			e.Containers = append(e.Containers, one)
		}
		return err
	})
	for i := range e.Containers {
		e.Containers[i].SandboxID = e.Sandbox.ID
	}
	return e, err
}
