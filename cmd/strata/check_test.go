package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every file is reported; one error anywhere makes the status 1.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "rule_files: [r.yml]\nscrape_configs: [{job_name: a}]\n")
	write(t, dir, "r.yml", "groups: [{name: g, rules: [{record: a, expr: b}]}]\n")
	write(t, dir, "adapter.yml", "rules: [{seriesQuery: up, metricsQuery: 'sum('}]\n")
	f := func(status int, want string, args ...string) {
		t.Helper()
		got, out := launch(t, dir, append([]string{"check"}, args...)...).ends()
		require.Equal(t, status, got, out)
		require.Contains(t, out, want)
	}
	f(0, "ok       prometheus.yml: prometheus, 1 job\nok       r.yml: rules, 1 rule in 1 group\n", "prometheus.yml", "r.yml")
	f(1, "errors in 1 of 3 files: 1", ".")
	f(1, "error    adapter.yml:1: rules[0]", "adapter.yml")
	f(1, "error    r.yml", "--as=prometheus", "r.yml")
	f(1, "no such file", "none.yml")
	f(2, "must be one of auto,prometheus", "--as=x", "r.yml")
	f(2, "path")
}
