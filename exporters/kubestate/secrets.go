package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// secrets is the kind Secret. Nothing of its data is shown.
func secrets() kind {
	type S = *corev1.Secret
	return &Resource[S]{
		Version: "v1", Plural: "secrets",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.SecretList{} },
		Labels: []string{"namespace", "secret"},
		Key:    inNamespace[S],
		Families: []Family[S]{
			annotationsOf[S]("kube_secret_annotations"),
			labelsOf[S]("kube_secret_labels"),
			created[S]("kube_secret_created", metric.Stable),
			alpha(owners[S]("kube_secret_owner")),
			exists[S]("kube_secret_info", "That the secret is there."),
			info("kube_secret_type", "What the secret holds.", []string{"type"},
				func(s S) []string { return []string{string(s.Type)} }),
			resourceVersion[S]("kube_secret_metadata_resource_version"),
		},
	}
}
