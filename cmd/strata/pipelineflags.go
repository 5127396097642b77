package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/config"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"go.yaml.in/yaml/v2"

	"github.com/strata-metrics/strata/dashboards"
	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/rule"
	"github.com/strata-metrics/strata/pipeline/scrape"
	"github.com/strata-metrics/strata/pipeline/store"
)

// pipelineFlags are Prometheus' flags that every command with a pipeline has.
type pipelineFlags struct {
	web         serve.Flags
	externalURL string
	routePrefix string
	readTimeout model.Duration
	maxConns    int
	lifecycle   bool
	admin       bool
	remoteWrite bool
	otlp        bool
	dashboards  string

	cors        string
	subscribers int
	search      int
	messages    []string
	read        remoteReadFlags

	storage storageFlags
	memory  memoryFlags

	query        query.Options
	queryTime    model.Duration
	lookback     model.Duration
	builtinRules bool
	outage       model.Duration
	grace        model.Duration
	resend       model.Duration
	evaluations  int
	queue, batch int
	drain        bool
	discovery    model.Duration
	align        bool
	tolerance    time.Duration
	bodyLimit    units.Base2Bytes
	featureList  []string
}

// declare adds the flags with the defaults in which the commands differ.
func (f *pipelineFlags) declare(cmd *kingpin.CmdClause, address, dir string, builtinRules bool) {
	f.web.Web(cmd, address)
	cmd.Flag("web.external-url", "URL at which others reach this server, for links and alerts. Its path is also the prefix of all routes.").
		PlaceHolder("<URL>").StringVar(&f.externalURL)
	cmd.Flag("web.route-prefix", "Prefix of all routes; by default the path of --web.external-url.").
		PlaceHolder("<path>").StringVar(&f.routePrefix)
	duration(cmd, "web.read-timeout", "Longest time to read a request, and to keep an idle connection.", &f.readTimeout).Default("5m")
	cmd.Flag("web.max-connections", "Most connections at a time, over all listeners.").
		Default("512").IntVar(&f.maxConns)
	cmd.Flag("web.enable-lifecycle", "Allow POST /-/reload and /-/quit.").BoolVar(&f.lifecycle)
	cmd.Flag("web.enable-admin-api", "Allow deletion of series and snapshots over HTTP.").BoolVar(&f.admin)
	cmd.Flag("web.enable-remote-write-receiver", "Accept remote write at /api/v1/write.").BoolVar(&f.remoteWrite)
	cmd.Flag("web.enable-otlp-receiver", "Accept OTLP metrics at /api/v1/otlp/v1/metrics.").BoolVar(&f.otlp)
	cmd.Flag("web.remote-write-receiver.accepted-protobuf-messages", "Messages of remote write that are accepted, may be repeated: prometheus.WriteRequest, io.prometheus.write.v2.Request.").
		StringsVar(&f.messages)
	cmd.Flag("web.cors.origin", "Regular expression for the whole of the origins whose scripts may ask the API.").Default(".*").StringVar(&f.cors)
	cmd.Flag("web.max-notifications-subscribers", "How many may follow /api/v1/notifications/live at a time.").Default("16").IntVar(&f.subscribers)
	cmd.Flag("web.search.max-limit", "Most results of the search API, with --enable-feature=search-api; 0 for no bound.").Default("10000").IntVar(&f.search)
	for _, name := range []string{"web.console.templates", "web.console.libraries", "web.user-assets", "web.page-title"} {
		cmd.Flag(name, "Taken for compatibility: the page is Strata's own.").Hidden().String()
	}
	cmd.Flag("page.dashboards", "Directory of Grafana dashboards (JSON) that the page shows beside the built-in ones; read again when its files change.").
		PlaceHolder("<dir>").StringVar(&f.dashboards)

	f.storage.declare(cmd, dir)
	f.read.declare(cmd)
	f.memory.declare(cmd)

	duration(cmd, "query.timeout", "Longest time of a query.", &f.queryTime).Default("2m")
	cmd.Flag("query.max-concurrency", "Most queries at a time.").
		Default(strconv.Itoa(query.DefaultMaxConcurrency)).IntVar(&f.query.MaxConcurrency)
	cmd.Flag("query.max-samples", "Most samples that a query may hold in memory.").
		Default(strconv.Itoa(query.DefaultMaxSamples)).IntVar(&f.query.MaxSamples)
	duration(cmd, "query.lookback-delta", "How far back an instant query looks for a sample.", &f.lookback).Default("5m")

	cmd.Flag("rules.builtin", "Evaluate Strata's own recording rules and alerts beside those of the configuration.").
		Default(strconv.FormatBool(builtinRules)).BoolVar(&f.builtinRules)
	duration(cmd, "rules.alert.for-outage-tolerance", "Longest pause that the state of an alert's for survives.", &f.outage).Default("1h")
	duration(cmd, "rules.alert.for-grace-period", "Shortest for whose state is restored after a pause.", &f.grace).Default("10m")
	duration(cmd, "rules.alert.resend-delay", "Shortest time before an alert is sent again.", &f.resend).Default("1m")
	cmd.Flag("alertmanager.notification-queue-capacity", "Most alerts that wait for an Alertmanager.").
		Default(strconv.Itoa(rule.DefaultQueueCapacity)).IntVar(&f.queue)
	cmd.Flag("alertmanager.notification-batch-size", "Most alerts that are sent to an Alertmanager at once.").
		Default(strconv.Itoa(rule.DefaultBatchSize)).IntVar(&f.batch)
	cmd.Flag("alertmanager.drain-notification-queue-on-shutdown", "Send the alerts that wait before the end.").Default("true").BoolVar(&f.drain)
	cmd.Flag("rules.max-concurrent-evals", "Most rules that are evaluated side by side with --enable-feature=concurrent-rule-eval.").
		Default(strconv.Itoa(rule.DefaultConcurrency)).IntVar(&f.evaluations)
	duration(cmd, "scrape.discovery-reload-interval", "How often changes of targets are taken up.", &f.discovery).Hidden().Default("5s")
	cmd.Flag("scrape.adjust-timestamps", "Put the times of scrapes to their schedule, within --scrape.timestamp-tolerance.").
		Hidden().Default("true").BoolVar(&f.align)
	cmd.Flag("scrape.timestamp-tolerance", "By how much.").Hidden().Default("2ms").DurationVar(&f.tolerance)

	cmd.Flag("scrape.body-size-limit-default", "Largest body, uncompressed, of targets whose job and global section set no body_size_limit; 0 for none.").
		Default("50MB").BytesVar(&f.bodyLimit)
	cmd.Flag("enable-feature", "Optional feature, may be repeated or separated by commas: "+strings.Join(featureNames(), ", ")+".").
		StringsVar(&f.featureList)
}

// durationValue is Prometheus' way to write a duration (1d, 1h30m), with errors
// that name the flag.
type durationValue struct {
	*model.Duration
	flag string
}

// Set implements kingpin.Value.
func (v durationValue) Set(s string) error {
	if err := v.Duration.Set(s); err != nil {
		return fmt.Errorf("--%s: %w", v.flag, err)
	}
	return nil
}

func duration(cmd *kingpin.CmdClause, name, help string, d *model.Duration) *kingpin.FlagClause {
	c := cmd.Flag(name, help)
	c.SetValue(durationValue{d, name})
	return c
}

// features are the optional parts that are there, and what each turns on.
func features() map[string]func(*pipeline.Options) {
	return map[string]func(*pipeline.Options){
		"concurrent-rule-eval":          func(o *pipeline.Options) { o.Rule.Concurrent = true },
		"delayed-compaction":            func(o *pipeline.Options) { o.Storage.DelayedCompaction = true },
		"exemplar-storage":              func(o *pipeline.Options) { o.Storage.Exemplars = config.DefaultExemplarsConfig.MaxExemplars },
		"fast-startup":                  func(o *pipeline.Options) { o.Storage.TSDB.FastStartup = true },
		"memory-snapshot-on-shutdown":   func(o *pipeline.Options) { o.Storage.SnapshotOnShutdown = true },
		"metadata-wal-records":          func(o *pipeline.Options) { o.Scrape.AppendMetadata = true },
		"openmetrics2":                  func(o *pipeline.Options) { o.Scrape.OpenMetrics2 = true },
		"otlp-deltatocumulative":        func(o *pipeline.Options) { o.Access.DeltaToCumulative = true },
		"otlp-native-delta-ingestion":   func(o *pipeline.Options) { o.Access.NativeDelta = true },
		"promql-binop-fill-modifiers":   func(o *pipeline.Options) { o.Query.Parser.EnableBinopFillModifiers = true },
		"promql-delayed-name-removal":   func(o *pipeline.Options) { o.Query.DelayedNameRemoval = true },
		"promql-experimental-functions": func(o *pipeline.Options) { o.Query.Parser.EnableExperimentalFunctions = true },
		"promql-per-step-stats":         func(o *pipeline.Options) { o.Query.PerStepStats = true },
		"promql-unquoted-utf8-names":    func(o *pipeline.Options) { o.Query.Parser.EnableUnquotedUTF8Names = true },
		"query-cost":                    func(o *pipeline.Options) { o.Access.QueryCost = true },
		"search-api":                    func(o *pipeline.Options) { o.Access.Search = true },
		"st-synthesis":                  func(o *pipeline.Options) { o.Scrape.StartTimestamps = true },
		"type-and-unit-labels":          func(o *pipeline.Options) { o.Scrape.TypeAndUnit = true },
		"use-uncached-io":               func(o *pipeline.Options) { o.Storage.TSDB.UncachedIO = true },
		"zstd-scrape":                   func(o *pipeline.Options) { o.Scrape.Zstd = true },
	}
}

// autoReload is the feature that --config.auto-reload was.
const autoReload = "auto-reload-config"

// oldFeatures are optional in no Prometheus 3 any more, which warns of them; with
// what to do instead.
func oldFeatures() map[string]string {
	old := map[string]string{
		autoReload:          "use --config.auto-reload",
		"native-histograms": "set scrape_native_histograms in the configuration",
	}
	for _, name := range []string{
		"auto-gomaxprocs", "auto-gomemlimit", "expand-external-labels", "new-service-discovery-manager", "no-default-scrape-port", "ooo-native-histograms",
		"promql-at-modifier", "promql-duration-expr", "promql-extended-range-selectors", "promql-negative-offset", "utf8-names",
	} {
		old[name] = "leave it out: it is always on"
	}
	return old
}

func featureNames() []string {
	var names []string
	for n := range features() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// kept says what the flags keep, for people.
func (f *pipelineFlags) kept() string {
	r := f.storage.retention
	if r == (config.TSDBRetentionConfig{}) {
		r.Time = model.Duration(store.DefaultRetention)
	}
	return store.Retained(r)
}

// defaults is what a configuration that leaves things open gets.
func (f *pipelineFlags) defaults(e *env) discover.Defaults {
	return discover.Defaults{BodySizeLimit: f.bodyLimit, LogLevel: e.log.Level.String()}
}

// options turns the flags into those of a pipeline, all but where its
// configuration comes from. Its errors are usage errors.
func (f *pipelineFlags) options(e *env, cmd *kingpin.CmdClause, logger *slog.Logger, reg *serve.Registry) (pipeline.Options, error) {
	o := pipeline.Options{
		Query: f.query,
		Rule: rule.Options{
			OutageTolerance: time.Duration(f.outage),
			GracePeriod:     time.Duration(f.grace),
			ResendDelay:     time.Duration(f.resend),
			QueueCapacity:   f.queue,
			BatchSize:       f.batch,
			NoDrain:         !f.drain,
			Concurrency:     f.evaluations,
		},
		Scrape:          scrape.Options{DiscoveryInterval: time.Duration(f.discovery), DefaultBodySizeLimit: f.bodyLimit},
		ListenAddress:   f.listen()[0],
		Flags:           flagValues(e.app, cmd),
		EnableLifecycle: f.lifecycle,
		OnApply:         e.tuneProcess(logger),
		Logger:          logger,
		Registry:        reg,
	}
	if f.builtinRules {
		o.Rule.Builtin = dashboards.Rules()
	}
	o.Query.Timeout, o.Query.LookbackDelta = time.Duration(f.queryTime), time.Duration(f.lookback)
	for name, v := range map[string]int{"query.max-concurrency": f.query.MaxConcurrency, "query.max-samples": f.query.MaxSamples,
		"web.max-connections": f.maxConns, "alertmanager.notification-queue-capacity": f.queue,
		"alertmanager.notification-batch-size": f.batch, "rules.max-concurrent-evals": f.evaluations, "web.max-notifications-subscribers": f.subscribers} {
		if v <= 0 {
			return o, usagef("--%s must be above 0, not %d", name, v)
		}
	}
	err := f.memory.check()
	if err != nil {
		return o, err
	}
	if o.Storage, err = f.storage.options(); err != nil {
		return o, err
	}
	if o.Access, err = f.access(); err != nil {
		return o, err
	}
	if err := f.enable(&o, logger); err != nil {
		return o, err
	}
	if f.align != promscrape.AlignScrapeTimestamps || f.tolerance != promscrape.ScrapeTimestampTolerance {
		promscrape.AlignScrapeTimestamps, promscrape.ScrapeTimestampTolerance = f.align, f.tolerance // they are the process's
	}
	o.ExternalURL, err = f.url()
	return o, err
}

// wanted are the features that are asked for.
func (f *pipelineFlags) wanted() []string {
	return strings.FieldsFunc(strings.Join(f.featureList, ","), func(r rune) bool { return r == ',' })
}

// enable turns the optional features on.
func (f *pipelineFlags) enable(o *pipeline.Options, logger *slog.Logger) error {
	for _, name := range f.wanted() {
		if instead, ok := oldFeatures()[name]; ok {
			logger.Warn("This is no feature of --enable-feature any more", "feature", name, "do", instead)
			continue
		}
		enable, ok := features()[name]
		if !ok {
			return usagef("--enable-feature=%s is not supported; there are %s", name, strings.Join(featureNames(), ", "))
		}
		enable(o)
	}
	switch {
	case o.Access.DeltaToCumulative && o.Access.NativeDelta:
		return usagef("--enable-feature: otlp-deltatocumulative and otlp-native-delta-ingestion exclude each other")
	case o.Storage.TSDB.UncachedIO && !fileutil.UncachedIOSupported():
		return usagef("--enable-feature=use-uncached-io is not supported on this system")
	}
	return nil
}

// access is what the flags let others do over HTTP.
func (f *pipelineFlags) access() (*query.Access, error) {
	a := query.DefaultAccess()
	a.EnableAdmin, a.EnableRemoteWrite, a.EnableOTLP = f.admin, f.remoteWrite, f.otlp
	a.ReadSamples, a.ReadConcurrency, a.ReadFrame = f.read.samples, f.read.concurrency, f.read.frame
	a.Subscribers, a.SearchLimit = f.subscribers, f.search
	if f.read.samples < 0 || f.read.concurrency < 0 || f.read.frame <= 0 {
		return nil, usagef("--storage.remote.read-sample-limit and --storage.remote.read-concurrent-limit must not be below 0, and --storage.remote.read-max-bytes-in-frame above it")
	}
	if f.search < 0 {
		return nil, usagef("--web.search.max-limit must not be below 0")
	}
	var err error
	if a.CORSOrigin, err = regexp.Compile("^(?:" + f.cors + ")$"); err != nil {
		return nil, usagef("--web.cors.origin: %w", err)
	}
	if len(f.messages) > 0 {
		a.WriteMessages = nil
	}
	for _, name := range f.messages {
		message := remote.WriteMessageType(name)
		if err := message.Validate(); err != nil {
			return nil, usagef("--web.remote-write-receiver.accepted-protobuf-messages: %w", err)
		}
		a.WriteMessages = append(a.WriteMessages, message)
	}
	return &a, nil
}

// remoteReadFlags bound what remote read takes.
type remoteReadFlags struct{ samples, concurrency, frame int }

func (f *remoteReadFlags) declare(cmd *kingpin.CmdClause) {
	byDefault := query.DefaultAccess()
	cmd.Flag("storage.remote.read-sample-limit", "Most samples of an answer to remote read that is not streamed; 0 for no bound.").
		Default(strconv.Itoa(byDefault.ReadSamples)).IntVar(&f.samples)
	cmd.Flag("storage.remote.read-concurrent-limit", "Most requests of remote read at a time; 0 for no bound.").
		Default(strconv.Itoa(byDefault.ReadConcurrency)).IntVar(&f.concurrency)
	cmd.Flag("storage.remote.read-max-bytes-in-frame", "Size of a part of a streamed answer to remote read.").
		Default(strconv.Itoa(byDefault.ReadFrame)).IntVar(&f.frame)
}

func usagef(format string, args ...any) error {
	return &serve.UsageError{Err: fmt.Errorf(format, args...)}
}

func (f *pipelineFlags) listen() []string { return f.web.Options("", nil, nil).Listen }

// url is --web.external-url, or what can be guessed from the host's name and
// the first address.
func (f *pipelineFlags) url() (*url.URL, error) {
	if f.externalURL == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("read the host's name; give --web.external-url: %w", err)
		}
		_, port, err := net.SplitHostPort(f.listen()[0])
		if err != nil {
			return nil, usagef("--web.listen-address: %w", err)
		}
		return &url.URL{Scheme: f.scheme(), Host: net.JoinHostPort(host, port)}, nil
	}
	u, err := url.Parse(f.externalURL)
	if err != nil {
		return nil, usagef("--web.external-url: %w", err)
	}
	if u.Scheme == "" || u.Host == "" {
		return nil, usagef("--web.external-url: %q has no scheme or no host", f.externalURL)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func (f *pipelineFlags) scheme() string {
	var c web.Config
	content, err := os.ReadFile(f.web.Options("", nil, nil).WebConfigFile)
	if err == nil && yaml.Unmarshal(content, &c) == nil && c.TLSConfig.IsEnabled() {
		return "https"
	}
	return "http" // what is wrong with the file, the server says
}

// prefix is the path below which the routes are, "" for none.
func (f *pipelineFlags) prefix(external *url.URL) string {
	p := f.routePrefix
	if p == "" {
		p = external.Path
	}
	if p = strings.Trim(p, "/"); p == "" {
		return ""
	}
	return "/" + p
}

// flagValues are the values of all flags, as the API shows them.
func flagValues(app *kingpin.Application, cmd *kingpin.CmdClause) map[string]string {
	values := map[string]string{}
	add := func(m *kingpin.FlagGroupModel) {
		for _, f := range m.Flags {
			if f.Name != "help" && f.Name != "version" && !f.Hidden {
				values[f.Name] = f.Value.String()
			}
		}
	}
	add(app.Model().FlagGroupModel)
	add(cmd.Model().FlagGroupModel)
	return values
}
