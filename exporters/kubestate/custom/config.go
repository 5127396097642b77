// Package custom makes metrics of custom resources as a configuration in the
// format of kube-state-metrics' CustomResourceStateMetrics says. It knows
// objects as what their JSON holds, and nothing of API servers.
package custom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/internal/metric"
)

// Config says which families are made of which custom resources.
type Config struct {
	Resources []*Resource
	// Warnings tell what the configuration holds without a meaning.
	Warnings []string
}

// Resource says what is made of the objects of a kind, or of several.
type Resource struct {
	// Group is a group of the API. Version and Kind may be *, which stands for
	// all that there are.
	Group, Version, Kind string

	families []family
}

// Matches says whether the families are for a kind.
func (r *Resource) Matches(group, version, kind string) bool {
	return r.Group == group && (r.Version == "*" || r.Version == version) && (r.Kind == "*" || r.Kind == kind)
}

// The format.
type (
	document struct {
		APIVersion string         `yaml:"apiVersion"`
		Kind       string         `yaml:"kind"`
		Metadata   map[string]any `yaml:"metadata"`
		Spec       struct {
			Resources []resourceSpec `yaml:"resources"`
		} `yaml:"spec"`
	}
	labelsSpec struct {
		CommonLabels   map[string]string   `yaml:"commonLabels"`
		LabelsFromPath map[string][]string `yaml:"labelsFromPath"`
	}
	resourceSpec struct {
		labelsSpec       `yaml:",inline"`
		MetricNamePrefix *string `yaml:"metricNamePrefix"`
		GroupVersionKind struct {
			Group   string `yaml:"group"`
			Version string `yaml:"version"`
			Kind    string `yaml:"kind"`
		} `yaml:"groupVersionKind"`
		ResourcePlural string       `yaml:"resourcePlural"` // the API server tells it
		Metrics        []metricSpec `yaml:"metrics"`
		ErrorLogV      int          `yaml:"errorLogV"`
	}
	metricSpec struct {
		labelsSpec `yaml:",inline"`
		Name       string   `yaml:"name"`
		Help       string   `yaml:"help"`
		ErrorLogV  int      `yaml:"errorLogV"`
		Each       eachSpec `yaml:"each"`
	}
	eachSpec struct {
		Type     string     `yaml:"type"`
		Gauge    *valueSpec `yaml:"gauge"`
		StateSet *valueSpec `yaml:"stateSet"`
		Info     *valueSpec `yaml:"info"`
	}
	valueSpec struct {
		LabelsFromPath map[string][]string `yaml:"labelsFromPath"`
		Path           []string            `yaml:"path"`
		LabelFromKey   string              `yaml:"labelFromKey"`
		ValueFrom      []string            `yaml:"valueFrom"`
		NilIsZero      bool                `yaml:"nilIsZero"`
		List           []string            `yaml:"list"`
		LabelName      string              `yaml:"labelName"`
	}
)

// Parse reads a configuration. Its error is one line that says where. No
// family may have a name that taken knows.
func Parse(content []byte, taken func(name string) bool) (*Config, error) {
	var doc document
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, oneLine(err)
	}
	c := &Config{}
	strict := yaml.NewDecoder(bytes.NewReader(content))
	strict.KnownFields(true)
	if err := strict.Decode(&document{}); err != nil && !errors.Is(err, io.EOF) {
		c.Warnings = append(c.Warnings, oneLine(err).Error())
	}
	lines := newPlaces(content)
	for i := range doc.Spec.Resources {
		r, err := newResource(&doc.Spec.Resources[i], taken)
		if err != nil {
			var at *placed
			metricIndex := -1
			if errors.As(err, &at) {
				metricIndex = at.metric
			}
			return nil, fmt.Errorf("%s: %w", lines.of(i, metricIndex), err)
		}
		c.Resources = append(c.Resources, r)
	}
	return c, nil
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// placed is an error in one metric of a resource.
type placed struct {
	metric int
	err    error
}

func (p *placed) Error() string { return p.err.Error() }

func (p *placed) Unwrap() error { return p.err }

func newResource(spec *resourceSpec, taken func(string) bool) (*Resource, error) {
	gvk := &spec.GroupVersionKind
	r := &Resource{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
	if r.Group == "" || r.Group == "*" {
		return nil, errors.New("groupVersionKind.group is missing; only version and kind can be *")
	}
	if r.Version == "" {
		r.Version = "*"
	}
	if r.Kind == "" {
		r.Kind = "*"
	}
	prefix := "kube_customresource_"
	if spec.MetricNamePrefix != nil {
		prefix = *spec.MetricNamePrefix
		if prefix != "" {
			prefix += "_"
		}
	}
	for i := range spec.Metrics {
		f, err := newFamily(&spec.Metrics[i], spec, prefix)
		if err == nil && taken(f.name) {
			err = fmt.Errorf("%s is a family of the built-in kinds: choose another name or metricNamePrefix", f.name)
		}
		if err != nil {
			return nil, &placed{i, err}
		}
		r.families = append(r.families, f)
	}
	return r, nil
}

func newFamily(m *metricSpec, spec *resourceSpec, prefix string) (family, error) {
	f := family{name: prefix + m.Name, help: m.Help, verbosity: m.ErrorLogV}
	if f.help == "" {
		f.help = "Made of custom resources as the configuration says."
	}
	if f.verbosity == 0 {
		f.verbosity = spec.ErrorLogV
	}
	if m.Name == "" || !metric.ValidName(f.name) {
		return f, fmt.Errorf("name %q: %q is no name of a metric", m.Name, f.name)
	}
	f.common = make(map[string]string)
	paths := make(map[string][]string)
	for _, l := range []*labelsSpec{&spec.labelsSpec, &m.labelsSpec} {
		for name, value := range l.CommonLabels {
			if !metric.ValidLabelName(name) {
				return f, fmt.Errorf("commonLabels: %q is no name of a label", name)
			}
			f.common[name] = value
		}
		for name, p := range l.LabelsFromPath {
			paths[name] = p
		}
	}
	var err error
	if f.base, err = newLabels(paths); err != nil {
		return f, err
	}
	f.each, err = newEach(&m.Each)
	return f, err
}

func newEach(spec *eachSpec) (*each, error) {
	var v *valueSpec
	var section string
	kind := strings.ToLower(spec.Type)
	switch kind {
	case typeGauge:
		v, section = spec.Gauge, "each.gauge"
	case typeInfo:
		v, section = spec.Info, "each.info"
	case typeStateSet:
		v, section = spec.StateSet, "each.stateSet"
	default:
		return nil, fmt.Errorf("each.type is %q; there are Gauge, StateSet and Info", spec.Type)
	}
	if v == nil {
		return nil, fmt.Errorf("each.type is %s, but %s is missing", spec.Type, section)
	}
	e := &each{kind: kind, labelFromKey: v.LabelFromKey, nilIsZero: v.NilIsZero, list: v.List, labelName: v.LabelName}
	var err error
	if e.path, err = newPath(v.Path); err != nil {
		return nil, fmt.Errorf("%s.path: %w", section, err)
	}
	if e.valueFrom, err = newPath(v.ValueFrom); err != nil {
		return nil, fmt.Errorf("%s.valueFrom: %w", section, err)
	}
	if e.labels, err = newLabels(v.LabelsFromPath); err != nil {
		return nil, fmt.Errorf("%s.%w", section, err)
	}
	if v.LabelFromKey != "" && !metric.ValidLabelName(v.LabelFromKey) {
		return nil, fmt.Errorf("%s.labelFromKey: %q is no name of a label", section, v.LabelFromKey)
	}
	if kind == typeStateSet && !metric.ValidLabelName(v.LabelName) {
		return nil, fmt.Errorf("%s.labelName: %q is no name of a label", section, v.LabelName)
	}
	return e, nil
}

// places finds the lines of what a configuration holds.
type places struct{ root *yaml.Node }

func newPlaces(content []byte) places {
	var node yaml.Node
	if yaml.Unmarshal(content, &node) != nil || len(node.Content) == 0 {
		return places{&yaml.Node{}}
	}
	return places{node.Content[0]}
}

// of names a resource, or one of its metrics.
func (p places) of(resource, metric int) string {
	node := item(field(field(p.root, "spec"), "resources"), resource)
	name := fmt.Sprintf("spec.resources[%d]", resource)
	if metric >= 0 {
		node = item(field(node, "metrics"), metric)
		name += fmt.Sprintf(".metrics[%d]", metric)
	}
	if node == nil {
		return name
	}
	return fmt.Sprintf("line %d: %s", node.Line, name)
}

func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func item(n *yaml.Node, i int) *yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}
