package apiserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func TestQueueTakesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		require.NoError(t, q.enter(t.Context(), "first"))
		var mu sync.Mutex
		var served []string
		enter := func(who string) {
			go func() {
				if q.enter(t.Context(), who) == nil {
					mu.Lock()
					served = append(served, who)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		for _, who := range []string{"flood", "flood", "flood", "anna", "bob", "anna"} {
			enter(who)
		}
		for range 7 {
			q.leave()
			synctest.Wait()
		}
		require.Equal(t, []string{"flood", "anna", "bob", "flood", "anna", "flood"}, served)
		running, waiting := q.load()
		require.Zero(t, running)
		require.Zero(t, waiting)
	})
}

func TestQueueBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		require.NoError(t, q.enter(t.Context(), "x"))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range maxWaitingOfUser {
			all.Go(func() { require.ErrorIs(t, q.enter(ctx, "flood"), context.Canceled) })
		}
		synctest.Wait()
		require.ErrorIs(t, q.enter(ctx, "flood"), errBusy)
		for i := range maxWaiting - maxWaitingOfUser {
			all.Go(func() { _ = q.enter(ctx, string(rune('a'+i))) })
		}
		synctest.Wait()
		require.ErrorIs(t, q.enter(ctx, "bob"), errBusy)
		cancel()
		all.Wait()
		running, waiting := q.load()
		require.Equal(t, 1, running)
		require.Zero(t, waiting)
		require.Empty(t, q.turns)
	})
}

func ask(f *fair, who, verb, name string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/apis/x", nil)
	ctx := request.WithUser(r.Context(), &user.DefaultInfo{Name: who})
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: verb != "", Verb: verb, Name: name})
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r.WithContext(ctx))
	return w
}

// TestFloodLeavesAutoscalersAlone holds that reads go on while lists fill
// their seats, and that a list which waits too long is told when to ask again.
func TestFloodLeavesAutoscalersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFair([]string{"hpa"})
		let := make(chan struct{})
		f.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, _ := request.UserFrom(r.Context()); u.GetName() == "dashboard" {
				<-let
			}
		})
		seats := f.queues[kindList].seats
		var flood sync.WaitGroup
		answers := make([]int, seats+1)
		for i := range answers {
			flood.Go(func() { answers[i] = ask(f, "dashboard", "list", "").Code })
			synctest.Wait()
		}
		require.Equal(t, http.StatusOK, ask(f, "hpa", "list", "").Code)
		require.Equal(t, http.StatusOK, ask(f, "hpa", "get", "*").Code)
		require.Equal(t, http.StatusOK, ask(f, "anna", "get", "pod").Code)
		require.Equal(t, http.StatusOK, ask(f, "anna", "", "").Code)
		require.NoError(t, testutil.GatherAndCompare(f.registry, strings.NewReader(`
# HELP strata_apiserver_waiting Requests that wait for their turn, by kind.
# TYPE strata_apiserver_waiting gauge
strata_apiserver_waiting{kind="autoscaler"} 0
strata_apiserver_waiting{kind="get"} 0
strata_apiserver_waiting{kind="list"} 1
`), "strata_apiserver_waiting"))

		w := ask(f, "anna", "get", "*") // all of something is a list
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		synctest.Wait() // the one that waits gives up in the same instant
		close(let)
		flood.Wait()
		for i := range seats {
			require.Equal(t, http.StatusOK, answers[i])
		}
		require.Equal(t, http.StatusTooManyRequests, answers[seats])
		require.Equal(t, 2.0, testutil.ToFloat64(f.rejected.WithLabelValues(kindList)))
	})
}
