package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

// webhook names the service behind an admission webhook.
type webhook struct {
	name    string
	service *admissionv1.ServiceReference
}

// webhookFamilies are those of both kinds of configurations.
func webhookFamilies[T Object](kind string, webhooks func(T) []webhook) []Family[T] {
	return []Family[T]{
		alpha(exists[T]("kube_"+kind+"_info", "That the configuration is there.")),
		created[T]("kube_"+kind+"_created", metric.Alpha),
		resourceVersion[T]("kube_" + kind + "_metadata_resource_version"),
		{
			Name: "kube_" + kind + "_webhook_clientconfig_service", Help: "Services that are asked; the labels are empty for a webhook that has a URL.",
			Type: metric.Gauge, Stability: metric.Alpha, Labels: []string{"webhook_name", "service_name", "service_namespace"},
			Render: func(o T, l *Lines) {
				for _, w := range webhooks(o) {
					var service admissionv1.ServiceReference
					if w.service != nil {
						service = *w.service
					}
					l.Add(1, w.name, service.Name, service.Namespace)
				}
			},
		},
	}
}
