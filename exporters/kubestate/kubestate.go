// Package kubestate says what the objects of a Kubernetes cluster are, under
// the names of kube-state-metrics.
//
// Each kind of object is listed and watched. An object is rendered into lines
// of the text format when it comes or changes, in the moment in which it is
// decoded, and is then let go: neither the store nor a list in progress keeps
// objects. Lines are kept compressed, and a scrape in gzip copies them; only what
// has changed since the last is compressed anew. What a kind shows is
// declared in one file of this package as a value of Resource.
//
// While the API server is away, or one kind is refused, the last state that
// was complete is served on.
package kubestate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/strata-metrics/strata/internal/metric"
)

// Exporter follows the objects and serves their families.
type Exporter struct {
	logger  *slog.Logger
	kinds   []*bound
	health  *health
	shop    *workshop
	ages    *ageCollector
	client  *client
	calls   *calls
	shards  *sharding
	auto    *autoShard // nil when the shard is given
	customs *customs   // nil when none are asked for
	extras  *extras
	besides []*bound // kinds that are followed for extras alone
	options Options
	retry   time.Duration
	handler http.Handler
}

// Resources are the plural names of all kinds that can be followed, sorted.
func Resources() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.plural())
	}
	slices.Sort(names)
	return names
}

// DefaultResources are those of Resources that are followed when none is
// named.
func DefaultResources() []string {
	var names []string
	for _, k := range kinds() {
		if k.byDefault() {
			names = append(names, k.plural())
		}
	}
	slices.Sort(names)
	return names
}

// Families declares everything that this package can show, for documents and
// checks.
func Families() []*metric.Family {
	var all []*metric.Family
	for _, k := range kinds() {
		for _, d := range k.declarations() {
			all = append(all, d.family)
		}
	}
	for _, f := range addedFamilies() {
		if !slices.ContainsFunc(all, func(other *metric.Family) bool { return other.Name() == f.Name() }) {
			all = append(all, f)
		}
	}
	return all
}

// New makes an exporter; it does not talk to the API server yet. Its errors
// about options are ErrUsage.
func New(o Options) (*Exporter, error) {
	if o.Config == nil {
		return nil, fmt.Errorf("%w: no API server is given", ErrUsage)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.retry == 0 {
		o.retry = time.Second
	}
	chosen, err := choose(o)
	if err != nil {
		return nil, err
	}
	e := &Exporter{
		logger: o.Logger, retry: o.retry, health: newHealth(o.Logger, o.Config.Host), options: o,
		calls: newCalls(), shards: newSharding(), shop: newWorkshop(), ages: newAgeCollector(),
	}
	if err := e.register(o.Registry); err != nil {
		return nil, err
	}
	show, err := newFilter(o.MetricAllowlist, o.MetricDenylist, o.MetricOptIn)
	if err != nil {
		return nil, err
	}
	e.extras = newExtras(o, e.shop, show.shows)
	if o.Registry != nil {
		if err := e.extras.register(o.Registry); err != nil {
			return nil, err
		}
	}
	besides := e.extras.besides(o, chosen)
	if err := e.reach(slices.Concat(chosen, besides)); err != nil {
		return nil, err
	}
	set := settings{show: show.shows, sparse: o.SparseStates, logger: o.Logger}
	if o.CustomResources != nil {
		if e.customs, err = newCustoms(e, o.CustomResources, set); err != nil {
			return nil, err
		}
		if err := e.customs.events.register(o.Registry); err != nil {
			return nil, err
		}
	}
	e.bind(chosen, besides, set)
	e.followBesides(besides)
	serves := metric.HandlerOptions{WriteText: e.WriteText, WriteOpenMetrics: e.WriteOpenMetrics, Logger: o.Logger}
	if o.LinesByObject {
		serves.WriteOpenMetrics = nil // its readers are the ones that insist on groups
	}
	e.handler = metric.Handler(serves)
	return e, nil
}

// reach makes the client for kinds, and says which shard they are of.
func (e *Exporter) reach(list []kind) (err error) {
	o := e.options
	groups := make([]apiGroup, 0, len(list)+2)
	for _, k := range list {
		groups = append(groups, apiGroup{k.version(), k.addTo})
	}
	if o.Pod != "" {
		groups = append(groups, groupsOfAutoShard()...)
		e.auto = &autoShard{pod: o.Pod, namespace: o.PodNamespace, exporter: e}
	} else {
		e.shards.set(Shard{o.Shard.Ordinal, max(1, o.Shard.Total)})
	}
	e.client, err = newClient(o.Config, groups)
	return err
}

// bind makes the list-watches of the chosen kinds.
func (e *Exporter) bind(chosen, besides []kind, set settings) {
	o := e.options
	for _, k := range chosen {
		set.labels, set.annotations = o.LabelsAllowlist.of(k.plural()), o.AnnotationsAllowlist.of(k.plural())
		these := set
		if k.plural() == "pods" && e.extras.labelled != nil {
			these = e.extras.labelled.putLabels(k, set)
		}
		b := k.bind(these)
		b.together = o.LinesByObject
		e.extras.watch(b, besides)
		for _, scope := range scopes(o, b) {
			b.sources = append(b.sources, newSource(b, scope, e.follow(e.client.groups[b.version])))
		}
		e.kinds = append(e.kinds, b)
	}
}

// follow is how the kinds of a group are followed.
func (e *Exporter) follow(group rest.Interface) following {
	return following{
		group: group, params: e.client.params, calls: e.calls, health: e.health, shards: e.shards, shop: e.shop,
		budgets: e.extras.budgets, cached: e.options.UseAPIServerCache, limit: e.options.ObjectLimit,
	}
}

// register shows the metrics about the exporter itself.
func (e *Exporter) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	err := errors.Join(
		registered(r, &e.calls.list), registered(r, &e.calls.watch), registered(r, &e.calls.objects), registered(r, &e.calls.limit),
		registered(r, &e.shards.ordinal), registered(r, &e.shards.total),
		registered(r, &e.ages),
	)
	if err != nil {
		return fmt.Errorf("registering the exporter's own metrics: %w", err)
	}
	return nil
}

// registered registers a metric, or takes the one of an exporter before this:
// one with other options takes over while both run.
func registered[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			*c, err = same, nil
		}
	}
	return err
}

// Run follows the objects until the context ends; then it returns nil with
// nothing left running. It goes on through every failure of the API server.
func (e *Exporter) Run(ctx context.Context) error {
	// client-go logs each attempt; health logs what changed, once.
	ctx = klog.NewContext(ctx, logr.Discard())
	defer utilnet.CloseIdleConnectionsFor(e.client.http.Transport)
	defer e.extras.end()
	e.ages.add(e.health)
	defer e.ages.remove(e.health)
	if !e.connect(ctx) {
		return nil
	}
	var wait sync.WaitGroup
	if e.auto != nil {
		wait.Go(func() { e.auto.run(ctx) })
	}
	if e.customs != nil {
		wait.Go(func() { e.customs.run(ctx) })
	}
	for _, b := range slices.Concat(e.kinds, e.besides) {
		for _, s := range b.sources {
			wait.Go(func() { s.run(ctx, e.retry) })
		}
	}
	wait.Wait()
	return nil
}

// connect asks the API server until it answers, so that one which is away at
// the start costs one line of log and not one of every kind. It is false when
// the context ended first.
func (e *Exporter) connect(ctx context.Context) bool {
	const most = 15 * time.Second
	for pause := e.retry; ; pause = min(2*pause, most) {
		err := e.client.ping(ctx)
		if ctx.Err() != nil {
			return false
		}
		e.health.connected(err)
		if err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// Ready is nil once every kind was listed; else it says which were not, and
// why.
func (e *Exporter) Ready() error { return errors.Join(e.health.ready(), e.shards.ready()) }

// Handler serves /metrics.
func (e *Exporter) Handler() http.Handler { return e.handler }

// chunk is how much text WriteText gathers before it writes.
const chunk = 64 << 10

// WriteText writes all families in the text format: the state of each kind at
// one moment. Families of a kind that has no object are left out. Its error is
// that of the writer.
func (e *Exporter) WriteText(w io.Writer) error { return e.write(w, (*metric.Family).AppendHead) }

// WriteOpenMetrics is WriteText in OpenMetrics, without the line that ends the
// exposition. The lines of objects are the same, since they have no times.
func (e *Exporter) WriteOpenMetrics(w io.Writer) error {
	return e.write(w, (*metric.Family).AppendOpenHead)
}

func (e *Exporter) write(w io.Writer, head func(*metric.Family, []byte) []byte) error {
	if e.extras.budgets != nil {
		e.extras.budgets.review()
	}
	lent := e.shop.pool.Get().(*builder)
	defer e.shop.pool.Put(lent)
	b := &body{w: w, packer: lent.packer, buf: make([]byte, 0, chunk/4), head: head}
	var segments [][]metric.Piece
	for _, kind := range e.kinds {
		segments = segments[:0]
		for _, s := range kind.sources {
			segments = s.store.appendPieces(segments)
		}
		if b.kind(kind, segments); b.err != nil {
			return b.err
		}
	}
	for _, write := range e.extras.writers {
		if write(b); b.err != nil {
			return b.err
		}
	}
	if e.customs != nil {
		b.customs(e.customs)
	}
	b.flush(true)
	return b.err
}
