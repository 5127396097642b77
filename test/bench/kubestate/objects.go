package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	podsOfSet  = 20 // pods of one ReplicaSet
	podsOfNode = 30
	namespaces = 50
)

// maker makes the objects of a cluster; the same seed gives the same ones.
type maker struct{ random *rand.Rand }

func newMaker() *maker { return &maker{rand.New(rand.NewPCG(1, 2))} }

func (m *maker) hex(bytes int) string {
	raw := make([]byte, bytes)
	for i := range raw {
		raw[i] = byte(m.random.Uint32())
	}
	return hex.EncodeToString(raw)
}

func (m *maker) uid() types.UID {
	h := m.hex(16)
	return types.UID(h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:])
}

// word is a suffix as Kubernetes makes it.
func (m *maker) word(n int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	out := make([]byte, n)
	for i := range out {
		out[i] = letters[m.random.IntN(len(letters))]
	}
	return string(out)
}

// meta is what all objects have.
func (m *maker) meta(namespace, name string, age int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: m.uid(), Generation: 1,
		CreationTimestamp: metav1.NewTime(time.Unix(1767323045+int64(age), 0)),
		ManagedFields: []metav1.ManagedFieldsEntry{{
			Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{".":{}},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{}}}`)},
		}},
	}
}

func owner(kind, name string, uid types.UID) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid, Controller: &yes, BlockOwnerDeletion: &yes}}
}

// cluster makes so many pods and what they belong to.
func (m *maker) cluster(pods int) map[string][]runtime.Object {
	all := make(map[string][]runtime.Object)
	nodes := (pods + podsOfNode - 1) / podsOfNode
	for i := range nodes {
		all["nodes"] = append(all["nodes"], m.node(i))
	}
	for set := 0; set*podsOfSet < pods; set++ {
		namespace, name := fmt.Sprintf("team-%02d", set%namespaces), fmt.Sprintf("service-%04d", set)
		deployment := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: m.meta(namespace, name, set)}
		labels := map[string]string{"app": name}
		deployment.Spec.Selector, deployment.Spec.Template = &metav1.LabelSelector{MatchLabels: labels}, template(labels, name)
		replicas, surge := int32(podsOfSet), intstr.FromString("25%")
		deployment.Spec.Replicas = &replicas
		deployment.Spec.Strategy = appsv1.DeploymentStrategy{
			Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &surge},
		}
		deployment.Status = appsv1.DeploymentStatus{
			ObservedGeneration: 1, Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
			Conditions: []appsv1.DeploymentCondition{{Type: "Available", Status: "True"}, {Type: "Progressing", Status: "True"}},
		}
		hash := m.word(9)
		rs := &appsv1.ReplicaSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: m.meta(namespace, name+"-"+hash, set)}
		rs.OwnerReferences = owner("Deployment", name, deployment.UID)
		rs.Spec.Replicas, rs.Spec.Selector, rs.Spec.Template = &replicas, deployment.Spec.Selector, deployment.Spec.Template
		rs.Status = appsv1.ReplicaSetStatus{Replicas: replicas, FullyLabeledReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas, ObservedGeneration: 1}
		all["deployments"], all["replicasets"] = append(all["deployments"], deployment), append(all["replicasets"], rs)
		for i := set * podsOfSet; i < min(pods, (set+1)*podsOfSet); i++ {
			all["pods"] = append(all["pods"], m.pod(rs, name, hash, nodeName(m.random.IntN(nodes)), i))
		}
	}
	return all
}

// template is what a real API server wants at least.
func template(labels map[string]string, app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/" + app + ":1.2.3"}}},
	}
}

func nodeName(i int) string {
	return fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i/250, i%250)
}

func (m *maker) node(i int) *corev1.Node {
	n := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: m.meta("", nodeName(i), i)}
	n.Spec = corev1.NodeSpec{ProviderID: "aws:///eu-central-1a/i-" + m.hex(8), PodCIDR: fmt.Sprintf("10.%d.%d.0/24", 1+i/250, i%250)}
	n.Status.Capacity = corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("110")}
	n.Status.Allocatable = n.Status.Capacity
	n.Status.Addresses = []corev1.NodeAddress{{Type: "InternalIP", Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250)}}
	n.Status.NodeInfo = corev1.NodeSystemInfo{KernelVersion: "6.8.0", OSImage: "Linux", ContainerRuntimeVersion: "containerd://2.1.0", KubeletVersion: "v1.37.2", SystemUUID: string(m.uid())}
	for _, c := range []corev1.NodeConditionType{"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"} {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: c, Status: "False"})
	}
	return n
}

// pod is a running pod of two containers as a ReplicaSet makes it.
func (m *maker) pod(rs *appsv1.ReplicaSet, app, hash, node string, i int) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: m.meta(rs.Namespace, rs.Name+"-"+m.word(5), i)}
	p.Labels = map[string]string{"app": app, "pod-template-hash": hash, "app.kubernetes.io/name": app, "app.kubernetes.io/version": "1.2.3", "team": rs.Namespace}
	p.Annotations = map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "checksum/config": m.hex(32)}
	p.OwnerReferences = owner("ReplicaSet", rs.Name, rs.UID)
	seconds, mode := int64(300), int32(420)
	p.Spec = corev1.PodSpec{
		NodeName: node, ServiceAccountName: app, SchedulerName: "default-scheduler", RestartPolicy: "Always", DNSPolicy: "ClusterFirst",
		Tolerations: []corev1.Toleration{
			{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
			{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
		},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: app}, DefaultMode: &mode}}},
			{Name: "kube-api-access-" + m.word(5), VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode}}},
		},
	}
	at := p.CreationTimestamp
	ip := fmt.Sprintf("10.%d.%d.%d", 100+i>>16, i>>8&255, i&255)
	p.Status = corev1.PodStatus{Phase: "Running", QOSClass: "Burstable", HostIP: "10.0.0.1", PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &at}
	for _, c := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c, Status: "True", LastTransitionTime: at})
	}
	for _, name := range []string{"app", "proxy"} {
		m.container(p, app, name)
	}
	return p
}

func (m *maker) container(p *corev1.Pod, app, name string) {
	image := "registry.example.com/" + app + "/" + name
	yes := true
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
		Name: name, Image: image + ":1.2.3", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}},
		Env: []corev1.EnvVar{{Name: "APP", Value: app}, {Name: "ENVIRONMENT", Value: "production"}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("256Mi")},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/" + app}},
	})
	digest := sha256.Sum256([]byte(image))
	p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
		Name: name, Ready: true, Started: &yes, Image: image + ":1.2.3", ImageID: image + "@sha256:" + hex.EncodeToString(digest[:]),
		ContainerID: "containerd://" + m.hex(32),
		State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: p.CreationTimestamp}},
	})
}

// restart gives the pod after its first container has ended and begun anew.
func (m *maker) restart(p *corev1.Pod) *corev1.Pod {
	p = p.DeepCopy()
	c := &p.Status.ContainerStatuses[0]
	was := c.State.Running.StartedAt
	end := metav1.NewTime(was.Add(time.Hour))
	c.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "OOMKilled", StartedAt: was, FinishedAt: end, ContainerID: c.ContainerID,
	}}
	c.RestartCount++
	c.State.Running = &corev1.ContainerStateRunning{StartedAt: end}
	c.ContainerID = "containerd://" + m.hex(32)
	for i := range p.Status.Conditions {
		if t := p.Status.Conditions[i].Type; t == "Ready" || t == "ContainersReady" {
			p.Status.Conditions[i].LastTransitionTime = end
		}
	}
	return p
}
