package apiserver

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"

	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// The kinds of requests that do not wait for each other.
const (
	kindAutoscaler = "autoscaler" // any request of an autoscaler
	kindGet        = "get"        // one object
	kindList       = "list"
)

// How much waits, for each kind of requests: a dashboard that asks faster than
// it is answered must not fill memory, and who waits longer than this has
// given up or asks again.
const (
	maxWaiting        = 100
	maxWaitingOfUser  = 50
	maxWait           = 5 * time.Second
	retryAfterWaiting = 1 // seconds
)

// DefaultAutoscalers are the users as which the HPA's controller asks: with a
// service account of its own, and as the controller manager.
func DefaultAutoscalers() []string {
	return []string{"system:serviceaccount:kube-system:horizontal-pod-autoscaler", "system:kube-controller-manager"}
}

var errBusy = errors.New("too many requests wait")

// fair lets only so many requests of each kind be answered at a time. Answers
// are work for the processor, so that more at a time are not more in a second,
// only slower ones. Lists get half of the processors: a flood of them leaves
// the other half to the reads that scaling depends on. Within a kind, users
// take turns.
type fair struct {
	next        http.Handler
	autoscalers []string
	queues      map[string]*queue
	registry    *prometheus.Registry
	waited      *prometheus.HistogramVec
	rejected    *prometheus.CounterVec
}

func newFair(autoscalers []string) *fair {
	f := &fair{
		autoscalers: autoscalers, queues: map[string]*queue{}, registry: prometheus.NewRegistry(),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strata_apiserver_wait_duration_seconds", Help: "Time that requests waited for their turn, by kind.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 5},
		}, []string{"kind"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strata_apiserver_rejected_total", Help: "Requests that were answered 429 since too many waited, or too long, by kind.",
		}, []string{"kind"}),
	}
	cpus := runtime.GOMAXPROCS(0)
	inflight := prometheus.NewDesc("strata_apiserver_inflight", "Requests that are being answered, by kind.", []string{"kind"}, nil)
	waiting := prometheus.NewDesc("strata_apiserver_waiting", "Requests that wait for their turn, by kind.", []string{"kind"}, nil)
	for kind, seats := range map[string]int{kindAutoscaler: 4 * cpus, kindGet: 2 * cpus, kindList: max(1, cpus/2)} {
		f.queues[kind] = newQueue(seats)
		f.rejected.WithLabelValues(kind)
		f.waited.WithLabelValues(kind)
	}
	f.registry.MustRegister(f.waited, f.rejected, collectorFunc{[]*prometheus.Desc{inflight, waiting}, func(ch chan<- prometheus.Metric) {
		for kind, q := range f.queues {
			running, waits := q.load()
			ch <- prometheus.MustNewConstMetric(inflight, prometheus.GaugeValue, float64(running), kind)
			ch <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(waits), kind)
		}
	}})
	return f
}

// most is how many requests can be in here at a time.
func (f *fair) most() int {
	n := 0
	for _, q := range f.queues {
		n += q.seats + maxWaiting
	}
	return n
}

type collectorFunc struct {
	descs   []*prometheus.Desc
	collect func(chan<- prometheus.Metric)
}

// Describe implements prometheus.Collector.
func (c collectorFunc) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collectorFunc) Collect(ch chan<- prometheus.Metric) { c.collect(ch) }

// ServeHTTP implements http.Handler. It stands behind authorization. What is
// no metric, such as health and discovery, is not held up.
func (f *fair) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, user := f.kind(r.Context())
	q := f.queues[kind]
	if q == nil {
		f.next.ServeHTTP(w, r)
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	if err := q.enter(ctx, user); err != nil {
		f.rejected.WithLabelValues(kind).Inc()
		busy := apierrors.NewTooManyRequests("too many requests for metrics: they wait for "+maxWait.String()+" at most", retryAfterWaiting)
		responsewriters.ErrorNegotiated(busy, customapiserver.Codecs, schema.GroupVersion{}, w, r)
		return
	}
	defer q.leave()
	f.waited.WithLabelValues(kind).Observe(time.Since(began).Seconds())
	f.next.ServeHTTP(w, r)
}

// kind sorts a request; "" for none that is held up.
func (f *fair) kind(ctx context.Context) (kind, user string) {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok || !info.IsResourceRequest {
		return "", ""
	}
	if u, ok := request.UserFrom(ctx); ok {
		user = u.GetName()
	}
	switch {
	case slices.Contains(f.autoscalers, user):
		return kindAutoscaler, user
	case info.Verb == "get" && info.Name != "*":
		return kindGet, user
	}
	return kindList, user
}

// queue gives seats to users in turn.
type queue struct {
	seats int

	mu      sync.Mutex // guards what follows
	running int
	waiting int
	turns   []*line // of users who wait, the next first
}

// line is what one user waits for, in the order of asking.
type line struct {
	user    string
	waiters []chan struct{} // closed when its seat is there
}

func newQueue(seats int) *queue { return &queue{seats: seats} }

func (q *queue) load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting
}

// enter takes a seat, which leave gives back. Its error is errBusy when too
// many wait already, else that of ctx.
func (q *queue) enter(ctx context.Context, user string) error {
	q.mu.Lock()
	if q.running < q.seats {
		q.running++
		q.mu.Unlock()
		return nil
	}
	l := q.line(user)
	if q.waiting >= maxWaiting || l != nil && len(l.waiters) >= maxWaitingOfUser {
		q.mu.Unlock()
		return errBusy
	}
	if l == nil {
		l = &line{user: user}
		q.turns = append(q.turns, l)
	}
	seat := make(chan struct{})
	l.waiters = append(l.waiters, seat)
	q.waiting++
	q.mu.Unlock()
	select {
	case <-seat:
		return nil
	case <-ctx.Done():
	}
	if !q.forget(user, seat) {
		q.leave() // it was given at this moment
	}
	return ctx.Err()
}

func (q *queue) line(user string) *line {
	for _, l := range q.turns {
		if l.user == user {
			return l
		}
	}
	return nil
}

// forget takes back a wait; false when the seat has been given.
func (q *queue) forget(user string, seat chan struct{}) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(user)
	if l == nil {
		return false
	}
	at := slices.Index(l.waiters, seat)
	if at < 0 {
		return false
	}
	l.waiters = slices.Delete(l.waiters, at, at+1)
	q.waiting--
	if len(l.waiters) == 0 {
		q.turns = slices.DeleteFunc(q.turns, func(o *line) bool { return o == l })
	}
	return true
}

// leave gives the seat to the first of the user whose turn it is.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		q.running--
		return
	}
	l := q.turns[0]
	q.turns = slices.Delete(q.turns, 0, 1)
	seat := l.waiters[0]
	if l.waiters = slices.Delete(l.waiters, 0, 1); len(l.waiters) > 0 {
		q.turns = append(q.turns, l)
	}
	q.waiting--
	close(seat)
}
