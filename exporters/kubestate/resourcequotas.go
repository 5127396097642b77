package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// resourceQuotas is the kind ResourceQuota.
func resourceQuotas() kind {
	type Q = *corev1.ResourceQuota
	return &Resource[Q]{
		Version: "v1", Plural: "resourcequotas",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.ResourceQuotaList{} },
		Labels: []string{"namespace", "resourcequota"},
		Key:    inNamespace[Q],
		Families: []Family[Q]{
			annotationsOf[Q]("kube_resourcequota_annotations"),
			alpha(labelsOf[Q]("kube_resourcequota_labels")),
			created[Q]("kube_resourcequota_created", metric.Stable),
			{
				Name: "kube_resourcequota", Help: "What the namespace may use of a resource (hard) and does (used).", Type: metric.Gauge,
				Labels: []string{"resource", "type"},
				Render: func(q Q, l *Lines) {
					quantities(l, q.Status.Hard, "hard")
					quantities(l, q.Status.Used, "used")
				},
			},
		},
	}
}

// quantities shows resources under their own names, with further labels.
func quantities(l *Lines, list corev1.ResourceList, more ...string) {
	for _, resource := range sortedResources(list) {
		l.Add(quantity(list[resource]), append([]string{string(resource)}, more...)...)
	}
}
