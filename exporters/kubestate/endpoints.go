package kubestate

//lint:file-ignore SA1019 Kubernetes calls it deprecated and serves it; it is followed on request only.

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// endpoints is the kind Endpoints, which EndpointSlice has followed.
func endpoints() kind {
	type E = *corev1.Endpoints
	return &Resource[E]{
		Version: "v1", Plural: "endpoints", OptIn: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.EndpointsList{} },
		Labels: []string{"namespace", "endpoint"},
		Key:    inNamespace[E],
		Families: []Family[E]{
			annotationsOf[E]("kube_endpoint_annotations"),
			labelsOf[E]("kube_endpoint_labels"),
			created[E]("kube_endpoint_created", metric.Stable),
			exists[E]("kube_endpoint_info", "That the endpoints are there."),
			{
				Name: "kube_endpoint_address", Help: "Addresses, each with each of its ports.", Type: metric.Gauge,
				Labels: []string{"port_protocol", "port_number", "port_name", "ip", "ready"},
				Render: func(e E, l *Lines) {
					for _, s := range e.Subsets {
						endpointAddresses(s.Ports, s.Addresses, "true", l)
						endpointAddresses(s.Ports, s.NotReadyAddresses, "false", l)
					}
				},
			},
			{
				Name: "kube_endpoint_ports", Help: "Ports. Deprecated since 2.14.0 of kube-state-metrics: kube_endpoint_address has them too.", Type: metric.Gauge,
				Labels: []string{"port_name", "port_protocol", "port_number"},
				Render: func(e E, l *Lines) {
					for _, s := range e.Subsets {
						for _, p := range s.Ports {
							l.Add(1, p.Name, string(p.Protocol), strconv.Itoa(int(p.Port)))
						}
					}
				},
			},
		},
	}
}

func endpointAddresses(ports []corev1.EndpointPort, addresses []corev1.EndpointAddress, ready string, l *Lines) {
	for _, p := range ports {
		for _, a := range addresses {
			l.Add(1, string(p.Protocol), strconv.Itoa(int(p.Port)), p.Name, a.IP, ready)
		}
	}
}
