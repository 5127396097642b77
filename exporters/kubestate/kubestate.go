// Package kubestate says what the objects of a Kubernetes cluster are, under
// the names of kube-state-metrics.
//
// Each kind of object is listed and watched. An object is rendered into lines
// of the text format when it comes or changes, in the moment in which it is
// decoded, and is then let go: neither the store nor a list in progress keeps
// objects. A scrape copies lines and computes nothing. What a kind shows is
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
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/fields"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/strata-metrics/strata/internal/metric"
)

// ErrUsage is what every error of New is that a change of the options mends.
var ErrUsage = errors.New("invalid option")

// Options says which objects are followed and which families are shown.
type Options struct {
	// Config reaches the API server; see LoadConfig. Needed.
	Config *rest.Config
	// Resources are the plural names of the kinds; empty means all of
	// Resources().
	Resources []string
	// Namespaces to follow; empty means all. Kinds that have no namespace are
	// not touched by it, nor by NamespacesDenylist.
	Namespaces []string
	// NamespacesDenylist are namespaces to leave out.
	NamespacesDenylist []string
	// Node, when set, leaves only the pods of this node; Resources must then
	// be pods alone.
	Node string
	// MetricAllowlist and MetricDenylist are regular expressions that match
	// anywhere in the names of the families to show or to leave out; only one
	// of the two may be given.
	MetricAllowlist, MetricDenylist []string
	// MetricOptIn are regular expressions for the families that are shown only
	// when asked for, such as kube_pod_nodeselectors.
	MetricOptIn []string
	// LabelsAllowlist and AnnotationsAllowlist say which labels and
	// annotations become labels of kube_KIND_labels and kube_KIND_annotations.
	LabelsAllowlist, AnnotationsAllowlist Allowlist
	// Logger, nil means slog.Default().
	Logger *slog.Logger
	// Registry gets the metrics about the exporter itself
	// (kube_state_metrics_list_total, ..._watch_total). nil means none.
	Registry prometheus.Registerer

	retry time.Duration // first pause after a failure; 0 means 1 s
}

// Exporter follows the objects and serves their families.
type Exporter struct {
	logger  *slog.Logger
	kinds   []*bound
	health  *health
	client  *client
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

// Families declares everything that this package can show, for documents and
// checks.
func Families() []*metric.Family {
	var all []*metric.Family
	for _, k := range kinds() {
		for _, d := range k.declarations() {
			all = append(all, d.family)
		}
	}
	return all
}

// Validate finds mistakes in the options, save Config; they are ErrUsage.
func (o Options) Validate() error {
	if _, err := choose(o); err != nil {
		return err
	}
	_, err := newFilter(o.MetricAllowlist, o.MetricDenylist, o.MetricOptIn)
	return err
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
	if o.retry == 0 {
		o.retry = time.Second
	}
	chosen, err := choose(o)
	if err != nil {
		return nil, err
	}
	client, err := newClient(o.Config, chosen)
	if err != nil {
		return nil, err
	}
	e := &Exporter{logger: o.Logger, client: client, retry: o.retry, health: newHealth(o.Logger, o.Config.Host)}
	calls, err := newCalls(o.Registry)
	if err != nil {
		return nil, err
	}
	show, err := newFilter(o.MetricAllowlist, o.MetricDenylist, o.MetricOptIn)
	if err != nil {
		return nil, err
	}
	for _, k := range chosen {
		b := k.bind(settings{
			show:        show.shows,
			labels:      o.LabelsAllowlist.of(k.plural()),
			annotations: o.AnnotationsAllowlist.of(k.plural()),
			logger:      o.Logger,
		})
		for _, scope := range scopes(o, b) {
			b.sources = append(b.sources, newSource(b, scope, client, e.health, calls))
		}
		e.kinds = append(e.kinds, b)
	}
	e.handler = metric.Handler(metric.HandlerOptions{
		WriteText: e.WriteText, WriteOpenMetrics: e.WriteOpenMetrics, Logger: o.Logger,
	})
	return e, nil
}

// choose gives the kinds that the options name, in the order of kinds().
func choose(o Options) ([]kind, error) {
	all := kinds()
	for _, list := range []Allowlist{o.LabelsAllowlist, o.AnnotationsAllowlist} {
		for name := range list {
			if name != "*" && !slices.Contains(Resources(), name) {
				return nil, fmt.Errorf("%w: allowlist of unknown resource %q; there are %s", ErrUsage, name, strings.Join(Resources(), ", "))
			}
		}
	}
	for _, name := range o.Resources {
		if !slices.Contains(Resources(), name) {
			return nil, fmt.Errorf("%w: unknown resource %q; there are %s", ErrUsage, name, strings.Join(Resources(), ", "))
		}
	}
	if len(o.Resources) > 0 {
		all = slices.DeleteFunc(all, func(k kind) bool { return !slices.Contains(o.Resources, k.plural()) })
	}
	if o.Node != "" && (len(all) != 1 || all[0].plural() != "pods") {
		return nil, fmt.Errorf("%w: one node (%s) can be asked for pods only: give --resources=pods", ErrUsage, o.Node)
	}
	return all, nil
}

// scope is the part of a kind's objects that one list-watch follows.
type scope struct{ namespace, selector string }

func scopes(o Options, b *bound) []scope {
	if !b.namespaced {
		return []scope{{}}
	}
	node := fields.Everything()
	if o.Node != "" {
		node = fields.OneTermEqualSelector("spec.nodeName", o.Node)
	}
	if len(o.Namespaces) == 0 {
		terms := []fields.Selector{node}
		for _, ns := range o.NamespacesDenylist {
			terms = append(terms, fields.OneTermNotEqualSelector("metadata.namespace", ns))
		}
		return []scope{{selector: fields.AndSelectors(terms...).String()}}
	}
	var list []scope
	for i, ns := range o.Namespaces {
		if !slices.Contains(o.NamespacesDenylist, ns) && !slices.Contains(o.Namespaces[:i], ns) {
			list = append(list, scope{ns, node.String()})
		}
	}
	return list
}

// Run follows the objects until the context ends; then it returns nil with
// nothing left running. It goes on through every failure of the API server.
func (e *Exporter) Run(ctx context.Context) error {
	// client-go logs each attempt; health logs what changed, once.
	ctx = klog.NewContext(ctx, logr.Discard())
	defer utilnet.CloseIdleConnectionsFor(e.client.http.Transport)
	if !e.connect(ctx) {
		return nil
	}
	var wait sync.WaitGroup
	for _, b := range e.kinds {
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
func (e *Exporter) Ready() error { return e.health.ready() }

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

func (e *Exporter) write(w io.Writer, appendHead func(*metric.Family, []byte) []byte) error {
	buf := make([]byte, 0, chunk+chunk/4)
	var objects []*rendered
	for _, b := range e.kinds {
		objects = objects[:0]
		for _, s := range b.sources {
			objects = s.store.appendAll(objects)
		}
		if len(objects) == 0 {
			continue
		}
		for i, f := range b.families {
			buf = appendHead(f, buf)
			for _, o := range objects {
				buf = o.appendFamily(buf, i)
				if len(buf) < chunk {
					continue
				}
				if _, err := w.Write(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
		}
	}
	_, err := w.Write(buf)
	return err
}
