package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// limitRanges is the kind LimitRange.
func limitRanges() kind {
	type R = *corev1.LimitRange
	return &Resource[R]{
		Version: "v1", Plural: "limitranges",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.LimitRangeList{} },
		Labels: []string{"namespace", "limitrange"},
		Key:    inNamespace[R],
		Families: []Family[R]{
			created[R]("kube_limitrange_created", metric.Stable),
			{
				Name: "kube_limitrange", Help: "Bounds and defaults for what an object of a type may ask for.", Type: metric.Gauge,
				Labels: []string{"resource", "type", "constraint"},
				Render: func(r R, l *Lines) {
					for _, limit := range r.Spec.Limits {
						of := string(limit.Type)
						quantities(l, limit.Min, of, "min")
						quantities(l, limit.Max, of, "max")
						quantities(l, limit.Default, of, "default")
						quantities(l, limit.DefaultRequest, of, "defaultRequest")
						quantities(l, limit.MaxLimitRequestRatio, of, "maxLimitRequestRatio")
					}
				},
			},
		},
	}
}
