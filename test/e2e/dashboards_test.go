package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// panel is what this test reads of a dashboard's panel.
type panel struct {
	Title   string
	Panels  []panel
	Targets []struct{ Expr string }
}

// exprs gives the queries of panels by their titles.
func exprs(panels []panel, add func(title, expr string)) {
	for _, p := range panels {
		for _, target := range p.Targets {
			add(p.Title, target.Expr)
		}
		exprs(p.Panels, add)
	}
}

// variable is a reference to a variable of a dashboard, but for those of Grafana.
var variable = regexp.MustCompile(`\$\{?(\w+)(:\w+)?\}?`)

// filled is a query with every variable at All and windows of four scrapes.
func filled(expr string) string {
	return variable.ReplaceAllStringFunc(expr, func(ref string) string {
		switch name := variable.FindStringSubmatch(ref)[1]; name {
		case "__rate_interval", "__interval":
			return (4 * story.ScrapeInterval).String()
		case "__range":
			return "5m"
		default:
			return ".*"
		}
	})
}

// busy keeps a shop with an HPA under light load until the test's end, in the
// namespace that it gives.
func busy(t *testing.T) string {
	t.Helper()
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.Shop()+"---"+story.HPA("shop", story.RequestsMetric)))
	pods(t, ns, map[string]string{"app": "shop"}, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := load.Run(ctx, load.Options{Rate: 5, Duration: 10 * time.Minute,
			Targets: story.URLs(shared.cluster, ns, map[string]string{"app": "shop"}, story.ProxyPort, "/")})
		ended <- err
	}()
	t.Cleanup(func() { stop(); require.NoError(t, <-ended) })
	queried(t, `rate(http_requests_total{namespace="`+ns+`"}[1m]) > 0`)
	queried(t, `kube_horizontalpodautoscaler_status_target_metric{namespace="`+ns+`"}`)
	return ns
}

// need is a query that must have a result, and who asks it.
type need struct{ who, expr string }

// fulfilled waits until every query has a result, and names all that have none.
func fulfilled(t *testing.T, needs []need) {
	t.Helper()
	require.NotEmpty(t, needs)
	server := strata(t)
	cluster.Eventually(t, 2*time.Minute, func() error {
		var open []need
		var failed []error
		for _, n := range needs {
			samples, err := story.Query(t.Context(), server, n.expr, time.Time{})
			if err == nil && len(samples) == 0 {
				err = story.ErrNoResult
			}
			if err != nil {
				open = append(open, n)
				failed = append(failed, fmt.Errorf("%s: %s: %w", n.who, n.expr, err))
			}
		}
		needs = open
		return errors.Join(failed...)
	})
}

// TestRules holds that what the rules record is there, that every alert can be
// evaluated, and that none fires here; and has promtool run their own tests.
func TestRules(t *testing.T) {
	server := strata(t)
	busy(t)
	dir := filepath.Join(shared.root, "dashboards", "rules")
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	alerts := 0
	var records []need
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var rules struct {
			Groups []struct {
				Rules []struct{ Record, Alert, Expr string }
			}
		}
		require.NoError(t, yaml.Unmarshal(content, &rules), file)
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					alerts++
					_, err := story.Query(t.Context(), server, r.Expr, time.Time{})
					require.NoError(t, err, r.Alert)
					continue
				}
				records = append(records, need{filepath.Base(file), r.Record})
			}
		}
	}
	t.Logf("%d alerts, %d records", alerts, len(records))
	require.NotZero(t, alerts)
	fulfilled(t, records)

	health, err := get(t.Context(), server+"/api/v1/rules?exclude_alerts=true")
	require.NoError(t, err)
	require.NotContains(t, health, `"health":"err"`)
	for _, pending := range answer(t, `ALERTS{alertstate="pending"}`, time.Time{}) {
		t.Log("pending:", pending.Series)
	}
	require.Empty(t, answer(t, `ALERTS{alertstate="firing"}`, time.Time{}), "nothing is wrong with this cluster")

	tests, err := filepath.Glob(filepath.Join(dir, "tests", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, tests)
	out, err := shared.cluster.Promtool(t.Context(), append([]string{"test", "rules"}, tests...)...)
	require.NoError(t, err, out)
	t.Log(out)
}

// sick is a Deployment whose pod ends as soon as it starts.
const sick = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: sick}
spec:
  selector: {matchLabels: {app: sick}}
  template:
    metadata: {labels: {app: sick}}
    spec:
      containers: [{name: sick, image: "strata.test/demo:e2e", args: [-no-such-flag]}]
`

// TestDashboards holds that every query of every dashboard has a result on a
// cluster with a shop, load, an HPA, and something that is broken.
func TestDashboards(t *testing.T) {
	strata(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), busy(t), sick))
	files, err := filepath.Glob(filepath.Join(shared.root, "dashboards", "grafana", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var needs []need
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var d struct{ Panels []panel }
		require.NoError(t, json.Unmarshal(content, &d), file)
		before := len(needs)
		exprs(d.Panels, func(title, expr string) {
			needs = append(needs, need{filepath.Base(file) + ", " + title, filled(expr)})
		})
		require.Greater(t, len(needs), before, file)
		t.Logf("%s: %d queries", filepath.Base(file), len(needs)-before)
	}
	fulfilled(t, needs)
}
