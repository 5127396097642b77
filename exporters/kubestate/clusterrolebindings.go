package kubestate

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// clusterRoleBindings is the kind ClusterRoleBinding.
func clusterRoleBindings() kind {
	type R = *rbacv1.ClusterRoleBinding
	return &Resource[R]{
		Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "clusterrolebindings", ClusterScoped: true, OptIn: true,
		Scheme: rbacv1.AddToScheme,
		List:   func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
		Labels: []string{"clusterrolebinding"},
		Key:    byName[R],
		Families: []Family[R]{
			annotationsOf[R]("kube_clusterrolebinding_annotations"),
			alpha(labelsOf[R]("kube_clusterrolebinding_labels")),
			created[R]("kube_clusterrolebinding_created", metric.Alpha),
			alpha(info("kube_clusterrolebinding_info", "The role that is given.", []string{"roleref_kind", "roleref_name"},
				func(r R) []string { return []string{r.RoleRef.Kind, r.RoleRef.Name} })),
			resourceVersion[R]("kube_clusterrolebinding_metadata_resource_version"),
		},
	}
}
