package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline/migrate"
)

// The status is 1 where something is not served, and what takes over is
// written without replacing anything.
func TestMigrate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "good.yml", "externalRules: [{seriesQuery: lag, resources: {namespaced: false}, metricsQuery: max(lag)}]\n")
	write(t, dir, "bad.yml", "rules: [{seriesQuery: 'x{', metricsQuery: x}]\n")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "so"), 0o700))
	write(t, dir, "so/a.yaml", "kind: ScaledObject\nmetadata: {name: a}\nspec: {scaleTargetRef: {name: a}, minReplicaCount: 1, triggers: [{type: cpu, metricType: Utilization, metadata: {value: '50'}}]}\n")
	write(t, dir, "cron.yaml", "kind: ScaledObject\nmetadata: {name: b}\nspec: {scaleTargetRef: {name: b}, triggers: [{type: cron}]}\n")
	f := func(status int, want string, args ...string) {
		t.Helper()
		got, out := launch(t, dir, append([]string{"migrate"}, args...)...).ends()
		require.Equal(t, status, got, out)
		require.Contains(t, out, want)
	}
	f(0, "served  good.yml:1  externalRules[0]  external lag", "adapter", "good.yml")
	f(1, "not served: 1 of 1", "adapter", "bad.yml")
	f(1, `"verdict": "not served"`, "adapter", "--output=json", "bad.yml")
	f(1, "no such file", "adapter", "none.yml")
	f(0, "ScaledObject a: an HPA takes over", "keda", "so", "--write=out")
	f(1, "strata: not served: 1 of 3", "keda", "so", "cron.yaml", "--output=json")
	f(1, "-: no ScaledObject", "keda", "-")
	f(2, "path", "keda")

	hpa := filepath.Join(dir, "out", "a-hpa.yaml")
	require.FileExists(t, hpa)
	f(0, "", "keda", "so", "--write=out") // the same again
	require.NoError(t, os.WriteFile(hpa, []byte("mine"), 0o600))
	f(1, "a-hpa.yaml is there with other content", "keda", "so", "--write=out")
	kept, err := os.ReadFile(hpa)
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
}

// The flags that prometheus-adapter's are said to become are there.
func TestMigratedFlagsExist(t *testing.T) {
	t.Parallel()
	app := serve.NewApp("strata", "")
	e := &env{app: app}
	cmd := app.Command("server", "")
	serverCommand().setup(cmd, e)
	have := map[string]bool{"log.level": true, "log.format": true} // of the program
	for _, f := range cmd.Model().Flags {
		have[f.Name] = true
	}
	for _, name := range migrate.AdapterFlags() {
		require.True(t, have[name], "strata server has no --%s", name)
	}
}
