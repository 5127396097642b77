package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// lacking are metrics that a machine may be without, and why; queries of them
// may be empty.
var lacking = map[string]string{
	"node_pressure_": "the kernel may have no pressure stall information",
	"node_md_":       "there may be no software RAID",
	"node_hwmon_":    "a virtual machine has no sensors",
	"node_nf_":       "connection tracking may not be loaded",
	"container_fs_":  "the container exporter does not read filesystems",
}

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

// busy keeps a shop with an HPA under light load until the test's end.
func busy(t *testing.T) {
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
}

// TestDashboards holds that every query of every dashboard has a result on a
// cluster with a shop, load and an HPA.
func TestDashboards(t *testing.T) {
	strata(t)
	busy(t)
	files, err := filepath.Glob(filepath.Join(shared.root, "dashboards", "grafana", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var d struct{ Panels []panel }
		require.NoError(t, json.Unmarshal(content, &d), file)
		n := 0
		exprs(d.Panels, func(title, expr string) {
			n++
			expr = filled(expr)
			if why := lacks(expr); why != "" {
				_, err := story.Query(t.Context(), strata(t), expr, time.Time{})
				require.NoError(t, err, "%s: %s", filepath.Base(file), title)
				return
			}
			cluster.Eventually(t, time.Minute, func() error {
				samples, err := story.Query(t.Context(), strata(t), expr, time.Time{})
				if err == nil && len(samples) == 0 {
					err = story.ErrNoResult
				}
				if err != nil {
					err = fmt.Errorf("%s: %s: %s: %w", filepath.Base(file), title, expr, err)
				}
				return err
			})
		})
		require.NotZero(t, n, file)
		t.Logf("%s: %d queries", filepath.Base(file), n)
	}
}

// lacks tells why a query may be empty on this machine.
func lacks(expr string) string {
	for metric, why := range lacking {
		if strings.Contains(expr, metric) {
			return why
		}
	}
	return ""
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
	alerts, records := 0, 0
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
				records++
				if lacks(r.Expr) == "" {
					queried(t, r.Record)
				}
			}
		}
	}
	t.Logf("%d alerts, %d records", alerts, records)
	require.NotZero(t, alerts)
	require.NotZero(t, records)

	health, err := shared.cluster.Raw(t.Context(), "/api/v1/namespaces/"+story.Namespace+"/services/strata-server:http/proxy/api/v1/rules?exclude_alerts=true")
	require.NoError(t, err)
	require.NotContains(t, string(health), `"health":"err"`)
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
