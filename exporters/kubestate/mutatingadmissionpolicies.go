package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// mutatingAdmissionPolicies is the kind MutatingAdmissionPolicy.
func mutatingAdmissionPolicies() kind {
	type P = *admissionv1.MutatingAdmissionPolicy
	return &Resource[P]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "mutatingadmissionpolicies", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyList{} },
		Labels: []string{"namespace", "mutatingadmissionpolicy"}, // the namespace is always empty
		Key:    inNamespace[P],
		Families: []Family[P]{
			alpha(info("kube_mutatingadmissionpolicy_info", "Kind of the policy's parameters, and what happens when it cannot be asked.",
				[]string{"param_api_version", "param_kind", "failure_policy", "reinvocation_policy"},
				func(p P) []string {
					var param admissionv1.ParamKind
					if p.Spec.ParamKind != nil {
						param = *p.Spec.ParamKind
					}
					return []string{param.APIVersion, param.Kind, orEmpty(p.Spec.FailurePolicy), string(p.Spec.ReinvocationPolicy)}
				})),
			created[P]("kube_mutatingadmissionpolicy_created", metric.Alpha),
		},
	}
}
