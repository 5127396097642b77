package kubestate

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// clusterRoles is the kind ClusterRole.
func clusterRoles() kind {
	type R = *rbacv1.ClusterRole
	return &Resource[R]{
		Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "clusterroles", ClusterScoped: true, OptIn: true,
		Scheme: rbacv1.AddToScheme,
		List:   func() runtime.Object { return &rbacv1.ClusterRoleList{} },
		Labels: []string{"clusterrole"},
		Key:    byName[R],
		Families: []Family[R]{
			annotationsOf[R]("kube_clusterrole_annotations"),
			alpha(labelsOf[R]("kube_clusterrole_labels")),
			created[R]("kube_clusterrole_created", metric.Alpha),
			alpha(exists[R]("kube_clusterrole_info", "That the role is there.")),
			resourceVersion[R]("kube_clusterrole_metadata_resource_version"),
		},
	}
}
