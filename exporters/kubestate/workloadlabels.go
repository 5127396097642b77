package kubestate

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/strata-metrics/strata/internal/metric"
)

// workloadLabels puts the workload of a pod as labels on chosen families of
// pods, which the joins then keep in the place of the pods' own store. Lines
// that a change of another object touches are taken out of that store and get
// other labels, so that nothing is kept of them besides.
type workloadLabels struct {
	names []string // of the families
	kind  *bound   // pods with these families alone
	tail  *metric.Family
}

// workloadLabel begins the labels that are put on. Within the value of a label
// this text cannot be, since a quote there has a backslash before it.
const workloadLabel = `,workload="`

func newWorkloadLabels(names []string) *workloadLabels {
	return &workloadLabels{names: names, tail: metric.NewGauge("tail", "Not shown.", "workload", "workload_type")}
}

// take splits the families of pods in two, and gives the settings for those
// that stay.
func (w *workloadLabels) take(k kind, set settings) settings {
	mine, others := set, set
	has := func(d declaration) bool { return slices.Contains(w.names, d.family.Name()) }
	mine.show = func(d declaration) bool { return has(d) && set.show(d) }
	others.show = func(d declaration) bool { return !has(d) && set.show(d) }
	w.kind = k.bind(mine)
	return others
}

// append appends lines with the labels of a workload in the place of those
// that they may have.
func (w *workloadLabels) append(dst, lines []byte, k key, r ref) []byte {
	name, sort := workloadOf(k, r)
	sample := w.tail.AppendSample(nil, 1, []string{name, sort}, nil, nil)
	labels := sample[bytes.IndexByte(sample, '{')+1 : bytes.LastIndexByte(sample, '}')]
	for line := range bytes.Lines(lines) {
		end := bytes.LastIndexByte(line, ' ') - 1 // of the labels
		start := end
		if i := bytes.LastIndex(line[:end], []byte(workloadLabel)); i >= 0 {
			start = i
		}
		dst = append(append(append(append(dst, line[:start]...), ','), labels...), line[end:]...)
	}
	return dst
}

// validateWorkloadLabels finds names of no family of pods.
func validateWorkloadLabels(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(pods().declarations(), func(d declaration) bool { return d.family.Name() == name }) {
			return fmt.Errorf("%w: --pod-workload-labels: %q is no family of pods; the form is kube_pod_info,kube_pod_status_phase", ErrUsage, name)
		}
	}
	return nil
}

// linesOf gives the lines of an object, and where those of each family end.
func (s *store) linesOf(k key) (text []byte, ends []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, at, found := s.find(k)
	if !found || s.segments[i].objects[at].gone {
		return nil, nil
	}
	g := s.segments[i]
	o := g.objects[at]
	if o.fresh != nil {
		return o.fresh.text(nil), o.fresh.ends
	}
	s.borrowed().with(func(b *builder) {
		for family := range g.pieces {
			if size := sizeOf(o.lines, family); size > 0 {
				start := 0
				for _, before := range g.objects[:at] {
					start += sizeOf(before.lines, family)
				}
				b.old = b.packer.Unpack(b.old[:0], &g.pieces[family])
				text = append(text, b.old[start:start+size]...)
			}
			ends = append(ends, uint32(len(text)))
		}
	})
	return text, ends
}
