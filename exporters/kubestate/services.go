package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// services is the kind Service.
func services() kind {
	type S = *corev1.Service
	return &Resource[S]{
		Version: "v1", Plural: "services",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.ServiceList{} },
		Labels: []string{"namespace", "service", "uid"},
		Key:    func(s S) []string { return []string{s.Namespace, s.Name, string(s.UID)} },
		Families: []Family[S]{
			annotationsOf[S]("kube_service_annotations"),
			labelsOf[S]("kube_service_labels"),
			created[S]("kube_service_created", metric.Stable),
			deletion[S]("kube_service_deletion_timestamp"),
			info("kube_service_info", "Addresses of the service.", []string{"cluster_ip", "external_name", "load_balancer_ip", "external_traffic_policy"},
				func(s S) []string {
					return []string{s.Spec.ClusterIP, s.Spec.ExternalName, s.Spec.LoadBalancerIP, string(s.Spec.ExternalTrafficPolicy)}
				}),
			info("kube_service_spec_type", "How the service is reached.", []string{"type"},
				func(s S) []string { return []string{string(s.Spec.Type)} }),
			each("kube_service_spec_external_ip", "Addresses outside of the cluster that lead to the service.", "external_ip",
				func(s S) []string { return s.Spec.ExternalIPs }),
			{
				Name: "kube_service_status_load_balancer_ingress", Help: "Addresses of the load balancer.", Type: metric.Gauge,
				Labels: []string{"ip", "hostname"},
				Render: func(s S, l *Lines) {
					for _, i := range s.Status.LoadBalancer.Ingress {
						l.Add(1, i.IP, i.Hostname)
					}
				},
			},
		},
	}
}
