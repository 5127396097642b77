package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// dashboard wraps panels and variables, each at the start of a line: variables
// from line 3 on, panels from line 5 on.
func dashboard(variables, panels string) string {
	return "{\"title\": \"Test\",\n\"templating\": {\"list\": [\n" + variables + "\n]}, \"panels\": [\n" + panels + "\n]}\n"
}

// panel is a panel with one query.
func panel(expr string) string {
	text, _ := json.Marshal(expr)
	return fmt.Sprintf(`{"id": 1, "type": "timeseries", "title": "P", "targets": [{"refId": "A", "expr": %s}]}`, text)
}

func said(problems []error) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// cut takes the mark § out of a dashboard and gives the line and column where it
// stood.
func cut(t *testing.T, content string) (clean, at string) {
	t.Helper()
	before, after, found := strings.Cut(content, "§")
	require.True(t, found, "no place is marked in %s", content)
	lines := strings.Split(before, "\n")
	return before + after, fmt.Sprintf("d.json:%d:%d: ", len(lines), len([]rune(lines[len(lines)-1]))+1)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := func(name, content, want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, at := cut(t, content)
			errs, warnings := Dashboard("d.json", []byte(content), newParser())
			require.Equal(t, at+want, said(errs))
			require.Empty(t, said(warnings))
			for _, err := range errs {
				require.ErrorIs(t, err, ErrDashboard)
				var p *Problem
				require.True(t, errors.As(err, &p))
			}
		})
	}
	f("empty file", "§", "the JSON is broken: unexpected end of JSON input (often a comma or a bracket before this place)")
	f("missing comma", "{\n  \"title\": \"x\"\n  §\"panels\": []\n}",
		"the JSON is broken: invalid character '\"' after object key:value pair (often a comma or a bracket before this place)")
	f("cut off", `{"title": "x", "panels": [§`,
		"the JSON is broken: unexpected end of JSON input (often a comma or a bracket before this place)")
	f("an array", `§[1]`, "this is no dashboard (a dashboard is a JSON object with a title and panels)")
	f("another file", `§{"a": 1}`, "this is no dashboard: it has no panels (if it is another kind of file, say so with --as)")
	f("schema v2", `{"apiVersion": "dashboard.grafana.app/v2beta1", "spec": §{"elements": {}, "layout": {}}}`,
		"this is a dashboard of Grafana's schema v2, which is not supported (export it in Grafana as JSON model of version 1, \"classic\")")
	f("no title", `§{"panels": []}`, `the dashboard has no title (add "title": "...")`)
	f("rows of old", `{"title": "x", "rows": [{"panels": [`+panel("sum(§")+`]}]}`,
		`query A of panel "P" is not PromQL: unclosed left parenthesis`)
	f("a panel that is none", dashboard("", "§7"), "a panel must be a JSON object")
	f("no type", dashboard("", `§{"title": "P"}`), `panel "P" has no type (add "type": "timeseries")`)
	f("no targets", dashboard("", `§{"type": "stat"}`),
		"a panel without a title asks nothing: it has no targets (add a query, or remove the panel)")
	f("empty query", dashboard("", `{"type": "stat", "title": "P", "targets": [{"refId": "A", "expr": §""}]}`), `query A of panel "P" is empty (add "expr": "...", or remove it)`)
	f("same id", dashboard("", panel("up")+",\n"+strings.Replace(panel("up"), "1", "§1", 1)),
		`panel "P" has the id 1 of the panel at line 5: links open only one of them (give it another)`)
	f("same letter", dashboard("", `{"type": "stat", "targets": [{"refId": "A", "expr": "up"},
§{"refId": "A", "expr": "up"}]}`),
		"query A of a panel without a title has the letter of another query, and one hides the other (give it another refId)")
	f("within a collapsed row", dashboard("", `{"type": "row", "panels": [`+panel("up{§")+`]}`),
		`query A of panel "P" is not PromQL: unexpected end of input inside braces`)
	f("place behind escapes", dashboard("", panel("up{a=\"b\", c=\"ä😀\"} +\n)§")),
		`query A of panel "P" is not PromQL: unexpected right parenthesis ')'`)
	f("place behind a variable", dashboard(`{"name": "v", "type": "custom"}`, panel("up{a=~\"$v\"} + + )§")),
		`query A of panel "P" is not PromQL: unexpected right parenthesis ')'`)
	f("undefined variable", dashboard(`{"name": "node", "type": "custom"}`, panel(`up{a="§$nodes"}`)),
		`query A of panel "P" uses the variable $nodes, which the dashboard does not declare (it has $node)`)
	f("undefined variable outside of quotes", dashboard("", panel(`sum(up) by (§${label})`)),
		`query A of panel "P" uses the variable $label, which the dashboard does not declare (add it under templating.list)`)
	f("undefined data source", dashboard("", `{"type": "stat", "datasource": {"type": "prometheus", "uid": "§$ds"}, "targets": [{"expr": "up"}]}`),
		"a data source uses the variable $ds, which the dashboard does not declare (add it under templating.list)")
	f("undefined repeat", dashboard("", `{"type": "row", "repeat": §"node"}`),
		"a panel without a title is repeated for the variable node, which the dashboard does not declare (add it under templating.list)")
	f("variable without a name", dashboard(`§{"type": "custom"}`, panel("up")), `a variable has no name (add "name": "...")`)
	f("variable twice", dashboard(`{"name": "a"},
§{"name": "a"}`, panel("up")), "the variable a is declared twice (rename one)")
	f("variable that asks nothing", dashboard(`§{"name": "a", "type": "query"}`, panel("up")),
		`the variable a asks nothing (add "query": "label_values(METRIC, LABEL)")`)
	f("variable with a broken selector", dashboard(`{"name": "a", "type": "query", "query": {"query": "label_values(up{job=§, node)"}}`, panel("up")),
		`the variable a is not PromQL: unexpected end of input inside braces`)
	f("variable with an undefined one", dashboard(`{"name": "a", "type": "query", "query": "label_values(up{job=\"§$job\"}, node)"}`, panel("up")),
		"the variable a uses the variable $job, which the dashboard does not declare (add it under templating.list)")
}

// TestWrapped holds that a dashboard is found in what Grafana wraps around it.
func TestWrapped(t *testing.T) {
	t.Parallel()
	f := func(content string) {
		t.Helper()
		errs, warnings := Dashboard("d.json", []byte(content), newParser())
		require.Empty(t, said(errs))
		require.Empty(t, said(warnings))
	}
	f(dashboard("", panel("up")))
	f(`{"dashboard": {"title": "x", "panels": []}, "meta": {}}`)
	f(`{"apiVersion": "dashboard.grafana.app/v1", "spec": {"title": "x", "panels": []}}`)
}

// TestVariables holds that what people write with variables is not refused.
func TestVariables(t *testing.T) {
	t.Parallel()
	f := func(expr string) {
		t.Helper()
		vars := `{"name": "v"}, {"name": "w"}, {"name": "interval", "type": "interval"}`
		errs, warnings := Dashboard("d.json", []byte(dashboard(vars, panel(expr))), newParser())
		require.Empty(t, said(errs), expr)
		require.Empty(t, said(warnings), expr)
	}
	f(`rate(up{a=~"$v", b=~"[[w]]", c=~"${v:regex}"}[$__rate_interval])`)
	f(`rate(up[$interval])`)
	f(`rate(up[${__range}]) + rate(up[5$v]) + rate(up[${v}m:$__interval])`)
	f(`up offset $interval`)
	f(`topk($v, up) > $w`)
	f(`$v{a="b"} + ${w}_total`)
	f(`sum by ($v, $w) (up)`)
	f(`$v(rate($w[5m]))`)
	f(`sum(up{a="b", $v}) by (le)`)
	f(`label_replace(up, "a", "$1-${2}", "b", "(.*)-(.*)")`)
	f(`label_replace(up, "a", "$name", "b", "(?P<name>.*)")`)
	f(`up * $__interval_ms / 1000 + $__range_s`)
	f(`up{a='$v', b="\"$v"}`)
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	f := func(name, panels, want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, at := cut(t, dashboard("", panels))
			errs, warnings := Dashboard("d.json", []byte(content), newParser())
			require.Empty(t, said(errs))
			require.Equal(t, at+want, said(warnings))
		})
	}
	const query = `, "targets": [{"expr": "up"}]}`
	f("type that is gone", `{"type": §"graph"`+query, "a panel without a title has type graph, which Grafana no longer has (use timeseries)")
	f("type that the page lacks", `{"type": §"heatmap"`+query,
		"a panel without a title has type heatmap, which Grafana shows and Strata's page does not (it shows timeseries, stat, gauge or table)")
	f("unknown type", `{"type": §"acme-clock-panel"`+query,
		"a panel without a title has the unknown type acme-clock-panel: neither Strata's page nor Grafana without a plugin shows it (use timeseries, stat, gauge or table)")
	f("asks nothing by nature", `{"type": §"dashlist", "title": "Others"}`,
		`panel "Others" has type dashlist, which Grafana shows and Strata's page does not (it shows text)`)
	f("library panel", `§{"title": "L", "libraryPanel": {"uid": "x"}}`,
		`panel "L" is kept in Grafana's library and is not in this file (unlink it in Grafana to have it here)`)
	f("another data source", `{"type": "table", "title": "Logs", "targets": [§{"refId": "A", "datasource": {"type": "loki"}, "expr": "{a=\"b\"} |= \"c\""}]}`,
		`query A of panel "Logs" asks a data source that is not Prometheus; Strata's page does not show it, and it was not checked`)
}

// FuzzDashboard holds that every input is judged, in lines of one form that
// point into the file.
func FuzzDashboard(f *testing.F) {
	for _, seed := range []string{
		"", "{", "[[[", `{"title": "x", "rows": [{"panels": [{"type": "graph"}]}]}`,
		dashboard(`{"name": "a", "type": "query", "query": "label_values(up{a=\"$b\"}, c)"}`, panel(`rate($a{b="$c"}[$__interval]) + "\ud83d\ude00`)),
		dashboard(`{"name": "v"}`, panel("$v + ${v:x} + [[v]] ) ä")),
		dashboard("", "{\"type\": \"stat\", \"targets\": [{\"expr\": \"\\ud800\\u0041 \xff (\"}]}"),
	} {
		f.Add([]byte(seed))
	}
	p := newParser()
	f.Fuzz(func(t *testing.T, content []byte) {
		errs, warnings := Dashboard("d.json", content, p)
		if !json.Valid(content) {
			require.Len(t, errs, 1)
		}
		for _, err := range append(errs, warnings...) {
			var problem *Problem
			require.True(t, errors.As(err, &problem))
			require.NotContains(t, err.Error(), "\n")
			require.Positive(t, problem.Column)
			require.LessOrEqual(t, problem.Line, strings.Count(string(content), "\n")+1)
		}
	})
}

// FuzzOffset holds that every byte of a string is found in its JSON.
func FuzzOffset(f *testing.F) {
	f.Add("a\"b\\c\n\u2028ä😀<>&")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		content, err := json.Marshal(s)
		require.NoError(t, err)
		n, _, err := parse(content)
		require.NoError(t, err)
		require.Equal(t, len(content)-1, n.offset(content, len(n.text)))
		for i := range n.text {
			var head string
			require.NoError(t, json.Unmarshal(append(append([]byte{}, content[:n.offset(content, i)]...), '"'), &head))
			require.Equal(t, n.text[:i], head)
		}
	})
}
