package metricrule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// namespaceLabel is the label of a series that says whose it is.
const namespaceLabel = "namespace"

// Names of labels that mark, in the text of an expression, where the matchers of
// a request come. They print with quotes, before the label namespace.
const (
	selectorMark = "\x00selector"
	objectsMark  = "\x00objects"
)

// rewrite confines an expression to a namespace: every selector in it gets the
// matcher of the namespace, and places for the matchers of a request: of its
// label selector everywhere, of the objects' names, which the label of the
// result carries, where that gives the same as leaving out other objects at the
// end.
func rewrite(expr parser.Expr, namespace, label string) ([]adapter.QueryPart, error) {
	selectors, err := confine(expr, namespace)
	if err != nil {
		return nil, err
	}
	if label != "" {
		narrow(expr, label)
	}
	text := expr.String()
	marks := map[string]adapter.QueryPart{
		mark(selectorMark).String() + ",": {Selector: true},
		mark(objectsMark).String() + ",":  {Objects: true},
	}
	var parts []adapter.QueryPart
	for found := 0; ; found++ {
		at, next := -1, ""
		for m := range marks {
			if i := strings.Index(text, m); i >= 0 && (at < 0 || i < at) {
				at, next = i, m
			}
		}
		if at < 0 {
			if found != selectors {
				return nil, errors.New(`a label's name begins with \x00`)
			}
			return append(parts, adapter.QueryPart{Text: text}), nil
		}
		p := marks[next]
		p.Text = text[:at]
		parts = append(parts, p)
		text = text[at+len(next):]
		if p.Objects {
			found-- // counted with those that confine has made
		}
	}
}

func mark(name string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, "")
}

// confine gives every selector the matcher of a namespace and the place for a
// request's selector. It tells how many there are.
func confine(expr parser.Expr, namespace string) (selectors int, err error) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.Call:
			// It reads target_info without a selector that could be narrowed.
			if n.Func.Name == "info" {
				err = errors.Join(err, errors.New("info() reads series of all namespaces: join with a selector instead"))
			}
		case *parser.VectorSelector:
			selectors++
			var kept []*labels.Matcher
			for _, m := range n.LabelMatchers {
				if m.Name != namespaceLabel {
					kept = append(kept, m)
				} else if !m.Matches(namespace) {
					err = errors.Join(err, fmt.Errorf("%s asks for another namespace than %s: leave the matcher out", m, namespace))
				}
			}
			n.LabelMatchers = append(kept, labels.MustNewMatcher(labels.MatchEqual, namespaceLabel, namespace), mark(selectorMark))
		}
		return nil
	})
	return selectors, err
}

// narrow gives a place for the matcher on a label to those selectors below expr
// where matching gives the samples of the result that have such a label, and
// none else.
func narrow(expr parser.Expr, label string) {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		e.LabelMatchers = append(e.LabelMatchers, mark(objectsMark))
	case *parser.MatrixSelector:
		narrow(e.VectorSelector, label)
	case *parser.ParenExpr:
		narrow(e.Expr, label)
	case *parser.UnaryExpr:
		narrow(e.Expr, label)
	case *parser.StepInvariantExpr:
		narrow(e.Expr, label)
	case *parser.SubqueryExpr:
		narrow(e.Expr, label)
	case *parser.AggregateExpr:
		// Groups of other labels go as a whole.
		if slices.Contains(e.Grouping, label) != e.Without && !isString(e.Param, label) {
			narrow(e.Expr, label)
		}
	case *parser.Call:
		narrowCall(e, label)
	case *parser.BinaryExpr:
		narrowBinary(e, label)
	}
}

// narrowCall knows the functions that make a sample of one or more with the
// same label, which are all but these.
func narrowCall(e *parser.Call, label string) {
	if slices.Contains([]string{"absent", "absent_over_time", "scalar", "vector"}, e.Func.Name) {
		return
	}
	var data []parser.Expr
	for _, arg := range e.Args {
		if isString(arg, label) { // label_replace and the like change the label
			return
		}
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			data = append(data, arg)
		}
	}
	if len(data) == 1 && label != labels.BucketLabel {
		narrow(data[0], label)
	}
}

func narrowBinary(e *parser.BinaryExpr, label string) {
	left, right := e.LHS.Type() == parser.ValueTypeVector, e.RHS.Type() == parser.ValueTypeVector
	m := e.VectorMatching
	if left && right && m != nil && slices.Contains(m.MatchingLabels, label) != m.On {
		// Sides that match have different labels: only the one whose label
		// the result has may be narrowed.
		included := slices.Contains(m.Include, label)
		left = !included && (m.Card == parser.CardManyToOne || e.Op == parser.LAND || e.Op == parser.LUNLESS)
		right = !included && m.Card == parser.CardOneToMany
	}
	if left {
		narrow(e.LHS, label)
	}
	if right {
		narrow(e.RHS, label)
	}
}

func isString(e parser.Expr, s string) bool {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			break
		}
		e = p.Expr
	}
	l, ok := e.(*parser.StringLiteral)
	return ok && l.Val == s
}
