package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// mutatingAdmissionPolicyBindings is the kind MutatingAdmissionPolicyBinding.
func mutatingAdmissionPolicyBindings() kind {
	type B = *admissionv1.MutatingAdmissionPolicyBinding
	return &Resource[B]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "mutatingadmissionpolicybindings", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBindingList{} },
		Labels: []string{"namespace", "mutatingadmissionpolicybinding"}, // the namespace is always empty
		Key:    inNamespace[B],
		Families: []Family[B]{
			bindingInfo("kube_mutatingadmissionpolicybinding_info",
				func(b B) (string, *admissionv1.ParamRef) { return b.Spec.PolicyName, b.Spec.ParamRef }),
			created[B]("kube_mutatingadmissionpolicybinding_created", metric.Alpha),
		},
	}
}

// bindingInfo is the info of both kinds of bindings.
func bindingInfo[T Object](name string, parts func(T) (policy string, param *admissionv1.ParamRef)) Family[T] {
	return alpha(info(name, "The policy that is put to use, and the parameters that it gets.",
		[]string{"policy_name", "param_name", "param_namespace", "param_not_found_action"},
		func(o T) []string {
			policy, ref := parts(o)
			if ref == nil {
				return []string{policy, "", "", ""}
			}
			return []string{policy, ref.Name, ref.Namespace, orEmpty(ref.ParameterNotFoundAction)}
		}))
}
