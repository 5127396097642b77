package metricrule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// compiled is a MetricRule that can be served.
type compiled struct {
	spec      Spec // with its defaults
	resource  schema.GroupResource
	rule      *adapter.Rule
	selectors []string // as they are asked, for the one that finds nothing
}

// id is what messages and metrics call a rule.
func id(namespace, name string) string { return Resource + "[" + namespace + "/" + name + "]" }

// Check says what is wrong with a MetricRule, as far as that can be known
// without a cluster and data. Each error is one line and begins with the field.
func Check(m *MetricRule, p parser.Parser) []error {
	_, err := compile(m, p)
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// withDefaults fills in what a person left out.
func (s Spec) withDefaults() Spec {
	if s.Type == "" {
		s.Type = Custom
	}
	if s.Type != Custom {
		return s
	}
	if s.Resource == "" {
		s.Resource = "pods"
	}
	if s.ObjectLabel == "" {
		s.ObjectLabel = singular(schema.ParseGroupResource(s.Resource).Resource)
	}
	return s
}

// singular is the singular of a resource as Kubernetes names its own.
func singular(resource string) string {
	if base, ok := strings.CutSuffix(resource, "ies"); ok {
		return base + "y"
	}
	for _, ending := range []string{"sses", "xes", "ches", "shes"} {
		if strings.HasSuffix(resource, ending) {
			return strings.TrimSuffix(resource, "es")
		}
	}
	return strings.TrimSuffix(resource, "s")
}

// compile makes the rule. Its error joins all that is wrong.
func compile(m *MetricRule, p parser.Parser) (*compiled, error) {
	c := &compiled{spec: m.Spec.withDefaults()}
	errs := c.spec.check()
	expr, err := p.ParseExpr(c.spec.Query)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("spec.query: %s (mend the PromQL; the position counts from its first character)", oneLine(err)))
	case expr.Type() == parser.ValueTypeScalar && c.spec.Type == Custom:
		errs = append(errs, fmt.Errorf("spec.query: a scalar names no %s (write an expression whose values have the label %s)", c.spec.ObjectLabel, c.spec.ObjectLabel))
	case expr.Type() != parser.ValueTypeVector && expr.Type() != parser.ValueTypeScalar:
		errs = append(errs, fmt.Errorf("spec.query: gives %s, not an instant vector (such as sum by (pod) (rate(x_total[1m])))", parser.DocumentedType(expr.Type())))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	label := ""
	if c.spec.Type == Custom {
		c.resource, label = schema.ParseGroupResource(c.spec.Resource), c.spec.ObjectLabel
	}
	parts, err := rewrite(expr, m.Namespace, label)
	if err != nil {
		return nil, fmt.Errorf("spec.query: %s", oneLine(err))
	}
	c.selectors = selectors(expr)
	rule := adapter.NamespaceRule{
		ID: id(m.Namespace, m.Name), Namespace: m.Namespace, Metric: c.spec.Metric,
		Resource: c.resource, Label: label, Query: parts,
	}
	if c.spec.MaxAge != nil {
		rule.MaxAge = c.spec.MaxAge.Duration
	}
	c.rule = rule.Rule()
	return c, nil
}

// check says what of a spec with its defaults cannot be.
func (s *Spec) check() []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("spec."+field+": "+format, args...))
	}
	switch {
	case s.Metric == "":
		wrong("metric", "missing (name the metric as an HPA asks for it)")
	case s.Metric == "." || s.Metric == ".." || strings.ContainsAny(s.Metric, "/%"):
		wrong("metric", "%q cannot be asked for by an HPA (use a name without / and %%)", s.Metric)
	}
	if s.Query == "" {
		wrong("query", "missing (write the PromQL that gives the metric)")
	}
	if s.MaxAge != nil && s.MaxAge.Duration <= 0 {
		wrong("maxAge", "%s is no limit (write a duration above 0, such as 1m, or leave it out)", s.MaxAge.Duration)
	}
	gr := schema.ParseGroupResource(s.Resource)
	switch {
	case s.Type == External && (s.Resource != "" || s.ObjectLabel != ""):
		wrong("type", "an external metric describes no object (leave resource and objectLabel out, or write type: Custom)")
	case s.Type != Custom && s.Type != External:
		wrong("type", "%q is neither Custom nor External", s.Type)
	case s.Type == Custom && slices.Contains([]string{"nodes", "persistentvolumes", "storageclasses.storage.k8s.io"}, gr.String()):
		wrong("resource", "%s have no namespace (a MetricRule is about objects of its own; such metrics belong into the server's --adapter.config)", s.Resource)
	case s.Type == Custom && (!model.LegacyValidation.IsValidLabelName(s.ObjectLabel) || strings.HasPrefix(s.ObjectLabel, "__")):
		wrong("objectLabel", "%q is no name of a label", s.ObjectLabel)
	}
	return errs
}

// selectors are those of a rewritten expression without the places of matchers.
func selectors(expr parser.Expr) []string {
	var out []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			plain := parser.VectorSelector{Name: v.Name}
			for _, m := range v.LabelMatchers {
				if m.Name != selectorMark && m.Name != objectsMark {
					plain.LabelMatchers = append(plain.LabelMatchers, m)
				}
			}
			out = append(out, plain.String())
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
