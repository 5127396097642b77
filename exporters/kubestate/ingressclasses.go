package kubestate

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// ingressClasses is the kind IngressClass.
func ingressClasses() kind {
	type I = *networkingv1.IngressClass
	return &Resource[I]{
		Group: "networking.k8s.io", Version: "v1", Plural: "ingressclasses", ClusterScoped: true, OptIn: true,
		Scheme: networkingv1.AddToScheme,
		List:   func() runtime.Object { return &networkingv1.IngressClassList{} },
		Labels: []string{"ingressclass"},
		Key:    byName[I],
		Families: []Family[I]{
			annotationsOf[I]("kube_ingressclass_annotations"),
			alpha(labelsOf[I]("kube_ingressclass_labels")),
			created[I]("kube_ingressclass_created", metric.Alpha),
			alpha(info("kube_ingressclass_info", "The controller that takes ingresses of the class.", []string{"controller"},
				func(i I) []string { return []string{i.Spec.Controller} })),
		},
	}
}
