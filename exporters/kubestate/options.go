package kubestate

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"

	"github.com/strata-metrics/strata/exporters/kubestate/custom"
)

// ErrUsage is what every error of New is that a change of the options mends.
var ErrUsage = errors.New("invalid option")

// Options says which objects are followed and which families are shown.
type Options struct {
	// Config reaches the API server; see LoadConfig. Needed.
	Config *rest.Config
	// Resources are the plural names of the kinds, of those of Resources();
	// empty means DefaultResources().
	Resources []string
	// Namespaces to follow; empty means all. Kinds that have no namespace are
	// not touched by it, nor by NamespacesDenylist.
	Namespaces []string
	// NamespacesDenylist are namespaces to leave out.
	NamespacesDenylist []string
	// Node, when set, leaves only the pods of this node; Resources must then
	// be pods alone.
	Node string
	// TrackUnscheduledPods leaves only the pods that no node was found for;
	// Resources must then be pods alone, and Node does not count.
	TrackUnscheduledPods bool
	// Shard is the part of the objects that is shown; the zero value is all.
	Shard Shard
	// Pod and PodNamespace name the pod that this runs in, as one of a
	// StatefulSet: the shard is then the pod's number of as many as the
	// StatefulSet wants, and Shard does not count.
	Pod, PodNamespace string
	// CustomResources says what is shown of custom resources. nil means
	// nothing.
	CustomResources *custom.Config
	// CustomResourcesOnly leaves all other kinds out.
	CustomResourcesOnly bool
	// UseAPIServerCache lists what the API server has at hand, which may be
	// old, and spares etcd.
	UseAPIServerCache bool
	// ObjectLimit is how many objects of a resource a list takes; 0 means all.
	ObjectLimit int64
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
	// SparseStates leaves the zeros of sets of states out: of a pod's phases
	// only the one that it is in is shown.
	SparseStates bool
	// LinesByObject writes the lines of an object behind each other, in place of
	// those of a family: half of the time, two thirds of the memory and of the
	// bytes. Prometheus reads that, but the text format wants each family as one
	// group, and other readers may insist. Custom resources, and families that are
	// joined of several objects, stay grouped.
	LinesByObject bool
	// PodWorkloads shows kube_pod_workload: the Deployment, CronJob or other
	// workload that a pod belongs to.
	PodWorkloads bool
	// PodWorkloadLabels names families of pods that have the workload as
	// labels, too: kube_pod_info and others.
	PodWorkloadLabels []string
	// JoinLabels says which labels of nodes and namespaces are shown of their
	// pods in kube_pod_joined_labels.
	JoinLabels Allowlist
	// SeriesBudgetFamily and SeriesBudgetNamespace are how many series each
	// family, and each namespace over all kinds, has at most; 0 is no bound.
	// Objects beyond that are left out whole, and counted.
	SeriesBudgetFamily, SeriesBudgetNamespace int
	// ContainerExits counts the ends of containers by workload, in
	// kube_workload_container_exits_total.
	ContainerExits bool
	// CounterSeriesLimit is how many series each family has at most that counts
	// what happens to objects (kube_event_occurrences_total and
	// kube_workload_container_exits_total); 0 means 10,000.
	CounterSeriesLimit int
	// Logger, nil means slog.Default().
	Logger *slog.Logger
	// Registry gets the metrics about the exporter itself
	// (kube_state_metrics_list_total, ..._watch_total and others). nil means none.
	Registry prometheus.Registerer

	retry time.Duration // first pause after a failure; 0 means 1 s
}

// Validate finds mistakes in the options, save Config; they are ErrUsage.
func (o Options) Validate() error {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	if err := o.validateExtras(chosen); err != nil {
		return err
	}
	if err := o.Shard.validate(); err != nil {
		return err
	}
	if (o.Pod == "") != (o.PodNamespace == "") {
		return fmt.Errorf("%w: --pod %q and --pod-namespace %q need each other", ErrUsage, o.Pod, o.PodNamespace)
	}
	if o.ObjectLimit < 0 {
		return fmt.Errorf("%w: --object-limit is %d; it is a number of objects, or 0 for all", ErrUsage, o.ObjectLimit)
	}
	_, err = newFilter(o.MetricAllowlist, o.MetricDenylist, o.MetricOptIn)
	return err
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
	all = slices.DeleteFunc(all, func(k kind) bool {
		if len(o.Resources) == 0 {
			return !k.byDefault()
		}
		return !slices.Contains(o.Resources, k.plural())
	})
	if o.CustomResourcesOnly {
		all = nil
	}
	justPods := len(all) == 1 && all[0].plural() == "pods"
	if o.TrackUnscheduledPods && !justPods {
		return nil, fmt.Errorf("%w: --track-unscheduled-pods is for pods only: give --resources=pods", ErrUsage)
	}
	if o.Node != "" && !justPods {
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
	switch {
	case o.TrackUnscheduledPods:
		node = fields.OneTermEqualSelector("spec.nodeName", "")
	case o.Node != "":
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
