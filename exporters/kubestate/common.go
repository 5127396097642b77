package kubestate

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strata-metrics/strata/internal/metric"
)

// created declares kube_KIND_created.
func created[T Object](name string, stability metric.Stability) Family[T] {
	return Family[T]{
		Name: name, Help: "Time at which the object was made, in seconds since 1970.",
		Type: metric.Gauge, Stability: stability,
		Render: func(o T, l *Lines) {
			t := o.GetCreationTimestamp()
			l.TimeIfSet(&t)
		},
	}
}

// deletion declares kube_KIND_deletion_timestamp.
func deletion[T Object](name string) Family[T] {
	return Family[T]{
		Name: name, Help: "Time from which on the object is to go, in seconds since 1970.",
		Type: metric.Gauge, Stability: metric.Alpha,
		Render: func(o T, l *Lines) { l.TimeIfSet(o.GetDeletionTimestamp()) },
	}
}

// labelsOf declares kube_KIND_labels.
func labelsOf[T Object](name string) Family[T] {
	return Family[T]{
		Name: name, Help: "Labels of the object, those that --metric-labels-allowlist allows.",
		Type:   metric.Gauge,
		Render: func(o T, l *Lines) { l.Allowed("label", o.GetLabels(), l.labels) },
	}
}

// annotationsOf declares kube_KIND_annotations.
func annotationsOf[T Object](name string) Family[T] {
	return Family[T]{
		Name: name, Help: "Annotations of the object, those that --metric-annotations-allowlist allows.",
		Type: metric.Gauge, Stability: metric.Alpha,
		Render: func(o T, l *Lines) { l.Allowed("annotation", o.GetAnnotations(), l.annotations) },
	}
}

// number declares a family with the one value that each object has.
func number[T Object](name, help string, value func(T) float64) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge,
		Render: func(o T, l *Lines) { l.Add(value(o)) },
	}
}

// optional declares a family with a value that an object may lack.
func optional[T Object, N int32 | int64](name, help string, stability metric.Stability, value func(T) *N) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge, Stability: stability,
		Render: func(o T, l *Lines) {
			if v := value(o); v != nil {
				l.Add(float64(*v))
			}
		},
	}
}

// info declares a family with one series of 1 for each object, whose labels
// say what the object is.
func info[T Object](name, help string, labels []string, values func(T) []string) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge, Labels: labels,
		Render: func(o T, l *Lines) { l.Add(1, values(o)...) },
	}
}

// exists declares an info without labels of its own.
func exists[T Object](name, help string) Family[T] {
	return info(name, help, nil, func(T) []string { return nil })
}

// each declares a family with one series of 1 for each of a list.
func each[T Object](name, help, label string, values func(T) []string) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge, Labels: []string{label},
		Render: func(o T, l *Lines) {
			for _, value := range values(o) {
				l.Add(1, value)
			}
		},
	}
}

// phases declares a set of states, which is empty as long as the object is in
// none.
func phases[T Object](name, help string, phase func(T) string, all ...string) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge, Labels: []string{"phase"},
		Render: func(o T, l *Lines) {
			if is := phase(o); is != "" {
				l.States(is, all...)
			}
		},
	}
}

// timeOf declares a family with a time that an object may lack, in seconds
// since 1970.
func timeOf[T Object](name, help string, value func(T) *metav1.Time) Family[T] {
	return Family[T]{
		Name: name, Help: help, Type: metric.Gauge,
		Render: func(o T, l *Lines) {
			if t := value(o); t != nil {
				l.Time(*t)
			}
		},
	}
}

// generation declares kube_KIND_metadata_generation.
func generation[T Object](name string) Family[T] {
	return number(name, "Number of the wanted state, which grows with each change of it.",
		func(o T) float64 { return float64(o.GetGeneration()) })
}

// resourceVersion declares kube_KIND_metadata_resource_version.
func resourceVersion[T Object](name string) Family[T] {
	return Family[T]{
		Name: name, Help: "Version of the object in the API server's storage.", Type: metric.Gauge, Stability: metric.Alpha,
		Render: func(o T, l *Lines) {
			if v, err := strconv.ParseFloat(o.GetResourceVersion(), 64); err == nil {
				l.Add(v)
			}
		},
	}
}

// alpha and stable give a family the stability that it has in this kind.
func alpha[T Object](f Family[T]) Family[T] { f.Stability = metric.Alpha; return f }

func stable[T Object](f Family[T]) Family[T] { f.Stability = metric.Stable; return f }

// owners declares kube_KIND_owner. An object without owners has one series
// with empty labels.
func owners[T Object](name string) Family[T] {
	return Family[T]{
		Name: name, Help: "Objects that own this one.", Type: metric.Gauge,
		Labels: []string{"owner_kind", "owner_name", "owner_is_controller"},
		Render: func(o T, l *Lines) {
			refs := o.GetOwnerReferences()
			if len(refs) == 0 {
				l.Add(1, "", "", "")
			}
			for _, ref := range refs {
				l.Add(1, ref.Kind, ref.Name, strconv.FormatBool(isController(ref)))
			}
		},
	}
}

func isController(ref metav1.OwnerReference) bool { return ref.Controller != nil && *ref.Controller }

// quantity is the value of a quantity in its base unit. Below a milli it is
// rounded up; beyond what thousandths can hold it is whole.
func quantity(q resource.Quantity) float64 {
	if whole := q.Value(); whole > resource.MaxMilliValue {
		return float64(whole)
	}
	return float64(q.MilliValue()) / 1000
}

// wholeQuantity is the value rounded up to an integer.
func wholeQuantity(q resource.Quantity) float64 { return float64(q.Value()) }

// orEmpty is a string that an object may lack.
func orEmpty[S ~string](s *S) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// yesOrNo is true, false or, when nobody said, empty.
func yesOrNo(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

// resourceUnit gives the unit that a resource of a container or node is
// counted in. It is empty for a resource that is not shown: one that is
// neither Kubernetes' own nor extended.
func resourceUnit(name corev1.ResourceName) string {
	switch name {
	case corev1.ResourceCPU:
		return "core"
	case corev1.ResourceMemory, corev1.ResourceStorage, corev1.ResourceEphemeralStorage:
		return "byte"
	}
	switch {
	case strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix),
		strings.HasPrefix(string(name), corev1.ResourceAttachableVolumesPrefix):
		return "byte"
	case isExtendedResource(string(name)):
		return "integer"
	}
	return ""
}

// isExtendedResource says whether a resource is one that a device plugin or
// a cluster's operator brought.
func isExtendedResource(name string) bool {
	return strings.Contains(name, "/") &&
		!strings.Contains(name, corev1.ResourceDefaultNamespacePrefix) &&
		!strings.HasPrefix(name, corev1.DefaultResourceRequestsPrefix) &&
		len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+name)) == 0
}

// sortedResources gives names in order, so that a body is the same each time.
func sortedResources(list corev1.ResourceList) []corev1.ResourceName {
	return slices.Sorted(maps.Keys(list))
}
