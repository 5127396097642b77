package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// namespaces is the kind Namespace.
func namespaces() kind {
	type N = *corev1.Namespace
	return &Resource[N]{
		Version: "v1", Plural: "namespaces", ClusterScoped: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.NamespaceList{} },
		Labels: []string{"namespace"},
		Key:    byName[N],
		Families: []Family[N]{
			annotationsOf[N]("kube_namespace_annotations"),
			labelsOf[N]("kube_namespace_labels"),
			created[N]("kube_namespace_created", metric.Stable),
			{
				Name: "kube_namespace_status_phase", Help: "Whether the namespace is in use or about to go.", Type: metric.Gauge,
				Labels: []string{"phase"},
				Render: func(n N, l *Lines) {
					l.States(string(n.Status.Phase), string(corev1.NamespaceActive), string(corev1.NamespaceTerminating))
				},
			},
			{
				Name: "kube_namespace_status_condition", Help: "Conditions of the namespace.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"condition", "status"},
				Render: func(n N, l *Lines) {
					for _, c := range n.Status.Conditions {
						l.Condition(c.Status, string(c.Type))
					}
				},
			},
		},
	}
}
