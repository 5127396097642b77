package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
)

// ObjectLister names objects of the cluster.
type ObjectLister interface {
	// ObjectNames are the names of the objects that a selector selects in a
	// namespace, "" for resources without namespaces. While they stay the same, it
	// should be the same Selection. ErrNotListed means that they cannot be known yet.
	ObjectNames(ctx context.Context, gvr schema.GroupVersionResource, namespace string, selector labels.Selector) (*Selection, error)
}

// How a Lister keeps what it has listed.
const (
	listedFor = 5 * time.Second
	maxListed = 1024 // lists
	listPage  = 2000 // objects a call
)

// ListerOptions are what a Lister works with. Client is required.
type ListerOptions struct {
	// Client reads the metadata of objects. Its user needs list and watch on
	// pods, and list on the other resources that rules name.
	Client metadata.Interface
	// Logger receives failures to watch; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Lister is the ObjectLister of a cluster. Pods, which HPAs ask for all the
// time, are watched while Run runs: names and labels only. Other objects, and
// pods before the watch is complete, are listed and remembered for seconds.
type Lister struct {
	client metadata.Interface
	log    *slog.Logger
	now    func() time.Time
	pods   cache.SharedIndexInformer

	selections podSelections

	mu     sync.Mutex // guards listed, not held while listing
	listed map[listKey]*listing
}

type listKey struct {
	gvr                 schema.GroupVersionResource
	namespace, selector string
}

// listing is a list that is there or being made.
type listing struct {
	done  chan struct{} // closed when names and err are there
	names *Selection
	err   error
	until time.Time
}

// NewLister makes a Lister, which lists at once and watches once it runs.
func NewLister(o ListerOptions) (*Lister, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Lister{client: o.Client, log: o.Logger, now: o.Now, listed: map[listKey]*listing{}}
	l.pods = metadatainformer.NewFilteredMetadataInformer(o.Client, podResource(), metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nil).Informer()
	if err := l.pods.SetTransform(trim); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	if err := l.pods.SetWatchErrorHandlerWithContext(l.watchFailed); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	if err := l.selections.watch(l.pods); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return l, nil
}

func podResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

// trim keeps of a pod what selectors need.
func trim(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, ResourceVersion: m.ResourceVersion, UID: m.UID, Labels: m.Labels,
	}}, nil
}

func (l *Lister) watchFailed(ctx context.Context, _ *cache.Reflector, err error) {
	if ctx.Err() == nil && !errors.Is(err, io.EOF) {
		l.log.Warn("Cannot watch pods; custom metrics of pods use what is known", "err", err)
	}
}

// Run watches pods until ctx ends.
func (l *Lister) Run(ctx context.Context) error {
	l.pods.RunWithContext(ctx)
	return nil
}

// HasSynced tells whether the watch of pods is complete.
func (l *Lister) HasSynced() bool { return l.pods.HasSynced() }

// ObjectNames implements ObjectLister.
func (l *Lister) ObjectNames(ctx context.Context, gvr schema.GroupVersionResource, namespace string, selector labels.Selector) (*Selection, error) {
	if gvr == podResource() && l.pods.HasSynced() {
		return l.selections.of(l.pods.GetIndexer(), namespace, selector)
	}
	k := listKey{gvr: gvr, namespace: namespace, selector: selector.String()}
	l.mu.Lock()
	e := l.listed[k]
	fresh := e == nil || (!e.until.IsZero() && !l.now().Before(e.until))
	if fresh {
		l.forget()
		e = &listing{done: make(chan struct{})}
		l.listed[k] = e
	}
	l.mu.Unlock()
	if fresh {
		l.list(ctx, k, e)
	}
	select {
	case <-e.done:
		return e.names, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// list fills a listing. One that failed is not remembered.
func (l *Lister) list(ctx context.Context, k listKey, e *listing) {
	// Others wait for it too: that the first one gave up does not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
	defer cancel()
	e.names, e.err = l.call(ctx, k)
	l.mu.Lock()
	e.until = l.now().Add(listedFor)
	if e.err != nil && l.listed[k] == e {
		delete(l.listed, k)
	}
	l.mu.Unlock()
	close(e.done)
}

func (l *Lister) call(ctx context.Context, k listKey) (*Selection, error) {
	var client metadata.ResourceInterface = l.client.Resource(k.gvr)
	if k.namespace != "" {
		client = l.client.Resource(k.gvr).Namespace(k.namespace)
	}
	var names []string
	o := metav1.ListOptions{LabelSelector: k.selector, Limit: listPage}
	for {
		page, err := client.List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.gvr.GroupResource(), err)
		}
		for i := range page.Items {
			names = append(names, page.Items[i].Name)
		}
		if o.Continue = page.Continue; o.Continue == "" {
			return Select(names...), nil
		}
	}
}

// forget drops what is too old, or all of it where that is not enough.
func (l *Lister) forget() {
	now := l.now()
	for k, e := range l.listed {
		if !e.until.IsZero() && !now.Before(e.until) {
			delete(l.listed, k)
		}
	}
	if len(l.listed) >= maxListed {
		clear(l.listed)
	}
}

// lookAgain is how often at most a resource that is not known makes a Mapper
// read the API server's list again.
const lookAgain = 10 * time.Second

// NewMapper is the Mapper of a cluster. It asks the API server when it is first
// used, and again, though not at once, when it is asked for what it does not
// know: that may be new.
func NewMapper(client discovery.DiscoveryInterface) Mapper {
	return &freshMapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client)), now: time.Now}
}

type freshMapper struct {
	*restmapper.DeferredDiscoveryRESTMapper
	now func() time.Time

	mu     sync.Mutex // guards looked
	looked time.Time
}

// ResourceFor implements Mapper.
func (m *freshMapper) ResourceFor(gvr schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	out, err := m.DeferredDiscoveryRESTMapper.ResourceFor(gvr)
	if !meta.IsNoMatchError(err) {
		return out, err
	}
	m.mu.Lock()
	again := m.now().Sub(m.looked) >= lookAgain
	if again {
		m.looked = m.now()
	}
	m.mu.Unlock()
	if !again {
		return out, err
	}
	m.Reset()
	return m.DeferredDiscoveryRESTMapper.ResourceFor(gvr)
}
