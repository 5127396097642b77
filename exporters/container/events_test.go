package container

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strata-metrics/strata/exporters/container/cri"
)

// GetContainerEvents implements the runtime's stream. It breaks when events is
// closed.
func (f *fakeCRI) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream runtimeapi.RuntimeService_GetContainerEventsServer) error {
	f.mu.Lock()
	events := f.events
	f.mu.Unlock()
	if events == nil {
		return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
	}
	for {
		select {
		case event, ok := <-events:
			if !ok {
				return status.Error(codes.Unavailable, "restarting")
			}
			if err := stream.Send(event); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (f *fakeCRI) ContainerStatus(_ context.Context, r *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.statuses[r.GetContainerId()]
	if one == nil {
		return nil, status.Error(codes.NotFound, "no such container")
	}
	return &runtimeapi.ContainerStatusResponse{Status: one}, nil
}

func (f *fakeCRI) ImageStatus(context.Context, *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &runtimeapi.ImageStatusResponse{Image: f.images[0]}, nil
}

// event is what a runtime says of a container of the pod web-1.
func event(what runtimeapi.ContainerEventType, id, name string) *runtimeapi.ContainerEventResponse {
	return &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: what,
		PodSandboxStatus: &runtimeapi.PodSandboxStatus{Id: idA, Metadata: &runtimeapi.PodSandboxMetadata{Name: "web-1", Namespace: "shop", Uid: podUID}},
		ContainersStatuses: []*runtimeapi.ContainerStatus{{Id: id, Metadata: &runtimeapi.ContainerMetadata{Name: name},
			ImageRef: "registry.example/app@sha256:2", Image: &runtimeapi.ImageSpec{Image: "sha256:1"}, CreatedAt: made.UnixNano()}}}
}

// Of what the runtime tells as it happens no list is made: a new container has
// its full name in the first scrape that shows it, a deleted one is forgotten,
// and after the stream broke one list tells what was missed.
func TestEventsMakeListsNeedless(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	events := make(chan *runtimeapi.ContainerEventResponse)
	runtime.set(func(f *fakeCRI) { f.events = events })
	now := read
	e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Now = func() time.Time { return now } })
	text(t, e, e.Collect)
	events <- event(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, idC, "sidecar")
	events <- event(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, "", "") // lies are survived
	require.Eventually(t, func() bool { return e.directory.has(idC) }, time.Minute, time.Millisecond)
	h.cgroup("/kubepods/burstable/pod"+podUID+"/"+idC, h.usage(3))
	require.Contains(t, text(t, e, e.CollectCAdvisor), `{container="sidecar",id="/kubepods/burstable/pod`+podUID+"/"+idC+
		`",image="registry.example/app:v1",name="`+idC+`",namespace="shop",pod="web-1",cpu="total"} 3.5`)
	require.Equal(t, 1, runtime.lists)

	stopped := event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, idC, "sidecar")
	stopped.ContainersStatuses[0].State, stopped.ContainersStatuses[0].ExitCode = runtimeapi.ContainerState_CONTAINER_EXITED, 3
	events <- stopped
	events <- event(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, idC, "sidecar")
	close(events) // the stream breaks
	require.Eventually(t, func() bool {
		e.directory.mu.Lock()
		defer e.directory.mu.Unlock()
		return e.directory.missed
	}, time.Minute, time.Millisecond)
	require.True(t, e.directory.has(idC), "its cgroup may have gone a moment ago")
	h.remove("/kubepods/burstable/pod" + podUID + "/" + idC)
	ended := &ending{cgroup: Cgroup{ID: "/x", place: place{containerID: idC}}, shown: map[group]time.Time{}}
	e.endings.add(ended)
	require.Equal(t, 3, ended.exit.Load().code)
	text(t, e, e.Collect)
	require.Equal(t, 2, runtime.lists)
	require.False(t, e.directory.has(idC))
}

// The runtime forgets, and what it forgot stays known for a while.
func TestDeletedContainersAreForgotten(t *testing.T) {
	t.Parallel()
	now := read
	d := newDirectory(&fakeIdentity{all: []*Container{{ID: idA}, {ID: idB}}}, time.Minute, time.Minute, func() time.Time { return now }, func(error) {})
	d.told(change{made: []*Container{{ID: idC}}}) // before the first list, which has it
	require.False(t, d.has(idC))
	d.lookup(t.Context(), nil)
	old := d.byID[idA]
	d.told(change{made: []*Container{{ID: idA, Name: "other"}, {ID: idC}}})
	require.Same(t, old, d.byID[idA])
	require.True(t, d.has(idC))
	d.told(change{deleted: idB})
	require.True(t, d.has(idB))
	now = now.Add(leavesAfter)
	d.told(change{deleted: "unknown"})
	require.False(t, d.has(idB))
	for i := range maxKnown + 10 {
		d.byID[fmt.Sprint(i)] = &Container{ID: fmt.Sprint(i)}
	}
	d.told(change{made: []*Container{{ID: "more"}}})
	require.False(t, d.has("more"))
}

// What is told while a list is under way is not lost with it.
func TestNewsDuringAList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTestDirectory(&fakeIdentity{all: []*Container{{ID: idA}}, takes: 3 * time.Second})
		require.ErrorIs(t, d.lookup(t.Context(), nil).failed, errPending)
		d.told(change{made: []*Container{{ID: idB}}})
		v := d.lookup(t.Context(), nil)
		require.NoError(t, v.failed)
		require.Len(t, v.byID, 2)
		require.NoError(t, d.close())
	})
}

// brokenFollower is a runtime whose streams end at once.
type brokenFollower struct {
	fakeIdentity
	tries int
	err   error
	tells bool
}

func (f *brokenFollower) Follow(_ context.Context, _ func(string) bool, told func(change)) error {
	f.tries++
	if f.tells {
		told(change{})
	}
	return f.err
}

// A stream that breaks is tried again, ever less often; one that the runtime
// does not have, seldom.
func TestStreamsAreTriedAgain(t *testing.T) {
	t.Parallel()
	f := func(err error, tells bool, pause time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			runtime := &brokenFollower{err: err, tells: tells}
			d := newTestDirectory(&runtime.fakeIdentity)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
			defer cancel()
			d.follow(ctx, runtime, func(exit) {})
			require.InDelta(t, (100*time.Minute).Seconds()/pause.Seconds(), runtime.tries, 8)
			require.Equal(t, tells, d.missed)
		})
	}
	f(errors.New("broken"), false, maxFollowPause)
	f(errors.New("broken"), true, minPause)
	f(fmt.Errorf("events: %w", cri.ErrUnimplemented), false, noEventsPause)
}

// Without events the code is asked for, again while the runtime has not seen the
// end, and not of what it does not know.
func TestExitCodesAreAskedFor(t *testing.T) {
	t.Parallel()
	h, runtime := kubernetes(t, false)
	runtime.set(func(f *fakeCRI) {
		f.statuses = map[string]*runtimeapi.ContainerStatus{idB: {Id: idB, State: runtimeapi.ContainerState_CONTAINER_RUNNING}}
	})
	e := h.exporter(runtime.endpoint)
	end := func(id string) *ending {
		c := Cgroup{ID: "/kubepods/" + id, place: placeOf("/kubepods/" + id)}
		c.who, c.pod = e.directory.peek(&c)
		one := &ending{cgroup: c, added: read, shown: map[group]time.Time{}}
		e.endings.add(one)
		e.exits.start(one)
		return one
	}
	text(t, e, e.Collect)
	one := end(idB)
	code, ended, err := e.exitCode(t.Context(), &one.cgroup)
	require.NoError(t, err)
	require.False(t, ended)
	require.Zero(t, code)
	runtime.set(func(f *fakeCRI) {
		f.statuses[idB] = &runtimeapi.ContainerStatus{Id: idB, State: runtimeapi.ContainerState_CONTAINER_EXITED, ExitCode: 137}
	})
	require.Eventually(t, func() bool { return one.exit.Load() != nil }, time.Minute, time.Millisecond)
	require.Contains(t, text(t, e, e.Collect), "\nstrata_container_ended_exit_code{id=\"/kubepods/"+idB+`"`)
	_, _, err = e.exitCode(t.Context(), &Cgroup{place: place{containerID: idC}})
	require.ErrorIs(t, err, errForgotten)
	end(idA) // a sandbox, of which nobody wants to know
	end(idC)
	e.exits.running.Wait()
	require.Nil(t, end(idA).exit.Load())
}

// Codes that no ending comes for are bounded.
func TestExitCodesAreBounded(t *testing.T) {
	t.Parallel()
	es := endings{}
	for i := range 3 * maxCodes {
		es.exited(exit{fmt.Sprint(i), 1})
	}
	es.exited(exit{})
	require.LessOrEqual(t, len(es.codes), maxCodes)
}
