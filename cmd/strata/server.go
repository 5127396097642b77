package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/util/netconnlimit"
	"go.yaml.in/yaml/v2"

	"github.com/strata-metrics/strata/dashboards"
	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/page"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/rule"
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

	dir         string
	retention   config.TSDBRetentionConfig
	compressWAL bool
	reserve     units.Base2Bytes
	flush       model.Duration

	query        query.Options
	queryTime    model.Duration
	lookback     model.Duration
	builtinRules bool
	outage       model.Duration
	grace        model.Duration
	resend       model.Duration
	queue        int
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
	cmd.Flag("page.dashboards", "Directory of Grafana dashboards (JSON) that the page shows beside the built-in ones; read again when its files change.").
		PlaceHolder("<dir>").StringVar(&f.dashboards)

	cmd.Flag("storage.tsdb.path", "Directory of the stored samples.").Default(dir).StringVar(&f.dir)
	duration(cmd, "storage.tsdb.retention.time", "How long samples are kept; 15d when no size is set either. The configuration's storage.tsdb.retention holds over it.", &f.retention.Time).PlaceHolder("<duration>")
	cmd.Flag("storage.tsdb.retention.size", "How many bytes of blocks are kept, such as 512MB.").
		PlaceHolder("<bytes>").BytesVar(&f.retention.Size)
	cmd.Flag("storage.tsdb.wal-compression", "Compress the write-ahead log.").Default("true").BoolVar(&f.compressWAL)
	cmd.Flag("storage.tsdb.reserve", "Bytes of disk held back, at most a sixteenth of it, so that the store survives a disk that others fill.").
		Default("64MB").BytesVar(&f.reserve)
	duration(cmd, "storage.remote.flush-deadline", "How long remote write may flush at the end.", &f.flush).Default("1m")

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
		"memory-snapshot-on-shutdown":   func(o *pipeline.Options) { o.Storage.SnapshotOnShutdown = true },
		"promql-delayed-name-removal":   func(o *pipeline.Options) { o.Query.DelayedNameRemoval = true },
		"promql-experimental-functions": func(o *pipeline.Options) { o.Query.Parser.EnableExperimentalFunctions = true },
		"promql-per-step-stats":         func(o *pipeline.Options) { o.Query.PerStepStats = true },
		"promql-unquoted-utf8-names":    func(o *pipeline.Options) { o.Query.Parser.EnableUnquotedUTF8Names = true },
	}
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
	r := f.retention
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
		Storage: store.Options{
			Dir:              f.dir,
			Retention:        f.retention,
			NoWALCompression: !f.compressWAL,
			Reserve:          int64(f.reserve),
			FlushDeadline:    time.Duration(f.flush),
		},
		Query: f.query,
		Rule: rule.Options{
			OutageTolerance: time.Duration(f.outage),
			GracePeriod:     time.Duration(f.grace),
			ResendDelay:     time.Duration(f.resend),
			QueueCapacity:   f.queue,
		},
		BodySizeLimit:     f.bodyLimit,
		ListenAddress:     f.listen()[0],
		Flags:             flagValues(e.app, cmd),
		EnableAdmin:       f.admin,
		EnableLifecycle:   f.lifecycle,
		EnableRemoteWrite: f.remoteWrite,
		EnableOTLP:        f.otlp,
		OnApply:           e.tuneProcess(logger),
		Logger:            logger,
		Registry:          reg,
	}
	if f.builtinRules {
		o.Rule.Builtin = dashboards.Rules()
	}
	if f.reserve == 0 {
		o.Storage.Reserve = -1
	}
	o.Query.Timeout, o.Query.LookbackDelta = time.Duration(f.queryTime), time.Duration(f.lookback)
	for name, v := range map[string]int{"query.max-concurrency": f.query.MaxConcurrency, "query.max-samples": f.query.MaxSamples,
		"web.max-connections": f.maxConns, "alertmanager.notification-queue-capacity": f.queue} {
		if v <= 0 {
			return o, usagef("--%s must be above 0, not %d", name, v)
		}
	}
	for _, name := range strings.FieldsFunc(strings.Join(f.featureList, ","), func(r rune) bool { return r == ',' }) {
		enable, ok := features()[name]
		if !ok {
			return o, usagef("--enable-feature=%s is not supported; there are %s", name, strings.Join(featureNames(), ", "))
		}
		enable(&o)
	}
	var err error
	o.ExternalURL, err = f.url()
	return o, err
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

// server makes the HTTP server, without routes yet.
func (f *pipelineFlags) server(logger *slog.Logger, reg *serve.Registry) (*serve.Server, error) {
	o := f.web.Options("strata", logger, reg)
	o.ReadTimeout = time.Duration(f.readTimeout)
	connections := netconnlimit.NewSharedSemaphore(f.maxConns)
	o.WrapListener = func(l net.Listener) net.Listener { return netconnlimit.SharedLimitListener(l, connections) }
	return serve.New(o)
}

// route gives a server the page and the routes of a pipeline.
func (f *pipelineFlags) route(s *serve.Server, p *pipeline.Pipeline, prefix string, reg *serve.Registry) error {
	home, err := page.New(page.Options{Prefix: prefix})
	if err != nil {
		return err
	}
	s.AddReady("pipeline", p.Ready)
	s.Handle("/metrics", "Metrics", promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})))
	s.Handle("/version", "Version", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, version.Print("strata"))
	}))
	p.Routes(s.Handle)
	boards := page.NewDashboards(page.DashboardsOptions{Builtin: dashboards.Grafana(), Dir: f.dashboards, Logger: s.Logger})
	s.Handle(page.DashboardsPath, "", boards)
	s.Handle(page.DashboardsPath+"/", "", boards)
	s.Handle("/", "", home)
	if prefix != "" {
		s.Handle(prefix+"/", "", http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.Handler().ServeHTTP(w, r)
		})))
	}
	return nil
}

// tuneProcess sets what a configuration says about the process as a whole.
func (e *env) tuneProcess(logger *slog.Logger) func(*config.Config) {
	return func(conf *config.Config) {
		if err := e.log.Level.Set(string(conf.Runtime.LogLevel)); err != nil {
			logger.Warn("runtime.log_level is not used", "err", err)
		}
		debug.SetGCPercent(conf.Runtime.GoGC)
	}
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

// runPipeline runs a pipeline and its HTTP server until the context ends or one
// of them does. The server ends first, since a query must not run on a store
// that is being closed. SIGHUP reloads the configuration.
func runPipeline(ctx context.Context, p *pipeline.Pipeline, s *serve.Server) error {
	webCtx, webCancel := context.WithCancel(ctx)
	defer webCancel()
	pipeCtx, pipeCancel := context.WithCancel(context.WithoutCancel(ctx))
	defer pipeCancel()
	ended := make(chan error, 1)
	go func() {
		defer webCancel()
		ended <- p.Run(pipeCtx)
	}()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	go func() {
		for {
			select {
			case <-hangups:
				_ = p.Reload(webCtx) // it logs its error
			case <-webCtx.Done():
				return
			}
		}
	}()
	err := s.Run(webCtx)
	pipeCancel()
	return errors.Join(err, <-ended)
}

// serverCommand is `strata server`.
func serverCommand() command {
	return command{name: "server", help: "Scrape, store, evaluate and answer: Prometheus with its configuration file and HTTP API.", serves: true,
		setup: func(cmd *kingpin.CmdClause, e *env) func(context.Context) error {
			f := &serverFlags{}
			cmd.Flag("config.file", "Configuration, as Prometheus reads it.").Default("prometheus.yml").StringVar(&f.file)
			f.pipeline.declare(cmd, "0.0.0.0:9090", "data/", false)
			f.adapter.declare(cmd, e, "0.0.0.0", false)
			f.fast.declare(cmd)
			f.keda.declare(cmd)
			return func(ctx context.Context) error { return f.run(ctx, e, cmd) }
		}}
}

// serverFlags are those of strata server.
type serverFlags struct {
	pipeline pipelineFlags
	adapter  adapterFlags
	fast     fastFlags
	keda     kedaFlags
	file     string
}

func (f *serverFlags) run(ctx context.Context, e *env, cmd *kingpin.CmdClause) error {
	logger := e.logger()
	reg := serve.NewRegistry("strata")
	o, err := f.pipeline.options(e, cmd, logger, reg)
	if err != nil {
		return err
	}
	// client-go counts for the process as a whole.
	if err := discovery.RegisterK8sClientMetricsWithPrometheus(reg); err != nil {
		return fmt.Errorf("register the Kubernetes client's metrics: %w", err)
	}
	defaults := f.pipeline.defaults(e)
	o.Load = func() (*config.Config, error) { return discover.Load(f.file, defaults, logger) }
	var api *adapterAPI
	tune := o.OnApply
	o.OnApply = func(c *config.Config) {
		tune(c)
		api.reload()
	}
	if o.Fast, err = f.fast.start(f.adapter.api.config, logger, reg); err != nil {
		return err
	}
	p, err := pipeline.New(o)
	if err != nil {
		return err
	}
	s, err := f.pipeline.server(logger, reg)
	if err == nil {
		err = f.pipeline.route(s, p, f.pipeline.prefix(o.ExternalURL), reg)
	}
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		return errors.Join(err, p.Close())
	}
	if api, err = f.adapter.start(e, p, nil, reg); err != nil {
		return errors.Join(err, p.Close())
	}
	api.route(s)
	scaler, err := f.keda.start(e, p, api, f.adapter.maxAge, reg)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return together(ctx, api.run, func(ctx context.Context) error {
		return scaler.before(ctx, func(ctx context.Context) error { return runPipeline(ctx, p, s) })
	})
}
