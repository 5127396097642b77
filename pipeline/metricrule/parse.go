package metricrule

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "sigs.k8s.io/yaml"
)

// Parse reads a MetricRule as a person writes it: a field that there is not is
// an error. One without a namespace is of the namespace default, as kubectl
// takes it.
func Parse(n *yaml.Node) (*MetricRule, error) {
	text, err := yaml.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("MetricRule: %w", err)
	}
	m := &MetricRule{}
	if err := kyaml.UnmarshalStrict(text, m); err != nil {
		_, what, found := strings.Cut(oneLine(err), "json: ")
		if !found {
			what = oneLine(err)
		}
		return nil, fmt.Errorf("MetricRule: %s", what)
	}
	if m.Namespace == "" {
		m.Namespace = metav1.NamespaceDefault
	}
	return m, nil
}
