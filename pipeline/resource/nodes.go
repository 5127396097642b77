package resource

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Snapshots gives the Snapshot of the moment; a Collector does.
type Snapshots interface{ Snapshot() *Snapshot }

// Nodes is the resource nodes of metrics.k8s.io: get and list.
type Nodes struct {
	nodes     corelisters.NodeLister
	snapshots Snapshots
}

var (
	_ rest.Getter               = (*Nodes)(nil)
	_ rest.Lister               = (*Nodes)(nil)
	_ rest.Scoper               = (*Nodes)(nil)
	_ rest.KindProvider         = (*Nodes)(nil)
	_ rest.SingularNameProvider = (*Nodes)(nil)
)

// NewNodes makes the resource from the nodes that exist and what is known of them.
func NewNodes(nodes corelisters.NodeLister, snapshots Snapshots) *Nodes {
	return &Nodes{nodes: nodes, snapshots: snapshots}
}

// New implements rest.Storage.
func (*Nodes) New() runtime.Object { return &metrics.NodeMetrics{} }

// Destroy implements rest.Storage.
func (*Nodes) Destroy() {}

// Kind implements rest.KindProvider.
func (*Nodes) Kind() string { return "NodeMetrics" }

// NewList implements rest.Lister.
func (*Nodes) NewList() runtime.Object { return &metrics.NodeMetricsList{} }

// NamespaceScoped implements rest.Scoper.
func (*Nodes) NamespaceScoped() bool { return false }

// GetSingularName implements rest.SingularNameProvider: there is none, since
// node is the name of another resource.
func (*Nodes) GetSingularName() string { return "" }

// Get implements rest.Getter. A node that does not exist and one that is not
// known yet are both not found, each in its own words.
func (r *Nodes) Get(_ context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	node, err := r.nodes.Get(name)
	if err != nil {
		return nil, lookupError("node", name, err)
	}
	s := r.snapshots.Snapshot().node(name)
	if s == nil {
		return nil, apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
	}
	return new(nodeMetrics(node, s, metav1.Now())), nil
}

// List implements rest.Lister.
func (r *Nodes) List(_ context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	label, field := selectors(options)
	nodes, err := r.nodes.List(label)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	snapshot, now := r.snapshots.Snapshot(), metav1.Now()
	list := &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{}}
	for _, n := range nodes {
		if !field.Empty() && !field.Matches(fields.Set{"metadata.name": n.Name, "metadata.namespace": ""}) {
			continue
		}
		if s := snapshot.node(n.Name); s != nil {
			list.Items = append(list.Items, nodeMetrics(n, s, now))
		}
	}
	return list, nil
}

// ConvertToTable implements rest.TableConvertor.
func (r *Nodes) ConvertToTable(_ context.Context, obj, _ runtime.Object) (*metav1.Table, error) {
	switch o := obj.(type) {
	case *metrics.NodeMetrics:
		return table([]row{nodeRow(o)}), nil
	case *metrics.NodeMetricsList:
		rows := make([]row, 0, len(o.Items))
		for i := range o.Items {
			rows = append(rows, nodeRow(&o.Items[i]))
		}
		return table(rows), nil
	}
	return nil, fmt.Errorf("no table for %T", obj)
}

func nodeMetrics(n *corev1.Node, s *series, now metav1.Time) metrics.NodeMetrics {
	return metrics.NodeMetrics{
		// The object is made when it is asked for, as metrics-server's is.
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels, CreationTimestamp: now},
		Timestamp:  metav1.NewTime(time.Unix(0, s.last.time)),
		Window:     metav1.Duration{Duration: s.window()},
		Usage:      s.usage(),
	}
}

// selectors are what a list asks for; everything when it asks for nothing.
func selectors(o *internalversion.ListOptions) (labels.Selector, fields.Selector) {
	label, field := labels.Everything(), fields.Everything()
	if o != nil && o.LabelSelector != nil {
		label = o.LabelSelector
	}
	if o != nil && o.FieldSelector != nil {
		field = o.FieldSelector
	}
	return label, field
}

// lookupError keeps "not found" of a lister as it is.
func lookupError(kind, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return err
	}
	return fmt.Errorf("look up %s %s: %w", kind, name, err)
}
