package kubestate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

// containerInfo declares what is said of containers once; the two families
// differ in a label.
func containerInfo() []Family[*corev1.Pod] {
	labels := []string{"container", "image_spec", "image", "image_id", "container_id"}
	return []Family[*corev1.Pod]{
		{
			Name: "kube_pod_container_info", Help: "Images of a container, as asked for and as run.", Type: metric.Gauge, Labels: labels,
			Render: func(p *corev1.Pod, l *Lines) {
				eachStarted(p.Spec.Containers, p.Status.ContainerStatuses, func(c *corev1.Container, s *corev1.ContainerStatus) {
					l.Add(1, s.Name, c.Image, s.Image, s.ImageID, s.ContainerID)
				})
			},
		},
		{
			Name: "kube_pod_init_container_info", Help: "Images of an init container, as asked for and as run.", Type: metric.Gauge,
			Labels: append(slices.Clone(labels), "restart_policy"),
			Render: func(p *corev1.Pod, l *Lines) {
				eachStarted(p.Spec.InitContainers, p.Status.InitContainerStatuses, func(c *corev1.Container, s *corev1.ContainerStatus) {
					policy := ""
					if c.RestartPolicy != nil {
						policy = string(*c.RestartPolicy)
					}
					l.Add(1, s.Name, c.Image, s.Image, s.ImageID, s.ContainerID, policy)
				})
			},
		},
	}
}

func eachStarted(specs []corev1.Container, statuses []corev1.ContainerStatus, do func(*corev1.Container, *corev1.ContainerStatus)) {
	for i := range specs {
		for j := range statuses {
			if specs[i].Name == statuses[j].Name {
				do(&specs[i], &statuses[j])
			}
		}
	}
}

// containerFamilies declares the families that ordinary and init containers
// have alike.
func containerFamilies(k containerKind) []Family[*corev1.Pod] {
	list := slices.Concat(k.states(), k.terminations(), k.resources())
	for i := range list {
		if slices.Contains(k.alpha, list[i].Name) {
			list[i].Stability = metric.Alpha
		}
		list[i].Name = k.prefix + list[i].Name
	}
	return list
}

// status makes a family of what each container's status says.
func (k containerKind) status(name, help string, render func(*corev1.ContainerStatus, *Lines), labels ...string) Family[*corev1.Pod] {
	return Family[*corev1.Pod]{
		Name: name, Help: help, Type: metric.Gauge, Labels: append([]string{"container"}, labels...),
		Render: func(p *corev1.Pod, l *Lines) {
			list := k.statuses(p)
			for i := range list {
				render(&list[i], l)
			}
		},
	}
}

func (k containerKind) states() []Family[*corev1.Pod] {
	restarts := k.status("status_restarts_total", "How often a "+k.noun+" was started again.",
		func(c *corev1.ContainerStatus, l *Lines) { l.Add(float64(c.RestartCount), c.Name) })
	restarts.Type = metric.Counter
	return []Family[*corev1.Pod]{
		restarts,
		k.status("status_ready", "Whether a "+k.noun+" is ready.",
			func(c *corev1.ContainerStatus, l *Lines) { l.Bool(c.Ready, c.Name) }),
		k.status("status_running", "Whether a "+k.noun+" runs.",
			func(c *corev1.ContainerStatus, l *Lines) { l.Bool(c.State.Running != nil, c.Name) }),
		k.status("status_waiting", "Whether a "+k.noun+" waits to be started.",
			func(c *corev1.ContainerStatus, l *Lines) { l.Bool(c.State.Waiting != nil, c.Name) }),
		k.status("status_waiting_reason", "What a "+k.noun+" waits for.",
			func(c *corev1.ContainerStatus, l *Lines) {
				if w := c.State.Waiting; w != nil {
					l.Add(1, c.Name, w.Reason)
				}
			}, "reason"),
		k.status("state_started", "Time at which a "+k.noun+" was started, in seconds since 1970.",
			func(c *corev1.ContainerStatus, l *Lines) {
				switch {
				case c.State.Running != nil:
					l.Time(c.State.Running.StartedAt, c.Name)
				case c.State.Terminated != nil:
					l.Time(c.State.Terminated.StartedAt, c.Name)
				}
			}),
	}
}

func (k containerKind) terminations() []Family[*corev1.Pod] {
	// last makes a family of how a container ended before it was started again.
	last := func(name, help string, render func(string, *corev1.ContainerStateTerminated, *Lines), labels ...string) Family[*corev1.Pod] {
		return k.status(name, help, func(c *corev1.ContainerStatus, l *Lines) {
			if t := c.LastTerminationState.Terminated; t != nil {
				render(c.Name, t, l)
			}
		}, labels...)
	}
	return []Family[*corev1.Pod]{
		k.status("status_terminated", "Whether a "+k.noun+" has ended.",
			func(c *corev1.ContainerStatus, l *Lines) { l.Bool(c.State.Terminated != nil, c.Name) }),
		k.status("status_terminated_reason", "Why a "+k.noun+" has ended.",
			func(c *corev1.ContainerStatus, l *Lines) {
				if t := c.State.Terminated; t != nil {
					l.Add(1, c.Name, t.Reason)
				}
			}, "reason"),
		last("status_last_terminated_reason", "Why a "+k.noun+" ended the last time.",
			func(name string, t *corev1.ContainerStateTerminated, l *Lines) { l.Add(1, name, t.Reason) }, "reason"),
		last("status_last_terminated_exitcode", "Exit code of a "+k.noun+" when it ended the last time.",
			func(name string, t *corev1.ContainerStateTerminated, l *Lines) { l.Add(float64(t.ExitCode), name) }),
		last("status_last_terminated_timestamp", "Time at which a "+k.noun+" ended the last time, in seconds since 1970.",
			func(name string, t *corev1.ContainerStateTerminated, l *Lines) { l.Time(t.FinishedAt, name) }),
	}
}

func (k containerKind) resources() []Family[*corev1.Pod] {
	family := func(name, help string, pick func(*corev1.Container) corev1.ResourceList) Family[*corev1.Pod] {
		return Family[*corev1.Pod]{
			Name: name, Help: help, Type: metric.Gauge, Labels: []string{"container", "node", "resource", "unit"},
			Render: func(p *corev1.Pod, l *Lines) {
				specs := k.specs(p)
				for i := range specs {
					containerResources(&specs[i], p.Spec.NodeName, pick(&specs[i]), l)
				}
			},
		}
	}
	return []Family[*corev1.Pod]{
		family("resource_requests", "Resources that a "+k.noun+" asks for, in cores, bytes or pieces.",
			func(c *corev1.Container) corev1.ResourceList { return c.Resources.Requests }),
		family("resource_limits", "Resources that a "+k.noun+" may use at most, in cores, bytes or pieces.",
			func(c *corev1.Container) corev1.ResourceList { return c.Resources.Limits }),
	}
}

func containerResources(c *corev1.Container, node string, list corev1.ResourceList, l *Lines) {
	for _, name := range sortedResources(list) {
		unit, value := resourceUnit(name), wholeQuantity
		switch unit {
		case "":
			continue
		case "core":
			value = quantity
		}
		l.Add(value(list[name]), c.Name, node, metric.SanitizeName(string(name)), unit)
	}
}
