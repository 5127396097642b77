package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// mutatingWebhookConfigurations is the kind MutatingWebhookConfiguration.
func mutatingWebhookConfigurations() kind {
	type C = *admissionv1.MutatingWebhookConfiguration
	return &Resource[C]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "mutatingwebhookconfigurations", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.MutatingWebhookConfigurationList{} },
		Labels: []string{"namespace", "mutatingwebhookconfiguration"}, // the namespace is always empty
		Key:    inNamespace[C],
		Families: webhookFamilies("mutatingwebhookconfiguration", func(c C) []webhook {
			var all []webhook
			for _, w := range c.Webhooks {
				all = append(all, webhook{w.Name, w.ClientConfig.Service})
			}
			return all
		}),
	}
}
