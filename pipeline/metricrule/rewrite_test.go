package metricrule

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

func newParser() parser.Parser {
	return parser.NewParser(parser.Options{EnableExperimentalFunctions: true})
}

// render puts an expression of namespace shop together, as the adapter does.
func render(parts []adapter.QueryPart, selector, objects string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
		if p.Selector && selector != "" {
			b.WriteString(selector + ",")
		}
		if p.Objects && objects != "" {
			b.WriteString(objects + ",")
		}
	}
	return b.String()
}

// TestRewrite: where the matchers of the namespace (n), the selector (s) and the
// objects (o) come.
func TestRewrite(t *testing.T) {
	t.Parallel()
	f := func(expr, want string) {
		t.Helper()
		e, err := newParser().ParseExpr(expr)
		require.NoError(t, err)
		parts, err := rewrite(e, "shop", "pod")
		require.NoError(t, err)
		got := strings.ReplaceAll(render(parts, "S", "O"), `namespace="shop"`, "N")
		require.Equal(t, want, got)
	}
	f(`x`, `x{O,S,N}`)
	f(`x{namespace="shop",a="b"}`, `x{O,S,a="b",N}`)
	f(`x{namespace=~"sho.*|other"}`, `x{O,S,N}`)
	f(`sum by (pod) (rate(x_total{code=~"5.."}[1m] offset 1m))`, `sum by (pod) (rate(x_total{O,S,code=~"5..",N}[1m] offset 1m))`)
	f(`sum(x)`, `sum(x{S,N})`)
	f(`sum without (pod) (x)`, `sum without (pod) (x{S,N})`)
	f(`sum without (code) (x)`, `sum without (code) (x{O,S,N})`)
	f(`topk by (pod) (1, x)`, `topk by (pod) (1, x{O,S,N})`)
	f(`topk(1, x)`, `topk(1, x{S,N})`)
	f(`count_values by (pod) ("pod", x)`, `count_values by (pod) ("pod", x{S,N})`)
	f(`histogram_quantile(0.9, sum by (le, pod) (rate(x_bucket[1m])))`, `histogram_quantile(0.9, sum by (le, pod) (rate(x_bucket{O,S,N}[1m])))`)
	f(`a / b`, `a{O,S,N} / b{O,S,N}`)
	f(`a / on (pod) b`, `a{O,S,N} / on (pod) b{O,S,N}`)
	f(`a / on (pod) group_left (x) b`, `a{O,S,N} / on (pod) group_left (x) b{O,S,N}`)
	f(`a / on () group_left () b`, `a{O,S,N} / on () group_left () b{S,N}`)
	f(`a / on (node) group_left (pod) b`, `a{S,N} / on (node) group_left (pod) b{S,N}`)
	f(`a / on (node) group_right () b`, `a{S,N} / on (node) group_right () b{O,S,N}`)
	f(`a / ignoring (pod) b`, `a{S,N} / ignoring (pod) b{S,N}`)
	f(`a or b`, `a{O,S,N} or b{O,S,N}`)
	f(`a or on (node) b`, `a{S,N} or on (node) b{S,N}`)
	f(`a unless on (node) b`, `a{O,S,N} unless on (node) b{S,N}`)
	f(`a > 2 * scalar(b)`, `a{O,S,N} > 2 * scalar(b{S,N})`)
	f(`-(a)`, `-(a{O,S,N})`)
	f(`absent(a)`, `absent(a{S,N})`)
	f(`vector(1)`, `vector(1)`)
	f(`label_replace(a, "pod", "$1", "instance", "(.*)")`, `label_replace(a{S,N}, "pod", "$1", "instance", "(.*)")`)
	f(`label_replace(a, "x", "$1", "instance", "(.*)")`, `label_replace(a{O,S,N}, "x", "$1", "instance", "(.*)")`)
	f(`max_over_time(rate(a[1m])[5m:])`, `max_over_time(rate(a{O,S,N}[1m])[5m:])`)
	f(`{"odd.name","A.b"="c"}`, `{"A.b"="c",O,S,__name__="odd.name",N}`)
}

// TestRewriteRefuses: what would read another namespace, or hide that it does.
func TestRewriteRefuses(t *testing.T) {
	t.Parallel()
	f := func(expr, want string) {
		t.Helper()
		e, err := newParser().ParseExpr(expr)
		require.NoError(t, err)
		_, err = rewrite(e, "shop", "pod")
		require.ErrorContains(t, err, want)
	}
	f(`x{namespace="other"}`, `namespace="other" asks for another namespace than shop`)
	f(`sum(x) / sum(y{namespace!="shop"})`, "another namespace")
	f(`x{namespace=""}`, "another namespace")
	f(`x{"namespace"=~"o.*"}`, "another namespace")
	f(`x{a="b"} and x{namespace=~"shop",namespace="other"}`, "another namespace")
	f(`info(x)`, "info() reads series of all namespaces")
	f(`x{"\x00selector"="",a="b"}`, `a label's name begins with \x00`)
}

// expressions are seeds, and what narrowing is tried with.
func expressions() []string {
	return []string{
		`x`, `sum by (pod) (rate(x[1m]))`, `sum by (pod) (x) / on () group_left () sum(x)`, `x / ignoring (c) group_left () sum by (pod) (x)`,
		`topk by (pod) (1, x)`, `topk(2, x)`, `max without (c) (x)`, `x or on (c) y`, `x and on (c) y`, `y unless on (c) x`, `x or y`,
		`label_replace(x, "pod", "$1", "c", "(.*)")`, `count_values by (pod) ("pod", x)`, `x * scalar(sum(y))`, `absent(x{pod="b"})`,
		`max by (pod) (max_over_time(x[2m:30s]))`, `x > bool on (pod, c) y`, `quantile by (pod) (0.5, x)`, `y / on (c) group_right () sum by (c) (x)`,
		`sum by (c) (x) * on (c) group_left (pod) topk by (c) (1, y)`, `sort_desc(-x)`, `bottomk by (c) (1, x)`, `limitk(2, x)`, `vector(1)`,
		`histogram_quantile(0.9, sum by (le, pod) (rate(x_bucket[5m])))`, `x @ end() offset 30s`, `clamp_max(x, 5) + on (pod, c) y`,
		`{__name__=~"x|y"}`, `{"odd.name", "A.b"=~"c"}`, "x{a=`\\x00`}", `x{namespace=~".+"}`, `info(x)`, `count(x) or vector(0)`,
	}
}

// FuzzRewrite: whatever the expression, the result is PromQL of which every
// selector is confined to the namespace, with and without a request's matchers.
func FuzzRewrite(f *testing.F) {
	for _, e := range expressions() {
		f.Add(e, "pod")
	}
	f.Add(`x{a="\"\x00selector\"=\"\","}`, "pod")
	f.Add(`x{"\x00selector"=""}`, "pod")
	f.Fuzz(func(t *testing.T, text, label string) {
		e, err := newParser().ParseExpr(text)
		if err != nil {
			t.Skip("no PromQL")
		}
		parts, err := rewrite(e, "shop", label)
		if err != nil {
			return
		}
		for _, m := range [][2]string{{"", ""}, {`s="1"`, ""}, {"", `pod="a"`}, {`"s.t"=~"1|2",u!=""`, `pod=~"a|b"`}} {
			got, err := newParser().ParseExpr(render(parts, m[0], m[1]))
			require.NoError(t, err)
			parser.Inspect(got, func(n parser.Node, _ []parser.Node) error {
				v, ok := n.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				require.True(t, slices.ContainsFunc(v.LabelMatchers, func(l *labels.Matcher) bool {
					return l.Name == "namespace" && l.Type == labels.MatchEqual && l.Value == "shop"
				}), fmt.Sprint(got))
				return nil
			})
		}
	})
}
