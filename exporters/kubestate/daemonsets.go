package kubestate

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// daemonSets is the kind DaemonSet.
func daemonSets() kind {
	type D = *appsv1.DaemonSet
	return &Resource[D]{
		Group: "apps", Version: "v1", Plural: "daemonsets",
		Scheme: appsv1.AddToScheme,
		List:   func() runtime.Object { return &appsv1.DaemonSetList{} },
		Labels: []string{"namespace", "daemonset"},
		Key:    inNamespace[D],
		Families: []Family[D]{
			annotationsOf[D]("kube_daemonset_annotations"),
			labelsOf[D]("kube_daemonset_labels"),
			created[D]("kube_daemonset_created", metric.Stable),
			deletion[D]("kube_daemonset_deletion_timestamp"),
			generation[D]("kube_daemonset_metadata_generation"),
			number("kube_daemonset_status_current_number_scheduled", "Nodes that run a pod of the set and are to.",
				func(d D) float64 { return float64(d.Status.CurrentNumberScheduled) }),
			number("kube_daemonset_status_desired_number_scheduled", "Nodes that are to run a pod of the set.",
				func(d D) float64 { return float64(d.Status.DesiredNumberScheduled) }),
			number("kube_daemonset_status_number_available", "Nodes on which a pod of the set has been ready for long enough.",
				func(d D) float64 { return float64(d.Status.NumberAvailable) }),
			number("kube_daemonset_status_number_misscheduled", "Nodes that run a pod of the set and are not to.",
				func(d D) float64 { return float64(d.Status.NumberMisscheduled) }),
			number("kube_daemonset_status_number_ready", "Nodes on which a pod of the set is ready.",
				func(d D) float64 { return float64(d.Status.NumberReady) }),
			number("kube_daemonset_status_number_unavailable", "Nodes on which a pod of the set is still missing.",
				func(d D) float64 { return float64(d.Status.NumberUnavailable) }),
			number("kube_daemonset_status_updated_number_scheduled", "Nodes that run a pod of the newest template.",
				func(d D) float64 { return float64(d.Status.UpdatedNumberScheduled) }),
			number("kube_daemonset_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(d D) float64 { return float64(d.Status.ObservedGeneration) }),
		},
	}
}
