package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// validatingAdmissionPolicyBindings is the kind ValidatingAdmissionPolicyBinding.
func validatingAdmissionPolicyBindings() kind {
	type B = *admissionv1.ValidatingAdmissionPolicyBinding
	return &Resource[B]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "validatingadmissionpolicybindings", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBindingList{} },
		Labels: []string{"namespace", "validatingadmissionpolicybinding"}, // the namespace is always empty
		Key:    inNamespace[B],
		Families: []Family[B]{
			bindingInfo("kube_validatingadmissionpolicybinding_info",
				func(b B) (string, *admissionv1.ParamRef) { return b.Spec.PolicyName, b.Spec.ParamRef }),
			created[B]("kube_validatingadmissionpolicybinding_created", metric.Alpha),
			alpha(each("kube_validatingadmissionpolicybinding_validation_action", "What happens to a request that the policy denies.", "action",
				func(b B) []string {
					var actions []string
					for _, a := range b.Spec.ValidationActions {
						actions = append(actions, string(a))
					}
					return actions
				})),
		},
	}
}
