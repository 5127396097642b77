package dashboards_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/dashboards"
)

const (
	tests    = "rules/tests"
	runbooks = "../docs/runbooks.md"
	// runbookURL is where people find it.
	runbookURL = "https://github.com/strata-metrics/strata/blob/main/docs/runbooks.md#"
)

// rules gives all rules, by file.
func rules(t *testing.T) map[string][]rulefmt.Rule {
	t.Helper()
	all, groups := map[string][]rulefmt.Rule{}, map[string]bool{}
	for file, content := range read(t, dashboards.Rules(), "*") {
		parsed, errs := rulefmt.Parse(content, false, model.UTF8Validation, newParser(), nil)
		require.Empty(t, errs, file)
		for _, g := range parsed.Groups {
			require.False(t, groups[g.Name], "group %s is there twice", g.Name)
			groups[g.Name] = true
			require.True(t, strings.HasPrefix(g.Name, "strata-"), g.Name)
			all[file] = append(all[file], g.Rules...)
		}
	}
	return all
}

// everything is what is declared and what the rules record.
func everything(t *testing.T) catalog {
	t.Helper()
	c := declared(t)
	for _, list := range rules(t) {
		for _, r := range list {
			if r.Record != "" {
				c[r.Record] = nil
			}
		}
	}
	return c
}

// recordRE is level:metric:operations. The level is empty for everything, and
// the operations where a metric is only joined.
var recordRE = regexp.MustCompile(`^[a-z_:]*:[a-zA-Z0-9_]+(:[a-zA-Z0-9_]*)?$`)

func TestRules(t *testing.T) {
	t.Parallel()
	known, alerts := everything(t), map[string]string{}
	for file, list := range rules(t) {
		for _, r := range list {
			at := file + ", " + r.Record + r.Alert
			for _, s := range selectors(t, at, r.Expr) {
				require.NoError(t, known.check(s.name, s.labels), at)
			}
			if r.Record != "" {
				require.Regexp(t, recordRE, r.Record, file)
				continue
			}
			require.Empty(t, alerts[r.Alert], "%s is in another file", at)
			alerts[r.Alert] = file
			require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], at)
			require.Len(t, r.Labels, 1, at)
			require.Contains(t, r.Annotations["summary"], "$labels.", "%s: the summary names the object", at)
			require.NotEmpty(t, r.Annotations["description"], at)
			require.Equal(t, runbookURL+strings.ToLower(r.Alert), r.Annotations["runbook_url"], at)
		}
	}
}

// TestRunbooks holds that each alert has its part of the runbook, with a query
// that can be asked, and that there is no part without an alert.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(runbooks)
	require.NoError(t, err)
	known, alerts := everything(t), []string{}
	for _, list := range rules(t) {
		for _, r := range list {
			if r.Alert != "" {
				alerts = append(alerts, r.Alert)
			}
		}
	}
	var found []string
	for _, part := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		found = append(found, name)
		body, _, _ = strings.Cut(body, "\n## ")
		for _, what := range []string{"- Meaning: ", "- Look: `", "- Repair: "} {
			require.Contains(t, body, "\n"+what, name)
		}
		_, query, _ := strings.Cut(body, "\n- Look: `")
		query, _, _ = strings.Cut(query, "`")
		for _, s := range selectors(t, "runbook of "+name, query) {
			require.NoError(t, known.check(s.name, s.labels), name)
		}
	}
	require.ElementsMatch(t, alerts, found)
}

// ruleTests is the part of a file for promtool that is looked at here.
type ruleTests struct {
	Tests []struct {
		Name     string
		Interval string
		Alerts   []struct {
			Name     string    `yaml:"alertname"`
			Expected []ruleHit `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		Queries []struct {
			Expr string `yaml:"expr"`
		} `yaml:"promql_expr_test"`
	}
}

type ruleHit struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

// TestEveryRuleIsTested holds that each alert has a case in which it fires, with
// its labels and annotations, and one in which it is silent, and each record a
// value.
func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	fires, silent, queried := map[string]bool{}, map[string]bool{}, ""
	files, err := filepath.Glob(tests + "/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var all ruleTests
		require.NoError(t, yaml.Unmarshal(content, &all), file)
		for _, test := range all.Tests {
			require.NotEmpty(t, test.Name, file)
			for _, a := range test.Alerts {
				silent[a.Name] = silent[a.Name] || len(a.Expected) == 0
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
				for _, hit := range a.Expected {
					require.NotEmpty(t, hit.Labels["severity"], "%s: %s", test.Name, a.Name)
					require.NotEmpty(t, hit.Annotations["summary"], "%s: %s", test.Name, a.Name)
				}
			}
			for _, q := range test.Queries {
				queried += q.Expr + "\n"
			}
		}
	}
	for file, list := range rules(t) {
		for _, r := range list {
			if r.Record != "" {
				require.Contains(t, queried, r.Record, "%s is recorded by %s and has no test in %s", r.Record, file, tests)
				continue
			}
			require.True(t, fires[r.Alert], "no test in %s in which %s fires", tests, r.Alert)
			require.True(t, silent[r.Alert], "no test in %s in which %s is silent", tests, r.Alert)
		}
	}
}

// TestPromtool runs Prometheus' own checks and the tests of all rules.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := promtool(t)
	run := func(args ...string) {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for _, pattern := range []string{"rules/*.yaml", tests + "/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		if pattern == "rules/*.yaml" {
			run(append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...)
		} else {
			run(append([]string{"test", "rules"}, files...)...)
		}
	}
}

// promtool builds the promtool of go.mod, as make build builds, which has then
// compiled most of it already.
func promtool(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PROMTOOL"); path != "" {
		return path
	}
	dir, err := os.UserCacheDir()
	require.NoError(t, err)
	path := filepath.Join(dir, "strata", "promtool")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "github.com/prometheus/prometheus/cmd/promtool")
	cmd.Env = append(slices.Clip(os.Environ()), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}
