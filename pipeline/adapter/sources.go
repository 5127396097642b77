package adapter

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Rules come from three sources. For each name the strongest that has it
// answers: the configuration file, the NamespaceRules of the request's
// namespace, Builtin. A name that a stronger source claims is left alone, even
// while there is nothing to answer with, so that what a name means does not
// depend on which series are there just now.

// custom is the series and the rule behind a metric of a resource, nil when
// there is none though the store has data. The namespace is that of the
// objects; "" is all of them.
func (a *Adapter) custom(ctx context.Context, namespace, metric string, want *resource) (*candidate, error) {
	t, err := a.names(ctx, a.rules.Load())
	if err != nil {
		return nil, err
	}
	from := t.custom[metric]
	c, err := a.find(ctx, from, want)
	if c == nil && err == nil {
		if rules := a.objects.Load().by[nameKey{kindRules, namespace, metric}]; len(rules) > 0 {
			c, err = a.ofNamespace(ctx, rules, from, want)
		} else {
			c, err = a.ofBuiltin(ctx, namespace, metric, from, want)
		}
	}
	if c == nil && err == nil {
		err = a.notReady(ctx)
	}
	return c, err
}

// external is the series and the rule behind an external metric in a namespace,
// as custom.
func (a *Adapter) external(ctx context.Context, namespace, metric string) (*candidate, error) {
	t, err := a.names(ctx, a.rules.Load())
	if err != nil {
		return nil, err
	}
	from := t.external[metric]
	c, err := a.find(ctx, from, nil)
	if c == nil && err == nil {
		c, err = a.ofNamespace(ctx, a.objects.Load().by[nameKey{kindExternal, namespace, metric}], from, nil)
	}
	if c == nil && err == nil {
		err = a.notReady(ctx)
	}
	return c, err
}

// ofNamespace is the one of a namespace's rules that is about a resource, nil
// for external metrics, unless the configuration file claims the name.
func (a *Adapter) ofNamespace(ctx context.Context, rules []*Rule, from []candidate, want *resource) (*candidate, error) {
	for _, r := range rules {
		ok, err := a.isOf(r, want)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if taken, err := a.claimed(ctx, from, want); taken || err != nil {
			return nil, err
		}
		return &candidate{rule: r}, nil
	}
	return nil, nil
}

// ofBuiltin is zero configuration's, unless the configuration file claims the
// name for any resource.
func (a *Adapter) ofBuiltin(ctx context.Context, namespace, metric string, from []candidate, want *resource) (*candidate, error) {
	if a.builtin == nil {
		return nil, nil
	}
	if taken, err := a.claimed(ctx, from, nil); taken || err != nil {
		return nil, err
	}
	return a.findBuiltin(ctx, namespace, metric, want)
}

func (a *Adapter) isOf(r *Rule, want *resource) (bool, error) {
	if want == nil || r.resource == want.gvr.GroupResource() {
		return true, nil
	}
	res, err := a.resources.get(r.resource)
	if unknownResource(err) {
		return false, nil
	}
	return err == nil && res.gvr == want.gvr, err
}

// claimed tells whether the configuration file gives a name to the metrics of a
// resource, nil being any: by a rule about series of such names, whether or not
// there are some that it selects, or by any rule that selects one.
func (a *Adapter) claimed(ctx context.Context, from []candidate, want *resource) (bool, error) {
	for i := range from {
		r := from[i].rule
		if want != nil {
			if _, err := r.labels.labelFor(want.gvr.GroupResource()); err != nil {
				continue
			}
		}
		if r.named {
			return true, nil
		}
		if ok, err := a.exists(ctx, &from[i], want); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// nameKey is a name of the API in a namespace.
type nameKey struct{ kind, namespace, metric string }

// objectSet are the NamespaceRules. All of them are replaced by the next ones.
type objectSet struct {
	rules []*Rule
	by    map[nameKey][]*Rule // the one to prefer first
}

func newObjectSet(rules []*Rule) *objectSet {
	s := &objectSet{rules: rules, by: make(map[nameKey][]*Rule, len(rules))}
	for _, r := range rules {
		k := nameKey{r.kind, r.namespace, r.metric}
		s.by[k] = append(s.by[k], r)
	}
	return s
}

// scope is the namespace whose rules and series count for an object.
func scope(gr schema.GroupResource, namespace, name string) string {
	if namespace == "" && gr == namespaces {
		return name
	}
	return namespace
}
