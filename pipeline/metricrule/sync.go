package metricrule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// object is a MetricRule as it was last seen. It does not change.
type object struct {
	uid        types.UID
	generation int64
	*compiled         // nil when err says why not
	err        error  // what is wrong with the spec
	shadow     string // the older MetricRule of the same metric, "" for none
}

// sync compiles the objects that have changed and gives the adapter the rules
// of all. It returns the keys of those whose status may have changed.
func (c *Controller) sync(all []*unstructured.Unstructured) []string {
	// The older of two with one name holds, so that a new one changes no HPA.
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	c.mu.Lock()
	before := c.rules
	c.mu.Unlock()
	now := make(map[string]*object, len(all))
	holds := map[string]string{} // name of the rule that has a metric
	var rules []*adapter.Rule
	for _, u := range all {
		key := u.GetNamespace() + "/" + u.GetName()
		o := c.object(before[key], u)
		shadow := ""
		if o.compiled != nil && !o.spec.DryRun {
			metric := fmt.Sprintf("%s %s %s %s", u.GetNamespace(), o.spec.Type, o.resource, o.spec.Metric)
			if shadow = holds[metric]; shadow == "" {
				holds[metric] = u.GetName()
				rules = append(rules, o.rule)
			}
		}
		if o.shadow != shadow {
			changed := *o
			changed.shadow = shadow
			o = &changed
		}
		now[key] = o
	}
	c.mu.Lock()
	c.rules = now
	c.mu.Unlock()
	c.adapter.SetNamespaceRules(rules)
	c.metrics.rules.WithLabelValues("true").Set(float64(len(rules)))
	c.metrics.rules.WithLabelValues("false").Set(float64(len(now) - len(rules)))
	var changed []string
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if now[key] != before[key] {
			changed = append(changed, key)
		}
	}
	return changed
}

// object is what an object of the cluster says, known being what it said before.
// One that cannot be read costs itself only.
func (c *Controller) object(known *object, u *unstructured.Unstructured) *object {
	if known != nil && known.uid == u.GetUID() && known.generation == u.GetGeneration() {
		return known
	}
	o := &object{uid: u.GetUID(), generation: u.GetGeneration()}
	m := &MetricRule{}
	if o.err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, m); o.err != nil {
		o.err = fmt.Errorf("spec: %w", o.err)
		return o
	}
	o.compiled, o.err = compile(m, c.parser)
	return o
}
