package migrate

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// number reads a number of metadata.
func number(text string, byDefault float64) (float64, error) {
	if text == "" {
		return byDefault, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return v, nil
}

// target is the threshold of a trigger with a query, above 0.
func (t *trigger) target() (float64, error) {
	v, err := number(t.Metadata["threshold"], 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("metadata.threshold: %w", err)
	case v <= 0:
		return 0, fmt.Errorf("metadata.threshold: %q is not above 0", t.Metadata["threshold"])
	}
	return v, nil
}

// hasDefault tells whether a query ends in "or vector(...)", and so always has
// a value.
func hasDefault(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return hasDefault(e.Expr)
	case *parser.BinaryExpr:
		if e.Op != parser.LOR {
			return false
		}
		c, ok := e.RHS.(*parser.Call)
		return ok && c.Func.Name == "vector"
	case *parser.Call:
		return e.Func.Name == "vector" || e.Func.Name == "scalar"
	case *parser.NumberLiteral:
		return true
	}
	return false
}

// single tells whether a query gives at most one series by its form.
func single(e parser.Expr) bool {
	if e.Type() == parser.ValueTypeScalar {
		return true
	}
	switch e := e.(type) {
	case *parser.ParenExpr:
		return single(e.Expr)
	case *parser.UnaryExpr:
		return single(e.Expr)
	case *parser.StepInvariantExpr:
		return single(e.Expr)
	case *parser.AggregateExpr:
		if e.Op == parser.TOPK || e.Op == parser.BOTTOMK || e.Op == parser.LIMITK {
			n, ok := e.Param.(*parser.NumberLiteral)
			return ok && n.Val == 1 && len(e.Grouping) == 0 && !e.Without
		}
		return len(e.Grouping) == 0 && !e.Without && e.Op != parser.COUNT_VALUES && e.Op != parser.LIMIT_RATIO
	case *parser.BinaryExpr:
		return single(e.LHS) && single(e.RHS)
	case *parser.Call:
		if e.Func.Name == "vector" || e.Func.Name == "absent" || e.Func.Name == "absent_over_time" {
			return true
		}
		// A function of instant vectors keeps their number.
		vectors := slices.DeleteFunc(slices.Clone([]parser.Expr(e.Args)), func(a parser.Expr) bool { return a.Type() != parser.ValueTypeVector })
		return len(vectors) == 1 && len(vectors) > 0 && single(vectors[0])
	}
	return false
}

// rulesFile is the name of the file of external rules.
const rulesFile = "external-rules.yaml"

// externalRule is a query that becomes an external metric.
type externalRule struct{ of, metric, query string }

// writeRules is the adapter's configuration with the rules. Each stands on the
// series up, which is always there, so that the query alone decides whether
// there is a value.
func writeRules(rules []*externalRule) []byte {
	var b bytes.Buffer
	b.WriteString("# External rules for strata server (--adapter.config; server.adapter.config in the chart).\nexternalRules:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "# %s\n", r.of)
		fmt.Fprintf(&b, "- seriesQuery: up\n  resources: {namespaced: false}\n  name: {matches: ^up$, as: %s}\n", scalar(strings.ReplaceAll(r.metric, "$", "$$")))
		fmt.Fprintf(&b, "  metricsQuery: %s\n", scalar(strings.ReplaceAll(r.query, "<<", `<<"<<">>`)))
	}
	return b.Bytes()
}

// scalar is a string on one line of YAML.
func scalar(s string) string {
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle})
	if err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSpace(string(out))
}
