package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestConfigFile(t *testing.T) {
	t.Parallel()
	before := flags{resources: []string{"nodes"}, namespaces: []string{"a"}, port: "9103", gzip: true, totalShards: 1, memRatio: 0.9}
	f := func(content string, change func(*flags)) {
		t.Helper()
		want := before
		change(&want)
		got, err := over(before, []byte(content))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("", func(*flags) {})
	f("help: true\nserver_idle_timeout: 5m", func(*flags) {})
	f("resources: {pods: {}, deployments: {}}", func(f *flags) { f.resources = []string{"deployments", "pods"} })
	f("resources: [pods]\nnamespaces: b, c", func(f *flags) { f.resources, f.namespaces = []string{"pods"}, []string{"b", "c"} })
	f("labels_allow_list: {pods: [app, x/*], nodes: ['*']}", func(f *flags) { f.labels = []string{"nodes=[*]", "pods=[app,x/*]"} })
	f("annotations_allow_list: pods=[a]", func(f *flags) { f.annotations = []string{"pods=[a]"} })
	f("metric_allowlist: {kube_pod_info: }", func(f *flags) { f.allow = []string{"kube_pod_info"} })
	f("port: 8080\nenable_gzip_encoding: false", func(f *flags) { f.port, f.gzip = "8080", false })
	f("shard: 1\ntotal_shards: 2\nnamespace: n\npod: p", func(f *flags) { f.shard, f.totalShards, f.podNamespace, f.pod = 1, 2, "n", "p" })
	f("custom_resource_config_file: old", func(f *flags) { f.customFile = "old" })
	f("custom_resource_config_file: old\ncustom_resource_state_config_file: new", func(f *flags) { f.customFile = "new" })
	f("server_read_timeout: 5s", func(f *flags) { f.readTimeout = 5 * time.Second })
	f("sparse_states: true\nlines_by_object: true\npod_workloads: true\npod_workload_labels: [kube_pod_info]\nmetric_join_labels: {nodes: [zone]}", func(f *flags) {
		f.sparse, f.byObject, f.workloads, f.workloadLabels, f.join = true, true, true, []string{"kube_pod_info"}, []string{"nodes=[zone]"}
	})
	f("container_exits: true\ncounter_series_limit: 3\nseries_budget_family: 4\nseries_budget_namespace: 5", func(f *flags) {
		f.exits, f.counterSeries, f.budgetFamily, f.budgetNamespace = true, 3, 4, 5
	})
	g := func(content, want string) {
		t.Helper()
		_, err := over(before, []byte(content))
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	g("shards: 1", "line 1: field shards not found")
	g("resources: [pods]\nshard: many\nport: x", "line 2:")
	g("server_read_timeout: soon", "line 1:")
	g("resources: {pods", "yaml")
}

func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{"resources: [pods]", "resources: {pods: {}}", "labels_allow_list: {a: [b]}", "server_read_timeout: 1s", "a: &a [*a]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := over(flags{}, content); err != nil {
			require.NotContains(t, err.Error(), "\n")
		}
	})
}

// TestReload holds that a changed file is taken, and a wrong one is not.
func TestReload(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(refuse))
	defer api.Close()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(content string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	registry := prometheus.NewRegistry()
	s := newService(flags{
		apiserver: api.URL, config: path, continueWithout: true, totalShards: 1, memRatio: 0.9, resources: []string{"deployments"},
	}, slog.New(slog.DiscardHandler), registry)
	s.every = time.Millisecond
	_, err := s.start()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	follows := func(resource string) {
		t.Helper()
		require.Eventually(t, func() bool {
			err := s.ready()
			return err != nil && strings.Contains(err.Error(), resource+": ")
		}, time.Minute, time.Millisecond)
	}
	success := func(want string) func() bool {
		return func() bool {
			return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP kube_state_metrics_last_config_reload_successful Whether a configuration file was taken the last time that it changed.
# TYPE kube_state_metrics_last_config_reload_successful gauge
kube_state_metrics_last_config_reload_successful{filename="`+path+`",type="config"} `+want+"\n"), "kube_state_metrics_last_config_reload_successful") == nil
		}
	}
	follows("deployments")
	write("resources: [pods]")
	follows("pods")
	require.Eventually(t, success("1"), time.Minute, time.Millisecond)
	write("resources: [pods")
	require.Eventually(t, success("0"), time.Minute, time.Millisecond)
	follows("pods")
	write("resources: [nodes]")
	follows("nodes")
	require.NotContains(t, s.ready().Error(), "pods: ")
	require.Eventually(t, success("1"), time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

// TestCustomReload holds that a wrong file of custom resources is told, and
// that the rest goes on.
func TestCustomReload(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "custom.yaml")
	var log strings.Builder
	s := newService(flags{apiserver: "http://127.0.0.1:1", customFile: path, continueWithoutCustom: true, totalShards: 1, memRatio: 0.9},
		slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	load := func(content string) {
		t.Helper()
		if content != "" {
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
		_, exporter, err := s.load()
		require.NoError(t, err)
		require.NotNil(t, exporter)
		require.False(t, s.files.changed())
	}
	load("")
	require.Nil(t, s.custom)
	require.Contains(t, log.String(), "is not there yet")
	good := "spec: {resources: [{groupVersionKind: {group: a.b}, metrics: [{name: x, each: {type: Info, info: {}}}]}]}"
	load(good)
	require.Len(t, s.custom.Resources, 1)
	load("spec:\n  resources:\n  - groupVersionKind: {kind: A}\n")
	require.Len(t, s.custom.Resources, 1, "what was good before is kept")
	require.Contains(t, log.String(), "line 3: spec.resources[0]: groupVersionKind.group is missing")
	require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
	load(strings.Replace(good, "name: x", "name: x, colour: 1", 1))
	require.Contains(t, log.String(), "field colour not found")
	s.args.custom = strings.Replace(good, "metrics", "metricNamePrefix: kube, metrics", 1)
	s.args.custom = strings.Replace(s.args.custom, "name: x", "name: pod_info", 1)
	load("")
	require.Contains(t, log.String(), "kube_pod_info is a family of the built-in kinds")
}
