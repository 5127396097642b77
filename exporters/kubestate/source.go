package kubestate

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// calls counts what is asked of the API server, under the names of
// kube-state-metrics.
type calls struct {
	list, watch    *prometheus.CounterVec
	objects, limit *prometheus.GaugeVec // of a list, where a limit is set
}

func newCalls() *calls {
	counter := func(verb string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_state_metrics_" + verb + "_total",
			Help: "Calls to the API server to " + verb + " the objects of a resource.",
		}, []string{"result", "resource"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kube_state_metrics_list_objects" + name, Help: help}, []string{"resource"})
	}
	return &calls{
		list: counter("list"), watch: counter("watch"),
		objects: gauge("", "Objects that the last list of a resource took, where --object-limit is set."),
		limit:   gauge("_limit", "Objects that a list of a resource takes at most, where --object-limit is set."),
	}
}

func count(c *prometheus.CounterVec, err error, resource string) {
	result := "success"
	if err != nil {
		result = "error"
	}
	c.WithLabelValues(result, resource).Inc()
}

// source is one list-watch: it keeps its store as the API server has the
// objects of a kind, in one namespace or in all.
type source struct {
	scope
	following
	kind   *bound
	state  *state
	store  store
	target cache.ReflectorStore // the store, or what stands before it

	budgeted *budgetedStore // stands before the store where there are budgets
}

// following is how objects are followed, which all list-watches of a group of
// the API share.
type following struct {
	group   rest.Interface
	params  runtime.ParameterCodec
	calls   *calls
	health  *health
	shards  *sharding
	shop    *workshop
	budgets *budgets // nil means none
	cached  bool     // lists may be old
	limit   int64    // objects of a list; 0 means all
}

func newSource(b *bound, sc scope, f following) *source {
	s := &source{scope: sc, following: f, kind: b, state: f.health.add(b, sc)}
	s.store.replaced, s.store.shop, s.store.together = s.state.replaced, f.shop, b.together
	s.target = &s.store
	if f.budgets != nil && !b.factsOnly {
		s.budgeted = newBudgetedStore(s.target, f.budgets, b)
		s.target = s.budgeted
	}
	if len(b.watchers) > 0 {
		seen := &observedStore{ReflectorStore: s.target, replaced: s.state.replaced, facts: b.factsOnly}
		for _, w := range b.watchers {
			seen.observers = append(seen.observers, w.observe())
		}
		s.target = seen
	}
	// Both results exist from the start, so that a rate of errors does.
	for _, result := range []string{"success", "error"} {
		f.calls.list.WithLabelValues(result, b.name)
		f.calls.watch.WithLabelValues(result, b.name)
	}
	return s
}

// run follows the objects of one shard after the other until the context ends.
func (s *source) run(ctx context.Context, retry time.Duration) {
	s.shards.each(ctx, func(ctx context.Context, shard Shard) { s.reflect(ctx, shard, retry) })
}

// reflect follows the objects of a shard until the context ends.
func (s *source) reflect(ctx context.Context, shard Shard, retry time.Duration) {
	const most = 30 * time.Second
	silent := logr.Discard()
	cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return s.list(ctx, shard, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return s.watch(ctx, shard, o)
		},
	}, nil, s.target, cache.ReflectorOptions{
		Name:            s.kind.name,
		TypeDescription: s.kind.name,
		Logger:          &silent,
		Clock:           endingClock{ctx: ctx},
		Backoff: &wait.Backoff{
			Duration: retry, Cap: most, Factor: 2, Jitter: 0.5,
			Steps: max(1, int(math.Ceil(math.Log2(float64(most)/float64(retry))))),
		},
	}).RunWithContext(ctx)
}

func (s *source) request(o *metav1.ListOptions) *rest.Request {
	o.FieldSelector = s.selector
	return s.group.Get().MaxRetries(0).NamespaceIfScoped(s.namespace, s.namespace != "").Resource(s.kind.name).
		SpecificallyVersionedParams(o, s.params, schema.GroupVersion{Version: "v1"})
}

// list gets one page, rendered.
func (s *source) list(ctx context.Context, shard Shard, o metav1.ListOptions) (runtime.Object, error) {
	if s.cached && o.Continue == "" { // a page that continues is of the list's version
		o.ResourceVersion, o.ResourceVersionMatch = "0", ""
	}
	if s.limit > 0 {
		o.Limit = s.limit
	}
	full := s.kind.newList()
	err := s.request(&o).Do(ctx).Into(full)
	count(s.calls.list, err, s.kind.name)
	s.called(ctx, opList, err)
	if err != nil {
		return nil, err
	}
	head, err := meta.ListAccessor(full)
	if err != nil {
		return nil, fmt.Errorf("list of %s: %w", s.kind.name, err)
	}
	page := &metainternal.List{ListMeta: metav1.ListMeta{
		ResourceVersion: head.GetResourceVersion(), Continue: head.GetContinue(),
	}}
	taken := int64(0)
	err = meta.EachListItem(full, func(o runtime.Object) error {
		if taken++; s.limit > 0 && taken > s.limit {
			return nil
		}
		r, keep, err := s.take(o, shard)
		if keep {
			s.lighten(r)
			page.Items = append(page.Items, r)
		}
		return err
	})
	if s.limit > 0 {
		page.Continue = "" // the list is to end here
		s.calls.limit.WithLabelValues(s.kind.name).Set(float64(s.limit))
		s.calls.objects.WithLabelValues(s.kind.name).Set(float64(min(taken, s.limit)))
	}
	return page, err
}

// take renders an object, if the shard has it.
func (s *source) take(object runtime.Object, shard Shard) (r *rendered, keep bool, err error) {
	o, err := meta.Accessor(object)
	if err != nil {
		return nil, false, fmt.Errorf("among the %s: %w", s.kind.name, err)
	}
	if !shard.keeps(o) {
		return nil, false, nil
	}
	if r, err = s.kind.render(object); err == nil {
		r.facts = factsOf(s.kind.watchers, object)
	}
	return r, err == nil, err
}

// watch follows changes; its events bring rendered objects.
func (s *source) watch(ctx context.Context, shard Shard, o metav1.ListOptions) (watch.Interface, error) {
	if o.SendInitialEvents != nil && s.limit > 0 {
		// A list by watch has no limit: the reflector lists by pages instead.
		return nil, apierrors.NewBadRequest("no list by watch")
	}
	o.Watch = true
	in, err := s.request(&o).Watch(ctx)
	if o.SendInitialEvents != nil && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
		// The API server is older than lists by watch: the reflector lists
		// by pages instead. That is no failure to tell or to count.
		return nil, err
	}
	if _, streams := in.(*watch.StreamWatcher); err == nil && !streams {
		// client-go gives an empty watch for a connection that was cut before
		// the answer. Taken for a success, it would hide that.
		err = fmt.Errorf("watch of %s: %w before an answer", s.kind.name, io.ErrUnexpectedEOF)
	}
	count(s.calls.watch, err, s.kind.name)
	s.called(ctx, opWatch, err)
	if err != nil {
		return nil, err
	}
	lists := o.SendInitialEvents != nil && *o.SendInitialEvents
	s.state.watchOpened(lists)
	w := &renderedWatch{source: s, shard: shard, lists: lists, in: in, out: make(chan watch.Event), done: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

// renderedWatch renders the objects of another watch's events.
type renderedWatch struct {
	source *source
	shard  Shard
	lists  bool // what comes is still of a list, which the store gets as a whole
	in     watch.Interface
	out    chan watch.Event
	done   chan struct{}
	once   sync.Once
}

// ResultChan gives the events.
func (w *renderedWatch) ResultChan() <-chan watch.Event { return w.out }

// Stop ends the watch.
func (w *renderedWatch) Stop() {
	w.once.Do(func() {
		close(w.done)
		w.in.Stop()
	})
}

func (w *renderedWatch) run(ctx context.Context) {
	defer close(w.out)
	defer w.source.state.watchClosed()
	defer w.Stop()
	for {
		event, ok := w.next()
		if !ok {
			return
		}
		select {
		case <-w.done: // what comes now may be the error of our own Stop
			return
		default:
		}
		event, keep := w.source.event(ctx, w.shard, event)
		if !keep {
			continue
		}
		w.list(event)
		select {
		case w.out <- event:
		case <-w.done:
			return
		}
	}
}

// list takes note of an event while the watch is a list.
func (w *renderedWatch) list(e watch.Event) {
	if !w.lists {
		return
	}
	if r, ok := e.Object.(*rendered); ok {
		w.source.lighten(r)
		return
	}
	m, err := meta.Accessor(e.Object)
	w.lists = err != nil || e.Type != watch.Bookmark || m.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true"
}

// next gives the next event, which may be that all is to be listed anew.
func (w *renderedWatch) next() (event watch.Event, ok bool) {
	var again chan struct{}
	if w.source.budgeted != nil {
		again = w.source.budgeted.again
	}
	select {
	case event, ok = <-w.in.ResultChan():
		return event, ok
	case <-again:
		return watch.Event{Type: watch.Error, Object: &apierrors.NewResourceExpired("there is room for more objects").ErrStatus}, true
	}
}

// lighten lets go of lines of a list that the store has, unless they are to be
// counted for a budget.
func (s *source) lighten(r *rendered) {
	if s.budgeted == nil {
		s.store.lighten(r)
	}
}

// called tells the outcome of a call, unless it is the end of the program that
// broke it off.
func (s *source) called(ctx context.Context, during op, err error) {
	if ctx.Err() == nil {
		s.state.called(during, err)
	}
}

// event renders the object of an event, which is not kept when another shard
// has it.
func (s *source) event(ctx context.Context, shard Shard, e watch.Event) (event watch.Event, keep bool) {
	switch e.Type {
	case watch.Error:
		err := apierrors.FromObject(e.Object)
		if _, known := err.(apierrors.APIStatus); !known {
			err = apierrors.NewInternalError(err)
		}
		s.called(ctx, opEvent, err)
		return e, true
	case watch.Bookmark:
		s.state.received()
		return e, true
	}
	r, keep, err := s.take(e.Object, shard)
	if err != nil {
		// A change that cannot be read must not be lost: an error makes the
		// reflector list anew.
		broken := apierrors.NewInternalError(err)
		s.called(ctx, opEvent, broken)
		return watch.Event{Type: watch.Error, Object: &broken.ErrStatus}, true
	}
	s.state.received()
	if keep {
		e.Object = r
	}
	return e, keep
}

// endingClock is the real clock, but its After ends with a context: a
// reflector waits on it with no other way out.
type endingClock struct {
	clock.RealClock
	ctx context.Context
}

// After sends once after the duration or at the end of the context.
func (c endingClock) After(d time.Duration) <-chan time.Time {
	out := make(chan time.Time, 2) // both may send
	stop := context.AfterFunc(c.ctx, func() { out <- time.Now() })
	time.AfterFunc(d, func() {
		stop()
		out <- time.Now()
	})
	return out
}
