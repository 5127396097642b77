package adapter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// TestBadInputBrokenAdapterRule: one clear line with file, line, rule, cause
// and repair, and what was loaded before is still served.
func TestBadInputBrokenAdapterRule(t *testing.T) {
	t.Parallel()
	const good = "  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n"
	f := func(text, want string) {
		t.Helper()
		a := newAdapter(t, Options{Querier: local(t, newStore(t))}, "rules:\n- seriesQuery: up\n"+good+"  metricsQuery: up\n")
		file := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		err := a.LoadFile(file)
		require.Error(t, err)
		require.Equal(t, want, strings.TrimPrefix(err.Error(), filepath.Dir(file)+"/"))
		custom, _ := a.Serves()
		require.True(t, custom, "the rules from before are gone")
	}
	f("rules:\n- seriesQuery: up\n"+good+"- seriesQuery: up\n  name:\n    matches: '('\n",
		"rules.yaml:6: rules[1].name.matches: error parsing regexp: missing closing ): `(` (write a valid RE2 expression)")
	f("rules:\n- seriesQuery: up\n  seriesQuerry: x\n",
		"rules.yaml:3: rules[0]: field seriesQuerry not found (remove it or correct its spelling)")
	f("rulez: []\n", "rules.yaml:1: field rulez not found (remove it or correct its spelling)")
	f("rules:\n- seriesQuery: up\n  seriesQuery: down\n",
		`rules.yaml:3: rules[0]: mapping key "seriesQuery" already defined at line 2 (keep one of the two)`)
	f("rules: [\n", "rules.yaml:1: did not find expected node content (write valid YAML)")
	f("rules: []\n---\nrules: []\n", "rules.yaml:2: a second YAML document (put all rules into one document, without ---)")
	f("rules:\n- seriesQuery: up\n  metricsQuery: 'sum(<<.Series)'\n",
		"rules.yaml:3: rules[0].metricsQuery: template: metricsQuery:1: unexpected right paren (write a Go template with the delimiters << and >>)")
	f("rules:\n- seriesQuery: up\n  seriesFilters:\n  - is: a\n  - {is: a, isNot: b}\n",
		"rules.yaml:5: rules[0].seriesFilters[1]: both is and isNot (make two filters of it)")
	f("externalRules:\n- seriesQuery: up\n  resources:\n    overrides:\n      ns: {resource: namespacez}\n",
		`rules.yaml:5: externalRules[0].resources.overrides.ns: the cluster has no resource "namespacez": no matches for /, Resource=namespacez `+
			`(name a resource of kubectl api-resources and its group, without a version)`)
}

// TestBadInputUnreadableAdapterConfig: the flag is named.
func TestBadInputUnreadableAdapterConfig(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, Options{Querier: local(t, newStore(t))}, "")
	err := a.LoadFile(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "--adapter.config")
}

// TestBadInputEmptyAdapterConfig: nothing is served, and the log says so.
func TestBadInputEmptyAdapterConfig(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n# only words\n", "{}", "rules: []\n"} {
		a := newAdapter(t, Options{Querier: local(t, newStore(t))}, text)
		custom, external := a.Serves()
		require.False(t, custom || external)
		require.Equal(t, 1, a.logs.count("has no rules"))
	}
}

// TestConfigResourceRules: a file that has them loads, and they are not
// passed over in silence.
func TestConfigResourceRules(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, Options{Querier: local(t, newStore(t))}, `
resourceRules:
  cpu:
    containerQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(node_cpu_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {namespace: {resource: namespace}}}
    containerLabel: container
  window: 3m
`)
	require.Equal(t, 1, a.logs.count("resourceRules", "not used"))
}

func FuzzParseConfig(f *testing.F) {
	f.Add("rules:\n- &a\n  seriesQuery: up\n  resources: &r {overrides: {pod: {resource: pod}}}\n- seriesQuery: up\n  resources: *r\n")
	f.Add("rules: [")
	f.Add("rules:\n- seriesQuery: ['a']")
	f.Add("externalRules:\n- name: {matches: '(a)(b)'}\n")
	f.Add("rules: []\nrules: []\n")
	f.Add("a: &a [*a]")
	f.Add("rules:\n- resources: {template: 'kube_<<.Resource>>_<<.Group>>'}\n  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig("f", []byte(text))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		comp := &compiler{conf: c, resources: newResources(mapper(), testTime), parser: newParser()}
		for kind, rules := range map[string][]RuleConfig{kindRules: c.Rules, kindExternal: c.ExternalRules} {
			if _, err := comp.compile(kind, rules); err != nil {
				require.NotContains(t, err.Error(), "\n")
				require.NotEmpty(t, err.(*ConfigError).Field)
			}
		}
	})
}

// Resources of rules may be written in the singular, as most files do.
func TestCheckTakesTheSingular(t *testing.T) {
	t.Parallel()
	const text = `
rules:
- seriesQuery: 'requests_total{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, ing: {group: networking.k8s.io, resource: ingress}}}
  name: {matches: "^(.*)_total$"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
`
	p := parser.NewParser(parser.Options{})
	require.Empty(t, Check("r.yml", []byte(text), p))
	got, err := Describe("r.yml", []byte(text), p)
	require.NoError(t, err)
	require.Equal(t, []Described{{
		ID: "rules[0]", Line: 3, Series: "requests_total", Name: "requests",
		Resources: []string{"ingress.networking.k8s.io (label ing)", "namespace (label namespace)", "pod (label pod)"},
		Query:     `sum(rate(requests_total{namespace="default",pod="default"}[1m])) by (pod)`,
	}}, got)
}
