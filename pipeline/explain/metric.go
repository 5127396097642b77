package explain

import (
	"math"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/journal"
)

// podsResource is how the journal names pods.
const podsResource = "pods"

// defaultTolerance is that of kube-controller-manager
// (--horizontal-pod-autoscaler-tolerance), which the API does not tell.
const defaultTolerance = 0.1

// metricOf is a metric of the specification with the value that the status has
// of it, and the question that the autoscaler asks for it: nil for resources,
// which strata core answers.
func metricOf(h *autoscalingv2.HorizontalPodAutoscaler, spec *autoscalingv2.MetricSpec) (Metric, *journal.Question) {
	m := Metric{Type: string(spec.Type), Answers: []Answer{}}
	var now *autoscalingv2.MetricValueStatus
	current := func(same func(*autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus) {
		for i := range h.Status.CurrentMetrics {
			if s := &h.Status.CurrentMetrics[i]; s.Type == spec.Type && now == nil {
				now = same(s)
			}
		}
	}
	var target autoscalingv2.MetricTarget
	var q *journal.Question
	switch {
	case spec.Resource != nil:
		m.Name, target = string(spec.Resource.Name), spec.Resource.Target
		current(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			return pick(s.Resource != nil && s.Resource.Name == spec.Resource.Name, func() *autoscalingv2.MetricValueStatus { return &s.Resource.Current })
		})
	case spec.ContainerResource != nil:
		c := spec.ContainerResource
		m.Name, m.Of, target = string(c.Name), "container "+c.Container, c.Target
		current(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			return pick(s.ContainerResource != nil && s.ContainerResource.Name == c.Name && s.ContainerResource.Container == c.Container,
				func() *autoscalingv2.MetricValueStatus { return &s.ContainerResource.Current })
		})
	case spec.Pods != nil:
		m.Name, target = spec.Pods.Metric.Name, spec.Pods.Target
		q = &journal.Question{API: journal.Custom, Resource: podsResource, Metric: m.Name, MetricSelector: selectorText(spec.Pods.Metric.Selector)}
		current(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			return pick(s.Pods != nil && same(s.Pods.Metric, spec.Pods.Metric), func() *autoscalingv2.MetricValueStatus { return &s.Pods.Current })
		})
	case spec.Object != nil:
		o := spec.Object.DescribedObject
		m.Name, m.Of, target = spec.Object.Metric.Name, o.Kind+"/"+o.Name, spec.Object.Target
		q = &journal.Question{API: journal.Custom, Resource: resourceOf(o), Object: o.Name, Metric: m.Name, MetricSelector: selectorText(spec.Object.Metric.Selector)}
		current(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			return pick(s.Object != nil && s.Object.DescribedObject == o && same(s.Object.Metric, spec.Object.Metric),
				func() *autoscalingv2.MetricValueStatus { return &s.Object.Current })
		})
	case spec.External != nil:
		m.Name, target = spec.External.Metric.Name, spec.External.Target
		q = &journal.Question{API: journal.External, Metric: m.Name, MetricSelector: selectorText(spec.External.Metric.Selector)}
		current(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			return pick(s.External != nil && same(s.External.Metric, spec.External.Metric), func() *autoscalingv2.MetricValueStatus { return &s.External.Current })
		})
	}
	m.TargetType, m.Target = string(target.Type), number(target.Value, target.AverageValue, target.AverageUtilization)
	if now != nil {
		m.Given = given(target.Type, now)
	}
	return m, q
}

// pick is of() where it may be asked.
func pick(ok bool, of func() *autoscalingv2.MetricValueStatus) *autoscalingv2.MetricValueStatus {
	if !ok {
		return nil
	}
	return of()
}

func same(a, b autoscalingv2.MetricIdentifier) bool {
	return a.Name == b.Name && selectorText(a.Selector) == selectorText(b.Selector)
}

// selectorText is a selector as the journal has it.
func selectorText(s *metav1.LabelSelector) string {
	if s == nil {
		return ""
	}
	parsed, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return parsed.String()
}

// resourceOf is the resource of an object, by the field's rule of making plurals.
func resourceOf(o autoscalingv2.CrossVersionObjectReference) string {
	gv, err := schema.ParseGroupVersion(o.APIVersion)
	if err != nil {
		return ""
	}
	plural, _ := meta.UnsafeGuessKindToResource(gv.WithKind(o.Kind))
	return plural.GroupResource().String()
}

func number(value, average *resource.Quantity, utilization *int32) float64 {
	switch {
	case utilization != nil:
		return float64(*utilization)
	case average != nil:
		return average.AsApproximateFloat64()
	case value != nil:
		return value.AsApproximateFloat64()
	}
	return 0
}

// given is the value of the status that compares to the target; nil where the
// controller wrote none. Where it had no value it leaves a zero quantity out.
func given(target autoscalingv2.MetricTargetType, s *autoscalingv2.MetricValueStatus) *float64 {
	var v float64
	switch {
	case target == autoscalingv2.UtilizationMetricType && s.AverageUtilization != nil:
		v = float64(*s.AverageUtilization)
	case target == autoscalingv2.AverageValueMetricType && s.AverageValue != nil:
		v = s.AverageValue.AsApproximateFloat64()
	case target == autoscalingv2.ValueMetricType && s.Value != nil:
		v = s.Value.AsApproximateFloat64()
	default:
		return nil
	}
	return &v
}

// asks is how many replicas a metric asks for, by the algorithm that the
// documentation of the HPA gives: ceil(current * value / target), and no change
// within the tolerance. Pods that are not ready or have no value make the
// controller more careful than this.
func asks(h *autoscalingv2.HorizontalPodAutoscaler, m *Metric) *int32 {
	current := h.Status.CurrentReplicas
	if m.Given == nil || m.Target <= 0 || current == 0 {
		return nil
	}
	ratio := *m.Given / m.Target
	out := current
	if !within(h, ratio) {
		out = int32(math.Ceil(math.Min(ratio*float64(current)-1e-9, math.MaxInt32)))
	}
	return &out
}

// within tells whether a ratio is too near to 1 to act on.
func within(h *autoscalingv2.HorizontalPodAutoscaler, ratio float64) bool {
	up, down := defaultTolerance, defaultTolerance
	if b := h.Spec.Behavior; b != nil {
		for _, t := range []struct {
			rules *autoscalingv2.HPAScalingRules
			to    *float64
		}{{b.ScaleUp, &up}, {b.ScaleDown, &down}} {
			if t.rules != nil && t.rules.Tolerance != nil {
				*t.to = t.rules.Tolerance.AsApproximateFloat64()
			}
		}
	}
	return ratio <= 1+up && ratio >= 1-down
}

// decisive is the metric that asks for the most; nil where none is known.
func decisive(metrics []Metric) *Metric {
	known := slices.DeleteFunc(slices.Clone(metrics), func(m Metric) bool { return m.Asks == nil })
	if len(known) == 0 {
		return nil
	}
	most := slices.MaxFunc(known, func(a, b Metric) int { return int(*a.Asks) - int(*b.Asks) })
	return &most
}
