package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// validatingAdmissionPolicies is the kind ValidatingAdmissionPolicy.
func validatingAdmissionPolicies() kind {
	type P = *admissionv1.ValidatingAdmissionPolicy
	return &Resource[P]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "validatingadmissionpolicies", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyList{} },
		Labels: []string{"namespace", "validatingadmissionpolicy"}, // the namespace is always empty
		Key:    inNamespace[P],
		Families: []Family[P]{
			alpha(info("kube_validatingadmissionpolicy_info", "Kind of the policy's parameters, and what happens when it cannot be asked.",
				[]string{"param_api_version", "param_kind", "failure_policy"},
				func(p P) []string {
					var param admissionv1.ParamKind
					if p.Spec.ParamKind != nil {
						param = *p.Spec.ParamKind
					}
					return []string{param.APIVersion, param.Kind, orEmpty(p.Spec.FailurePolicy)}
				})),
			created[P]("kube_validatingadmissionpolicy_created", metric.Alpha),
		},
	}
}
