package resource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// ClusterOptions say which objects a Cluster follows.
type ClusterOptions struct {
	// Client reads nodes, Metadata pods. RBAC: get, list and watch on both.
	Client   kubernetes.Interface
	Metadata metadata.Interface
	// NodeSelector limits the nodes; nil is all.
	NodeSelector labels.Selector
	// Logger may be nil.
	Logger *slog.Logger
}

// Cluster follows the nodes and the running pods. Of a node it keeps name,
// labels, addresses and port, of a pod its name and labels.
type Cluster struct {
	nodes, pods cache.SharedIndexInformer
	log         *slog.Logger
}

// NewCluster makes a Cluster; Run makes it follow.
func NewCluster(o ClusterOptions) (*Cluster, error) {
	if o.Client == nil || o.Metadata == nil {
		return nil, errors.New("ClusterOptions.Client and ClusterOptions.Metadata are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{log: o.Logger}
	c.nodes = coreinformers.NewFilteredNodeInformer(o.Client, 0, cache.Indexers{}, func(l *metav1.ListOptions) {
		if o.NodeSelector != nil {
			l.LabelSelector = o.NodeSelector.String()
		}
	})
	// Only running pods use anything; one that ends leaves the selection, and
	// with it the API, at once.
	running := fields.OneTermEqualSelector("status.phase", string(corev1.PodRunning)).String()
	c.pods = metadatainformer.NewFilteredMetadataInformer(o.Metadata, corev1.SchemeGroupVersion.WithResource("pods"),
		metav1.NamespaceAll, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(l *metav1.ListOptions) { l.FieldSelector = running }).Informer()
	return c, errors.Join(
		c.nodes.SetTransform(trimNode), c.pods.SetTransform(trimPod),
		c.nodes.SetWatchErrorHandlerWithContext(c.watchError("nodes")),
		c.pods.SetWatchErrorHandlerWithContext(c.watchError("pods")))
}

func (c *Cluster) watchError(what string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		if ctx.Err() == nil {
			c.log.Warn("Cannot follow "+what+" of the cluster; trying again", "err", err)
		}
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

// OnNodes calls changed after a node came or went.
func (c *Cluster) OnNodes(changed func()) error {
	_, err := c.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	return err
}

// Run follows the objects until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	var informers sync.WaitGroup
	defer informers.Wait()
	informers.Go(func() { c.nodes.RunWithContext(ctx) })
	informers.Go(func() { c.pods.RunWithContext(ctx) })
	<-ctx.Done()
	return nil
}

// WaitForNodes returns when the nodes are known (true) or ctx ends.
func (c *Cluster) WaitForNodes(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), c.nodes.HasSynced)
}

// Synced says what is not known yet.
func (c *Cluster) Synced() error {
	for what, i := range map[string]cache.SharedIndexInformer{"nodes": c.nodes, "pods": c.pods} {
		if !i.HasSynced() {
			return fmt.Errorf("the list of %s has not been read yet", what)
		}
	}
	return nil
}

// Nodes lists the nodes.
func (c *Cluster) Nodes() corelisters.NodeLister {
	return corelisters.NewNodeLister(c.nodes.GetIndexer())
}

// Pods lists the running pods as PartialObjectMetadata.
func (c *Cluster) Pods() cache.GenericLister {
	return cache.NewGenericLister(c.pods.GetIndexer(), schema.GroupResource{Resource: "pods"})
}

// trimNode keeps what is asked for of a node.
func trimNode(obj any) (any, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	kept := &corev1.Node{}
	kept.Name, kept.ResourceVersion, kept.Labels = n.Name, n.ResourceVersion, shared(n.Labels)
	if p, ok := n.Annotations[PathAnnotation]; ok {
		kept.Annotations = map[string]string{PathAnnotation: p}
	}
	kept.Status.Addresses = n.Status.Addresses
	kept.Status.DaemonEndpoints = n.Status.DaemonEndpoints
	return kept, nil
}

// trimPod keeps name and labels of a pod.
func trimPod(obj any) (any, error) {
	p, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	kept := &metav1.PartialObjectMetadata{}
	kept.Name, kept.ResourceVersion, kept.Labels = p.Name, p.ResourceVersion, shared(p.Labels)
	kept.Namespace = unique.Make(p.Namespace).Value()
	return kept, nil
}

// shared gives the labels with strings that equal labels of other objects share:
// most pods of a cluster have the labels of many others.
func shared(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[unique.Make(k).Value()] = unique.Make(v).Value()
	}
	return out
}
