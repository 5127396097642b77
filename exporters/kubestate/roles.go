package kubestate

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// roles is the kind Role.
func roles() kind {
	type R = *rbacv1.Role
	return &Resource[R]{
		Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "roles", OptIn: true,
		Scheme: rbacv1.AddToScheme,
		List:   func() runtime.Object { return &rbacv1.RoleList{} },
		Labels: []string{"namespace", "role"},
		Key:    inNamespace[R],
		Families: []Family[R]{
			annotationsOf[R]("kube_role_annotations"),
			alpha(labelsOf[R]("kube_role_labels")),
			created[R]("kube_role_created", metric.Alpha),
			alpha(exists[R]("kube_role_info", "That the role is there.")),
			resourceVersion[R]("kube_role_metadata_resource_version"),
		},
	}
}
