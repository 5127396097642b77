package kubestate

import (
	"hash/maphash"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

// containerExits declares kube_workload_container_exits_total.
func containerExits() declaration {
	return declaration{family: declared(metric.Spec{
		Name: "kube_workload_container_exits_total",
		Help: "Ends of containers, init containers among them, since the start of this program, by the workload as in kube_pod_workload; exit is success for code 0, signal from 128 on, else error.",
		Type: metric.Counter, Stability: metric.Alpha,
		Labels: []string{"namespace", "workload", "workload_type", "container", "reason", "exit"},
	})}
}

// exits counts the ends of containers. Of a pod it keeps how many it has
// counted, while there are any.
type exits struct {
	tally *tally
	seed  maphash.Seed
}

// ending is what the status of a container says of its ends.
type ending struct {
	container string
	count     uint32 // of all ends
	last      []termination
}

// termination is how a container ended, the newest first in a list.
type termination struct{ reason, exit string }

// podEndings are those of a pod.
type podEndings struct {
	uid uint64 // hash
	all []ending
}

// of takes the ends of a pod's containers.
func (x *exits) of(p *corev1.Pod) podEndings {
	e := podEndings{uid: maphash.String(x.seed, string(p.UID))}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			if one := endingOf(&list[i]); one.count > 0 {
				e.all = append(e.all, one)
			}
		}
	}
	return e
}

func endingOf(c *corev1.ContainerStatus) ending {
	e := ending{container: c.Name, count: uint32(max(0, c.RestartCount))}
	if t := c.State.Terminated; t != nil {
		e.count++
		e.last = append(e.last, terminationOf(t))
	}
	if t := c.LastTerminationState.Terminated; t != nil {
		e.last = append(e.last, terminationOf(t))
	}
	if len(e.last) == 0 && e.count > 0 {
		e.last = []termination{{"", "unknown"}}
	}
	return e
}

func terminationOf(t *corev1.ContainerStateTerminated) termination {
	exit := "error"
	switch {
	case t.ExitCode == 0:
		exit = "success"
	case t.ExitCode >= 128:
		exit = "signal"
	}
	return termination{t.Reason, exit}
}

// countedPod is what was counted of a pod.
type countedPod struct {
	uid   uint64
	known []countedContainer
}

type countedContainer struct {
	name  unique.Handle[string]
	count uint32
}

// podExits are the pods of one list-watch. What the first list has was before
// the start, and is not counted.
type podExits struct {
	exits *exits
	pods  map[key]countedPod // those with ends
	begun bool
}

// seen counts what is new of a pod. Ends that came so fast that the status does
// not tell of each are taken to be as the oldest that it tells of.
func (p *podExits) seen(k key, workload ref, e podEndings) {
	was, ok := p.pods[k]
	if ok && was.uid != e.uid {
		was = countedPod{}
	}
	is := countedPod{uid: e.uid}
	name, sort := workloadOf(k, workload)
	for _, one := range e.all {
		container := unique.Make(one.container)
		is.known = append(is.known, countedContainer{container, one.count})
		before := uint32(0)
		if i := slices.IndexFunc(was.known, func(c countedContainer) bool { return c.name == container }); i >= 0 {
			before = was.known[i].count
		}
		if !p.begun || one.count <= before {
			continue
		}
		more := int(one.count - before)
		for i, t := range one.last[:min(more, len(one.last))] {
			n := 1
			if i == len(one.last)-1 {
				n = more - i
			}
			p.exits.tally.add(float64(n), k.namespace, name, sort, one.container, t.reason, t.exit)
		}
	}
	switch {
	case len(is.known) > 0:
		p.pods[k] = is
	case ok:
		delete(p.pods, k)
	}
}

func (p *podExits) gone(k key, workload ref, e podEndings) {
	p.seen(k, workload, e)
	delete(p.pods, k)
}

// keepOnly forgets pods that a list no longer has.
func (p *podExits) keepOnly(pods map[key]podFacts) {
	for k := range p.pods {
		if _, ok := pods[k]; !ok {
			delete(p.pods, k)
		}
	}
	p.begun = true
}
