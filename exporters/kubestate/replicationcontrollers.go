package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// replicationControllers is the kind ReplicationController.
func replicationControllers() kind {
	type R = *corev1.ReplicationController
	return &Resource[R]{
		Version: "v1", Plural: "replicationcontrollers",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.ReplicationControllerList{} },
		Labels: []string{"namespace", "replicationcontroller"},
		Key:    inNamespace[R],
		Families: []Family[R]{
			created[R]("kube_replicationcontroller_created", metric.Stable),
			alpha(owners[R]("kube_replicationcontroller_owner")),
			generation[R]("kube_replicationcontroller_metadata_generation"),
			optional("kube_replicationcontroller_spec_replicas", "Pods that are wanted.", metric.Stable,
				func(r R) *int32 { return r.Spec.Replicas }),
			number("kube_replicationcontroller_status_replicas", "Pods that there are.",
				func(r R) float64 { return float64(r.Status.Replicas) }),
			number("kube_replicationcontroller_status_fully_labeled_replicas", "Pods that have all labels of the template.",
				func(r R) float64 { return float64(r.Status.FullyLabeledReplicas) }),
			number("kube_replicationcontroller_status_ready_replicas", "Pods that are ready.",
				func(r R) float64 { return float64(r.Status.ReadyReplicas) }),
			number("kube_replicationcontroller_status_available_replicas", "Pods that have been ready for long enough.",
				func(r R) float64 { return float64(r.Status.AvailableReplicas) }),
			number("kube_replicationcontroller_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(r R) float64 { return float64(r.Status.ObservedGeneration) }),
		},
	}
}
