package kubestate

import (
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// pods is the kind Pod.
func pods() kind {
	return &Resource[*corev1.Pod]{
		Version: "v1", Plural: "pods",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.PodList{} },
		Labels: []string{"namespace", "pod", "uid"},
		Key:    func(p *corev1.Pod) []string { return []string{p.Namespace, p.Name, string(p.UID)} },
		Families: slices.Concat(
			podIdentity(),
			podSpec(),
			podVolumes(),
			podStatus(),
			podConditions(),
			containerInfo(),
			containerFamilies(ordinaryContainers()),
			containerFamilies(initContainers()),
		),
	}
}

func podIdentity() []Family[*corev1.Pod] {
	return []Family[*corev1.Pod]{
		annotationsOf[*corev1.Pod]("kube_pod_annotations"),
		labelsOf[*corev1.Pod]("kube_pod_labels"),
		created[*corev1.Pod]("kube_pod_created", metric.Stable),
		deletion[*corev1.Pod]("kube_pod_deletion_timestamp"),
		owners[*corev1.Pod]("kube_pod_owner"),
		{
			Name: "kube_pod_info", Help: "Where the pod runs, its addresses and who made it.", Type: metric.Gauge,
			Labels: []string{"host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network"},
			Render: func(p *corev1.Pod, l *Lines) {
				var by metav1.OwnerReference
				if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
					by = *ref
				}
				l.Add(1, p.Status.HostIP, p.Status.PodIP, p.Spec.NodeName, by.Kind, by.Name,
					p.Spec.PriorityClassName, strconv.FormatBool(p.Spec.HostNetwork))
			},
		},
		{
			Name: "kube_pod_ips", Help: "Addresses of the pod.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"ip", "ip_family"},
			Render: func(p *corev1.Pod, l *Lines) {
				for _, ip := range p.Status.PodIPs {
					addr, err := netip.ParseAddr(ip.IP)
					switch {
					case err != nil:
					case addr.Unmap().Is4():
						l.Add(1, ip.IP, "4")
					default:
						l.Add(1, ip.IP, "6")
					}
				}
			},
		},
	}
}

func podSpec() []Family[*corev1.Pod] {
	return []Family[*corev1.Pod]{
		{
			Name: "kube_pod_restart_policy", Help: "When containers of the pod are started again.", Type: metric.Gauge,
			Labels: []string{"type"},
			Render: func(p *corev1.Pod, l *Lines) { l.Add(1, string(p.Spec.RestartPolicy)) },
		},
		{
			Name: "kube_pod_runtimeclass_name_info", Help: "Runtime class of the pod, if it has one.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"runtimeclass_name"},
			Render: func(p *corev1.Pod, l *Lines) {
				if p.Spec.RuntimeClassName != nil {
					l.Add(1, *p.Spec.RuntimeClassName)
				}
			},
		},
		{
			Name: "kube_pod_overhead_cpu_cores", Help: "CPU that running the pod takes besides its containers, in cores.", Type: metric.Gauge, Stability: metric.Alpha,
			Render: func(p *corev1.Pod, l *Lines) {
				if q, ok := p.Spec.Overhead[corev1.ResourceCPU]; ok {
					l.Add(quantity(q))
				}
			},
		},
		{
			Name: "kube_pod_overhead_memory_bytes", Help: "Memory that running the pod takes besides its containers, in bytes.", Type: metric.Gauge, Stability: metric.Alpha,
			Render: func(p *corev1.Pod, l *Lines) {
				if q, ok := p.Spec.Overhead[corev1.ResourceMemory]; ok {
					l.Add(wholeQuantity(q))
				}
			},
		},
		{
			Name: "kube_pod_service_account", Help: "Service account of the pod.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"service_account"},
			Render: func(p *corev1.Pod, l *Lines) { l.Add(1, p.Spec.ServiceAccountName) },
		},
		{
			Name: "kube_pod_scheduler", Help: "Scheduler that places the pod.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"name"},
			Render: func(p *corev1.Pod, l *Lines) { l.Add(1, p.Spec.SchedulerName) },
		},
		{
			Name: "kube_pod_nodeselectors", Help: "Node selector of the pod, as labels.", Type: metric.Gauge, Stability: metric.Alpha, OptIn: true,
			Render: func(p *corev1.Pod, l *Lines) { l.Map("nodeselector", p.Spec.NodeSelector) },
		},
		{
			Name: "kube_pod_tolerations", Help: "Taints that the pod tolerates.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"key", "operator", "value", "effect", "toleration_seconds"},
			Render: func(p *corev1.Pod, l *Lines) {
				for _, t := range p.Spec.Tolerations {
					seconds := ""
					if t.TolerationSeconds != nil {
						seconds = strconv.FormatInt(*t.TolerationSeconds, 10)
					}
					l.Add(1, t.Key, string(t.Operator), t.Value, string(t.Effect), seconds)
				}
			},
		},
		{
			Name: "kube_pod_resourceclaim_info", Help: "Claims of devices by the pod; resourceclaim_name is empty until a claim of a template was made.",
			Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"claim_name", "resourceclaim_name", "resourceclaim_template_name"},
			Render: podClaims,
		},
	}
}

func podClaims(p *corev1.Pod, l *Lines) {
	for _, claim := range p.Spec.ResourceClaims {
		name, template := claim.ResourceClaimName, claim.ResourceClaimTemplateName
		if name == nil && template == nil {
			continue
		}
		if name == nil {
			for _, made := range p.Status.ResourceClaimStatuses {
				if made.Name == claim.Name && made.ResourceClaimName != nil {
					name = made.ResourceClaimName
				}
			}
		}
		l.Add(1, claim.Name, orEmpty(name), orEmpty(template))
	}
}

func podVolumes() []Family[*corev1.Pod] {
	labels := []string{"volume", "persistentvolumeclaim", "ephemeral"}
	return []Family[*corev1.Pod]{
		{
			Name: "kube_pod_spec_volumes_persistentvolumeclaims_info", Help: "Persistent and ephemeral volume claims of the pod.",
			Type: metric.Gauge, Labels: labels,
			Render: func(p *corev1.Pod, l *Lines) {
				eachClaim(p, func(claim string, ephemeral string, _ bool, volume string) { l.Add(1, volume, claim, ephemeral) })
			},
		},
		{
			Name: "kube_pod_spec_volumes_persistentvolumeclaims_readonly", Help: "Whether a volume claim is mounted for reading only; an ephemeral one never is.",
			Type: metric.Gauge, Labels: labels,
			Render: func(p *corev1.Pod, l *Lines) {
				eachClaim(p, func(claim string, ephemeral string, readOnly bool, volume string) {
					l.Bool(readOnly, volume, claim, ephemeral)
				})
			},
		},
	}
}

func eachClaim(p *corev1.Pod, do func(claim, ephemeral string, readOnly bool, volume string)) {
	for _, v := range p.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			do(v.PersistentVolumeClaim.ClaimName, "false", v.PersistentVolumeClaim.ReadOnly, v.Name)
		case v.Ephemeral != nil:
			do(p.Name+"-"+v.Name, "true", false, v.Name) // the name that Kubernetes gives it
		}
	}
}
