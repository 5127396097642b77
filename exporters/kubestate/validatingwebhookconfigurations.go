package kubestate

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// validatingWebhookConfigurations is the kind ValidatingWebhookConfiguration.
func validatingWebhookConfigurations() kind {
	type C = *admissionv1.ValidatingWebhookConfiguration
	return &Resource[C]{
		Group: "admissionregistration.k8s.io", Version: "v1", Plural: "validatingwebhookconfigurations", ClusterScoped: true,
		Scheme: admissionv1.AddToScheme,
		List:   func() runtime.Object { return &admissionv1.ValidatingWebhookConfigurationList{} },
		Labels: []string{"namespace", "validatingwebhookconfiguration"}, // the namespace is always empty
		Key:    inNamespace[C],
		Families: webhookFamilies("validatingwebhookconfiguration", func(c C) []webhook {
			var all []webhook
			for _, w := range c.Webhooks {
				all = append(all, webhook{w.Name, w.ClientConfig.Service})
			}
			return all
		}),
	}
}
