package kubestate

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// networkPolicies is the kind NetworkPolicy.
func networkPolicies() kind {
	type N = *networkingv1.NetworkPolicy
	return &Resource[N]{
		Group: "networking.k8s.io", Version: "v1", Plural: "networkpolicies",
		Scheme: networkingv1.AddToScheme,
		List:   func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
		Labels: []string{"namespace", "networkpolicy"},
		Key:    inNamespace[N],
		Families: []Family[N]{
			annotationsOf[N]("kube_networkpolicy_annotations"),
			alpha(labelsOf[N]("kube_networkpolicy_labels")),
			created[N]("kube_networkpolicy_created", metric.Alpha),
			alpha(number("kube_networkpolicy_spec_ingress_rules", "Rules for what comes to the pods.",
				func(n N) float64 { return float64(len(n.Spec.Ingress)) })),
			alpha(number("kube_networkpolicy_spec_egress_rules", "Rules for what the pods send.",
				func(n N) float64 { return float64(len(n.Spec.Egress)) })),
		},
	}
}
