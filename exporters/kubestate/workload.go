package kubestate

import (
	"strings"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// podWorkload declares kube_pod_workload. It says what kubernetes-mixin's rule
// namespace_workload_pod:kube_pod_owner:relabel makes of three kinds' owners,
// by the same labels, and like it has no uid: a pod that is made anew under its
// name goes on in the same series.
func podWorkload() *metric.Family {
	return declared(metric.Spec{
		Name: "kube_pod_workload",
		Help: "Workload that the pod belongs to: what made its ReplicaSet or Job, else its controller, else itself (barepod, staticpod).",
		Type: metric.Gauge, Stability: metric.Alpha,
		Labels: []string{"namespace", "pod", "workload", "workload_type"},
	})
}

// declared makes a family of a literal of this package.
func declared(spec metric.Spec) *metric.Family {
	f, err := metric.New(spec)
	if err != nil {
		panic(err)
	}
	return f
}

// addWorkloads shows the workloads of pods.
func (j *joins) addWorkloads(show func(declaration) bool) {
	j.add(show, podWorkload(), func(k key, facts podFacts, l *Lines) {
		name, sort := workloadOf(k, facts.workload.Value())
		l.Add(1, name, sort)
	})
}

// ownersOf watches a kind of objects that stand between pods and workloads.
func (j *joins) ownersOf(plural string) watcher {
	return j.watchOthers(plural, func(o runtime.Object) any {
		if m, ok := o.(metav1.Object); ok {
			if c := metav1.GetControllerOfNoCopy(m); c != nil {
				return unique.Make(ref{c.Kind, c.Name})
			}
		}
		return nil
	})
}

// ownerRef is the object behind a pod's owner, if its own owner matters.
func ownerRef(pod key, owner ref) objectRef {
	switch owner.kind {
	case "ReplicaSet":
		return objectRef{"replicasets", key{pod.namespace, owner.name}}
	case "Job":
		return objectRef{"jobs", key{pod.namespace, owner.name}}
	}
	return objectRef{}
}

// resolve finds the workload of a pod. What was found before stays while its
// owner is the same and nothing better is known.
func (j *joins) resolve(k key, is *podFacts, was podFacts) {
	is.workload = is.owner
	if was.owner == is.owner {
		is.workload = was.workload
	}
	if above, ok := j.know(ownerRef(k, is.owner.Value())).(unique.Handle[ref]); ok {
		is.workload = above
	}
}

// workloadOf gives the labels of a workload, in the words of kubernetes-mixin:
// small letters for what is usual, the kind as it is for the rest.
func workloadOf(pod key, r ref) (name, sort string) {
	switch r.kind {
	case "":
		return pod.name, "barepod"
	case "Node":
		return pod.name, "staticpod"
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job":
		return r.name, strings.ToLower(r.kind)
	}
	return r.name, r.kind
}
