package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
)

// ErrSelector means that a request has a label selector which PromQL cannot
// express. It is the fault of the request, not of the rule.
var ErrSelector = errors.New("label selector has no counterpart in PromQL")

// errEmptyQuery means that a rule's metricsQuery rendered to nothing.
var errEmptyQuery = errors.New("metricsQuery is empty")

// Objects say what a rule is evaluated for.
type Objects struct {
	// Series is the name of the series, one that the rule selects.
	Series string
	// Resource is what the objects are; the zero value for an external metric.
	Resource schema.GroupResource
	// Namespace holds them; "" for objects without one.
	Namespace string
	// Names are the objects' names; nil for an external metric.
	Names *Selection
}

// expression is the rule's query about the objects, see Rule.expression.
func (o Objects) expression(r *Rule, selector labels.Selector) (expr, label string, err error) {
	if o.Names == nil {
		return r.expression(o, selector)
	}
	return o.Names.expression(r, o, selector)
}

// queryArgs are what a metricsQuery may use, under the names of
// prometheus-adapter.
type queryArgs struct {
	Series            string
	LabelMatchers     string
	LabelValuesByName map[string]string
	GroupBy           string
	GroupBySlice      []string
}

// matchers collects label matchers and the values behind them.
type matchers struct {
	text   []string
	values map[string]string
}

func (m *matchers) add(label, op, value string, values ...string) {
	key := label
	if !model.LegacyValidation.IsValidLabelName(label) {
		key = strconv.Quote(label)
	}
	m.text = append(m.text, key+op+quote(value))
	// The template's author puts it between quotes.
	quoted := quote(strings.Join(values, "|"))
	m.values[label] = quoted[1 : len(quoted)-1]
}

// quote is a string of PromQL. It is strconv.Quote, and faster for the long
// lists of names that need no escape.
func quote(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.Quote(s)
		}
	}
	return `"` + s + `"`
}

// selector adds the requirements of a label selector.
func (m *matchers) selector(s labels.Selector) error {
	if s == nil {
		return nil
	}
	reqs, selectable := s.Requirements()
	if !selectable {
		return fmt.Errorf("%w: it selects nothing", ErrSelector)
	}
	for _, r := range reqs {
		values := r.ValuesUnsorted()
		switch op := r.Operator(); op {
		case selection.Equals, selection.DoubleEquals:
			m.add(r.Key(), "=", values[0], values[0])
		case selection.NotEquals:
			m.add(r.Key(), "!=", values[0], values[0])
		case selection.In:
			values = r.Values().List()
			m.add(r.Key(), "=~", alternatives(values), values...)
		case selection.NotIn:
			values = r.Values().List()
			m.add(r.Key(), "!~", alternatives(values), values...)
		case selection.Exists:
			m.add(r.Key(), "!=", "")
		case selection.DoesNotExist:
			m.add(r.Key(), "=", "")
		default:
			return fmt.Errorf("%w: operator %q of %q", ErrSelector, op, r.Key())
		}
	}
	return nil
}

// plain are the characters of a Kubernetes label's value.
var plain = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)

// alternatives joins the values of in and notin. Like prometheus-adapter it
// leaves a dot as it is, and a dot matches any character: rules in use count on
// it. What cannot be in a Kubernetes label is quoted.
func alternatives(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		if out[i] = v; !plain.MatchString(v) {
			out[i] = regexp.QuoteMeta(v)
		}
	}
	return strings.Join(out, "|")
}

// names adds the matcher of the objects.
func (m *matchers) names(label string, names []string) {
	if len(names) == 1 {
		m.add(label, "=", names[0], names[0])
		return
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	m.add(label, "=~", strings.Join(quoted, "|"), names...)
}

// expression renders the rule's metricsQuery. The label that carries the names
// of the objects comes with it, "" for an external metric.
func (r *Rule) expression(o Objects, selector labels.Selector) (expr, label string, err error) {
	if r.parts != nil {
		expr, err = r.namespaceExpression(o, selector)
		return expr, r.label, err
	}
	m := matchers{values: map[string]string{}}
	if err := m.selector(selector); err != nil {
		return "", "", err
	}
	args := queryArgs{Series: o.Series, LabelValuesByName: m.values}
	if o.Namespace != "" && (r.kind == kindRules || r.namespaced) {
		ns, err := r.labels.labelFor(namespaces)
		if err != nil {
			return "", "", fmt.Errorf("label of the namespace: %w", err)
		}
		m.add(ns, "=", o.Namespace, o.Namespace)
	}
	if r.kind == kindRules {
		if label, err = r.labels.labelFor(o.Resource); err != nil {
			return "", "", err
		}
		m.names(label, o.Names.Names())
		args.GroupBySlice = []string{label}
		args.GroupBy = label
	}
	args.LabelMatchers = strings.Join(m.text, ",")
	var b strings.Builder
	if err := r.query.Execute(&b, args); err != nil {
		return "", "", fmt.Errorf("render metricsQuery: %w", err)
	}
	if strings.TrimSpace(b.String()) == "" {
		return "", "", errEmptyQuery
	}
	return b.String(), label, nil
}
