package container

import "math"

// A container may be gone before it could be read at its end: on a machine whose
// processors are all taken the watcher comes too late. The kernel counts with the
// cgroup of a pod what those below it use, and keeps that after they are gone, so
// that what an unread container has used is told by its pod.

// settle takes in that a cgroup below another is gone. It gives the CPU time in
// seconds that the pod tells of one that was not read at its end, else NaN.
func (w *watcher) settle(x, above *watched) float64 {
	if x.final {
		above.gone += x.last.values[cpuUsage]
		return math.NaN()
	}
	above.final = above.leader < 0 && w.readLast(above)
	if placeOf(above.id).podUID == "" {
		return math.NaN()
	}
	before := above.gone
	above.gone = w.usageOfGone(above, x)
	return above.gone - before
}

// unread is a reading that says nothing.
func (w *watcher) unread(x *watched) *Cgroup {
	return &Cgroup{ID: x.id, At: w.source.now(), place: placeOf(x.id), values: unknown()}
}

// countGone learns what those have used that have gone from each pod.
func (w *watcher) countGone() {
	for _, x := range w.byRel {
		if placeOf(x.id).podUID != "" {
			x.gone = w.usageOfGone(x, nil)
		}
	}
}

// usageOfGone gives the CPU time in seconds that those have used which have gone
// from a pod: what the pod has used without those that are there. It is NaN when
// that is not known, as when others than the one that just went are gone too.
func (w *watcher) usageOfGone(pod, just *watched) float64 {
	usage := w.source.usage(&w.reader, pod.dir)
	there := map[string]bool{}
	err := w.reader.entries(pod.dir, func(_ int, e entry) {
		if e.dir {
			there[string(e.name)] = true
		}
	})
	if err != nil {
		return math.NaN()
	}
	for name := range there {
		usage -= w.source.usage(&w.reader, pod.dir+"/"+name)
	}
	for rel, x := range w.byRel {
		if x != just && parentRel(rel) == pod.rel && !there[rel[len(pod.rel)+1:]] {
			return math.NaN()
		}
	}
	return usage
}
