package adapter

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
)

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// rule compiles one rule of custom metrics.
func rule(t testing.TB, kind string, rc RuleConfig) *Rule {
	t.Helper()
	comp := &compiler{conf: &Config{}, resources: newResources(mapper(), testTime), parser: newParser()}
	rules, err := comp.compile(kind, []RuleConfig{rc})
	require.NoError(t, err)
	return rules[0]
}

func podRule(query string) RuleConfig {
	return RuleConfig{SeriesQuery: "m", MetricsQuery: query, Resources: ResourceMapping{Overrides: map[string]GroupResource{
		"pod": {Resource: "pod"}, "namespace": {Resource: "namespaces"}}}}
}

func requirement(t testing.TB, key string, op selection.Operator, values ...string) klabels.Selector {
	t.Helper()
	r, err := klabels.NewRequirement(key, op, values)
	require.NoError(t, err)
	return klabels.NewSelector().Add(*r)
}

func TestExpression(t *testing.T) {
	t.Parallel()
	pod := schema.GroupResource{Resource: "pods"}
	f := func(query, selector string, o Objects, want string) {
		t.Helper()
		s, err := klabels.Parse(selector)
		require.NoError(t, err)
		got, label, err := rule(t, kindRules, podRule(query)).expression(o, s)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, "pod", label)
	}
	const usual = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
	one := Objects{Series: "m", Resource: pod, Namespace: "ns", Names: Select("a")}
	two := Objects{Series: "m", Resource: pod, Namespace: "ns", Names: Select("a.b", "c-d")}
	f(usual, "", one, `sum(m{namespace="ns",pod="a"}) by (pod)`)
	f(usual, "", two, `sum(m{namespace="ns",pod=~"a\\.b|c-d"}) by (pod)`)
	f(usual, "z=1,b in (y,x.z),!c,d,e!=5", one, `sum(m{b=~"x.z|y",c="",d!="",e!="5",z="1",namespace="ns",pod="a"}) by (pod)`)
	f(usual, "x.io/y=1", one, `sum(m{"x.io/y"="1",namespace="ns",pod="a"}) by (pod)`)
	f(`<<range $k, $v := .LabelValuesByName>><<$k>>=<<$v>>;<<end>>`, "b in (y,x),c,namespace=q", two, `b=x|y;c=;namespace=ns;pod=a.b|c-d;`)
	f(`<<len .GroupBySlice>><<index .GroupBySlice 0>>`, "", one, "1pod")
}

func TestExpressionErrors(t *testing.T) {
	t.Parallel()
	o := Objects{Series: "m", Resource: schema.GroupResource{Resource: "pods"}, Namespace: "ns", Names: Select("a")}
	_, _, err := rule(t, kindRules, podRule("m")).expression(o, requirement(t, "a", selection.GreaterThan, "1"))
	require.ErrorIs(t, err, ErrSelector)
	_, _, err = rule(t, kindRules, podRule("m")).expression(o, klabels.Nothing())
	require.ErrorIs(t, err, ErrSelector)
	_, _, err = rule(t, kindRules, podRule("<<if false>>x<<end>> ")).expression(o, nil)
	require.ErrorIs(t, err, errEmptyQuery)
	_, _, err = rule(t, kindRules, podRule("<<.Nope>>")).expression(o, nil)
	require.ErrorContains(t, err, "Nope")
	o.Resource.Resource = "nodes"
	_, _, err = rule(t, kindRules, podRule("m")).expression(o, nil)
	require.ErrorIs(t, err, errUnmapped)
}

// FuzzExpression: whatever the names and values are, the matchers of the
// rendered query are exactly those that were asked for.
func FuzzExpression(f *testing.F) {
	f.Add("m", "ns", "a", "b", "key", "value")
	f.Add("m", `n"s`, `a\b`, "b.*|c", "k.x/y", `v"} or m{x="`)
	f.Add("m", "n`s", "a\nb", "(", "namespace", "\xff")
	f.Add("m", "n", "", "日本", "__name__", "${1}")
	f.Fuzz(func(t *testing.T, series, ns, name1, name2, key, value string) {
		if !validMetric(series) || key == "" || ns == "" {
			t.Skip()
		}
		r := rule(t, kindRules, podRule("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"))
		o := Objects{Series: series, Resource: schema.GroupResource{Resource: "pods"}, Namespace: ns, Names: Select(name1, name2)}
		s, err := klabels.NewRequirement("k", selection.In, []string{"a.b"})
		require.NoError(t, err)
		m := matchers{values: map[string]string{}}
		require.NoError(t, m.selector(klabels.NewSelector().Add(*s)))
		m.add(key, "=", value, value)
		require.Len(t, m.text, 2)
		sel, err := newParser().ParseMetricSelector("{" + strings.Join(m.text, ",") + "}")
		if err == nil { // a key such as __name__ twice or bytes that are no UTF-8 are PromQL's to refuse
			require.Equal(t, key, sel[1].Name)
			require.Equal(t, value, sel[1].Value)
		}
		expr, _, err := r.expression(o, nil)
		require.NoError(t, err)
		e, err := newParser().ParseExpr(expr)
		if !utf8.ValidString(name1) || !utf8.ValidString(name2) || !utf8.ValidString(ns) {
			return // PromQL may refuse what is no text
		}
		require.NoError(t, err, expr)
		vs := e.(*parser.AggregateExpr).Expr.(*parser.VectorSelector)
		require.Equal(t, series, vs.Name)
		for _, m := range vs.LabelMatchers {
			switch m.Name {
			case "namespace":
				require.Equal(t, ns, m.Value)
			case "pod":
				require.True(t, m.Matches(name1) && m.Matches(name2), expr)
				require.Equal(t, name1 == "x" || name2 == "x", m.Matches("x"), expr)
			}
		}
	})
}

func validMetric(s string) bool {
	e, err := newParser().ParseExpr("sum(" + s + "{}) by (a)")
	if err != nil {
		return false
	}
	a, ok := e.(*parser.AggregateExpr)
	if !ok {
		return false
	}
	v, ok := a.Expr.(*parser.VectorSelector)
	return ok && v.Name == s
}

func TestAPIName(t *testing.T) {
	t.Parallel()
	f := func(matches, as, series, want string) {
		t.Helper()
		rc := podRule("m")
		rc.SeriesQuery = `{__name__=~".+"}`
		rc.Name = NameMapping{Matches: matches, As: as}
		got, ok := rule(t, kindRules, rc).APIName(series)
		require.Equal(t, want, got)
		require.Equal(t, want != "", ok)
	}
	f("", "", "m", "m")
	f("^(.*)_total$", "", "m_total", "m")
	f("^(.*)_total$", "${1}_per_second", "m_total", "m_per_second")
	f("^(.*)_total$", "", "m", "")
	f("b", "x_$0", "abc", "x_b")
	f("(?P<k>a)(b)", "${2}${k}$9$$", "ab", "ba$")
	f("", "t_$0", "m", "t_m")
	f("(a)", "$1_x", "a", "")
}

func FuzzAPIName(f *testing.F) {
	f.Add("^(.*)_total$", "${1}_x", "a_total")
	f.Add("", "$1_x", "a")
	f.Add("(?P<a>b)", "$a/$$", "b")
	f.Fuzz(func(t *testing.T, matches, as, series string) {
		rc := podRule("m")
		rc.SeriesQuery = `{__name__=~".*"}`
		rc.Name = NameMapping{Matches: matches, As: as}
		comp := &compiler{conf: &Config{}, resources: newResources(mapper(), testTime), parser: newParser()}
		rules, err := comp.compile(kindRules, []RuleConfig{rc})
		if err != nil {
			t.Skip()
		}
		if name, ok := rules[0].APIName(series); ok {
			require.NotEmpty(t, name)
			require.NotContains(t, name, "/")
		}
	})
}
