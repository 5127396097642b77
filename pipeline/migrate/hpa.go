package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	yaml "go.yaml.in/yaml/v3"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "sigs.k8s.io/yaml"
)

// What KEDA and the HPA take where nothing is said.
const (
	defaultMax         = 100  // replicas, KEDA
	defaultCooldown    = 300  // seconds, KEDA; also the stabilization window of the HPA
	maxStabilization   = 3600 // seconds, HPA
	defaultAPIVersion  = "apps/v1"
	defaultTargetsKind = "Deployment"
)

// write adds the file of an object, or says why there is none.
func (k *keda) write(o *scaledObject, kind string, content func() ([]byte, error)) {
	text, err := content()
	if err != nil {
		k.report.Items = append(k.report.Items, Item{File: o.file, Line: o.node.Line, Of: o.String(), Plan: o.plan(), What: "as a whole",
			Verdict: NotServed, Notes: []string{err.Error()}, Do: "correct it"})
		return
	}
	name := o.name + "-" + kind
	if o.namespace != "" {
		name = o.namespace + "-" + name
	}
	k.report.Files = append(k.report.Files, File{Name: k.unique(name) + ".yaml", Content: text})
}

// writeHPA is the HPA that takes over from a ScaledObject.
func (o *scaledObject) writeHPA() ([]byte, error) {
	ref := o.spec.ScaleTargetRef
	if ref.Name == "" {
		return nil, errors.New("spec.scaleTargetRef.name is missing")
	}
	h := autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: o.name},
	}
	h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: or(ref.APIVersion, defaultAPIVersion), Kind: or(ref.Kind, defaultTargetsKind), Name: ref.Name}
	lowest := o.min()
	if lowest == 0 && !o.has(byQuery) {
		lowest = 1
	}
	h.Spec.MinReplicas, h.Spec.MaxReplicas = &lowest, defaultMax
	if o.spec.MaxReplicaCount != nil {
		h.Spec.MaxReplicas = *o.spec.MaxReplicaCount
	}
	if h.Spec.MaxReplicas < max(lowest, 1) {
		return nil, fmt.Errorf("spec.maxReplicaCount %d is below spec.minReplicaCount", h.Spec.MaxReplicas)
	}
	for i := range o.spec.Triggers {
		m, err := o.spec.Triggers[i].metricSpec()
		if err != nil {
			return nil, err
		}
		h.Spec.Metrics = append(h.Spec.Metrics, m)
	}
	var err error
	if h.Spec.Behavior, err = o.behavior(); err != nil {
		return nil, err
	}
	return plain(&h)
}

// behavior is that of the ScaledObject, with its cooldown.
func (o *scaledObject) behavior() (*autoscalingv2.HorizontalPodAutoscalerBehavior, error) {
	var b *autoscalingv2.HorizontalPodAutoscalerBehavior
	if n := field(o.node, "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"); n != nil {
		var tree any
		if err := n.Decode(&tree); err != nil {
			return nil, yamlError(o.file, err)
		}
		data, err := json.Marshal(tree)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: behavior: %w", o.file, n.Line, err)
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&b); err != nil {
			return nil, fmt.Errorf("%s:%d: behavior: %w", o.file, n.Line, err)
		}
	}
	c := o.spec.CooldownPeriod
	if c == nil || *c == defaultCooldown || o.min() > 0 {
		return b, nil
	}
	if b == nil {
		b = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	}
	if b.ScaleDown == nil {
		b.ScaleDown = &autoscalingv2.HPAScalingRules{}
	}
	if b.ScaleDown.StabilizationWindowSeconds == nil {
		window := min(*c, maxStabilization)
		b.ScaleDown.StabilizationWindowSeconds = &window
	}
	return b, nil
}

// metricSpec is the metric of an HPA that a trigger becomes.
func (t *trigger) metricSpec() (autoscalingv2.MetricSpec, error) {
	if t.row.way == byResource {
		return t.resourceMetric()
	}
	v, err := t.target()
	if err != nil {
		return autoscalingv2.MetricSpec{}, err
	}
	q := apiresource.NewMilliQuantity(int64(math.Round(v*1000)), apiresource.DecimalSI)
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: q}
	if t.MetricType == string(autoscalingv2.ValueMetricType) {
		target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: q}
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: t.metric}, Target: target}}, nil
}

// resourceMetric is the metric of a trigger of cpu or memory.
func (t *trigger) resourceMetric() (autoscalingv2.MetricSpec, error) {
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.MetricTargetType(or(t.MetricType, t.Metadata["type"]))}
	value := t.Metadata["value"]
	switch target.Type {
	case autoscalingv2.UtilizationMetricType:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n <= 0 {
			return autoscalingv2.MetricSpec{}, fmt.Errorf("metadata.value: %q is not a percentage", value)
		}
		u := int32(n)
		target.AverageUtilization = &u
	case autoscalingv2.AverageValueMetricType:
		q, err := apiresource.ParseQuantity(value)
		if err != nil || q.Sign() <= 0 {
			return autoscalingv2.MetricSpec{}, fmt.Errorf("metadata.value: %q is not a quantity", value)
		}
		target.AverageValue = &q
	default:
		return autoscalingv2.MetricSpec{}, fmt.Errorf("metricType: %q is neither Utilization nor AverageValue", target.Type)
	}
	name := corev1.ResourceName(t.Type)
	if c := t.Metadata["containerName"]; c != "" {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType,
			ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: name, Container: c, Target: target}}, nil
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: target}}, nil
}

// plain is an object as a person writes it: without status and empty fields.
func plain(object any) ([]byte, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	delete(tree, "status")
	if m, ok := tree["metadata"].(map[string]any); ok {
		delete(m, "creationTimestamp")
	}
	return kyaml.Marshal(tree)
}

// serverMade are the parts of an object that the API server writes.
func serverMade() [][]string {
	return [][]string{{"status"}, {"metadata", "creationTimestamp"}, {"metadata", "generation"}, {"metadata", "managedFields"},
		{"metadata", "resourceVersion"}, {"metadata", "uid"}, {"metadata", "selfLink"}, {"metadata", "finalizers"},
		{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"}}
}

// writeKEDA is the object itself, whose triggers with a query ask Strata.
func (o *scaledObject) writeKEDA(address string) ([]byte, error) {
	root := clone(o.node)
	for _, path := range serverMade() {
		remove(field(root, path[:len(path)-1]...), path[len(path)-1])
	}
	list := field(root, "spec", "triggers")
	for i := range o.spec.Triggers {
		t := &o.spec.Triggers[i]
		if t.row == nil || t.row.way != byQuery {
			continue
		}
		type metadata struct {
			ScalerAddress string `yaml:"scalerAddress"`
			Metric        string `yaml:"metric"`
			Threshold     string `yaml:"threshold"`
			Activation    string `yaml:"activationThreshold,omitempty"`
		}
		var n yaml.Node
		if err := n.Encode(struct {
			Type       string   `yaml:"type"`
			Name       string   `yaml:"name,omitempty"`
			MetricType string   `yaml:"metricType,omitempty"`
			Metadata   metadata `yaml:"metadata"`
		}{"external", t.Name, t.MetricType, metadata{address, t.metric, t.Metadata["threshold"], t.Metadata["activationThreshold"]}}); err != nil {
			return nil, err
		}
		list.Content[i] = &n
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", o.file, o.node.Line, err)
	}
	return b.Bytes(), nil
}

// clone copies a node, aliases written out.
func clone(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	c := *n
	c.Anchor = ""
	c.Content = make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		c.Content[i] = clone(n.Content[i])
	}
	return &c
}

func remove(n *yaml.Node, key string) {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

func or(s, byDefault string) string {
	if s == "" {
		return byDefault
	}
	return s
}
