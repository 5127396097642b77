package container

import (
	"context"
	"math"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// resourceGroups are what /metrics/resource is made of.
const resourceGroups = groupCPU | groupMemory

// resourceBody is the families of /metrics/resource.
type resourceBody struct {
	node, container, pod usageFamilies
	containerStart       *metric.Family
	swapLimit            *metric.Family
	failed               *metric.Family
}

// usageFamilies are what is said of a node, a container and a pod alike.
type usageFamilies struct{ cpu, memory, swap *metric.Family }

func newResourceBody() resourceBody {
	usage := func(what string, labels ...string) usageFamilies {
		return usageFamilies{
			cpu:    metric.NewCounter(what+"_cpu_usage_seconds_total", "CPU time used by the "+what+".", labels...),
			memory: metric.NewGauge(what+"_memory_working_set_bytes", "Memory used by the "+what+" without inactive files.", labels...),
			swap:   metric.NewGauge(what+"_swap_usage_bytes", "Swap used by the "+what+".", labels...),
		}
	}
	of := []string{"container", "pod", "namespace"}
	return resourceBody{
		node: usage("node"), container: usage("container", of...), pod: usage("pod", "pod", "namespace"),
		containerStart: metric.NewGauge("container_start_time_seconds", "When the container was made, in Unix time.", of...),
		swapLimit:      metric.NewGauge("container_swap_limit_bytes", "Swap that the container may use.", of...),
		failed:         metric.NewGauge("resource_scrape_error", "1 if containers or what is known of them could not all be read, 0 otherwise."),
	}
}

// add says the usage of one cgroup. Samples are those of one reading and carry
// its time.
func (f usageFamilies) add(b *metric.Batch, c *Cgroup, labels ...string) {
	one := func(family *metric.Family, v float64) {
		if !math.IsNaN(v) {
			b.AddAt(family, v, c.At, labels...)
		}
	}
	one(f.cpu, c.values[cpuUsage])
	one(f.memory, c.values[memWorkingSet])
	one(f.swap, c.values[memSwap])
}

// key names a container of Kubernetes, or a pod where container is empty.
type key struct{ namespace, pod, container string }

// CollectResource fills a batch for /metrics/resource: the node, the containers
// of pods and the pods. A pod is what its cgroup used, never the sum of its
// containers, which would fall when one ends.
func (e *Exporter) CollectResource(ctx context.Context, b *metric.Batch) error {
	s, err := e.snapshot(ctx, resourceGroups)
	if err != nil {
		return err
	}
	r := &e.resource
	b.Add(r.failed, number(s.failed))
	newest := s.newest()
	for i := range s.cgroups {
		c := &s.cgroups[i]
		switch {
		case c.ended != nil: // as the kubelet; who scales by it looks at what runs
		case c.ID == "/":
			r.node.add(b, c)
		case c.who != nil && !c.who.Sandbox && c.who.Pod != "" && newest[keyOf(c)] == c:
			labels := []string{c.who.Container, c.who.Pod, c.who.Namespace}
			r.container.add(b, c, labels...)
			if limit := c.values[specSwap]; !math.IsNaN(limit) && !math.IsInf(limit, 1) {
				b.AddAt(r.swapLimit, limit, c.At, labels...)
			}
			if start := c.who.Created; start.After(time.Unix(0, 0)) {
				b.Add(r.containerStart, unixSeconds(start), labels...)
			}
		case c.pod != nil && newest[keyOf(c)] == c:
			r.pod.add(b, c, c.pod.Pod, c.pod.Namespace)
		}
	}
	return nil
}

func keyOf(c *Cgroup) key {
	if c.pod != nil {
		return key{namespace: c.pod.Namespace, pod: c.pod.Pod}
	}
	return key{namespace: c.who.Namespace, pod: c.who.Pod, container: c.who.Container}
}

// newest picks one cgroup for each name: while a container or a pod of a
// StatefulSet is replaced, the old and the new one may both have a cgroup.
func (s *snapshot) newest() map[key]*Cgroup {
	out := make(map[key]*Cgroup, len(s.cgroups))
	made := func(c *Cgroup) time.Time {
		if c.pod != nil {
			return c.pod.Created
		}
		return c.who.Created
	}
	for i := range s.cgroups {
		c := &s.cgroups[i]
		if c.ended != nil || c.pod == nil && (c.who == nil || c.who.Sandbox || c.who.Pod == "") {
			continue
		}
		if old := out[keyOf(c)]; old == nil || made(old).Before(made(c)) {
			out[keyOf(c)] = c
		}
	}
	return out
}
