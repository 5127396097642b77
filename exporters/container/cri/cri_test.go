package cri

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runtime is a server made of CRI's own code.
type runtime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	container *runtimeapi.Container
	status    *runtimeapi.ContainerStatus
	sandbox   *runtimeapi.PodSandbox
	image     *runtimeapi.Image
	asked     []string
}

func (r *runtime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: "containerd", RuntimeVersion: "2"}, nil
}

func (r *runtime) ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{r.container, {}}}, nil
}

func (r *runtime) ContainerStatus(_ context.Context, q *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	switch r.asked = append(r.asked, q.GetContainerId()); q.GetContainerId() {
	case "c":
		return &runtimeapi.ContainerStatusResponse{Status: r.status, Info: map[string]string{"info": "{}"}}, nil
	case "late":
		return nil, status.Error(codes.DeadlineExceeded, "too late")
	case "refused":
		return nil, status.Error(codes.Internal, "a % and a ü,\nof two lines")
	default:
		return nil, status.Error(codes.NotFound, "no such container")
	}
}

func (r *runtime) ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return &runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{r.sandbox}}, nil
}

func (r *runtime) PodSandboxStatus(_ context.Context, q *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	if !q.GetVerbose() {
		return &runtimeapi.PodSandboxStatusResponse{}, nil
	}
	return &runtimeapi.PodSandboxStatusResponse{Info: map[string]string{"info": q.GetPodSandboxId(), "more": ""}}, nil
}

func (r *runtime) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: []*runtimeapi.Image{r.image, {Id: "sha256:2", RepoDigests: []string{"app@sha256:2"}}, {Id: "sha256:3"}}}, nil
}

func (r *runtime) ImageStatus(_ context.Context, q *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	if q.GetImage().GetImage() != r.image.GetId() {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: r.image}, nil
}

func (r *runtime) ListContainerStats(context.Context, *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	layer := &runtimeapi.FilesystemUsage{Timestamp: 1, FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/var/lib"}, UsedBytes: &runtimeapi.UInt64Value{Value: 4096}}
	return &runtimeapi.ListContainerStatsResponse{Stats: []*runtimeapi.ContainerStats{
		{Attributes: &runtimeapi.ContainerAttributes{Id: "c"}, WritableLayer: layer},
		{Attributes: &runtimeapi.ContainerAttributes{Id: "empty"}, WritableLayer: &runtimeapi.FilesystemUsage{UsedBytes: &runtimeapi.UInt64Value{}, InodesUsed: &runtimeapi.UInt64Value{Value: 1}}},
		{Attributes: &runtimeapi.ContainerAttributes{Id: "none"}},
	}}, nil
}

func (r *runtime) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream runtimeapi.RuntimeService_GetContainerEventsServer) error {
	pod := &runtimeapi.PodSandboxStatus{Id: r.sandbox.GetId(), Metadata: r.sandbox.GetMetadata(), CreatedAt: r.sandbox.GetCreatedAt(), Labels: r.sandbox.GetLabels()}
	for _, event := range []*runtimeapi.ContainerEventResponse{
		{ContainerId: "c", ContainerEventType: runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, PodSandboxStatus: pod, ContainersStatuses: []*runtimeapi.ContainerStatus{r.status}},
		{ContainerId: "c", ContainerEventType: runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT},
	} {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	return nil
}

// socket is a path that is short enough for one.
func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cri")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func client(t *testing.T, path string) *Client {
	c := NewClient(path)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, r *runtime) *Client {
	path := socket(t)
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, r)
	runtimeapi.RegisterImageServiceServer(server, r)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return client(t, path)
}

func TestClient(t *testing.T) {
	t.Parallel()
	made := time.Unix(1_700_000_000, 123)
	labels := map[string]string{"a": "ü", "b": ""}
	meta := &runtimeapi.ContainerMetadata{Name: "app", Attempt: 3}
	spec := &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "app:v1", Annotations: labels}
	r := &runtime{
		container: &runtimeapi.Container{Id: "c", PodSandboxId: "p", Metadata: meta, Image: spec, ImageRef: "ref", State: runtimeapi.ContainerState_CONTAINER_EXITED,
			CreatedAt: made.UnixNano(), Labels: labels, Annotations: map[string]string{"no": "no"}, ImageId: "sha256:1"},
		status: &runtimeapi.ContainerStatus{Id: "c", Metadata: meta, State: runtimeapi.ContainerState_CONTAINER_EXITED, CreatedAt: made.UnixNano(), StartedAt: 1, FinishedAt: 2,
			ExitCode: -1, Image: spec, ImageRef: "ref", Reason: "Error", Message: "no", Labels: labels, LogPath: "/log", ImageId: "sha256:1"},
		sandbox: &runtimeapi.PodSandbox{Id: "p", Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Uid: "u", Namespace: "shop", Attempt: 1},
			CreatedAt: made.UnixNano(), Labels: labels, Annotations: map[string]string{"no": "no"}, RuntimeHandler: "runc"},
		image: &runtimeapi.Image{Id: "sha256:1", RepoTags: []string{"app:v1", "app:v2"}, RepoDigests: []string{"app@sha256:1"}, Size: 1 << 40},
	}
	c := serve(t, r)

	name, err := c.Name(t.Context())
	require.NoError(t, err)
	require.Equal(t, "containerd", name)

	want := Container{ID: "c", SandboxID: "p", Name: "app", Attempt: 3, Image: "sha256:1", UserImage: "app:v1", ImageRef: "ref", ImageID: "sha256:1", Created: made.UnixNano(), Labels: labels}
	containers, err := c.Containers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Container{want, {}}, containers)

	ended := want
	ended.SandboxID, ended.Exited, ended.ExitCode = "", true, -1
	one, err := c.Container(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, ended, one)

	sandbox := Sandbox{ID: "p", Name: "web", Namespace: "shop", UID: "u", Attempt: 1, Created: made.UnixNano(), Labels: labels}
	sandboxes, err := c.Sandboxes(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Sandbox{sandbox}, sandboxes)

	info, err := c.SandboxInfo(t.Context(), "p")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"info": "p", "more": ""}, info)

	images, err := c.Images(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Image{{ID: "sha256:1", Name: "app:v1"}, {ID: "sha256:2", Name: "app@sha256:2"}, {ID: "sha256:3"}}, images)
	for _, id := range []string{"sha256:1", "other"} {
		image, err := c.Image(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, id == "sha256:1", image.Name == "app:v1")
	}

	layers, err := c.Layers(t.Context())
	require.NoError(t, err)
	require.Len(t, layers, 3)
	require.Equal(t, "c/var/lib", layers[0].ContainerID+layers[0].Mountpoint)
	require.InDelta(t, 4096, layers[0].Used, 0)
	require.True(t, math.IsNaN(layers[0].Inodes))
	require.Equal(t, Layer{ContainerID: "empty", Inodes: 1}, layers[1])
	require.True(t, math.IsNaN(layers[2].Used))

	var events []Event
	require.ErrorIs(t, c.Events(t.Context(), func(e Event) { events = append(events, e) }), io.EOF)
	ended.SandboxID = "p"
	require.Equal(t, []Event{{ContainerID: "c", Sandbox: sandbox, Containers: []Container{ended}}, {ContainerID: "c", Deleted: true}}, events)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := &runtime{}
	c := serve(t, r)
	for id, want := range map[string]error{"gone": ErrNotFound, "late": ErrUnavailable, "refused": ErrRefused} {
		_, err := c.Container(t.Context(), id)
		require.ErrorIs(t, err, want)
	}
	_, err := c.Container(t.Context(), "refused")
	require.EqualError(t, err, "refused: code 13: a % and a ü,\nof two lines")
	err = c.ask(t.Context(), "RuntimeService/Dance", nil, nil)
	require.ErrorIs(t, err, ErrUnimplemented)
	require.Contains(t, err.Error(), "Dance")
	require.NotContains(t, r.asked, "")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Name(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = client(t, "/none").Name(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Servers that are not of CRI are refused, whatever they say.
func TestOtherServers(t *testing.T) {
	t.Parallel()
	frame := func(flag byte, size uint32, text string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flag}, size)) + text
	}
	f := func(name, want, body string, trailer http.Header, code int) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := socket(t)
			listener, err := net.Listen("unix", path)
			require.NoError(t, err)
			protocols := &http.Protocols{}
			protocols.SetUnencryptedHTTP2(true)
			server := &http.Server{Protocols: protocols, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
				for key, values := range trailer {
					w.Header().Set(http.TrailerPrefix+key, values[0])
				}
			})}
			done := make(chan error, 1)
			go func() { done <- server.Serve(listener) }()
			t.Cleanup(func() { require.NoError(t, server.Close()); <-done })
			_, err = client(t, path).Name(t.Context())
			require.ErrorContains(t, err, want)
		})
	}
	fine := http.Header{"Grpc-Status": {"0"}}
	f("a page", "HTTP status 404", "not found", nil, http.StatusNotFound)
	f("no status", "ends without a status", frame(0, 0, ""), nil, http.StatusOK)
	f("nothing", "not an answer of gRPC", "", fine, http.StatusOK)
	f("two answers", "not an answer of gRPC", frame(0, 0, "")+frame(0, 0, ""), fine, http.StatusOK)
	f("compressed", "compressed", frame(1, 0, ""), fine, http.StatusOK)
	f("cut off", "reading an answer of 9 bytes: unexpected EOF", frame(0, 9, "abc"), fine, http.StatusOK)
	f("too long", "is longer than", frame(0, math.MaxUint32, ""), fine, http.StatusOK)
	f("half a head", "unexpected EOF", "\x00\x00", fine, http.StatusOK)
	f("no message", "reading field 1", frame(0, 2, "\x0a\x09"), fine, http.StatusOK)
}

// Whatever a runtime says is read as the library of protobuf reads it, if that
// takes it.
func FuzzMessages(f *testing.F) {
	event, err := proto.Marshal(&runtimeapi.ContainerEventResponse{ContainerId: "c", ContainerEventType: eventDeleted,
		PodSandboxStatus:   &runtimeapi.PodSandboxStatus{Id: "p", Metadata: &runtimeapi.PodSandboxMetadata{Name: "web"}, Labels: map[string]string{"a": "b"}},
		ContainersStatuses: []*runtimeapi.ContainerStatus{{Id: "c", State: stateExited, ExitCode: 137, Labels: map[string]string{"": ""}}}})
	require.NoError(f, err)
	for _, seed := range []string{"", string(event), "\x0a\x01", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x0b\x0c", "\x2a\x02\x08\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		_, _ = readContainer(message)
		_, _ = readImage(message)
		_, _ = readLayer(message)
		_, _ = readEvent(message)
		var want runtimeapi.ContainerEventResponse
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(message, &want) != nil {
			return
		}
		plain, err := proto.Marshal(&want) // with each field once
		require.NoError(t, err)
		got, err := readEvent(plain)
		require.NoError(t, err)
		require.Equal(t, want.GetContainerId(), got.ContainerID)
		require.Equal(t, want.GetContainerEventType() == eventDeleted, got.Deleted)
		require.Equal(t, want.GetPodSandboxStatus().GetMetadata().GetName(), got.Sandbox.Name)
		require.True(t, maps.Equal(want.GetPodSandboxStatus().GetLabels(), got.Sandbox.Labels))
		require.Len(t, got.Containers, len(want.GetContainersStatuses()))
		for i, one := range want.GetContainersStatuses() {
			require.Equal(t, one.GetId()+one.GetMetadata().GetName()+one.GetImage().GetImage(), got.Containers[i].ID+got.Containers[i].Name+got.Containers[i].Image)
			require.True(t, maps.Equal(one.GetLabels(), got.Containers[i].Labels))
			require.Equal(t, int(one.GetExitCode()), got.Containers[i].ExitCode)
			require.Equal(t, one.GetState() == stateExited, got.Containers[i].Exited)
			require.Equal(t, one.GetCreatedAt(), got.Containers[i].Created)
		}
	})
}
