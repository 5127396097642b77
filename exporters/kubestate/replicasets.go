package kubestate

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// replicaSets is the kind ReplicaSet.
func replicaSets() kind {
	type R = *appsv1.ReplicaSet
	return &Resource[R]{
		Group: "apps", Version: "v1", Plural: "replicasets",
		Scheme: appsv1.AddToScheme,
		List:   func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Labels: []string{"namespace", "replicaset"},
		Key:    inNamespace[R],
		Families: []Family[R]{
			annotationsOf[R]("kube_replicaset_annotations"),
			labelsOf[R]("kube_replicaset_labels"),
			created[R]("kube_replicaset_created", metric.Stable),
			owners[R]("kube_replicaset_owner"),
			generation[R]("kube_replicaset_metadata_generation"),
			optional("kube_replicaset_spec_replicas", "Pods that are wanted.", metric.Stable,
				func(r R) *int32 { return r.Spec.Replicas }),
			number("kube_replicaset_status_replicas", "Pods that there are.",
				func(r R) float64 { return float64(r.Status.Replicas) }),
			number("kube_replicaset_status_fully_labeled_replicas", "Pods that have all labels of the template.",
				func(r R) float64 { return float64(r.Status.FullyLabeledReplicas) }),
			number("kube_replicaset_status_ready_replicas", "Pods that are ready.",
				func(r R) float64 { return float64(r.Status.ReadyReplicas) }),
			optional("kube_replicaset_status_terminating_replicas", "Pods that are about to end.", metric.Alpha,
				func(r R) *int32 { return r.Status.TerminatingReplicas }),
			number("kube_replicaset_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(r R) float64 { return float64(r.Status.ObservedGeneration) }),
		},
	}
}
