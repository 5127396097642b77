package resource

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
)

const (
	// DefaultResolution is how often each node is asked.
	DefaultResolution = 15 * time.Second
	// MinResolution is the shortest that may be set.
	MinResolution = time.Second
)

// spreadPerNode is how much time the start of one round takes for each node:
// nodes are asked one after the other, each always at the same moment of the
// interval, so that neither we nor the network see them all at once.
const spreadPerNode = 8 * time.Millisecond

// Options of a Collector.
type Options struct {
	// Nodes are the nodes to ask.
	Nodes corelisters.NodeLister
	// Source asks them.
	Source Source
	// Resolution is how often each is asked; default DefaultResolution.
	Resolution time.Duration
	// Timeout bounds one reading; default DefaultRequestTimeout.
	Timeout time.Duration
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Collector keeps the Snapshot current.
type Collector struct {
	o     Options
	store *store
	wake  chan struct{}

	lastTick atomic.Int64 // nanoseconds since 1970, 0 before the first

	readings *prometheus.CounterVec
	duration prometheus.Histogram

	mu      sync.Mutex // guards targets; never held while waiting
	targets map[string]*target
}

// target is one node that is asked.
type target struct {
	busy    bool // a reading is under way
	gone    bool // the node was deleted: what is under way is for nothing
	failing bool
	before  *nodeState
}

// NewCollector makes a Collector; Run makes it collect.
func NewCollector(o Options) (*Collector, error) {
	if o.Nodes == nil || o.Source == nil {
		return nil, errors.New("Options.Nodes and Options.Source are needed")
	}
	if o.Resolution == 0 {
		o.Resolution = DefaultResolution
	}
	if o.Resolution < MinResolution {
		return nil, fmt.Errorf("resolution %s is below %s", o.Resolution, MinResolution)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultRequestTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{o: o, store: newStore(), wake: make(chan struct{}, 1), targets: map[string]*target{}}
	return c, c.register()
}

func (c *Collector) register() error {
	c.readings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "strata_core_readings_total",
		Help: "Readings of nodes by result: ok, error, or skipped since the one before had not ended.",
	}, []string{"result"})
	for _, result := range []string{"ok", "error", "skipped"} {
		c.readings.WithLabelValues(result)
	}
	c.duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "strata_core_reading_duration_seconds",
		Help:    "Time that one reading of one node took.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
	})
	if c.o.Registerer == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	for _, m := range []prometheus.Collector{
		c.readings, c.duration,
		gauge("strata_core_nodes", "Nodes whose own usage is known.", func() float64 { return float64(c.store.load().Nodes()) }),
		gauge("strata_core_pods", "Pods whose usage is known.", func() float64 { return float64(c.store.load().Pods()) }),
		gauge("strata_core_last_round_timestamp_seconds", "When the nodes were last asked, since 1970.",
			func() float64 { return float64(c.lastTick.Load()) / 1e9 }),
	} {
		if err := c.o.Registerer.Register(m); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Snapshot is what is known now.
func (c *Collector) Snapshot() *Snapshot { return c.store.load() }

// Changed tells that the list of nodes changed: new ones are asked at once,
// deleted ones forgotten. It never blocks.
func (c *Collector) Changed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run asks the nodes every resolution until ctx ends and all readings have.
func (c *Collector) Run(ctx context.Context) error {
	var readings sync.WaitGroup
	defer readings.Wait()
	ticks := time.NewTicker(c.o.Resolution)
	defer ticks.Stop()
	for all := true; ; {
		c.round(ctx, &readings, all)
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			all = true
		case <-c.wake:
			all = false
		}
	}
}

// round starts a reading of all nodes, or of those that are new only.
func (c *Collector) round(ctx context.Context, readings *sync.WaitGroup, all bool) {
	nodes, err := c.o.Nodes.List(labels.Everything())
	if err != nil {
		c.o.Logger.Error("Cannot list nodes", "err", err)
		return
	}
	if all {
		c.lastTick.Store(time.Now().UnixNano())
	}
	spread := min(time.Duration(len(nodes))*spreadPerNode, c.o.Resolution*3/4)
	c.mu.Lock()
	defer c.mu.Unlock()
	current := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		current[n.Name] = true
		t, known := c.targets[n.Name]
		if !known {
			t = &target{}
			c.targets[n.Name] = t
		}
		switch {
		case known && !all:
		case t.busy:
			c.readings.WithLabelValues("skipped").Inc()
		default:
			t.busy = true
			readings.Go(func() { c.read(ctx, t, n.Name, moment(n.Name, spread)) })
		}
	}
	for name, t := range c.targets {
		if !current[name] {
			t.gone = true
			delete(c.targets, name)
			c.store.drop(name)
		}
	}
}

// moment is the time in the spread at which a node is asked.
func moment(node string, spread time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	return time.Duration(float64(spread) * (float64(h.Sum64()) / math.MaxUint64))
}

// read reads one node once, after a wait, and publishes what it said.
func (c *Collector) read(ctx context.Context, t *target, name string, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		c.done(t)
		return
	}
	began := time.Now()
	r, err := c.ask(ctx, name)
	took := time.Since(began)
	if ctx.Err() != nil {
		c.done(t)
		return
	}
	c.duration.Observe(took.Seconds())
	c.publish(t, name, r, err)
}

func (c *Collector) ask(ctx context.Context, name string) (r *Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	node, err := c.o.Nodes.Get(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	return c.o.Source.Read(ctx, node)
}

func (c *Collector) done(t *target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.busy = false
}

// publish takes over a reading. A failed one takes away what was known of the
// node: it says nothing now, and two readings around the gap would hide it.
func (c *Collector) publish(t *target, name string, r *Reading, err error) {
	defer giveWay()
	var state *nodeState
	if err == nil {
		c.readings.WithLabelValues("ok").Inc()
		state = next(name, t.before, r, time.Now(), c.o.Resolution)
	} else {
		c.readings.WithLabelValues("error").Inc()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.busy = false
	if t.gone {
		return
	}
	c.report(t, name, err)
	t.before = state
	if state == nil {
		c.store.drop(name)
		return
	}
	c.store.put(state)
}

// giveWay lets requests go first. With the readings of a thousand nodes in a
// row, Go would let one wait for a processor for 10 ms.
func giveWay() { runtime.Gosched() }

// report logs when a node begins to fail and when it is well again, not each time.
func (c *Collector) report(t *target, name string, err error) {
	switch {
	case err != nil && !t.failing:
		c.o.Logger.Warn("Node cannot be read; its metrics are missing until it can", "node", name, "err", err)
	case err == nil && t.failing:
		c.o.Logger.Info("Node can be read again", "node", name)
	}
	t.failing = err != nil
}

// Ready says what is missing before the API can answer: usage of at least one
// node and one pod.
func (c *Collector) Ready() error {
	switch s := c.store.load(); {
	case s.Nodes() == 0:
		return errors.New("no usage of any node yet: two readings are needed")
	case s.twice == 0:
		return errors.New("no usage of any pod yet: two readings are needed")
	}
	return nil
}

// Alive says whether the nodes are asked in time.
func (c *Collector) Alive() error {
	last := c.lastTick.Load()
	if last == 0 {
		return nil // waiting for the cluster's objects: readiness tells that
	}
	// Twice the interval: one missed round is a busy machine, two are a hang.
	late := time.Since(time.Unix(0, last))
	if most := max(2*c.o.Resolution, DefaultRequestTimeout); late > most {
		return fmt.Errorf("nodes were last asked %s ago, more than %s", late.Round(time.Second), most)
	}
	return nil
}

// Checks are Ready and Alive in the form of health checks of an API server.
func (c *Collector) Checks() (ready, alive Check) {
	return Check{"metric-storage-ready", c.Ready}, Check{"metric-collection-timely", c.Alive}
}

// Check is a named health check.
type Check struct {
	name  string
	check func() error
}

// NewCheck names a health check.
func NewCheck(name string, check func() error) Check { return Check{name, check} }

// Name is shown by the health endpoints.
func (c Check) Name() string { return c.name }

// Check gives the reason when it fails.
func (c Check) Check(*http.Request) error { return c.check() }
