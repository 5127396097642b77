package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// configMaps is the kind ConfigMap. Nothing of its data is shown.
func configMaps() kind {
	type C = *corev1.ConfigMap
	return &Resource[C]{
		Version: "v1", Plural: "configmaps",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.ConfigMapList{} },
		Labels: []string{"namespace", "configmap"},
		Key:    inNamespace[C],
		Families: []Family[C]{
			annotationsOf[C]("kube_configmap_annotations"),
			labelsOf[C]("kube_configmap_labels"),
			created[C]("kube_configmap_created", metric.Stable),
			exists[C]("kube_configmap_info", "That the ConfigMap is there."),
			resourceVersion[C]("kube_configmap_metadata_resource_version"),
		},
	}
}
