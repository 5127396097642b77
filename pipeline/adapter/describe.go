package adapter

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	klabels "k8s.io/apimachinery/pkg/labels"
)

// Described is what there is to say of a rule without a cluster or a store.
type Described struct {
	// ID names the rule: rules[2].
	ID string
	// Line is where it stands, counted from 1; 0 is unknown.
	Line int
	// External says which of the two APIs it is for.
	External bool
	// Series is the one series name that it selects, "" when there may be many.
	Series string
	// Name is the API's name of that series, "" where the rule leaves it out.
	// Where Series is "", it is how names are made: MATCHES as AS.
	Name string
	// Resources are the mapped ones, each as RESOURCE (label LABEL).
	Resources []string
	// Query is metricsQuery, rendered for one object. It is "" where Err says why.
	Query string
	// Refused says that a configuration with this rule is not loaded at all.
	Refused bool
	// Err is what is wrong with it, as Check says it.
	Err error
}

// Describe reads a configuration as Check does and says of each rule what it
// gives. Its error is that of ParseConfig.
func Describe(name string, data []byte, p parser.Parser) ([]Described, error) {
	conf, err := ParseConfig(name, data)
	if err != nil {
		return nil, err
	}
	wrong := map[string]error{}
	for _, err := range Check(name, data, p) {
		var ce *ConfigError
		if errors.As(err, &ce) {
			id, _, _ := strings.Cut(ce.Field, ".")
			wrong[id] = err
		}
	}
	c := &compiler{conf: conf, resources: newResources(anyResource{}, time.Now), parser: p}
	var out []Described
	for _, list := range []struct {
		kind  string
		rules []RuleConfig
	}{{kindRules, conf.Rules}, {kindExternal, conf.ExternalRules}} {
		for i := range list.rules {
			d := c.describe(list.kind, i, &list.rules[i])
			d.Err = wrong[d.ID]
			out = append(out, d)
		}
	}
	return out, nil
}

func (c *compiler) describe(kind string, index int, rc *RuleConfig) Described {
	d := Described{ID: ruleID(kind, index), Line: c.conf.line(kind, index), External: kind == kindExternal}
	r, err := c.rule(kind, index, rc)
	if err != nil {
		d.Refused = true
		return d
	}
	if d.Series = r.family(); d.Series != "" {
		d.Name, _ = r.APIName(d.Series)
	} else {
		d.Name = r.name.String() + " as " + r.as
	}
	for _, label := range r.labels.order {
		gr := r.labels.overrides[label]
		d.Resources = append(d.Resources, gr.String()+" (label "+label+")")
	}
	if r.labels.template != nil {
		d.Resources = append(d.Resources, "any (label "+rc.Resources.Template+")")
	}
	if o, err := c.sample(r); err == nil && r.broken == nil {
		d.Query, _, _ = r.expression(o, klabels.Everything())
	}
	return d
}
