package kubestate

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// roleBindings is the kind RoleBinding.
func roleBindings() kind {
	type R = *rbacv1.RoleBinding
	return &Resource[R]{
		Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "rolebindings", OptIn: true,
		Scheme: rbacv1.AddToScheme,
		List:   func() runtime.Object { return &rbacv1.RoleBindingList{} },
		Labels: []string{"namespace", "rolebinding"},
		Key:    inNamespace[R],
		Families: []Family[R]{
			annotationsOf[R]("kube_rolebinding_annotations"),
			alpha(labelsOf[R]("kube_rolebinding_labels")),
			created[R]("kube_rolebinding_created", metric.Alpha),
			alpha(info("kube_rolebinding_info", "The role that is given.", []string{"roleref_kind", "roleref_name"},
				func(r R) []string { return []string{r.RoleRef.Kind, r.RoleRef.Name} })),
			resourceVersion[R]("kube_rolebinding_metadata_resource_version"),
		},
	}
}
