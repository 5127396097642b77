package metricrule

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

func labelsOf(name string, pairs ...string) labels.Labels {
	return labels.FromStrings(append([]string{"__name__", name, "namespace", "shop"}, pairs...)...)
}

// newStatus is a status of generation 2 at testTime.
func newStatus(change func(*Status)) Status {
	now := metav1.NewTime(testTime())
	s := Status{
		ObservedGeneration: 2, Value: "1 to 9", Count: 2, LastSampleTime: &now, Updated: &now,
		LastValues: []Value{{Object: "a", Value: "1"}, {Object: "b", Value: "9"}},
		Conditions: []metav1.Condition{{Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonServed, Message: "m", LastTransitionTime: now}},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// TestWorthy: which change is written, and when.
func TestWorthy(t *testing.T) {
	t.Parallel()
	old := newStatus(nil)
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&old)
	require.NoError(t, err)
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	c := &Controller{started: testTime().Add(-time.Hour)}
	f := func(want bool, after time.Duration, change func(*Status)) {
		t.Helper()
		s := newStatus(change)
		require.Equal(t, want, c.worthy(&object{generation: s.ObservedGeneration}, u, &s, testTime().Add(after)))
	}
	const later = time.Minute
	not := func(reason string) func(*Status) {
		return func(s *Status) {
			s.Conditions[0].Status, s.Conditions[0].Reason, s.Conditions[0].Message = metav1.ConditionFalse, reason, "x"
		}
	}
	f(false, later, nil)
	f(true, later, not(ReasonFailed))
	f(false, statusEvery-time.Second, not(ReasonFailed)) // another has written just now
	f(true, time.Second, func(s *Status) { s.ObservedGeneration = 3 })
	f(false, later, func(s *Status) { s.LastValues[1].Value, s.Value = "9.5", "1 to 9.5" })
	f(true, later, func(s *Status) { s.LastValues[1].Value = "11" })
	f(true, later, func(s *Status) { s.LastValues[0].Value = "0" })
	f(true, later, func(s *Status) { s.LastValues[0].Object = "c" })
	f(true, later, func(s *Status) { s.Value = "1 to 90" })
	f(true, later, func(s *Status) { s.Value = "1" })
	f(true, later, func(s *Status) { s.Count = 3 })
	f(false, later, func(s *Status) { s.LastSampleTime.Time = testTime().Add(worthAge) })
	f(true, later, func(s *Status) { s.LastSampleTime = &metav1.Time{Time: testTime().Add(worthAge + time.Second)} })
	f(true, later, not(ReasonNoData))
	c.started = testTime()
	f(false, later, not(ReasonNoData)) // its store may be new
	f(true, settle, not(ReasonNoData))
	u.Object["status"] = map[string]any{"conditions": "not ours"}
	f(true, 0, nil)

	s := newStatus(nil)
	u.Object["status"] = status
	require.False(t, c.worthy(&object{generation: 2}, u, &s, testTime().Add(time.Hour)))
	require.Equal(t, testTime(), s.Conditions[0].LastTransitionTime.UTC(), "the status is the same since then")
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 100: "100", 1.5: "1.5", 0.0001: "0", 12.3456: "12.346", -2: "-2", 1e15: "1000000000000000"} {
		require.Equal(t, want, number(v))
	}
}
