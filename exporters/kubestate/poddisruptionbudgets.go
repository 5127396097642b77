package kubestate

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// podDisruptionBudgets is the kind PodDisruptionBudget.
func podDisruptionBudgets() kind {
	type B = *policyv1.PodDisruptionBudget
	return &Resource[B]{
		Group: "policy", Version: "v1", Plural: "poddisruptionbudgets",
		Scheme: policyv1.AddToScheme,
		List:   func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} },
		Labels: []string{"namespace", "poddisruptionbudget"},
		Key:    inNamespace[B],
		Families: []Family[B]{
			annotationsOf[B]("kube_poddisruptionbudget_annotations"),
			alpha(labelsOf[B]("kube_poddisruptionbudget_labels")),
			created[B]("kube_poddisruptionbudget_created", metric.Stable),
			deletion[B]("kube_poddisruptionbudget_deletion_timestamp"),
			number("kube_poddisruptionbudget_status_current_healthy", "Pods that are ready.",
				func(b B) float64 { return float64(b.Status.CurrentHealthy) }),
			number("kube_poddisruptionbudget_status_desired_healthy", "Pods that are to be ready at least.",
				func(b B) float64 { return float64(b.Status.DesiredHealthy) }),
			number("kube_poddisruptionbudget_status_pod_disruptions_allowed", "Pods that may be evicted now.",
				func(b B) float64 { return float64(b.Status.DisruptionsAllowed) }),
			number("kube_poddisruptionbudget_status_expected_pods", "Pods that the budget is about.",
				func(b B) float64 { return float64(b.Status.ExpectedPods) }),
			number("kube_poddisruptionbudget_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(b B) float64 { return float64(b.Status.ObservedGeneration) }),
		},
	}
}
