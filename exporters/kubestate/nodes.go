package kubestate

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// nodes is the kind Node.
func nodes() kind {
	type N = *corev1.Node
	return &Resource[N]{
		Version: "v1", Plural: "nodes", ClusterScoped: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.NodeList{} },
		Labels: []string{"node"},
		Key:    byName[N],
		Families: []Family[N]{
			annotationsOf[N]("kube_node_annotations"),
			labelsOf[N]("kube_node_labels"),
			created[N]("kube_node_created", metric.Stable),
			deletion[N]("kube_node_deletion_timestamp"),
			{
				Name: "kube_node_info", Help: "Software and addresses of the node.", Type: metric.Gauge,
				Labels: []string{"kernel_version", "os_image", "container_runtime_version", "kubelet_version", "kubeproxy_version",
					"provider_id", "pod_cidr", "system_uuid", "internal_ip"},
				Render: nodeInfo,
			},
			{
				Name: "kube_node_role", Help: "Roles of the node, from its labels node-role.kubernetes.io/ROLE.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"role"},
				Render: func(n N, l *Lines) {
					for _, name := range slices.Sorted(maps.Keys(n.Labels)) {
						if role, ok := strings.CutPrefix(name, "node-role.kubernetes.io/"); ok {
							l.Add(1, role)
						}
					}
				},
			},
			{
				Name: "kube_node_spec_pod_cidrs", Help: "Address ranges for the pods of the node.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"pod_cidr"},
				Render: func(n N, l *Lines) {
					for _, cidr := range n.Spec.PodCIDRs {
						l.Add(1, cidr)
					}
				},
			},
			{
				Name: "kube_node_spec_taint", Help: "Taints that keep pods away from the node.", Type: metric.Gauge,
				Labels: []string{"key", "value", "effect"},
				Render: func(n N, l *Lines) {
					for _, t := range n.Spec.Taints {
						l.Add(1, t.Key, t.Value, string(t.Effect))
					}
				},
			},
			{
				Name: "kube_node_spec_unschedulable", Help: "Whether the node takes no new pods.", Type: metric.Gauge,
				Render: func(n N, l *Lines) { l.Bool(n.Spec.Unschedulable) },
			},
			nodeResources("kube_node_status_allocatable", "Resources of the node that pods may have, in cores, bytes or pieces.",
				func(n N) corev1.ResourceList { return n.Status.Allocatable }),
			nodeResources("kube_node_status_capacity", "Resources that the node has, in cores, bytes or pieces.",
				func(n N) corev1.ResourceList { return n.Status.Capacity }),
			{
				Name: "kube_node_status_condition", Help: "Conditions of the node.", Type: metric.Gauge,
				Labels: []string{"condition", "status"},
				Render: func(n N, l *Lines) {
					for _, c := range n.Status.Conditions {
						l.Condition(c.Status, string(c.Type))
					}
				},
			},
			{
				Name: "kube_node_status_addresses", Help: "Addresses of the node.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"type", "address"},
				Render: func(n N, l *Lines) {
					for _, a := range n.Status.Addresses {
						l.Add(1, string(a.Type), a.Address)
					}
				},
			},
		},
	}
}

func nodeInfo(n *corev1.Node, l *Lines) {
	address := ""
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			address = a.Address // the last one counts
		}
	}
	i := n.Status.NodeInfo
	l.Add(1, i.KernelVersion, i.OSImage, i.ContainerRuntimeVersion, i.KubeletVersion,
		"deprecated", // what kube-proxy said of itself is no longer in the API; the label stays for queries
		n.Spec.ProviderID, n.Spec.PodCIDR, i.SystemUUID, address)
}

// nodeResources shows quantities with their fractions, unlike those of pods.
func nodeResources(name, help string, pick func(*corev1.Node) corev1.ResourceList) Family[*corev1.Node] {
	return Family[*corev1.Node]{
		Name: name, Help: help, Type: metric.Gauge, Labels: []string{"resource", "unit"},
		Render: func(n *corev1.Node, l *Lines) {
			list := pick(n)
			for _, resource := range sortedResources(list) {
				unit := resourceUnit(resource)
				if resource == corev1.ResourcePods {
					unit = "integer"
				}
				if unit != "" {
					l.Add(quantity(list[resource]), metric.SanitizeName(string(resource)), unit)
				}
			}
		},
	}
}
