package kubestate

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// endpointSlices is the kind EndpointSlice.
func endpointSlices() kind {
	type E = *discoveryv1.EndpointSlice
	return &Resource[E]{
		Group: "discovery.k8s.io", Version: "v1", Plural: "endpointslices",
		Scheme: discoveryv1.AddToScheme,
		List:   func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Labels: []string{"namespace", "endpointslice"},
		Key:    inNamespace[E],
		Families: []Family[E]{
			annotationsOf[E]("kube_endpointslice_annotations"),
			alpha(labelsOf[E]("kube_endpointslice_labels")),
			created[E]("kube_endpointslice_created", metric.Alpha),
			alpha(info("kube_endpointslice_info", "What sort of addresses the slice holds.", []string{"addresstype"},
				func(e E) []string { return []string{string(e.AddressType)} })),
			{
				Name: "kube_endpointslice_endpoints", Help: "Addresses, their state and what is behind them.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"ready", "serving", "hostname", "terminating", "targetref_kind", "targetref_name", "targetref_namespace",
					"endpoint_nodename", "endpoint_zone", "address"},
				Render: sliceEndpoints,
			},
			{
				Name: "kube_endpointslice_endpoints_hints", Help: "Zones that are to use an endpoint, of which the first address stands for all.",
				Type: metric.Gauge, Stability: metric.Alpha, Labels: []string{"address", "for_zone"},
				Render: func(e E, l *Lines) {
					for _, p := range e.Endpoints {
						if p.Hints == nil || len(p.Addresses) == 0 {
							continue
						}
						for _, zone := range p.Hints.ForZones {
							l.Add(1, p.Addresses[0], zone.Name)
						}
					}
				},
			},
			{
				Name: "kube_endpointslice_ports", Help: "Ports of the slice; a label is empty where nothing is said.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"port_name", "port_protocol", "port_number"},
				Render: func(e E, l *Lines) {
					for _, p := range e.Ports {
						number := ""
						if p.Port != nil {
							number = strconv.Itoa(int(*p.Port))
						}
						l.Add(1, orEmpty(p.Name), orEmpty(p.Protocol), number)
					}
				},
			},
		},
	}
}

func sliceEndpoints(e *discoveryv1.EndpointSlice, l *Lines) {
	for _, p := range e.Endpoints {
		var target corev1.ObjectReference
		if p.TargetRef != nil {
			target = *p.TargetRef
		}
		for _, address := range p.Addresses {
			l.Add(1, yesOrNo(p.Conditions.Ready), yesOrNo(p.Conditions.Serving), orEmpty(p.Hostname), yesOrNo(p.Conditions.Terminating),
				target.Kind, target.Name, target.Namespace, orEmpty(p.NodeName), orEmpty(p.Zone), address)
		}
	}
}
