package container

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// Collect fills a batch for /metrics: cAdvisor's own labels, no times.
func (e *Exporter) Collect(ctx context.Context, b *metric.Batch) error {
	s, err := e.snapshot(ctx, e.cadvisor.groups)
	if err != nil {
		return err
	}
	e.endings.served(s, e.cadvisor.groups, e.o.Now())
	hardware, err := e.machine(ctx)
	if err != nil {
		return err
	}
	b.Add(e.cadvisor.failed, number(s.failed))
	e.cadvisor.addMachine(b, hardware, false)
	e.ooms.addTo(b, e.cadvisor.oomKills)
	var values []string
	for i := range s.cgroups {
		c := &s.cgroups[i]
		if !e.o.Raw.shows(c) {
			continue
		}
		var image, name string
		var names, texts []string
		if c.who != nil {
			image, name = c.who.Image, c.who.Name
			names, texts = e.containerLabels(c.who)
		}
		values = append(values[:0], c.ID, image, name)
		e.cadvisor.each(c, func(row *shownFamily, v float64, _ time.Time, extra []string) {
			values = append(values[:3], extra...)
			b.AddExtra(row.family, v, values, names, texts)
		})
		e.cadvisor.eachOwn(c, func(f *metric.Family, v float64) { b.AddExtra(f, v, values[:3], names, texts) })
		b.AddExtra(e.cadvisor.seen, math.Floor(unixSeconds(c.At)), values[:3], names, texts)
	}
	return nil
}

// CollectCAdvisor fills a batch for /metrics/cadvisor: what the kubelet shows, and
// the families of our own, since this is what a cluster reads. Of cgroups that are not
// Kubernetes' it shows those that the kubelet shows, or all where there is no
// kubelet.
func (e *Exporter) CollectCAdvisor(ctx context.Context, b *metric.Batch) error {
	s, err := e.snapshot(ctx, e.kubelet.groups)
	if err != nil {
		return err
	}
	e.endings.served(s, e.kubelet.groups, e.o.Now())
	hardware, err := e.machine(ctx)
	if err != nil {
		return err
	}
	b.Add(e.kubelet.failed, number(s.failed))
	e.kubelet.addMachine(b, hardware, true)
	e.ooms.addTo(b, e.kubelet.oomKills)
	var values []string
	for i := range s.cgroups {
		c := &s.cgroups[i]
		if s.kubepods && !c.kubepods && !c.system && (c.who == nil || c.who.Pod == "") && c.ID != "/" {
			continue
		}
		values = append(values[:0], "", c.ID, "", "", "", "")
		switch {
		case c.who != nil:
			values = append(values[:0], c.who.Container, c.ID, c.who.Image, c.who.Name, c.who.Namespace, c.who.Pod)
		case c.pod != nil:
			values[4], values[5] = c.pod.Namespace, c.pod.Pod
		}
		e.kubelet.each(c, func(row *shownFamily, v float64, at time.Time, extra []string) {
			values = append(values[:6], extra...)
			if row.untimed {
				at = time.Time{}
			}
			b.AddAt(row.family, v, at, values...)
		})
		e.kubelet.eachOwn(c, func(f *metric.Family, v float64) { b.Add(f, v, values[:6]...) })
		b.AddAt(e.kubelet.seen, math.Floor(unixSeconds(c.At)), c.At, values[:6]...)
	}
	return nil
}

// each hands over every number of a cgroup that is known.
func (b *body) each(c *Cgroup, add func(row *shownFamily, v float64, at time.Time, labels []string)) {
	perProcessor := b.more(c, c.more, c.At, add)
	b.more(c, c.networkMore, c.networkAt, add)
	for i := range b.rows {
		row := &b.rows[i]
		switch v := c.values[row.field]; {
		case row.field == cpuUsage && perProcessor: // they are the total
		case math.IsNaN(v), c.ended != nil && !row.lasting():
		case math.IsInf(v, 1): // no limit
			add(row, 0, c.At, row.values)
		default:
			add(row, v, c.At, row.values)
		}
	}
	var label [1]string
	for _, one := range c.network {
		label[0] = one.Name
		for i := range b.network {
			add(&b.network[i], float64(one.Counters[i]), c.networkAt, label[:])
		}
	}
}

// more hands over the samples that have labels of their own, and tells whether
// the use of each processor was among them.
func (b *body) more(c *Cgroup, all []labelled, at time.Time, add func(row *shownFamily, v float64, at time.Time, labels []string)) (perProcessor bool) {
	for i := range all {
		one := &all[i]
		row := &b.labelled[one.kind]
		if row.family == nil || row.group&b.groups == 0 || c.ended != nil && !row.lasting() {
			continue
		}
		perProcessor = perProcessor || one.kind == perCPU
		add(row, one.value, at, one.labels[:len(row.labels)])
	}
	return perProcessor
}

// containerLabelPrefix leads a container's own labels.
const containerLabelPrefix = "container_label_"

// shownLabels are the labels of a container as /metrics shows them.
type shownLabels struct{ names, values []string }

// containerLabels gives the labels to show of a container's own, which are made
// once.
func (e *Exporter) containerLabels(who *Container) (names, values []string) {
	shown := who.shown.Load()
	if shown == nil {
		shown = e.showLabels(who)
		who.shown.Store(shown)
	}
	return shown.names, shown.values
}

// showLabels makes them. Of several that become one name the first in the order of
// the alphabet stays.
func (e *Exporter) showLabels(who *Container) *shownLabels {
	shown := &shownLabels{}
	add := func(prefix string, from map[string]string, wanted func(key string) bool) {
		for _, key := range slices.Sorted(maps.Keys(from)) {
			if name := prefix + metric.SanitizeName(key); wanted(key) && !slices.Contains(shown.names, name) {
				shown.names, shown.values = append(shown.names, name), append(shown.values, from[key])
			}
		}
	}
	add(containerLabelPrefix, who.Labels, func(key string) bool {
		return !e.o.NoContainerLabels || slices.Contains(e.o.ContainerLabels, key)
	})
	add("container_env_", who.Env, func(string) bool { return !e.o.NoContainerLabels })
	return shown
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// holdsID makes a parser that tells whether /proc/PID/cgroup names a container.
func holdsID(id string) func([]byte) (bool, error) {
	return func(data []byte) (bool, error) { return strings.Contains(string(data), id), nil }
}
