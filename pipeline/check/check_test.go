package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func newChecker() *Checker { return &Checker{Parser: parser.NewParser(parser.Options{})} }

// write makes files in a directory and gives its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// lines are the errors and warnings of all results.
func lines(dir string, results []Result) []string {
	var out []string
	for _, r := range results {
		for _, err := range append(r.Errors, r.Warnings...) {
			out = append(out, strings.ReplaceAll(err.Error(), dir+"/", ""))
		}
	}
	return out
}

// Each mistake is said in one line with the file, the line and the repair.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	f := func(name, content string, want ...string) {
		t.Helper()
		dir := write(t, map[string]string{name: content})
		require.Equal(t, want, lines(dir, newChecker().File(filepath.Join(dir, name), Auto)))
	}
	f("p.yml", "global:\n  scrape_intervall: 1s\n",
		`p.yml:2: unknown field "scrape_intervall" (did you mean scrape_interval?)`)
	f("p.yml", "scrape_configs:\n- job_name: a\n  xyz: 1s\n",
		`p.yml:3: unknown field "xyz" (remove it or correct its spelling)`)
	f("p.yml", "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['http://h:1']}]\n",
		`p.yml:3: "http://h:1" is not a valid hostname (write host:port; scheme and path have fields of their own: scheme, metrics_path)`)
	f("p.yml", "rule_files: [none*.yml]\n",
		`p.yml: rule_files: no file matches "`+"none*.yml"+`" (write the file, or correct the pattern)`)
	f("r.yml", "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(\n  - alert: b\n    expr: 1 +\n",
		`r.yml:5:11: invalid rules: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis (mend the PromQL; the position counts from its first character)`,
		`r.yml:7:11: invalid rules: group "g", rule 2, "b": could not parse expression: 1:4: parse error: unexpected end of input (mend the PromQL; the position counts from its first character)`)
	f("r.yml", "groups:\n- name: g\n  rulez: []\n",
		`r.yml:3: invalid rules: unknown field "rulez" (did you mean rules?)`)
	f("a.yml", "rules:\n- seriesQuery: up\n  metricsQuery: 'sum(<<.Series)'\n- seriesQuery: '{'\n  metricsQuery: up\n",
		"a.yml:3: rules[0].metricsQuery: template: metricsQuery:1: unexpected right paren (write a Go template with the delimiters << and >>)",
		`a.yml:4: rules[1].seriesQuery: seriesQuery "{": 1:2: parse error: unexpected end of input inside braces (write a series selector, such as http_requests_total{pod!=""})`)
	f("d.json", "{\"panels\": [,]}",
		"d.json:1:13: the JSON is broken: invalid character ',' looking for beginning of value (often a comma or a bracket before this place)")
	f("x.yml", "foo: 1\n",
		"x.yml: neither a prometheus.yml, rules, adapter rules nor a dashboard (say which with --as)")
	f("x.yml", "apiVersion: v1\nkind: ConfigMap\n",
		"x.yml: neither a prometheus.yml, rules, adapter rules nor a dashboard: its Kubernetes objects are no ConfigMap with such a file, and no PrometheusRule or MetricRule")
	f("x.yml", "groups: [\n",
		`x.yml:1: invalid rules: did not find expected node content (look at the indentation and brackets there and one line above)`)
}

// Files in Kubernetes objects are checked where they are, with the lines of the
// whole.
func TestObjects(t *testing.T) {
	t.Parallel()
	const text = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  data:
    note: |
      nothing to check
    short: "groups: ["
    prometheus.yml: |
      global:
        scrape_intervall: 1s
    adapter.yml: |

      rules:
      - seriesQuery: up
        nam: {}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
spec:
  groups:
  - name: g

    rules:
    - record: a
      expr: sum(
  other: {}
`
	dir := write(t, map[string]string{"objects.yml": text, "broken.yml": "kind: ConfigMap\ndata: [\n"})
	require.Equal(t, []string{
		`objects.yml:12: unknown field "scrape_intervall" (did you mean scrape_interval?)`,
		`objects.yml:17: rules[0]: field nam not found (remove it or correct its spelling)`,
		`objects.yml:28: invalid rules: unknown field "other" (remove it or correct its spelling)`,
	}, lines(dir, newChecker().File(filepath.Join(dir, "objects.yml"), Auto)))
	broken := lines(dir, newChecker().File(filepath.Join(dir, "broken.yml"), Auto))
	require.Len(t, broken, 1)
	require.Contains(t, broken[0], "broken.yml: yaml: line 2: did not find expected node content (look")

	fixed := strings.NewReplacer("intervall", "interval", "nam: {}", "resources: {template: 'x_<<.Resource>>'}\n        metricsQuery: up", "  other: {}\n", "", "sum(", "b").Replace(text)
	dir = write(t, map[string]string{"objects.yml": fixed})
	got := newChecker().File(filepath.Join(dir, "objects.yml"), Auto)
	require.Empty(t, lines(dir, got))
	require.Len(t, got, 3)
}

// A MetricRule is checked where it stands, as the server would take it.
func TestMetricRules(t *testing.T) {
	t.Parallel()
	const text = `apiVersion: strata-metrics.github.io/v1alpha1
kind: MetricRule
metadata: {name: r, namespace: shop}
spec:
  metric: new_orders
  query: |
    sum by (pod) (orders{namespace="bank"})
---
apiVersion: strata-metrics.github.io/v1alpha1
kind: MetricRule
metadata: {name: s}
spec:
  metric: a/b
  query: sum(
---
apiVersion: strata-metrics.github.io/v1alpha1
kind: MetricRule
metadata: {name: t}
spec: {metrik: x, query: orders}
`
	dir := write(t, map[string]string{"rules.yml": text})
	got := lines(dir, newChecker().File(filepath.Join(dir, "rules.yml"), Auto))
	require.Equal(t, []string{
		`rules.yml:6: spec.query: namespace="bank" asks for another namespace than shop: leave the matcher out`,
		`rules.yml:13: spec.metric: "a/b" cannot be asked for by an HPA (use a name without / and %)`,
		`rules.yml:14: spec.query: 1:5: parse error: unclosed left parenthesis (mend the PromQL; the position counts from its first character)`,
		`rules.yml:19: MetricRule: unknown field "metrik" (remove it or correct its spelling)`,
	}, got)

	fixed := strings.NewReplacer(`{namespace="bank"}`, "", "a/b", "b", "sum(", "sum by (pod) (x)", "metrik", "metric").Replace(text)
	dir = write(t, map[string]string{"rules.yml": fixed})
	require.Empty(t, lines(dir, newChecker().File(filepath.Join(dir, "rules.yml"), Auto)))
}

// What Strata comes with passes its own check.
func TestOwnFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"grafana", "rules"} {
		files, err := Find(filepath.Join("../../dashboards", dir))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			if strings.Contains(file, "/tests/") {
				continue // promtool's
			}
			require.Empty(t, lines("", newChecker().File(file, Auto)))
		}
	}
}

// A prometheus.yml brings its rule files along, and good files say what is in them.
func TestGoodFiles(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"prometheus.yml":  "rule_files: [rules/*.yml, rules/a.yml]\nscrape_configs: [{job_name: a}]\n",
		"rules/a.yml":     "groups: [{name: g, rules: [{record: a, expr: b}, {record: c, expr: d}]}]",
		"rules/b.yml":     "groups:\n- name: h\n  rules:\n  - {record: a, expr: b}",
		"adapter.yaml":    "rules: [{seriesQuery: 'a{pod!=\"\"}', resources: {template: 'x_<<.Resource>>'}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}]",
		".hidden/x.yml":   "broken: [",
		"rules/readme.md": "",
	})
	found, err := Find(dir)
	require.NoError(t, err)
	var got []string
	for _, file := range found {
		for _, r := range newChecker().File(file, Auto) {
			require.Empty(t, lines(dir, []Result{r}))
			got = append(got, strings.TrimPrefix(r.File, dir+"/")+" "+string(r.Kind)+" "+r.Holds)
		}
	}
	require.Equal(t, []string{
		"adapter.yaml adapter 1 rule, 0 external rules",
		"prometheus.yml prometheus 1 job",
		"rules/a.yml rules 2 rules in 1 group",
		"rules/b.yml rules 1 rule in 1 group",
		"rules/a.yml rules 2 rules in 1 group",
		"rules/b.yml rules 1 rule in 1 group",
	}, got)
	_, err = Find(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The recorded configurations of prometheus-adapter: those that it refuses
// are refused, but for resources that only a cluster knows not to be there.
func TestRecordedAdapterRules(t *testing.T) {
	t.Parallel()
	const dir = "../../../shared/oracle/adapter/configs"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no recorded configurations:", err)
	}
	files, err := filepath.Glob(dir + "/*/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		bad := len(newChecker().File(file, Adapter)[0].Errors) > 0
		// An empty file is taken, and serves nothing.
		require.Equal(t, filepath.Base(file) != "f18-empty.yaml", bad, file)
	}
}
