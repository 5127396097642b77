package kubestate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

func podStatus() []Family[*corev1.Pod] {
	return []Family[*corev1.Pod]{
		{
			Name: "kube_pod_start_time", Help: "Time at which the kubelet took the pod on, in seconds since 1970.", Type: metric.Gauge,
			Render: func(p *corev1.Pod, l *Lines) {
				if p.Status.StartTime != nil {
					l.Time(*p.Status.StartTime)
				}
			},
		},
		{
			Name: "kube_pod_completion_time", Help: "Time at which the last of the pod's ended containers ended, in seconds since 1970.", Type: metric.Gauge,
			Render: func(p *corev1.Pod, l *Lines) {
				last := int64(0)
				for _, c := range p.Status.ContainerStatuses {
					if c.State.Terminated != nil {
						last = max(last, c.State.Terminated.FinishedAt.Unix())
					}
				}
				if last > 0 {
					l.Add(float64(last))
				}
			},
		},
		{
			Name: "kube_pod_status_phase", Help: "Phase that the pod is in.", Type: metric.Gauge,
			Labels: []string{"phase"},
			Render: func(p *corev1.Pod, l *Lines) {
				if p.Status.Phase != "" {
					l.States(string(p.Status.Phase), "Pending", "Succeeded", "Failed", "Unknown", "Running")
				}
			},
		},
		{
			Name: "kube_pod_status_qos_class", Help: "Class of service that the pod is in.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"qos_class"},
			Render: func(p *corev1.Pod, l *Lines) {
				if p.Status.QOSClass != "" {
					l.States(string(p.Status.QOSClass), "BestEffort", "Burstable", "Guaranteed")
				}
			},
		},
		{
			Name: "kube_pod_status_reason", Help: "Reasons for the state of the pod, those that are known.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"reason"},
			Render: podReasons,
		},
		{
			Name: "kube_pod_status_disruption_reason", Help: "Why the pod is about to be ended by a disruption.", Type: metric.Gauge, Stability: metric.Alpha,
			Labels: []string{"reason"},
			Render: podDisruption,
		},
	}
}

// podReasons shows the known reasons that are given anywhere in the status,
// and Other for an unknown one of the pod itself.
func podReasons(p *corev1.Pod, l *Lines) {
	known := []string{
		"Evicted", "NodeAffinity", "NodeLost", "PreemptionByScheduler", "SchedulingGated",
		"Shutdown", "TerminationByKubelet", "UnexpectedAdmissionError",
	}
	given := []string{p.Status.Reason}
	for _, c := range p.Status.Conditions {
		given = append(given, c.Reason)
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			given = append(given, c.State.Terminated.Reason)
		}
	}
	for _, reason := range known {
		if slices.Contains(given, reason) {
			l.Add(1, reason)
		}
	}
	if p.Status.Reason != "" && !slices.Contains(known, p.Status.Reason) {
		l.Add(1, "Other")
	}
}

func podDisruption(p *corev1.Pod, l *Lines) {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.DisruptionTarget {
			continue
		}
		switch c.Reason {
		case "PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC", "TerminationByKubelet":
			l.Add(1, c.Reason)
		default:
			l.Add(1, "Other")
		}
	}
}

func podConditions() []Family[*corev1.Pod] {
	return []Family[*corev1.Pod]{
		podCondition("kube_pod_status_ready", "Whether the pod is ready for requests.", corev1.PodReady),
		podCondition("kube_pod_status_scheduled", "Whether the pod has a node.", corev1.PodScheduled),
		podTransition("kube_pod_status_ready_time", "Time since which the pod is ready, in seconds since 1970.",
			metric.Alpha, corev1.PodReady, corev1.ConditionTrue),
		podTransition("kube_pod_status_container_ready_time", "Time since which all containers of the pod are ready, in seconds since 1970.",
			metric.Alpha, corev1.ContainersReady, corev1.ConditionTrue),
		podTransition("kube_pod_status_initialized_time", "Time at which the init containers were done, in seconds since 1970.",
			metric.Alpha, corev1.PodInitialized, corev1.ConditionTrue),
		podTransition("kube_pod_status_scheduled_time", "Time at which the pod got its node, in seconds since 1970.",
			metric.Stable, corev1.PodScheduled, corev1.ConditionTrue),
		podTransition("kube_pod_status_unscheduled_time", "Time since which no node takes the pod, in seconds since 1970.",
			metric.Alpha, corev1.PodScheduled, corev1.ConditionFalse),
		{
			Name: "kube_pod_status_unschedulable", Help: "That no node takes the pod.", Type: metric.Gauge,
			Render: func(p *corev1.Pod, l *Lines) {
				eachCondition(p, corev1.PodScheduled, func(c corev1.PodCondition) {
					if c.Status == corev1.ConditionFalse {
						l.Add(1)
					}
				})
			},
		},
	}
}

func eachCondition(p *corev1.Pod, t corev1.PodConditionType, do func(corev1.PodCondition)) {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			do(c)
		}
	}
}

func podCondition(name, help string, t corev1.PodConditionType) Family[*corev1.Pod] {
	return Family[*corev1.Pod]{
		Name: name, Help: help, Type: metric.Gauge, Labels: []string{"condition"},
		Render: func(p *corev1.Pod, l *Lines) {
			eachCondition(p, t, func(c corev1.PodCondition) { l.Condition(c.Status) })
		},
	}
}

// podTransition shows when a condition came to be what it is, if it is that.
func podTransition(name, help string, stability metric.Stability, t corev1.PodConditionType, is corev1.ConditionStatus) Family[*corev1.Pod] {
	return Family[*corev1.Pod]{
		Name: name, Help: help, Type: metric.Gauge, Stability: stability,
		Render: func(p *corev1.Pod, l *Lines) {
			eachCondition(p, t, func(c corev1.PodCondition) {
				if c.Status == is {
					l.Time(c.LastTransitionTime)
				}
			})
		},
	}
}

// containerKind is what ordinary and init containers differ in.
type containerKind struct {
	prefix, noun string
	specs        func(*corev1.Pod) []corev1.Container
	statuses     func(*corev1.Pod) []corev1.ContainerStatus
	// alpha names the families, without the prefix, that are not stable.
	alpha []string
}

func ordinaryContainers() containerKind {
	return containerKind{
		prefix: "kube_pod_container_", noun: "container",
		specs:    func(p *corev1.Pod) []corev1.Container { return p.Spec.Containers },
		statuses: func(p *corev1.Pod) []corev1.ContainerStatus { return p.Status.ContainerStatuses },
		alpha: []string{
			"status_terminated_reason", "status_last_terminated_reason",
			"status_last_terminated_exitcode", "status_last_terminated_timestamp",
		},
	}
}

func initContainers() containerKind {
	return containerKind{
		prefix: "kube_pod_init_container_", noun: "init container",
		specs:    func(p *corev1.Pod) []corev1.Container { return p.Spec.InitContainers },
		statuses: func(p *corev1.Pod) []corev1.ContainerStatus { return p.Status.InitContainerStatuses },
		alpha: []string{
			"state_started", "status_waiting_reason", "status_terminated_reason", "status_last_terminated_reason",
			"status_last_terminated_exitcode", "status_last_terminated_timestamp", "resource_limits", "resource_requests",
		},
	}
}
