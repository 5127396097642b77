package kubestate

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strata-metrics/strata/internal/metric"
)

// Lines takes the series of one object, family after family. It is used again
// for the next object, so a Render must not keep it.
type Lines struct {
	labels, annotations []pattern
	sparse              bool // sets of states have no zeros

	current *metric.Family
	values  []string // of the labels: the object's, then the series' own
	own     int      // where the series' own begin
	text    []byte
	ends    []uint32 // of the families in text
	starts  []int    // of the lines of the current family
	packed  []byte   // is written to while an object is packed
}

func (l *Lines) open(key []string) {
	l.values = append(l.values[:0], key...)
	l.own = len(key)
	l.text, l.ends = l.text[:0], l.ends[:0]
}

// family renders one family. What panicked on an object is the cause that is
// returned, and the family then has no line of it.
func (l *Lines) family(f *metric.Family, render func()) (cause any) {
	start := len(l.text)
	l.current, l.starts = f, l.starts[:0]
	defer func() {
		if cause = recover(); cause != nil {
			l.text = l.text[:start]
		}
		l.ends = append(l.ends, uint32(len(l.text)))
	}()
	render()
	return nil
}

// close gives what is kept of the object.
func (l *Lines) close(o metav1.Object) *rendered {
	return l.rendered(key{strings.Clone(o.GetNamespace()), strings.Clone(o.GetName())}, strings.Clone(o.GetResourceVersion()))
}

// rendered packs the lines.
func (l *Lines) rendered(k key, version string) *rendered {
	l.packed = slices.Grow(l.packed[:0], s2.MaxEncodedLen(len(l.text)))
	return newRendered(k, version, l.text, slices.Clone(l.ends), l.packed)
}

// Add adds a series with the values of the family's own labels. A series that
// the family has already is left out: two of them would cost the whole scrape.
func (l *Lines) Add(value float64, labels ...string) {
	l.AddExtra(value, labels, nil, nil)
}

// AddExtra is Add with further labels, whose names differ from object to
// object.
func (l *Lines) AddExtra(value float64, labels, names, values []string) {
	l.values = append(l.values[:l.own], labels...)
	if want := len(l.current.Spec().Labels); len(l.values) != want {
		panic(fmt.Sprintf("%s has %d labels and got %d", l.current.Name(), want, len(l.values)))
	}
	start := len(l.text)
	l.text = l.current.AppendSample(l.text, value, l.values, names, values)
	series := seriesOf(l.text[start:])
	end := start
	for i := len(l.starts) - 1; i >= 0; i-- {
		if bytes.Equal(series, seriesOf(l.text[l.starts[i]:end])) {
			l.text = l.text[:start]
			return
		}
		end = l.starts[i]
	}
	l.starts = append(l.starts, start)
}

// seriesOf cuts the value off a line.
func seriesOf(line []byte) []byte { return line[:bytes.LastIndexByte(line, ' ')] }

// Bool adds a series that is 1 or 0.
func (l *Lines) Bool(value bool, labels ...string) {
	if value {
		l.Add(1, labels...)
	} else {
		l.Add(0, labels...)
	}
}

// Time adds a time as seconds since 1970. The zero time is a series too.
func (l *Lines) Time(t metav1.Time, labels ...string) { l.Add(float64(t.Unix()), labels...) }

// TimeIfSet is Time, but nothing when the time is not known.
func (l *Lines) TimeIfSet(t *metav1.Time, labels ...string) {
	if !t.IsZero() {
		l.Time(*t, labels...)
	}
}

// States adds one series for each state there is, 1 for the one that is.
func (l *Lines) States(is string, all ...string) {
	for _, state := range all {
		l.State(state == is, state)
	}
}

// State adds one state of a set: 1 or, unless sets are sparse, 0.
func (l *Lines) State(is bool, labels ...string) {
	if is || !l.sparse {
		l.Bool(is, labels...)
	}
}

// Condition adds the three states of a condition; their label is the last.
func (l *Lines) Condition(is corev1.ConditionStatus, labels ...string) {
	l.State(is == corev1.ConditionTrue, append(labels, "true")...)
	l.State(is == corev1.ConditionFalse, append(labels, "false")...)
	l.State(is == corev1.ConditionUnknown, append(labels, "unknown")...)
}

// Allowed adds a series of 1 with those entries of a map that the patterns
// allow as labels, or nothing when there are no patterns.
func (l *Lines) Allowed(prefix string, entries map[string]string, allow []pattern) {
	if len(allow) == 0 {
		return
	}
	if allow[0].all {
		l.Map(prefix, entries)
		return
	}
	kept := make(map[string]string)
	for name, value := range entries {
		if slices.ContainsFunc(allow, func(p pattern) bool { return p.match(name) }) {
			kept[name] = value
		}
	}
	l.Map(prefix, kept)
}

// Map adds a series of 1 with the entries of a map as labels.
func (l *Lines) Map(prefix string, entries map[string]string) {
	keys := slices.Sorted(maps.Keys(entries))
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = entries[k]
	}
	l.AddExtra(1, nil, labelNames(prefix, keys), values)
}
