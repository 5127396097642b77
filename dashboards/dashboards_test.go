package dashboards_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/dashboards"
	"github.com/strata-metrics/strata/dashboards/lint"
)

// The parts of Grafana's model that the tests look at.
type (
	source struct{ Type, UID string }
	target struct {
		RefID, Expr, LegendFormat, Format string
		Instant                           bool
		Datasource                        source
	}
	panel struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Datasource               source
		Targets                  []target
		FieldConfig              struct {
			Defaults struct {
				Unit, NoValue string
				Thresholds    struct {
					Mode  string
					Steps []struct {
						Color string
						Value *float64
					}
				}
			}
		}
		Options struct{ Legend *struct{ ShowLegend bool } }
	}
	variable struct {
		Name, Type, Label, AllValue string
		Query                       json.RawMessage
		Datasource                  source
		IncludeAll, Multi           bool
	}
	dashboard struct {
		file                             string
		UID, Title, Description, Refresh string
		Tags                             []string
		SchemaVersion                    int
		Time                             struct{ From, To string }
		Links                            []struct {
			Type        string
			Tags        []string
			IncludeVars bool
			KeepTime    bool
		}
		Templating struct{ List []variable }
		Panels     []panel
	}
)

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// read gives the files of one of the embedded trees.
func read(t *testing.T, files fs.FS, pattern string) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(files, pattern)
	require.NoError(t, err)
	require.NotEmpty(t, names)
	all := map[string][]byte{}
	for _, name := range names {
		all[name], err = fs.ReadFile(files, name)
		require.NoError(t, err)
	}
	return all
}

func boards(t *testing.T) []dashboard {
	t.Helper()
	var all []dashboard
	for file, content := range read(t, dashboards.Grafana(), "*.json") {
		d := dashboard{file: file}
		require.NoError(t, json.Unmarshal(content, &d), file)
		all = append(all, d)
	}
	return all
}

// TestLayers holds that each layer has its dashboard.
func TestLayers(t *testing.T) {
	t.Parallel()
	var names []string
	for file := range read(t, dashboards.Grafana(), "*") {
		names = append(names, file)
	}
	require.ElementsMatch(t, []string{"strata-node.json", "strata-container.json", "strata-app.json",
		"strata-kubernetes.json", "strata-autoscaling.json", "strata-self.json"}, names)
}

// TestLint holds that our own dashboards pass what people's have to.
func TestLint(t *testing.T) {
	t.Parallel()
	for file, content := range read(t, dashboards.Grafana(), "*.json") {
		errs, warnings := lint.Dashboard("grafana/"+file, content, newParser())
		require.Empty(t, errs)
		require.Empty(t, warnings)
	}
}

func TestDashboards(t *testing.T) {
	t.Parallel()
	titles := map[string]string{}
	for _, d := range boards(t) {
		require.Equal(t, d.file, d.UID+".json", "the uid is the file's name")
		require.Empty(t, titles[d.Title], "%s has the title of another", d.file)
		titles[d.Title] = d.file
		require.True(t, strings.HasPrefix(d.Title, "Strata / "), d.file)
		require.NotEmpty(t, d.Description, d.file)
		require.Equal(t, []string{"strata"}, d.Tags, d.file)
		require.GreaterOrEqual(t, d.SchemaVersion, 39, d.file)
		require.NotEmpty(t, d.Refresh, d.file)
		require.NotEmpty(t, d.Time.From, d.file)
		require.Len(t, d.Links, 1, d.file)
		require.Equal(t, "dashboards", d.Links[0].Type, d.file)
		require.Equal(t, []string{"strata"}, d.Links[0].Tags, d.file)
		require.True(t, d.Links[0].IncludeVars && d.Links[0].KeepTime, d.file)
	}
}

func TestTemplating(t *testing.T) {
	t.Parallel()
	for _, d := range boards(t) {
		list := d.Templating.List
		require.GreaterOrEqual(t, len(list), 3, d.file)
		require.Equal(t, []string{"datasource", "datasource", `"prometheus"`}, []string{list[0].Name, list[0].Type, string(list[0].Query)}, d.file)
		require.Equal(t, "cluster", list[1].Name, d.file)
		require.Contains(t, string(list[1].Query), `"label_values(up, cluster)"`, d.file)
		for _, v := range list[1:] {
			at := d.file + ", variable " + v.Name
			require.Equal(t, "query", v.Type, at)
			require.NotEmpty(t, v.Label, at)
			require.Equal(t, source{"prometheus", "${datasource}"}, v.Datasource, at)
			// All must match series without the label.
			require.True(t, v.IncludeAll && v.Multi && v.AllValue == ".*", at)
		}
	}
}

func TestPanels(t *testing.T) {
	t.Parallel()
	for _, d := range boards(t) {
		require.Equal(t, "row", d.Panels[0].Type, d.file)
		for i, p := range d.Panels {
			at := fmt.Sprintf("%s, panel %d %q", d.file, p.ID, p.Title)
			require.Positive(t, p.ID, at)
			require.NotEmpty(t, p.Title, at)
			g := p.GridPos
			require.True(t, g.W > 0 && g.H > 0 && g.X >= 0 && g.Y >= 0 && g.X+g.W <= 24, "%s is not within the grid", at)
			for _, o := range d.Panels[:i] {
				og := o.GridPos
				require.False(t, g.X < og.X+og.W && og.X < g.X+g.W && g.Y < og.Y+og.H && og.Y < g.Y+g.H, "%s lies over %q", at, o.Title)
			}
			if p.Type != "row" {
				checkPanel(t, at, p)
			}
		}
	}
}

func checkPanel(t *testing.T, at string, p panel) {
	t.Helper()
	require.Contains(t, []string{"timeseries", "stat", "gauge", "table"}, p.Type, at)
	require.Greater(t, len(p.Description), 20, "%s needs a description", at)
	defaults := p.FieldConfig.Defaults
	require.NotEmpty(t, defaults.Unit, at)
	require.NotEmpty(t, defaults.NoValue, "%s must say why it may be empty", at)
	require.Equal(t, "absolute", defaults.Thresholds.Mode, at)
	require.NotEmpty(t, defaults.Thresholds.Steps, at)
	for i, s := range defaults.Thresholds.Steps {
		require.Equal(t, i == 0, s.Value == nil, "%s: the first threshold alone has no value", at)
		require.True(t, i < 2 || *s.Value > *defaults.Thresholds.Steps[i-1].Value, "%s: thresholds must rise", at)
	}
	prometheus := source{"prometheus", "${datasource}"}
	require.Equal(t, prometheus, p.Datasource, at)
	for i, q := range p.Targets {
		require.Equal(t, string(rune('A'+i)), q.RefID, at)
		require.Equal(t, prometheus, q.Datasource, at)
		require.NotRegexp(t, `rate\([^\[\]]*\[[^$]`, q.Expr, "%s: a rate is over $__rate_interval", at)
		switch p.Type {
		case "timeseries":
			require.NotEmpty(t, q.LegendFormat, at)
			require.False(t, q.Instant, at)
			require.True(t, p.Options.Legend != nil && p.Options.Legend.ShowLegend, at)
		case "table":
			require.True(t, q.Instant && q.Format == "table", at)
		}
	}
}

var usedVariableRE = regexp.MustCompile(`\$\{?(\w+)\}?`)

// asked are the queries of a dashboard, those of its variables among them, with
// the variables' values put in.
func (d dashboard) asked() map[string]string {
	all := map[string]string{}
	fill := func(s string) string {
		return usedVariableRE.ReplaceAllStringFunc(s, func(v string) string {
			switch name := strings.Trim(v, "${}"); {
			case name == "__rate_interval":
				return "1m"
			case slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == name }):
				return "$" // known by TestQueries
			}
			return v
		})
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all[fmt.Sprintf("%s, panel %q, query %s", d.file, p.Title, q.RefID)] = fill(q.Expr)
		}
	}
	for _, v := range d.Templating.List {
		var q struct{ Query string }
		if json.Unmarshal(v.Query, &q) == nil && v.Name != "cluster" {
			selector, _ := strings.CutPrefix(q.Query, "label_values(")
			all[d.file+", variable "+v.Name] = fill(selector[:strings.LastIndexByte(selector, ',')])
		}
	}
	return all
}

// TestQueries holds that every query of a dashboard asks for what is there, of
// the chosen clusters alone.
func TestQueries(t *testing.T) {
	t.Parallel()
	known := everything(t)
	for _, d := range boards(t) {
		for at, q := range d.asked() {
			for _, s := range selectors(t, at, q) {
				require.NoError(t, known.check(s.name, s.labels), at)
				require.True(t, slices.ContainsFunc(s.matchers, func(m *labels.Matcher) bool {
					return m.Name == "cluster" && m.Type == labels.MatchRegexp && m.Value == "$"
				}), "%s: %s is asked of all clusters", at, s.name)
			}
		}
	}
}

// selector is one selector of a query.
type selector struct {
	name     string
	labels   []string // that are matched, without the name
	matchers []*labels.Matcher
}

func selectors(t *testing.T, at, q string) []selector {
	t.Helper()
	expr, err := newParser().ParseExpr(q)
	require.NoError(t, err, "%s: %s", at, q)
	var all []selector
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := selector{name: v.Name, matchers: v.LabelMatchers}
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				s.labels = append(s.labels, m.Name)
			}
		}
		require.NotEmpty(t, s.name, "%s asks for series of any name", at)
		all = append(all, s)
		return nil
	})
	require.NotEmpty(t, all, at)
	return all
}
