package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/api/meta"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Check reads a configuration as a person would before it is put to use: every
// rule is compiled and its query rendered and parsed, without a cluster or a
// store. Each error is one line, a *ConfigError; there are none where all rules
// can work.
func Check(name string, data []byte, p parser.Parser) []error {
	conf, err := ParseConfig(name, data)
	if err != nil {
		return []error{err}
	}
	c := &compiler{conf: conf, resources: newResources(anyResource{}, time.Now), parser: p}
	return slices.Concat(c.checkAll(kindRules, conf.Rules), c.checkAll(kindExternal, conf.ExternalRules))
}

func (c *compiler) checkAll(kind string, rules []RuleConfig) []error {
	var errs []error
	for i := range rules {
		r, err := c.rule(kind, i, &rules[i])
		if err == nil {
			if err = c.check(r); err != nil {
				field, repair := "metricsQuery", "see what the template gives, and mend it there"
				switch {
				case errors.Is(err, errUnmapped):
					field, repair = "resources", "name the label in overrides, or write a template"
				case r.broken != nil:
					field, repair = "seriesQuery", "write a series selector, such as http_requests_total{pod!=\"\"}"
				}
				err = c.fail(r, err, repair, field)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// check tries a rule without data, so that what cannot work is told when the
// configuration is loaded and not by the first HPA.
func (c *compiler) check(r *Rule) error {
	if r.broken != nil {
		return r.broken
	}
	o, err := c.sample(r)
	if err != nil {
		return nil // the cluster cannot be asked now
	}
	expr, _, err := r.expression(o, klabels.Everything())
	if err != nil {
		return err
	}
	e, err := c.parser.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("metricsQuery gives %q: %w", expr, err)
	}
	switch t := e.Type(); {
	case t == parser.ValueTypeScalar && r.kind == kindRules:
		return errScalar
	case t != parser.ValueTypeVector && t != parser.ValueTypeScalar:
		return fmt.Errorf("metricsQuery gives %s, not an instant vector: %s", parser.DocumentedType(t), expr)
	}
	return nil
}

// sample is what a rule is tried with: one object of a resource that it maps.
func (c *compiler) sample(r *Rule) (Objects, error) {
	o := Objects{Series: r.family(), Namespace: "default"}
	if o.Series == "" {
		o.Series = "up"
	}
	if r.kind == kindRules {
		o.Resource, o.Names = namespaces, Select("default")
		for _, label := range r.labels.order {
			o.Resource = r.labels.overrides[label]
		}
		res, err := c.resources.get(o.Resource)
		if err != nil {
			return o, err
		}
		if !res.namespaced {
			o.Namespace = ""
		}
	}
	return o, nil
}

// anyResource stands for a cluster that has every resource one may name. Of
// Kubernetes' own it knows which have no namespace and occur in metrics.
type anyResource struct{}

// ResourceFor implements Mapper.
func (anyResource) ResourceFor(r schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	if r.Version == "" {
		r.Version = "v1"
	}
	// Files name resources in the singular too.
	switch n := r.Resource; {
	case strings.HasSuffix(n, "ss"):
		r.Resource += "es"
	case strings.HasSuffix(n, "y"):
		r.Resource = strings.TrimSuffix(n, "y") + "ies"
	case !strings.HasSuffix(n, "s"):
		r.Resource += "s"
	}
	return r, nil
}

// KindFor implements Mapper.
func (m anyResource) KindFor(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	kind, err := m.ResourceSingularizer(r.Resource)
	return r.GroupVersion().WithKind(kind), err
}

// RESTMapping implements Mapper.
func (anyResource) RESTMapping(k schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	scope := meta.RESTScopeNamespace
	if slices.Contains([]string{"namespace", "node", "persistentvolume", "storageclass"}, k.Kind) {
		scope = meta.RESTScopeRoot
	}
	return &meta.RESTMapping{GroupVersionKind: k.WithVersion(versions[0]), Scope: scope}, nil
}

// ResourceSingularizer implements Mapper.
func (anyResource) ResourceSingularizer(resource string) (string, error) {
	if n, ok := strings.CutSuffix(resource, "ies"); ok {
		return n + "y", nil
	}
	if strings.HasSuffix(resource, "sses") {
		return strings.TrimSuffix(resource, "es"), nil
	}
	return strings.TrimSuffix(resource, "s"), nil
}
