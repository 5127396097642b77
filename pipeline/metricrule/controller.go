package metricrule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/promql/parser"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// How the cluster and the store are asked.
const (
	// lookAgain is how long a definition that is not there, or that may not be
	// read, is left alone.
	lookAgain = time.Minute
	// retryAfter is how long an API server or a store that does not answer is
	// left alone.
	retryAfter = 5 * time.Second
	// statusEvery is how often a rule is evaluated for its status, and the
	// shortest time between two writes of it, whoever writes.
	statusEvery = 30 * time.Second
	// evaluateFor bounds one such evaluation.
	evaluateFor = 10 * time.Second
	// workers evaluate rules for their status.
	workers = 2
	// Most writes of statuses a second, and at once.
	writesPerSecond = 5
	writesAtOnce    = 10
)

// Adapter serves rules; *adapter.Adapter is one.
type Adapter interface {
	SetNamespaceRules([]*adapter.Rule)
	Try(context.Context, *adapter.Rule) ([]adapter.Answer, error)
	ClaimedBy(context.Context, *adapter.Rule) (string, error)
	Namespaced(schema.GroupResource) (bool, error)
	HasSeries(ctx context.Context, selector string) (bool, error)
}

// Options are what a Controller works with. Client and Adapter are required.
type Options struct {
	// Client watches MetricRules and updates their status.
	Client dynamic.Interface
	// Adapter serves the rules.
	Adapter Adapter
	// Parser is that of the adapter's PromQL; nil is PromQL without options.
	Parser parser.Parser
	// Logger receives what goes wrong; nil discards.
	Logger *slog.Logger
	// Registry receives the metrics strata_metricrule*; nil registers none.
	Registry prometheus.Registerer
	// Now is the clock of statuses; nil is time.Now.
	Now func() time.Time
}

// Controller keeps an adapter's rules and the objects' statuses current.
type Controller struct {
	cluster dynamic.Interface
	client  dynamic.NamespaceableResourceInterface // of MetricRules
	adapter Adapter
	parser  parser.Parser
	log     *slog.Logger
	now     func() time.Time
	started time.Time
	writes  flowcontrol.RateLimiter
	metrics *selfMetrics
	said    string // the last reason for not watching, of Run alone

	mu      sync.Mutex // guards what follows
	rules   map[string]*object
	failing bool // statuses cannot be written
}

type selfMetrics struct {
	rules  *prometheus.GaugeVec
	writes *prometheus.CounterVec
}

// New makes a Controller, which works while Run runs.
func New(o Options) (*Controller, error) {
	if o.Client == nil || o.Adapter == nil {
		return nil, errors.New("metricrule: Options.Client or Options.Adapter is missing")
	}
	if o.Parser == nil {
		o.Parser = parser.NewParser(parser.Options{})
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := promauto.With(o.Registry)
	c := &Controller{
		cluster: o.Client, client: o.Client.Resource(GVR()), adapter: o.Adapter, parser: o.Parser, log: o.Logger, now: o.Now,
		writes: flowcontrol.NewTokenBucketRateLimiter(writesPerSecond, writesAtOnce),
		rules:  map[string]*object{},
		metrics: &selfMetrics{
			rules: f.NewGaugeVec(prometheus.GaugeOpts{
				Name: "strata_metricrules", Help: "MetricRules there are, by whether their metric is given to autoscalers, as far as the rule itself goes.",
			}, []string{"served"}),
			writes: f.NewCounterVec(prometheus.CounterOpts{
				Name: "strata_metricrule_status_writes_total", Help: "Writes of the status of a MetricRule, by result; a conflict means that another replica has written.",
			}, []string{"result"}),
		},
	}
	for _, v := range []string{"true", "false"} {
		c.metrics.rules.WithLabelValues(v)
	}
	for _, v := range []string{"success", "conflict", "error"} {
		c.metrics.writes.WithLabelValues(v)
	}
	return c, nil
}

// Run watches until ctx ends. While the cluster has no MetricRules it looks for
// them every minute.
func (c *Controller) Run(ctx context.Context) error {
	c.started = c.now()
	for ctx.Err() == nil {
		err := c.watch(ctx)
		if ctx.Err() != nil {
			break
		}
		wait := retryAfter
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			wait = lookAgain
		}
		c.say(err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// say logs why MetricRules are not watched, once for each reason.
func (c *Controller) say(err error) {
	why := string(apierrors.ReasonForError(err))
	if why == c.said {
		return
	}
	c.said = why
	switch {
	case apierrors.IsNotFound(err):
		c.log.Info("The cluster has no MetricRules; looking for them every minute", "definition", Resource+"."+Group)
	case apierrors.IsForbidden(err):
		c.log.Error("MetricRules may not be read: the server's ClusterRole needs get, list and watch on them", "err", err)
	default:
		c.log.Warn("MetricRules cannot be read; those before stay in force", "err", err)
	}
}

// complain logs when statuses cannot be written, and when they can again.
func (c *Controller) complain(err error) {
	c.mu.Lock()
	was := c.failing
	c.failing = err != nil
	c.mu.Unlock()
	switch {
	case err != nil && !was:
		c.log.Error("The status of MetricRules cannot be written; their metrics are served all the same", "err", err)
	case err == nil && was:
		c.log.Info("The status of MetricRules is written again")
	}
}

// watch serves MetricRules until ctx ends or there are none to be had, which its
// error says.
func (c *Controller) watch(ctx context.Context) error {
	// A reflector would log its failure again and again.
	if _, err := c.client.List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	informer := dynamicinformer.NewFilteredDynamicInformer(c.cluster, GVR(), metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(trim); err != nil {
		return fmt.Errorf("watch MetricRules: %w", err)
	}
	err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		// Others pass, and the informer tries again by itself.
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			cancel(err)
		}
	})
	if err != nil {
		return fmt.Errorf("watch MetricRules: %w", err)
	}
	w := &watch{
		Controller: c, objects: informer.GetStore(), changed: make(chan struct{}, 1),
		queue: workqueue.NewTypedDelayingQueue[string](),
	}
	handle, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(any, bool) { w.change() },
		UpdateFunc: func(before, after any) { w.update(before, after) },
		DeleteFunc: func(any) { w.change() },
	})
	if err != nil {
		return fmt.Errorf("watch MetricRules: %w", err)
	}
	c.said = ""
	c.log.Info("Watching MetricRules")
	var group sync.WaitGroup
	group.Go(func() { informer.RunWithContext(ctx) })
	group.Go(func() { w.follow(ctx, handle.HasSynced) })
	for range workers {
		group.Go(func() { w.evaluate(ctx) })
	}
	<-ctx.Done()
	w.queue.ShutDown()
	group.Wait()
	err = context.Cause(ctx)
	if apierrors.IsNotFound(err) {
		c.sync(nil) // with their definition all objects are gone
	}
	return err
}

// trim drops what nobody reads and what can be large. It changes a copy: a watch
// may have given the object to others too.
func trim(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	u = u.DeepCopy()
	u.SetManagedFields(nil)
	return u, nil
}

// watch is one watch of the objects.
type watch struct {
	*Controller
	objects cache.Store
	changed chan struct{}
	queue   workqueue.TypedDelayingInterface[string]
}

func (w *watch) change() {
	select {
	case w.changed <- struct{}{}:
	default: // one is waiting, which will see this change too
	}
}

// update is an object that has changed; most changes are of its status.
func (w *watch) update(before, after any) {
	b, ok := before.(*unstructured.Unstructured)
	a, is := after.(*unstructured.Unstructured)
	if !ok || !is || b.GetGeneration() != a.GetGeneration() || b.GetUID() != a.GetUID() {
		w.change()
	}
}

// follow gives the adapter the rules, at each change of one.
func (w *watch) follow(ctx context.Context, synced func() bool) {
	// Before all are there, the rules of before stay.
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		return
	}
	w.change()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
		var all []*unstructured.Unstructured
		for _, o := range w.objects.List() {
			if u, ok := o.(*unstructured.Unstructured); ok {
				all = append(all, u)
			}
		}
		for _, key := range w.sync(all) {
			w.queue.Add(key)
		}
	}
}

// evaluate writes statuses until the queue ends.
func (w *watch) evaluate(ctx context.Context) {
	for {
		key, ended := w.queue.Get()
		if ended {
			return
		}
		if again := w.status(ctx, key); again > 0 {
			w.queue.AddAfter(key, again)
		}
		w.queue.Done(key)
	}
}

// status brings the status of one object up to date and says when to look again,
// 0 for never: there is no such object.
func (w *watch) status(ctx context.Context, key string) (again time.Duration) {
	o, ok, err := w.objects.GetByKey(key)
	u, is := o.(*unstructured.Unstructured)
	if err != nil || !ok || !is {
		return 0
	}
	w.mu.Lock()
	obj := w.rules[key]
	w.mu.Unlock()
	if obj == nil || obj.generation != u.GetGeneration() || obj.uid != u.GetUID() {
		return statusEvery // a change of it is on its way
	}
	now := w.now()
	status, ok := w.observe(ctx, obj)
	if !ok {
		return retryAfter
	}
	if w.worthy(obj, u, &status, now) && w.writes.Wait(ctx) == nil {
		w.write(ctx, u, &status, now)
	}
	return statusEvery
}
