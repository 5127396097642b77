package kubestate

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// ingresses is the kind Ingress.
func ingresses() kind {
	type I = *networkingv1.Ingress
	return &Resource[I]{
		Group: "networking.k8s.io", Version: "v1", Plural: "ingresses",
		Scheme: networkingv1.AddToScheme,
		List:   func() runtime.Object { return &networkingv1.IngressList{} },
		Labels: []string{"namespace", "ingress"},
		Key:    inNamespace[I],
		Families: []Family[I]{
			annotationsOf[I]("kube_ingress_annotations"),
			labelsOf[I]("kube_ingress_labels"),
			created[I]("kube_ingress_created", metric.Stable),
			info("kube_ingress_info", "Class of the ingress, _default when none is named.", []string{"ingressclass"},
				func(i I) []string { return []string{ingressClass(i)} }),
			resourceVersion[I]("kube_ingress_metadata_resource_version"),
			{
				Name: "kube_ingress_path", Type: metric.Gauge,
				Help:   "Paths, and where they lead: service_name and service_port, which is 0 for a port that has a name; or resource_api_group, resource_kind and resource_name.",
				Labels: []string{"host", "path", "path_type"},
				Render: ingressPaths,
			},
			{
				Name: "kube_ingress_tls", Help: "Hosts with TLS, and the secret of their certificate.", Type: metric.Gauge,
				Labels: []string{"tls_host", "secret"},
				Render: func(i I, l *Lines) {
					for _, tls := range i.Spec.TLS {
						for _, host := range tls.Hosts {
							l.Add(1, host, tls.SecretName)
						}
					}
				},
			},
		},
	}
}

// ingressClass prefers the annotation that classes were named by before there
// was a field.
func ingressClass(i *networkingv1.Ingress) string {
	if class, ok := i.Annotations["kubernetes.io/ingress.class"]; ok {
		return class
	}
	if i.Spec.IngressClassName != nil {
		return *i.Spec.IngressClassName
	}
	return "_default"
}

func ingressPaths(i *networkingv1.Ingress, l *Lines) {
	service := []string{"service_name", "service_port"}
	other := []string{"resource_api_group", "resource_kind", "resource_name"}
	for _, rule := range i.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			labels := []string{rule.Host, p.Path, orEmpty(p.PathType)}
			if s := p.Backend.Service; s != nil {
				l.AddExtra(1, labels, service, []string{s.Name, strconv.Itoa(int(s.Port.Number))})
				continue
			}
			var ref corev1.TypedLocalObjectReference
			if p.Backend.Resource != nil {
				ref = *p.Backend.Resource
			}
			l.AddExtra(1, labels, other, []string{orEmpty(ref.APIGroup), ref.Kind, ref.Name})
		}
	}
}
