package kubestate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// mostJoined is how many labels of a node, or of a namespace, are put on its
// pods. Each is on a series of each pod.
const mostJoined = 32

// podJoinedLabels declares kube_pod_joined_labels. It is a family of its own
// since a label more would make other families' series new ones, again with
// each change of a node's labels, and would break the joins of those who do
// not expect it.
func podJoinedLabels() *metric.Family {
	return declared(metric.Spec{
		Name: "kube_pod_joined_labels",
		Help: "Labels of the pod's node and namespace, those that --metric-join-labels names, as node_label_* and namespace_label_*.",
		Type: metric.Gauge, Stability: metric.Alpha, Labels: []string{"namespace", "pod"},
	})
}

// joinable are the kinds whose labels can be put on pods, and the prefixes.
func joinable() map[string]string {
	return map[string]string{"nodes": "node_label", "namespaces": "namespace_label"}
}

// validateJoin finds mistakes in what labels are to be joined.
func validateJoin(list Allowlist) error {
	for name := range list {
		if joinable()[name] == "" {
			return fmt.Errorf("%w: --metric-join-labels of %q: a pod can have those of its nodes and namespaces; the form is nodes=[topology.kubernetes.io/zone],namespaces=[team]", ErrUsage, name)
		}
	}
	return nil
}

// joinedLabels are chosen labels as one word: names and values by turns, each
// with a 0 behind it, which no label has.
type joinedLabels = unique.Handle[string]

// newJoinCuts counts what mostJoined leaves out.
func newJoinCuts() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "strata_kubestate_joined_labels_dropped_total",
		Help: fmt.Sprintf("Labels of nodes and namespaces that were left out because one object had more than %d that --metric-join-labels names, counted at each change of the object.", mostJoined),
	}, []string{"resource"})
}

// labelsToJoin watches the labels of nodes or namespaces.
func (j *joins) labelsToJoin(plural string, allow []pattern, cuts **prometheus.CounterVec) watcher {
	prefix := joinable()[plural]
	return j.watchOthers(plural, func(o runtime.Object) any {
		m, ok := o.(metav1.Object)
		if !ok {
			return nil
		}
		var keys []string
		for _, name := range slices.Sorted(maps.Keys(m.GetLabels())) {
			if slices.ContainsFunc(allow, func(p pattern) bool { return p.match(name) }) {
				keys = append(keys, name)
			}
		}
		if len(keys) > mostJoined {
			(*cuts).WithLabelValues(plural).Add(float64(len(keys) - mostJoined))
			keys = keys[:mostJoined]
		}
		if len(keys) == 0 {
			return nil
		}
		var word strings.Builder
		for i, name := range labelNames(prefix, keys) {
			word.WriteString(name + "\x00" + strings.ReplaceAll(m.GetLabels()[keys[i]], "\x00", "") + "\x00")
		}
		return unique.Make(word.String())
	})
}

// addJoinedLabels shows the labels.
func (j *joins) addJoinedLabels(show func(declaration) bool) {
	j.add(show, podJoinedLabels(), func(k key, facts podFacts, l *Lines) {
		var names, values []string
		for _, r := range refsOf(k, facts) {
			if word, ok := j.know(r).(joinedLabels); ok {
				parts := strings.Split(word.Value(), "\x00")
				for i := 0; i+1 < len(parts); i += 2 {
					names, values = append(names, parts[i]), append(values, parts[i+1])
				}
			}
		}
		l.AddExtra(1, nil, names, values)
	})
}
