package kubestate

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// horizontalPodAutoscalers is the kind HorizontalPodAutoscaler.
func horizontalPodAutoscalers() kind {
	type A = *autoscalingv2.HorizontalPodAutoscaler
	return &Resource[A]{
		Group: "autoscaling", Version: "v2", Plural: "horizontalpodautoscalers",
		Scheme: autoscalingv2.AddToScheme,
		List:   func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
		Labels: []string{"namespace", "horizontalpodautoscaler"},
		Key:    inNamespace[A],
		Families: []Family[A]{
			annotationsOf[A]("kube_horizontalpodautoscaler_annotations"),
			labelsOf[A]("kube_horizontalpodautoscaler_labels"),
			created[A]("kube_horizontalpodautoscaler_created", metric.Alpha),
			deletion[A]("kube_horizontalpodautoscaler_deletion_timestamp"),
			{
				Name: "kube_horizontalpodautoscaler_info", Help: "What the autoscaler scales; scaletargetref_api_version is there when it is given.",
				Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"scaletargetref_kind", "scaletargetref_name"},
				Render: autoscalerInfo,
			},
			generation[A]("kube_horizontalpodautoscaler_metadata_generation"),
			number("kube_horizontalpodautoscaler_spec_max_replicas", "Pods that there may be at most.",
				func(a A) float64 { return float64(a.Spec.MaxReplicas) }),
			number("kube_horizontalpodautoscaler_spec_min_replicas", "Pods that there must be at least; 1 when not given.",
				func(a A) float64 {
					if a.Spec.MinReplicas == nil {
						return 1
					}
					return float64(*a.Spec.MinReplicas)
				}),
			{
				Name: "kube_horizontalpodautoscaler_spec_target_metric", Help: "Values that the autoscaler aims at.",
				Type: metric.Gauge, Stability: metric.Alpha, Labels: targetLabels(),
				Render: func(a A, l *Lines) {
					for i := range a.Spec.Metrics {
						wantedMetric(&a.Spec.Metrics[i], l)
					}
				},
			},
			{
				Name: "kube_horizontalpodautoscaler_status_target_metric", Help: "Values that the autoscaler last read.",
				Type: metric.Gauge, Labels: targetLabels(),
				Render: func(a A, l *Lines) {
					for i := range a.Status.CurrentMetrics {
						currentMetric(&a.Status.CurrentMetrics[i], l)
					}
				},
			},
			tolerance("kube_horizontalpodautoscaler_spec_behavior_scale_down_tolerance", "Share by which a value must fall short of its target before pods are taken away.",
				func(b *autoscalingv2.HorizontalPodAutoscalerBehavior) *autoscalingv2.HPAScalingRules {
					return b.ScaleDown
				}),
			tolerance("kube_horizontalpodautoscaler_spec_behavior_scale_up_tolerance", "Share by which a value must exceed its target before pods are added.",
				func(b *autoscalingv2.HorizontalPodAutoscalerBehavior) *autoscalingv2.HPAScalingRules {
					return b.ScaleUp
				}),
			number("kube_horizontalpodautoscaler_status_current_replicas", "Pods that there are.",
				func(a A) float64 { return float64(a.Status.CurrentReplicas) }),
			number("kube_horizontalpodautoscaler_status_desired_replicas", "Pods that the autoscaler wants.",
				func(a A) float64 { return float64(a.Status.DesiredReplicas) }),
			{
				Name: "kube_horizontalpodautoscaler_status_condition", Help: "Conditions of the autoscaler.", Type: metric.Gauge,
				Labels: []string{"condition", "status"},
				Render: func(a A, l *Lines) {
					for _, c := range a.Status.Conditions {
						l.Condition(c.Status, string(c.Type))
					}
				},
			},
		},
	}
}

func autoscalerInfo(a *autoscalingv2.HorizontalPodAutoscaler, l *Lines) {
	ref := a.Spec.ScaleTargetRef
	var names, values []string
	if ref.APIVersion != "" {
		names, values = []string{"scaletargetref_api_version"}, []string{ref.APIVersion}
	}
	l.AddExtra(1, []string{ref.Kind, ref.Name}, names, values)
}

func targetLabels() []string { return []string{"metric_name", "metric_target_type", "container"} }

// wantedMetric shows a target. Two targets of one name, such as external ones
// that differ in their selector, are one series: the first counts.
func wantedMetric(m *autoscalingv2.MetricSpec, l *Lines) {
	show := func(name string, t autoscalingv2.MetricTarget, container string) {
		targetValues(l, name, container, t.Value, t.AverageUtilization, t.AverageValue)
	}
	switch {
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		show(m.Object.Metric.Name, m.Object.Target, "")
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		show(m.Pods.Metric.Name, m.Pods.Target, "")
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		show(string(m.Resource.Name), m.Resource.Target, "")
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		show(string(m.ContainerResource.Name), m.ContainerResource.Target, m.ContainerResource.Container)
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		show(m.External.Metric.Name, m.External.Target, "")
	}
}

// currentMetric shows what was read last for a target, as wantedMetric does.
func currentMetric(m *autoscalingv2.MetricStatus, l *Lines) {
	show := func(name string, v autoscalingv2.MetricValueStatus, container string) {
		targetValues(l, name, container, v.Value, v.AverageUtilization, v.AverageValue)
	}
	switch {
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		show(m.Object.Metric.Name, m.Object.Current, "")
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		show(m.Pods.Metric.Name, m.Pods.Current, "")
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		show(string(m.Resource.Name), m.Resource.Current, "")
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		show(string(m.ContainerResource.Name), m.ContainerResource.Current, m.ContainerResource.Container)
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		show(m.External.Metric.Name, m.External.Current, "")
	}
}

func targetValues(l *Lines, name, container string, value *resource.Quantity, utilization *int32, average *resource.Quantity) {
	if value != nil {
		l.Add(quantity(*value), name, "value", container)
	}
	if utilization != nil {
		l.Add(float64(*utilization), name, "utilization", container)
	}
	if average != nil {
		l.Add(quantity(*average), name, "average", container)
	}
}

func tolerance(name, help string, pick func(*autoscalingv2.HorizontalPodAutoscalerBehavior) *autoscalingv2.HPAScalingRules) Family[*autoscalingv2.HorizontalPodAutoscaler] {
	return Family[*autoscalingv2.HorizontalPodAutoscaler]{
		Name: name, Help: help, Type: metric.Gauge, Stability: metric.Alpha,
		Render: func(a *autoscalingv2.HorizontalPodAutoscaler, l *Lines) {
			if a.Spec.Behavior == nil {
				return
			}
			if rules := pick(a.Spec.Behavior); rules != nil && rules.Tolerance != nil {
				l.Add(rules.Tolerance.AsApproximateFloat64())
			}
		},
	}
}
