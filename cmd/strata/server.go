package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/mwitkow/go-conntrack"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/util/netconnlimit"

	"github.com/strata-metrics/strata/dashboards"
	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/page"
)

// server makes the HTTP server, without routes yet.
func (f *pipelineFlags) server(logger *slog.Logger, reg *serve.Registry) (*serve.Server, error) {
	o := f.web.Options("strata", logger, reg)
	o.ReadTimeout = time.Duration(f.readTimeout)
	connections := netconnlimit.NewSharedSemaphore(f.maxConns)
	o.WrapListener = func(l net.Listener) net.Listener {
		return conntrack.NewListener(netconnlimit.SharedLimitListener(l, connections), conntrack.TrackWithName("http"))
	}
	return serve.New(o)
}

// libraries gathers what Prometheus' packages count for the process as a whole:
// connections, templates, and what goes to remote write.
func libraries() ([]*dto.MetricFamily, error) {
	all, err := prometheus.DefaultGatherer.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool {
		return !strings.HasPrefix(f.GetName(), "net_conntrack_") && !strings.HasPrefix(f.GetName(), "prometheus_")
	}), err
}

// route gives a server the page and the routes of a pipeline.
func (f *pipelineFlags) route(s *serve.Server, p *pipeline.Pipeline, prefix string, reg *serve.Registry) error {
	home, err := page.New(page.Options{Prefix: prefix})
	if err != nil {
		return err
	}
	s.AddReady("pipeline", p.Ready)
	all := promhttp.HandlerFor(prometheus.Gatherers{reg, prometheus.GathererFunc(libraries)}, promhttp.HandlerOpts{Registry: reg, ErrorHandling: promhttp.ContinueOnError})
	s.Handle("/metrics", "Metrics", p.Measure("/metrics", promhttp.InstrumentMetricHandler(reg, all)))
	s.Handle("/version", "Version", p.Measure("/version", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, version.Print("strata"))
	})))
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
			f.declare(cmd, e)
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
	reload   bool
	every    model.Duration
}

func (f *serverFlags) declare(cmd *kingpin.CmdClause, e *env) {
	cmd.Flag("config.file", "Configuration, as Prometheus reads it.").Default("prometheus.yml").StringVar(&f.file)
	cmd.Flag("config.auto-reload", "Load the configuration again when its file, or one that it names, has changed.").BoolVar(&f.reload)
	duration(cmd, "config.auto-reload-interval", "How often --config.auto-reload looks, at least 1s.", &f.every).Default("30s")
	f.pipeline.declare(cmd, "0.0.0.0:9090", "data/", false)
	f.adapter.declare(cmd, e, "0.0.0.0", false)
	f.fast.declare(cmd)
	f.keda.declare(cmd)
}

func (f *serverFlags) run(ctx context.Context, e *env, cmd *kingpin.CmdClause) error {
	logger := e.logger()
	reg := serve.NewRegistry("strata")
	o, err := f.pipeline.options(e, cmd, logger, reg)
	if err != nil {
		return err
	}
	f.pipeline.memory.apply(ctx, logger)
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
	if f.reload || slices.Contains(f.pipeline.wanted(), autoReload) {
		go reloadChanges(ctx, f.file, max(time.Duration(f.every), time.Second), p.Reload, logger)
	}
	return together(ctx, api.run, func(ctx context.Context) error {
		return scaler.before(ctx, func(ctx context.Context) error { return runPipeline(ctx, p, s) })
	})
}

// reloadChanges reloads a configuration whenever its file, or one that it names,
// is another than before, until the context ends.
func reloadChanges(ctx context.Context, file string, every time.Duration, reload func(context.Context) error, logger *slog.Logger) {
	sum := func() string {
		s, err := config.GenerateChecksum(file)
		if err != nil {
			logger.Warn("Cannot see whether the configuration has changed", "err", err)
		}
		return s
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := sum(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now := sum(); now != "" && now != last {
			logger.Info("The configuration has changed")
			if err := reload(ctx); !errors.Is(err, pipeline.ErrStarting) { // it logs what is wrong
				last = now
			}
		}
	}
}
