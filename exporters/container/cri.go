package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/exporters/container/cri"
)

// Labels by which the kubelet tells a runtime what it runs.
const (
	labelPod       = "io.kubernetes.pod.name"
	labelNamespace = "io.kubernetes.pod.namespace"
	labelUID       = "io.kubernetes.pod.uid"
	labelContainer = "io.kubernetes.container.name"
	// labelKind is containerd's own, which cAdvisor shows.
	labelKind = "io.cri-containerd.kind"
)

// Names that the runtimes give themselves.
const (
	runtimeContainerd = "containerd"
	runtimeCRIO       = "cri-o"
)

// maxAsked bounds the requests to the runtime under way at once.
const maxAsked = 8

// criRuntime is the Identity of a runtime with the Container Runtime Interface v1.
type criRuntime struct {
	endpoint string   // empty: the first of sockets that exists
	sockets  []string // paths

	mu     sync.Mutex // guards client; Containers is not called twice at once
	client *cri.Client
	at     string // where client asks
	// images are the names by which images are shown, by id.
	images map[string]string
}

// wellKnownSockets are tried when no endpoint is given.
func wellKnownSockets(rootfs string) []string {
	return []string{
		filepath.Join(rootfs, "/run/containerd/containerd.sock"),
		filepath.Join(rootfs, "/run/crio/crio.sock"),
	}
}

// newCRI makes an Identity for an endpoint, a path of a socket with or without
// unix://. Nothing is dialled yet.
func newCRI(endpoint, rootfs string) (*criRuntime, error) {
	path, unix := strings.CutPrefix(endpoint, "unix://")
	if endpoint != "" && !filepath.IsAbs(path) || !unix && strings.Contains(endpoint, "://") {
		return nil, fmt.Errorf("container runtime endpoint %q: want unix:///PATH of a socket", endpoint)
	}
	return &criRuntime{endpoint: path, sockets: wellKnownSockets(rootfs)}, nil
}

// connect gives a client for the endpoint, and a new one when the socket that was
// found has been replaced by another.
func (c *criRuntime) connect() (client *cri.Client, path string, err error) {
	if path = c.endpoint; path == "" {
		if path, err = c.find(); err != nil {
			return nil, "", err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil || c.at != path {
		if c.client != nil {
			c.client.Close() // its socket is gone
		}
		c.client, c.at = cri.NewClient(path), path
	}
	return c.client, path, nil
}

// find gives the first of the well-known sockets that is there.
func (c *criRuntime) find() (string, error) {
	for _, path := range c.sockets {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if errors.Is(err, fs.ErrPermission) {
			return "", fmt.Errorf("%w that may be asked: %w; run as root or set --container-runtime-endpoint", ErrNoRuntime, err)
		}
	}
	return "", fmt.Errorf("%w: none of %s exists", ErrNoRuntime, strings.Join(c.sockets, ", "))
}

// Close implements Identity.
func (c *criRuntime) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
	}
	return nil
}

// Containers implements Identity.
func (c *criRuntime) Containers(ctx context.Context, known map[string]*Container) ([]*Container, error) {
	client, at, err := c.connect()
	if err != nil {
		return nil, err
	}
	ask := listing{ctx: ctx, runtime: client, known: known}
	all, err := ask.list(&c.images)
	if err == nil {
		return all, nil
	}
	// A socket that merely happens to be there may belong to a containerd
	// that only Docker uses, or be closed to us.
	if c.endpoint == "" && (errors.Is(err, cri.ErrUnimplemented) || errors.Is(err, fs.ErrPermission)) {
		return nil, fmt.Errorf("%w that can be asked at %s: %w", ErrNoRuntime, at, err)
	}
	return nil, fmt.Errorf("container runtime at %s: %w", at, err)
}

// listing is one list of everything.
type listing struct {
	ctx     context.Context
	runtime *cri.Client
	known   map[string]*Container
	name    string // the runtime's
}

func (l *listing) list(images *map[string]string) ([]*Container, error) {
	var err error
	if l.name, err = l.runtime.Name(l.ctx); err != nil {
		return nil, fmt.Errorf("asking for its version: %w", err)
	}
	// Containers first: of each that is listed the sandbox exists, and is
	// listed too unless it was removed since.
	containers, err := l.runtime.Containers(l.ctx)
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	sandboxes, err := l.runtime.Sandboxes(l.ctx)
	if err != nil {
		return nil, fmt.Errorf("listing sandboxes: %w", err)
	}
	if err := l.nameImages(containers, images); err != nil {
		return nil, err
	}
	all, err := l.sandboxes(sandboxes)
	if err != nil {
		return nil, err
	}
	bySandbox, _ := index(all)
	for i := range containers {
		if c := l.container(&containers[i], bySandbox[containers[i].SandboxID], *images); c != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// nameImages lists the images when a container is of one that has no name yet.
func (l *listing) nameImages(containers []cri.Container, images *map[string]string) error {
	if !slices.ContainsFunc(containers, func(c cri.Container) bool {
		_, ok := (*images)[imageID(&c)]
		return !ok && l.known[c.ID] == nil
	}) {
		return nil
	}
	all, err := l.runtime.Images(l.ctx)
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	names := make(map[string]string, len(all))
	for _, image := range all {
		if image.Name != "" {
			names[image.ID] = image.Name
		}
	}
	*images = names
	return nil
}

func imageID(c *cri.Container) string { return firstOf(c.ImageID, c.ImageRef, c.Image) }

// container makes a Container of what the runtime says, or nil when it says too
// little to tell what it is. The image keeps the name it was first seen with.
func (l *listing) container(from *cri.Container, sandbox *Container, images map[string]string) *Container {
	labels := from.Labels
	c := &Container{ID: from.ID, Name: from.ID, Created: time.Unix(0, from.Created),
		Namespace: labels[labelNamespace], Pod: labels[labelPod], UID: labels[labelUID],
		Container: firstOf(labels[labelContainer], from.Name)}
	if sandbox != nil {
		c.Namespace, c.Pod, c.UID = firstOf(c.Namespace, sandbox.Namespace), firstOf(c.Pod, sandbox.Pod), firstOf(c.UID, sandbox.UID)
	}
	if c.ID == "" || c.Container == "" || c.Pod == "" {
		return nil
	}
	c.Image = firstOf(images[imageID(from)], from.UserImage, from.Image)
	if old := l.known[c.ID]; old != nil && !old.Sandbox {
		c.Image = old.Image
	}
	c.Labels = labels
	switch l.name {
	case runtimeContainerd:
		c.Labels = with(labels, labelKind, "container")
	case runtimeCRIO:
		c.Name = crioName(c.Container, c, from.Attempt)
	}
	return c
}

// sandboxes makes Containers of the sandboxes, asking for what the list does
// not tell of those that are new.
func (l *listing) sandboxes(items []cri.Sandbox) ([]*Container, error) {
	all := make([]*Container, len(items))
	group, ctx := errgroup.WithContext(l.ctx)
	group.SetLimit(maxAsked)
	for i := range items {
		c := l.sandbox(&items[i])
		if c == nil {
			continue
		}
		if old := l.known[c.ID]; old != nil && old.Sandbox {
			c.Image, c.PID = old.Image, old.PID
			all[i] = c
			continue
		}
		group.Go(func() error {
			info, err := l.runtime.SandboxInfo(ctx, c.ID)
			switch {
			case errors.Is(err, cri.ErrNotFound):
				return nil // removed since it was listed
			case err != nil && !errors.Is(err, cri.ErrRefused) && !errors.Is(err, cri.ErrUnimplemented):
				return fmt.Errorf("asking for sandbox %s: %w", c.ID, err)
			}
			// Its image is a nicety: who it is the list told.
			c.Image, c.PID = parseSandboxInfo([]byte(info["info"]))
			all[i] = c
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(c *Container) bool { return c == nil }), nil
}

func (l *listing) sandbox(from *cri.Sandbox) *Container {
	c := &Container{ID: from.ID, Name: from.ID, Sandbox: true, Created: time.Unix(0, from.Created),
		Namespace: from.Namespace, Pod: from.Name, UID: from.UID, Labels: from.Labels}
	if c.ID == "" || c.Pod == "" {
		return nil
	}
	switch l.name {
	case runtimeContainerd:
		c.Labels = with(c.Labels, labelKind, "sandbox")
	case runtimeCRIO:
		c.Container = "POD"
		c.Name = crioName(c.Container, c, from.Attempt)
		c.Labels = with(c.Labels, labelContainer, "POD")
	}
	return c
}

// crioName is the name that CRI-O gives, which cAdvisor shows.
func crioName(container string, c *Container, attempt uint32) string {
	return fmt.Sprintf("k8s_%s_%s_%s_%s_%d", container, c.Pod, c.Namespace, c.UID, attempt)
}

// with adds a label to a map of the answer, which is ours.
func with(labels map[string]string, name, value string) map[string]string {
	if labels == nil {
		labels = map[string]string{}
	}
	labels[name] = value
	return labels
}

// parseSandboxInfo takes the image and the process out of the JSON that
// containerd and CRI-O give of a sandbox when asked to be verbose. It is not
// part of CRI: what is missing or different is empty.
func parseSandboxInfo(data []byte) (image string, pid int) {
	var info struct {
		Image any     `json:"image"`
		PID   float64 `json:"pid"`
	}
	// What was read before an error stands.
	_ = json.Unmarshal(data, &info)
	image, _ = info.Image.(string)
	if info.PID >= 1 && info.PID <= 1<<31-1 {
		pid = int(info.PID)
	}
	return image, pid
}
