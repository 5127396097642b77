package resource

import (
	"cmp"
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
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Pods is the resource pods of metrics.k8s.io: get and list.
type Pods struct {
	pods      cache.GenericLister
	snapshots Snapshots
}

var (
	_ rest.Getter               = (*Pods)(nil)
	_ rest.Lister               = (*Pods)(nil)
	_ rest.Scoper               = (*Pods)(nil)
	_ rest.KindProvider         = (*Pods)(nil)
	_ rest.SingularNameProvider = (*Pods)(nil)
)

// NewPods makes the resource from the running pods (PartialObjectMetadata, with
// an index by namespace) and what is known of them.
func NewPods(pods cache.GenericLister, snapshots Snapshots) *Pods {
	return &Pods{pods: pods, snapshots: snapshots}
}

// New implements rest.Storage.
func (*Pods) New() runtime.Object { return &metrics.PodMetrics{} }

// Destroy implements rest.Storage.
func (*Pods) Destroy() {}

// Kind implements rest.KindProvider.
func (*Pods) Kind() string { return "PodMetrics" }

// NewList implements rest.Lister.
func (*Pods) NewList() runtime.Object { return &metrics.PodMetricsList{} }

// NamespaceScoped implements rest.Scoper.
func (*Pods) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider: there is none, since
// pod is the name of another resource.
func (*Pods) GetSingularName() string { return "" }

// Get implements rest.Getter. A pod that does not run and one that is not known
// yet are both not found, each in its own words.
func (r *Pods) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	namespace := request.NamespaceValue(ctx)
	obj, err := r.pods.ByNamespace(namespace).Get(name)
	if err != nil {
		return nil, lookupError("pod", namespace+"/"+name, err)
	}
	pod, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("pod %s/%s is a %T", namespace, name, obj)
	}
	s := r.snapshots.Snapshot().pod(namespace, name)
	if s == nil {
		return nil, apierrors.NewNotFound(metrics.Resource("podmetrics"), namespace+"/"+name)
	}
	return new(podMetrics(pod, s, metav1.Now())), nil
}

// List implements rest.Lister.
func (r *Pods) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	label, field := selectors(options)
	namespace := request.NamespaceValue(ctx)
	pods, err := r.list(namespace, label, field)
	if err != nil {
		return nil, err
	}
	snapshot, now := r.snapshots.Snapshot(), metav1.Now()
	list := &metrics.PodMetricsList{Items: make([]metrics.PodMetrics, 0, len(pods))}
	for _, p := range pods {
		if s := snapshot.pod(p.Namespace, p.Name); s != nil {
			list.Items = append(list.Items, podMetrics(p, s, now))
		}
	}
	return list, nil
}

// list gives the running pods that the selectors ask for, sorted as the API server does.
func (r *Pods) list(namespace string, label labels.Selector, field fields.Selector) ([]*metav1.PartialObjectMetadata, error) {
	from := r.pods.List
	if namespace != "" {
		from = r.pods.ByNamespace(namespace).List
	}
	objects, err := from(label)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	pods := make([]*metav1.PartialObjectMetadata, 0, len(objects))
	for _, obj := range objects {
		p, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return nil, fmt.Errorf("list pods: one is a %T", obj)
		}
		if field.Empty() || field.Matches(fields.Set{"metadata.name": p.Name, "metadata.namespace": p.Namespace}) {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b *metav1.PartialObjectMetadata) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return pods, nil
}

// ConvertToTable implements rest.TableConvertor.
func (r *Pods) ConvertToTable(_ context.Context, obj, _ runtime.Object) (*metav1.Table, error) {
	switch o := obj.(type) {
	case *metrics.PodMetrics:
		return table([]row{podRow(o)}), nil
	case *metrics.PodMetricsList:
		rows := make([]row, 0, len(o.Items))
		for i := range o.Items {
			rows = append(rows, podRow(&o.Items[i]))
		}
		return table(rows), nil
	}
	return nil, fmt.Errorf("no table for %T", obj)
}

func podMetrics(p *metav1.PartialObjectMetadata, s *podState, now metav1.Time) metrics.PodMetrics {
	measured := s.measured()
	m := metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, CreationTimestamp: now},
		Timestamp:  metav1.NewTime(time.Unix(0, measured.last.time)),
		Window:     metav1.Duration{Duration: measured.window()},
		Containers: make([]metrics.ContainerMetrics, len(s.containers)),
	}
	for i := range s.containers {
		c := &s.containers[i]
		m.Containers[i] = metrics.ContainerMetrics{Name: c.name, Usage: c.usage()}
	}
	return m
}

// row is one line of a table.
type row struct {
	object runtime.Object
	name   string
	usage  corev1.ResourceList
	window metav1.Duration
}

func nodeRow(m *metrics.NodeMetrics) row { return row{m, m.Name, m.Usage, m.Window} }

func podRow(m *metrics.PodMetrics) row {
	sum := corev1.ResourceList{}
	for _, c := range m.Containers {
		for name, q := range c.Usage {
			total := sum[name]
			total.Add(q)
			sum[name] = total
		}
	}
	return row{m, m.Name, sum, m.Window}
}

// table has a column for each of what is measured. An empty list has no
// columns, as metrics-server's.
func table(rows []row) *metav1.Table {
	t := &metav1.Table{}
	if len(rows) == 0 {
		return t
	}
	resources := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}
	t.ColumnDefinitions = append(t.ColumnDefinitions,
		metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"})
	for _, r := range resources {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: string(r), Type: "string", Format: "quantity"})
	}
	t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Window", Type: "string", Format: "duration"})
	for _, r := range rows {
		cells := []any{r.name}
		for _, name := range resources {
			q := r.usage[name]
			cells = append(cells, q.String())
		}
		t.Rows = append(t.Rows, metav1.TableRow{
			Cells:  append(cells, r.window.Duration.String()),
			Object: runtime.RawExtension{Object: r.object},
		})
	}
	return t
}
