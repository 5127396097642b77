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
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
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

// maxMessage bounds an answer of the runtime; it is what 20,000 containers with
// a kilobyte of labels each need.
const maxMessage = 32 << 20

// maxAsked bounds the requests to the runtime under way at once.
const maxAsked = 8

// cri is the Identity of a runtime with the Container Runtime Interface v1.
type cri struct {
	endpoint string   // empty: the first of sockets that exists
	sockets  []string // paths

	mu   sync.Mutex // guards conn; Containers is not called twice at once
	conn *grpc.ClientConn
	at   string // what conn goes to
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
func newCRI(endpoint, rootfs string) (*cri, error) {
	path, unix := strings.CutPrefix(endpoint, "unix://")
	if endpoint != "" && !filepath.IsAbs(path) || !unix && strings.Contains(endpoint, "://") {
		return nil, fmt.Errorf("container runtime endpoint %q: want unix:///PATH of a socket", endpoint)
	}
	return &cri{endpoint: path, sockets: wellKnownSockets(rootfs)}, nil
}

// connect dials the endpoint at first and when the socket that was found has
// been replaced by another.
func (c *cri) connect() (conn *grpc.ClientConn, path string, err error) {
	if path = c.endpoint; path == "" {
		if path, err = c.find(); err != nil {
			return nil, "", err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.at == path {
		return c.conn, path, nil
	}
	// grpc would wait up to two minutes before it dials again.
	again := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: minPause}
	again.Backoff.MaxDelay = minPause
	conn, err = grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(again), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, "", fmt.Errorf("container runtime at %s: %w", path, err)
	}
	if c.conn != nil {
		_ = c.conn.Close() // its socket is gone
	}
	c.conn, c.at = conn, path
	return conn, path, nil
}

// find gives the first of the well-known sockets that is there.
func (c *cri) find() (string, error) {
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
func (c *cri) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// Containers implements Identity.
func (c *cri) Containers(ctx context.Context, known map[string]*Container) ([]*Container, error) {
	conn, at, err := c.connect()
	if err != nil {
		return nil, err
	}
	ask := listing{ctx: ctx, runtime: runtimeapi.NewRuntimeServiceClient(conn), known: known}
	all, err := ask.list(runtimeapi.NewImageServiceClient(conn), &c.images)
	if err == nil {
		return all, nil
	}
	// A socket that merely happens to be there may belong to a containerd
	// that only Docker uses, or be closed to us.
	if c.endpoint == "" && (status.Code(err) == codes.Unimplemented || strings.Contains(err.Error(), "permission denied")) {
		return nil, fmt.Errorf("%w that can be asked at %s: %w", ErrNoRuntime, at, err)
	}
	return nil, fmt.Errorf("container runtime at %s: %w", at, err)
}

// listing is one list of everything.
type listing struct {
	ctx     context.Context
	runtime runtimeapi.RuntimeServiceClient
	known   map[string]*Container
	name    string // the runtime's
}

func (l *listing) list(images runtimeapi.ImageServiceClient, cache *map[string]string) ([]*Container, error) {
	version, err := l.runtime.Version(l.ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return nil, fmt.Errorf("asking for its version: %w", err)
	}
	l.name = version.GetRuntimeName()
	// Containers first: of each that is listed the sandbox exists, and is
	// listed too unless it was removed since.
	containers, err := l.runtime.ListContainers(l.ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	sandboxes, err := l.runtime.ListPodSandbox(l.ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing sandboxes: %w", err)
	}
	if err := l.nameImages(images, containers.GetContainers(), cache); err != nil {
		return nil, err
	}
	all, err := l.sandboxes(sandboxes.GetItems())
	if err != nil {
		return nil, err
	}
	bySandbox, _ := index(all)
	for _, one := range containers.GetContainers() {
		if c := l.container(one, bySandbox[one.GetPodSandboxId()], *cache); c != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// nameImages lists the images when a container is of one that has no name yet.
func (l *listing) nameImages(images runtimeapi.ImageServiceClient, containers []*runtimeapi.Container, cache *map[string]string) error {
	if !slices.ContainsFunc(containers, func(c *runtimeapi.Container) bool {
		_, ok := (*cache)[imageID(c)]
		return !ok && l.known[c.GetId()] == nil
	}) {
		return nil
	}
	answer, err := images.ListImages(l.ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	names := make(map[string]string, len(answer.GetImages()))
	for _, image := range answer.GetImages() {
		if all := slices.Concat(image.GetRepoTags(), image.GetRepoDigests()); len(all) > 0 {
			names[image.GetId()] = all[0]
		}
	}
	*cache = names
	return nil
}

func imageID(c *runtimeapi.Container) string {
	return firstOf(c.GetImageId(), c.GetImageRef(), c.GetImage().GetImage())
}

// container makes a Container of what the runtime says, or nil when it says too
// little to tell what it is. The image keeps the name it was first seen with.
func (l *listing) container(from *runtimeapi.Container, sandbox *Container, images map[string]string) *Container {
	labels := from.GetLabels()
	c := &Container{ID: from.GetId(), Name: from.GetId(), Created: time.Unix(0, from.GetCreatedAt()),
		Namespace: labels[labelNamespace], Pod: labels[labelPod], UID: labels[labelUID],
		Container: firstOf(labels[labelContainer], from.GetMetadata().GetName())}
	if sandbox != nil {
		c.Namespace, c.Pod, c.UID = firstOf(c.Namespace, sandbox.Namespace), firstOf(c.Pod, sandbox.Pod), firstOf(c.UID, sandbox.UID)
	}
	if c.ID == "" || c.Container == "" || c.Pod == "" {
		return nil
	}
	c.Image = firstOf(images[imageID(from)], from.GetImage().GetUserSpecifiedImage(), from.GetImage().GetImage())
	if old := l.known[c.ID]; old != nil && !old.Sandbox {
		c.Image = old.Image
	}
	c.Labels = labels
	switch l.name {
	case runtimeContainerd:
		c.Labels = with(labels, labelKind, "container")
	case runtimeCRIO:
		c.Name = crioName(c.Container, c, from.GetMetadata().GetAttempt())
	}
	return c
}

// sandboxes makes Containers of the sandboxes, asking for what the list does
// not tell of those that are new.
func (l *listing) sandboxes(items []*runtimeapi.PodSandbox) ([]*Container, error) {
	all := make([]*Container, len(items))
	group, ctx := errgroup.WithContext(l.ctx)
	group.SetLimit(maxAsked)
	for i, item := range items {
		c := l.sandbox(item)
		if c == nil {
			continue
		}
		if old := l.known[c.ID]; old != nil && old.Sandbox {
			c.Image, c.PID = old.Image, old.PID
			all[i] = c
			continue
		}
		group.Go(func() error {
			answer, err := l.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: c.ID, Verbose: true})
			switch {
			case status.Code(err) == codes.NotFound:
				return nil // removed since it was listed
			case status.Code(err) == codes.DeadlineExceeded || status.Code(err) == codes.Unavailable || ctx.Err() != nil:
				return fmt.Errorf("asking for sandbox %s: %w", c.ID, err)
			}
			// Its image is a nicety: who it is the list told.
			c.Image, c.PID = parseSandboxInfo([]byte(answer.GetInfo()["info"]))
			all[i] = c
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(c *Container) bool { return c == nil }), nil
}

func (l *listing) sandbox(from *runtimeapi.PodSandbox) *Container {
	meta := from.GetMetadata()
	c := &Container{ID: from.GetId(), Name: from.GetId(), Sandbox: true, Created: time.Unix(0, from.GetCreatedAt()),
		Namespace: meta.GetNamespace(), Pod: meta.GetName(), UID: meta.GetUid(), Labels: from.GetLabels()}
	if c.ID == "" || c.Pod == "" {
		return nil
	}
	switch l.name {
	case runtimeContainerd:
		c.Labels = with(c.Labels, labelKind, "sandbox")
	case runtimeCRIO:
		c.Container = "POD"
		c.Name = crioName(c.Container, c, meta.GetAttempt())
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
