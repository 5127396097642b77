package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The two lists of rules of a configuration.
const (
	kindRules    = "rules"
	kindExternal = "externalRules"
)

// Rule is one entry of a configuration, compiled once. It does not change and
// may be used by many at a time.
type Rule struct {
	id    string
	kind  string
	index int
	where string // file:line, for logs

	seriesQuery string
	selector    []*labels.Matcher
	broken      error // why selector cannot be used

	filters []seriesFilter
	name    *regexp.Regexp
	as      string
	named   bool // only series of certain names are meant

	labels     *labelMapping
	namespaced bool
	query      *template.Template
	maxAge     time.Duration // 0 for the limit that holds for all

	// Of a NamespaceRule only, which has none of the above but id and kind.
	namespace string
	metric    string
	resource  schema.GroupResource
	label     string // of the result, with the objects' names
	parts     []QueryPart
}

type seriesFilter struct {
	re  *regexp.Regexp
	not bool
}

// ruleID names a rule of a configuration.
func ruleID(kind string, index int) string { return fmt.Sprintf("%s[%d]", kind, index) }

// ID names the rule among those of all sources: rules[2] of the configuration
// file, builtin[rate] of zero configuration.
func (r *Rule) ID() string { return r.id }

// String is ID and, where it is known, the place in the file.
func (r *Rule) String() string {
	if r.where == "" {
		return r.ID()
	}
	return r.ID() + " at " + r.where
}

// APIName is the name that the API gives to a series of this rule. It is false
// for a series name that the rule leaves out, and for one whose API name no
// request could carry: an empty one or one with a slash.
func (r *Rule) APIName(series string) (string, bool) {
	for _, f := range r.filters {
		if f.re.MatchString(series) == f.not {
			return "", false
		}
	}
	for _, m := range r.selector {
		if m.Name == model.MetricNameLabel && !m.Matches(series) {
			return "", false
		}
	}
	at := r.name.FindStringSubmatchIndex(series)
	if at == nil {
		return "", false
	}
	name := string(r.name.ExpandString(nil, r.as, series, at))
	return name, name != "" && !strings.Contains(name, "/") && name != "." && name != ".."
}

// family is the one series name that the rule can select, "" when there may
// be many.
func (r *Rule) family() string {
	for _, m := range r.selector {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// selects tells whether a series is one of the rule, its name aside.
func (r *Rule) selects(l labels.Labels) bool {
	for _, m := range r.selector {
		if m.Name != model.MetricNameLabel && !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// compiler makes rules of a configuration.
type compiler struct {
	conf      *Config
	resources *resources
	parser    parser.Parser
}

func (c *compiler) compile(kind string, rules []RuleConfig) ([]*Rule, error) {
	out := make([]*Rule, 0, len(rules))
	for i := range rules {
		r, err := c.rule(kind, i, &rules[i])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (c *compiler) rule(kind string, index int, rc *RuleConfig) (*Rule, error) {
	r := &Rule{
		id: ruleID(kind, index), kind: kind, index: index,
		seriesQuery: rc.SeriesQuery, namespaced: true, maxAge: time.Duration(rc.MaxAge),
	}
	if line := c.conf.line(kind, index); line > 0 {
		r.where = fmt.Sprintf("%s:%d", c.conf.file, line)
	}
	if rc.Resources.Namespaced != nil {
		r.namespaced = *rc.Resources.Namespaced
	}
	// A selector that is no PromQL costs its own rule only.
	if r.selector, r.broken = c.parser.ParseMetricSelector(rc.SeriesQuery); r.broken != nil {
		r.broken = fmt.Errorf("seriesQuery %q: %w", rc.SeriesQuery, r.broken)
		r.selector = nil
	}
	if err := c.filters(r, rc); err != nil {
		return nil, err
	}
	if err := c.names(r, rc); err != nil {
		return nil, err
	}
	var err error
	if r.labels, err = c.mapping(r, &rc.Resources); err != nil {
		return nil, err
	}
	r.query, err = newTemplate("metricsQuery", rc.MetricsQuery)
	if err != nil {
		return nil, c.fail(r, err, "write a Go template with the delimiters << and >>", "metricsQuery")
	}
	return r, nil
}

func newTemplate(name, text string) (*template.Template, error) {
	return template.New(name).Delims("<<", ">>").Option("missingkey=zero").Parse(text)
}

func (c *compiler) filters(r *Rule, rc *RuleConfig) error {
	for i, f := range rc.SeriesFilters {
		at := []string{"seriesFilters", fmt.Sprint(i)}
		switch {
		case f.Is != "" && f.IsNot != "":
			return c.fail(r, errors.New("both is and isNot"), "make two filters of it", at...)
		case f.Is == "" && f.IsNot == "":
			return c.fail(r, errors.New("neither is nor isNot"), "give one of them", at...)
		}
		re, err := regexp.Compile(f.Is + f.IsNot)
		if err != nil {
			return c.fail(r, err, "write a valid RE2 expression", at...)
		}
		r.filters = append(r.filters, seriesFilter{re: re, not: f.IsNot != ""})
		r.named = r.named || f.Is != ""
	}
	for _, m := range r.selector {
		r.named = r.named || m.Name == model.MetricNameLabel && m.Value != "" && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp)
	}
	r.named = r.named || !slices.Contains([]string{"", ".*", "^.*$", "^(.*)$", "(.*)"}, rc.Name.Matches)
	return nil
}

func (c *compiler) names(r *Rule, rc *RuleConfig) error {
	text := rc.Name.Matches
	if text == "" {
		text = ".*"
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return c.fail(r, err, "write a valid RE2 expression", "name", "matches")
	}
	r.name, r.as = re, rc.Name.As
	if r.as != "" {
		return nil
	}
	switch re.NumSubexp() {
	case 0:
		r.as = "$0"
	case 1:
		r.as = "$1"
	default:
		return c.fail(r, fmt.Errorf("name.matches %q has %d groups and name.as is missing", text, re.NumSubexp()),
			`say which groups make the name, such as as: "${1}_per_second"`, "name")
	}
	return nil
}

// fail is an error about a field of a rule.
func (c *compiler) fail(r *Rule, err error, repair string, path ...string) error {
	field := r.ID()
	for _, p := range path {
		if p != "" && p[0] >= '0' && p[0] <= '9' {
			field += "[" + p + "]"
		} else {
			field += "." + p
		}
	}
	return &ConfigError{File: c.conf.file, Line: c.conf.line(r.kind, r.index, path...), Field: field, Err: err, Repair: repair}
}
