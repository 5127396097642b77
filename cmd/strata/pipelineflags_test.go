package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/store"
)

// likePrometheus are all flags of a Prometheus 3 server with other values than by
// default, but for those of a process, which are in other tests.
var likePrometheus = []string{
	"--config.auto-reload", "--config.auto-reload-interval=1s", "--auto-gomaxprocs=true", "--auto-gomemlimit=true", "--auto-gomemlimit.ratio=0.8",
	"--auto-gomemlimit.refresh-interval=1m", "--web.read-timeout=1m", "--web.max-connections=100", "--web.max-notifications-subscribers=2",
	"--web.user-assets=/srv", "--web.enable-lifecycle", "--web.enable-admin-api", "--web.enable-remote-write-receiver",
	"--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest", "--web.enable-otlp-receiver",
	"--web.console.templates=/etc/prometheus/consoles", "--web.console.libraries=/etc/prometheus/console_libraries", "--web.page-title=x",
	"--web.cors.origin=https?://(a|b)", "--web.search.max-limit=5",
	"--storage.tsdb.min-block-duration=1h", "--storage.tsdb.max-block-duration=1h", "--storage.tsdb.max-block-chunk-segment-size=64MB",
	"--storage.tsdb.wal-segment-size=16MB", "--storage.tsdb.retention.time=2d", "--storage.tsdb.retention.size=1GB", "--storage.tsdb.no-lockfile",
	"--storage.tsdb.allow-overlapping-compaction=false", "--storage.tsdb.wal-compression=true", "--storage.tsdb.wal-compression-type=zstd",
	"--storage.tsdb.head-chunks-write-queue-size=10", "--storage.tsdb.samples-per-chunk=60", "--storage.tsdb.delayed-compaction.max-percent=20",
	"--storage.tsdb.delay-compact-file.path=/thanos.shipper.json", "--storage.tsdb.block-reload-interval=2m", "--storage.remote.flush-deadline=2m",
	"--storage.remote.read-sample-limit=1000", "--storage.remote.read-concurrent-limit=3", "--storage.remote.read-max-bytes-in-frame=65536",
	"--rules.alert.for-outage-tolerance=2h", "--rules.alert.for-grace-period=5m", "--rules.alert.resend-delay=2m", "--rules.max-concurrent-evals=8",
	"--scrape.adjust-timestamps", "--scrape.timestamp-tolerance=2ms", "--scrape.discovery-reload-interval=1s",
	"--alertmanager.notification-queue-capacity=50", "--alertmanager.notification-batch-size=10", "--alertmanager.drain-notification-queue-on-shutdown=false",
	"--query.lookback-delta=3m", "--query.timeout=1m", "--query.max-concurrency=5", "--query.max-samples=1000000",
	"--enable-feature=native-histograms,exemplar-storage,promql-duration-expr",
}

// pipelineOptions are those of a command line of strata server.
func pipelineOptions(t *testing.T, args ...string) (pipeline.Options, error) {
	t.Helper()
	app := kingpin.New("strata", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
	e, f := &env{app: app, log: promslog.Config{Level: promslog.NewLevel()}}, &serverFlags{}
	cmd := app.Command("server", "")
	f.declare(cmd, e)
	if _, err := serve.Parse(app, append([]string{"server"}, args...)); err != nil {
		return pipeline.Options{}, err
	}
	return f.pipeline.options(e, cmd, slog.New(slog.DiscardHandler), serve.NewRegistry("strata_test"))
}

func TestLikePrometheus(t *testing.T) {
	t.Parallel()
	o, err := pipelineOptions(t, likePrometheus...)
	require.NoError(t, err)
	require.Equal(t, store.TSDBOptions{
		MinBlock: time.Hour, MaxBlock: time.Hour, WALCompression: compression.Zstd, WALSegment: 16 << 20, ChunkSegment: 64 << 20, NoLockfile: true,
		KeepOverlapping: true, ChunkQueue: 10, ChunkSamples: 60, DelayPercent: 20, Uploaded: "/thanos.shipper.json", Reload: 2 * time.Minute,
	}, o.Storage.TSDB)
	require.Equal(t, 2*time.Minute, o.Storage.FlushDeadline)
	require.EqualValues(t, 1<<30, o.Storage.Retention.Size)
	require.Positive(t, o.Storage.Exemplars)
	require.Equal(t, time.Second, o.Scrape.DiscoveryInterval)
	require.Equal(t, []any{8, 50, 10, true}, []any{o.Rule.Concurrency, o.Rule.QueueCapacity, o.Rule.BatchSize, o.Rule.NoDrain})
	a := o.Access
	require.Equal(t, []any{true, true, true, 1000, 3, 65536, 2}, []any{a.EnableAdmin, a.EnableRemoteWrite, a.EnableOTLP, a.ReadSamples, a.ReadConcurrency, a.ReadFrame, a.Subscribers})
	require.Equal(t, remote.MessageTypes{remote.WriteV1MessageType}, a.WriteMessages)
	require.True(t, a.CORSOrigin.MatchString("https://a"))
	require.False(t, a.CORSOrigin.MatchString("https://a.example.org"))

	o, err = pipelineOptions(t, "--no-storage.tsdb.wal-compression")
	require.NoError(t, err)
	require.Equal(t, compression.None, o.Storage.TSDB.WALCompression)
	require.Equal(t, 2*time.Hour, o.Storage.TSDB.MinBlock)
	require.Zero(t, o.Storage.TSDB.MaxBlock)
	require.Equal(t, 50_000_000, o.Access.ReadSamples)
	require.Len(t, o.Access.WriteMessages, 2)
}

// Each feature does something.
func TestFeatures(t *testing.T) {
	t.Parallel()
	plain, err := pipelineOptions(t)
	require.NoError(t, err)
	comparable := func(o pipeline.Options) string {
		access := *o.Access
		access.CORSOrigin = nil
		return fmt.Sprintf("%+v %+v %+v %+v %+v", o.Scrape, o.Storage, o.Query, o.Rule, access)
	}
	for _, name := range featureNames() {
		o, err := pipelineOptions(t, "--enable-feature="+name)
		require.NoError(t, err, name)
		require.NotEqual(t, comparable(plain), comparable(o), name)
	}
}

func TestPipelineFlagsRefuse(t *testing.T) {
	t.Parallel()
	for want, args := range map[string]string{
		"--storage.tsdb.wal-segment-size must be between 10MB and 256MB":                 "--storage.tsdb.wal-segment-size=1MB",
		"--storage.tsdb.max-block-chunk-segment-size must be 1MB at least":               "--storage.tsdb.max-block-chunk-segment-size=1KB",
		"--storage.tsdb.min-block-duration must be above 0 and not above":                "--storage.tsdb.min-block-duration=2h --storage.tsdb.max-block-duration=1h",
		"--storage.tsdb.samples-per-chunk must be above 0":                               "--storage.tsdb.samples-per-chunk=0",
		"--storage.tsdb.delayed-compaction.max-percent must be between 1 and 100":        "--storage.tsdb.delayed-compaction.max-percent=0",
		"must be one of snappy,zstd":                                                     "--storage.tsdb.wal-compression-type=lz4",
		"--storage.remote.read-max-bytes-in-frame above it":                              "--storage.remote.read-max-bytes-in-frame=0",
		"--web.cors.origin: error parsing regexp":                                        "--web.cors.origin=(",
		"--web.remote-write-receiver.accepted-protobuf-messages: unknown type":           "--web.remote-write-receiver.accepted-protobuf-messages=a.B",
		"--auto-gomemlimit.ratio must be above 0 and at most 1, not 2":                   "--auto-gomemlimit.ratio=2",
		"--alertmanager.notification-batch-size must be above 0":                         "--alertmanager.notification-batch-size=0",
		"otlp-deltatocumulative and otlp-native-delta-ingestion exclude each other":      "--enable-feature=otlp-native-delta-ingestion,otlp-deltatocumulative",
		"--web.search.max-limit must not be below 0":                                     "--web.search.max-limit=-1",
		"--enable-feature=old-ui is not supported; there are concurrent-rule-eval, dela": "--enable-feature=old-ui",
	} {
		_, err := pipelineOptions(t, strings.Fields(args)...)
		var usage *serve.UsageError
		require.ErrorAs(t, err, &usage, args)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

// The process runs with all of them, and loads a changed configuration by itself,
// also one that is changed in a file that it names.
func TestServerLikePrometheus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "rule_files: [rules.yml]\nscrape_configs: [{job_name: nobody, static_configs: [{targets: ['127.0.0.1:1']}]}]\n")
	rules := func(name string) {
		write(t, dir, "rules.yml", "groups:\n- name: "+name+"\n  rules:\n  - {record: a, expr: vector(1)}\n")
	}
	rules("first")
	features := slices.Concat(featureNames(), slices.Collect(maps.Keys(oldFeatures())))
	features = slices.DeleteFunc(features, func(name string) bool { return name == "otlp-native-delta-ingestion" }) // it excludes another
	p := server(t, dir, append(likePrometheus, "--enable-feature="+strings.Join(features, ","))...)
	require.NoFileExists(t, filepath.Join(dir, "data", "lock"))
	loaded := func(name string) func() error {
		return func() error {
			body, err := p.get("/api/v1/rules")
			if err == nil && !strings.Contains(body, `"name":"`+name+`"`) {
				err = errors.New(body)
			}
			return err
		}
	}
	p.wait("the first rules", loaded("first"))
	rules("second")
	p.wait("the reload", loaded("second"))
	body, err := p.get("/api/v1/status/runtimeinfo")
	require.NoError(t, err)
	require.NotContains(t, body, `"GOMEMLIMIT":9223372036854775807`)

	// What dashboards and alerts of a Prometheus ask for, also what its libraries
	// keep for the process.
	body, err = p.get("/metrics")
	require.NoError(t, err)
	for _, want := range []string{
		`prometheus_build_info{`, "prometheus_ready 1\n", "prometheus_config_last_reload_successful 1\n",
		`prometheus_http_requests_total{code="200",handler="/api/v1/rules"} `, `prometheus_http_requests_total{code="200",handler="/metrics"} 0`,
		`prometheus_http_request_duration_seconds_count{handler="/api/v1/rules"} `, `prometheus_http_response_size_bytes_sum{handler="/api/v1/rules"} `,
		"prometheus_web_federation_errors_total 0\n", "prometheus_template_text_expansion_failures_total 0\n", "prometheus_remote_storage_samples_in_total 0\n",
		`net_conntrack_listener_conn_accepted_total{listener_name="http"} `, `net_conntrack_dialer_conn_attempted_total{dialer_name="nobody"} `,
	} {
		require.True(t, strings.Contains(body, want), want) // all of the body is too much to read
	}
	require.Equal(t, 1, strings.Count(body, "\ngo_goroutines "))
	require.Equal(t, 1, strings.Count(body, "\nprocess_open_fds "))
}
