package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ErrUnknownResource means that the cluster has no such resource.
var ErrUnknownResource = errors.New("the cluster has no such resource")

// NamespaceRule is a rule that holds in one namespace.
type NamespaceRule struct {
	// ID names the rule among those of all sources.
	ID string
	// Namespace is where the rule holds, and Metric its name in the API there.
	Namespace, Metric string
	// Resource is what a custom metric describes; the zero value makes an
	// external metric.
	Resource schema.GroupResource
	// Label of the result has the names of the objects; "" for an external metric.
	Label string
	// Query is the expression. That it reads no other namespace is up to who
	// makes it.
	Query []QueryPart
	// MaxAge is how old the samples behind an answer may be; 0 is the limit of
	// Options.
	MaxAge time.Duration
}

// QueryPart is a piece of an expression and what of a request comes after it:
// label matchers, each with a comma at its end.
type QueryPart struct {
	Text string
	// Selector asks for the matchers of the request's label selector.
	Selector bool
	// Objects asks for the matcher of the objects' names.
	Objects bool
}

// Rule makes the rule that an Adapter serves.
func (n NamespaceRule) Rule() *Rule {
	r := &Rule{
		id: n.ID, kind: kindRules, namespaced: true, maxAge: n.MaxAge,
		namespace: n.Namespace, metric: n.Metric, resource: n.Resource, label: n.Label, parts: n.Query,
	}
	if n.Resource == (schema.GroupResource{}) {
		r.kind = kindExternal
	}
	return r
}

// SetNamespaceRules serves these rules from then on in the place of those of the
// call before; rules of other sources stay. Of several for the same metric of a
// namespace and a resource the first one holds.
func (a *Adapter) SetNamespaceRules(rules []*Rule) {
	before := a.objects.Swap(newObjectSet(rules))
	a.catalogue.version.Add(1)
	kept := make(map[*Rule]bool, len(rules))
	for _, r := range before.rules {
		kept[r] = true
	}
	var come []*Rule
	for _, r := range rules {
		if !kept[r] {
			come = append(come, r)
		}
		delete(kept, r)
	}
	gone := slices.DeleteFunc(slices.Clone(before.rules), func(r *Rule) bool { return !kept[r] })
	a.health.replace(gone, come)
	a.metrics.rules.WithLabelValues("namespaces").Set(float64(len(rules)))
}

// Try evaluates a NamespaceRule for all its objects, whether it is served or
// not: one answer for each series of the result, with its labels.
func (a *Adapter) Try(ctx context.Context, r *Rule) ([]Answer, error) {
	all := *r
	all.label = ""
	answers, err := a.Evaluate(ctx, &all, Objects{Namespace: r.namespace}, klabels.Everything())
	switch {
	case blameless(err):
		return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
	case err != nil:
		return nil, err
	}
	// Without a sample of late nothing can be said of the rule.
	if err := a.notReady(ctx); len(answers) == 0 && err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return answers, nil
}

// ErrNotReady means that the store cannot be asked yet.
var ErrNotReady = errors.New("metrics are not ready")

// ClaimedBy names the rule of the configuration that has the name of a
// NamespaceRule, which therefore is not served; "" for none.
func (a *Adapter) ClaimedBy(ctx context.Context, r *Rule) (string, error) {
	t, err := a.names(ctx, a.rules.Load())
	if err != nil {
		return "", err
	}
	from, want := t.external[r.metric], (*resource)(nil)
	if r.kind == kindRules {
		from = t.custom[r.metric]
		if want, err = a.resources.get(r.resource); err != nil {
			return "", err
		}
	}
	for i := range from {
		if ok, err := a.claimed(ctx, from[i:i+1], want); ok || err != nil {
			return from[i].rule.String(), err
		}
	}
	return "", nil
}

// Namespaced tells whether the objects of a resource have namespaces. Its error
// is ErrUnknownResource where the cluster has no such resource.
func (a *Adapter) Namespaced(gr schema.GroupResource) (bool, error) {
	res, err := a.resources.get(gr)
	if unknownResource(err) {
		return false, fmt.Errorf("%w: %s", ErrUnknownResource, gr.String())
	}
	if err != nil {
		return false, fmt.Errorf("ask the cluster for %s: %w", gr.String(), err)
	}
	return res.namespaced, nil
}

// namespaceExpression renders the parts of a NamespaceRule.
func (r *Rule) namespaceExpression(o Objects, selector klabels.Selector) (string, error) {
	m := matchers{values: map[string]string{}}
	if err := m.selector(selector); err != nil {
		return "", err
	}
	asked := commaEach(m.text)
	objects := ""
	if names := o.Names.Names(); r.label != "" && len(names) > 0 {
		m = matchers{values: map[string]string{}}
		m.names(r.label, names)
		objects = commaEach(m.text)
	}
	var b strings.Builder
	for _, p := range r.parts {
		b.WriteString(p.Text)
		if p.Selector {
			b.WriteString(asked)
		}
		if p.Objects {
			b.WriteString(objects)
		}
	}
	return b.String(), nil
}

func commaEach(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return strings.Join(texts, ",") + ","
}

// HasSeries tells whether a series of late matches a selector of PromQL.
func (a *Adapter) HasSeries(ctx context.Context, selector string) (bool, error) {
	ms, err := a.parser.ParseMetricSelector(selector)
	if err != nil {
		return false, fmt.Errorf("selector %q: %w", selector, err)
	}
	now := a.now()
	for i, m := range ms {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			found := false
			err := a.index.Scan(ctx, now.Add(-a.window), now, m.Value, func(labels.Labels) bool {
				found = true
				return false
			}, slices.Delete(slices.Clone(ms), i, i+1)...)
			return found, err
		}
	}
	series, err := a.querier.Series(ctx, now.Add(-a.window), now, ms...)
	return len(series) > 0, err
}
