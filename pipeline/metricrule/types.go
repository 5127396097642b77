// Package metricrule lets a team publish its own metrics: a MetricRule is an
// object of a namespace that names a custom or external metric and the PromQL
// behind it. The expression reads the series of its own namespace only, whatever
// it says.
//
// A Controller watches the objects, gives the rules to an adapter, and writes
// into each object's status whether it is served, why not, and what it gives. It
// keeps no state and needs no leader: replicas write what they see, seldom, and
// leave alone what says the same.
package metricrule

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Names of the resource, as the chart's CustomResourceDefinition has them.
const (
	Group    = "strata-metrics.github.io"
	Version  = "v1alpha1"
	Kind     = "MetricRule"
	Resource = "metricrules"
)

// GVR is the resource MetricRules are.
func GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: Resource}
}

// The two types of metrics.
const (
	Custom   = "Custom"
	External = "External"
)

// ConditionReady is the condition that says whether the metric is served.
const ConditionReady = "Ready"

// Reasons of the condition Ready. With all but ReasonServed it is False.
const (
	// ReasonServed: autoscalers get the metric.
	ReasonServed = "Served"
	// ReasonDryRun: the metric has values and dryRun keeps it from being served.
	ReasonDryRun = "DryRun"
	// ReasonInvalid: the spec cannot work.
	ReasonInvalid = "Invalid"
	// ReasonUnknownResource: the cluster has no such resource.
	ReasonUnknownResource = "UnknownResource"
	// ReasonShadowed: another rule has the name.
	ReasonShadowed = "Shadowed"
	// ReasonFailed: the expression cannot be evaluated.
	ReasonFailed = "EvaluationFailed"
	// ReasonNoData: the expression gives no value.
	ReasonNoData = "NoData"
	// ReasonNoObject: no value names an object.
	ReasonNoObject = "NoObject"
	// ReasonStale: all values are older than maxAge.
	ReasonStale = "Stale"
)

// MetricRule publishes a metric of its namespace.
type MetricRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitzero"`
}

// Spec is what a person writes.
type Spec struct {
	// Metric is the name in the API. It has no slash and no percent sign, which
	// an HPA could not ask for.
	Metric string `json:"metric"`
	// Type is Custom, which "" is too, or External.
	Type string `json:"type,omitempty"`
	// Resource is what a custom metric describes, plural and with its group:
	// pods, deployments.apps. "" is pods.
	Resource string `json:"resource,omitempty"`
	// ObjectLabel is the label of the result with the objects' names. "" is the
	// resource's singular.
	ObjectLabel string `json:"objectLabel,omitempty"`
	// Query is PromQL without a matcher on namespace: one that holds the rule's
	// own is put into every selector.
	Query string `json:"query"`
	// MaxAge is how old the samples behind a value may be; nil leaves it to the
	// server.
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// DryRun evaluates and writes the status, and serves nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// Status is what the server says.
type Status struct {
	// ObservedGeneration is that of the spec which the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions has Ready.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Value is what there is in a few characters, for kubectl get.
	Value string `json:"value,omitempty"`
	// Count is how many objects, or series of an external metric, have a value.
	Count int64 `json:"count,omitempty"`
	// LastValues are at most five of them.
	LastValues []Value `json:"lastValues,omitempty"`
	// LastSampleTime is when the samples behind the values were taken: of the
	// series that they are made of, the oldest of their newest samples.
	LastSampleTime *metav1.Time `json:"lastSampleTime,omitempty"`
	// Error is what keeps the rule from giving values.
	Error string `json:"error,omitempty"`
	// Updated is when the status was written.
	Updated *metav1.Time `json:"updated,omitempty"`
}

// Value is one of a metric.
type Value struct {
	// Object is the name of the object that it describes.
	Object string `json:"object,omitempty"`
	// Labels are those of a series of an external metric.
	Labels map[string]string `json:"labels,omitempty"`
	// Value is a number, to the thousandth.
	Value string `json:"value"`
}
