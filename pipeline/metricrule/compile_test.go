package metricrule

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// TestCheck: each mistake is one line with its field and what to do.
func TestCheck(t *testing.T) {
	t.Parallel()
	f := func(s Spec, want ...string) {
		t.Helper()
		var got []string
		for _, err := range Check(&MetricRule{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "r"}, Spec: s}, newParser()) {
			got = append(got, err.Error())
		}
		require.Equal(t, want, got)
	}
	const good = "sum by (pod) (x)"
	f(Spec{Metric: "m", Query: good})
	f(Spec{Metric: "m", Type: External, Query: "1"})
	f(Spec{Metric: "m", Resource: "ingresses.networking.k8s.io", Query: "sum by (ingress) (x)"})
	f(Spec{}, "spec.metric: missing (name the metric as an HPA asks for it)", "spec.query: missing (write the PromQL that gives the metric)",
		"spec.query: unknown position: parse error: no expression found in input (mend the PromQL; the position counts from its first character)")
	f(Spec{Metric: "a/b", Query: good}, `spec.metric: "a/b" cannot be asked for by an HPA (use a name without / and %)`)
	f(Spec{Metric: "m", Query: "sum("}, "spec.query: 1:5: parse error: unclosed left parenthesis (mend the PromQL; the position counts from its first character)")
	f(Spec{Metric: "m", Query: "1"}, "spec.query: a scalar names no pod (write an expression whose values have the label pod)")
	f(Spec{Metric: "m", Query: "x[1m]"}, "spec.query: gives range vector, not an instant vector (such as sum by (pod) (rate(x_total[1m])))")
	f(Spec{Metric: "m", Query: `x{namespace="b"}`}, `spec.query: namespace="b" asks for another namespace than shop: leave the matcher out`)
	f(Spec{Metric: "m", Type: "Both", Query: good}, `spec.type: "Both" is neither Custom nor External`)
	f(Spec{Metric: "m", Type: External, Resource: "pods", Query: good}, "spec.type: an external metric describes no object (leave resource and objectLabel out, or write type: Custom)")
	f(Spec{Metric: "m", Resource: "nodes", Query: good}, "spec.resource: nodes have no namespace (a MetricRule is about objects of its own; such metrics belong into the server's --adapter.config)")
	f(Spec{Metric: "m", ObjectLabel: "__name__", Query: good}, `spec.objectLabel: "__name__" is no name of a label`)
	f(Spec{Metric: "m", Query: good, MaxAge: &metav1.Duration{Duration: -time.Second}}, "spec.maxAge: -1s is no limit (write a duration above 0, such as 1m, or leave it out)")
}

func TestSingular(t *testing.T) {
	t.Parallel()
	for plural, want := range map[string]string{"pods": "pod", "services": "service", "ingresses": "ingress", "networkpolicies": "networkpolicy",
		"statefulsets": "statefulset", "namespaces": "namespace", "endpoints": "endpoint", "boxes": "box"} {
		require.Equal(t, want, singular(plural))
	}
}

// TestNarrowing: asking for some objects gives what leaving out the others at
// the end gives, whatever the expression.
func TestNarrowing(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	n := 0.0
	for _, name := range []string{"x", "y"} {
		for _, pod := range []string{"a", "b", "d"} {
			for _, c := range []string{"1", "2"} {
				n++
				if (name == "x" || c == "1" || pod != "a") && !(name == "x" && pod == "d" && c == "2") {
					put(t, st, n, "__name__", name, "namespace", "shop", "pod", pod, "c", c)
				}
				put(t, st, 1000*n, "__name__", name, "namespace", "other", "pod", pod, "c", c)
			}
		}
	}
	a := newAdapter(t, st, "")
	compared, narrowed := 0, 0
	for _, expr := range expressions() {
		c, err := compile(&MetricRule{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "r"}, Spec: Spec{Metric: "m", Query: expr}}, newParser())
		if err != nil {
			continue
		}
		values := func(names ...string) (map[string]float64, error) {
			got, err := a.Evaluate(t.Context(), c.rule, adapter.Objects{Resource: schema.GroupResource{Resource: "pods"}, Namespace: "shop", Names: adapter.Select(names...)}, klabels.Everything())
			out := map[string]float64{}
			for i := range got {
				out[got[i].Object] = got[i].Value
			}
			return out, err
		}
		all, err := values()
		if err != nil {
			continue // the expression does not fit the data
		}
		for _, v := range all {
			require.Less(t, math.Abs(v), 1000.0, "%s reads another namespace", expr)
		}
		for _, names := range [][]string{{"a"}, {"b", "d"}, {"none"}} {
			got, err := values(names...)
			require.NoError(t, err, expr)
			for _, name := range names {
				want, ok := all[name]
				v, is := got[name]
				require.Equal(t, ok, is, "%s of %s: %v, all: %v", expr, name, got, all)
				require.InDelta(t, want, v, 1e-9, "%s of %s", expr, name)
				compared++
			}
			if len(got) < len(all) {
				narrowed++
			}
		}
	}
	require.Greater(t, compared, 60)
	require.Greater(t, narrowed, 30, fmt.Sprint(compared))
}
