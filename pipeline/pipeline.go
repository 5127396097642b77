// Package pipeline is what happens after /metrics: it composes the stages of
// the packages below it, each of which knows only the one before:
//
//	discover -> scrape -> store -> rule
//	                            -> query (PromQL, HTTP API v1)
//
// A Pipeline keeps nothing in package variables, so several may run in one
// process, each with its own registry and data directory.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/tracing"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/rule"
	"github.com/strata-metrics/strata/pipeline/scrape"
	"github.com/strata-metrics/strata/pipeline/store"
)

// Reasons for not being ready, for errors.Is.
var (
	// ErrStarting holds until the log has been replayed and the configuration
	// applied.
	ErrStarting = errors.New("starting: the stored samples are being loaded")
	// ErrStopping holds from the end of the context of Run.
	ErrStopping = errors.New("stopping")
	// ErrGap holds after a start for as long as rates would be missing.
	ErrGap = errors.New("no rates yet: two scrapes are needed after the pause")
)

// Options are the parts of a pipeline. Only Load and Storage.Dir are required.
type Options struct {
	// Load gives the configuration, at New and again at each Reload. It comes
	// from discover.Load for a file or from discover.Builtin for none. When it
	// has no storage.tsdb.retention, that of Storage is put in.
	Load func() (*config.Config, error)
	// OnApply is told of each configuration that has been applied; nil for none.
	// It is for what belongs to the process: log level, garbage collection.
	OnApply func(*config.Config)

	// Scrape, Storage, Query and Rule tune the stages. Their loggers, registerers
	// and references to each other are filled in here.
	Scrape  scrape.Options
	Storage store.Options
	Query   query.Options
	Rule    rule.Options

	// Fast has the targets behind autoscalers scraped more often; nil has none.
	Fast *discover.Fast

	// ExternalURL is how others reach this server; nil means http://localhost.
	ExternalURL *url.URL
	// ListenAddress is where the server listens, as host:port; "" means that it
	// is not known.
	ListenAddress string
	// Flags are the command line, for /api/v1/status/flags.
	Flags map[string]string
	// Access is what the HTTP API lets others do; best made of
	// query.DefaultAccess. nil is that.
	Access *query.Access
	// EnableLifecycle opens the routes that reload and end.
	EnableLifecycle bool

	// Logger receives one line per event; nil discards.
	Logger *slog.Logger
	// Registry receives the metrics of all stages; nil means a new one.
	Registry query.Registry
}

// Pipeline is one set of stages.
type Pipeline struct {
	opts   Options
	logger *slog.Logger

	store    *store.Storage
	engine   *query.Engine
	querier  *query.Querier
	discover *discover.Manager
	scrape   *scrape.Scraper
	rules    *rule.Manager
	tracing  *tracing.Manager
	requests *query.Requests
	api      *query.API
	federate *query.Federate

	ready query.Gate
	whole atomic.Int64 // when rates are there again, Unix milliseconds; see Whole
	quit  chan struct{}
	once  struct{ quit, trace, close sync.Once }

	reloads *reloads
}

// New loads and checks the configuration and its rule files, and makes the
// stages. Nothing is opened or scraped before Run. A pipeline that is not run
// must be closed.
func New(o Options) (*Pipeline, error) {
	o.setDefaults()
	p := &Pipeline{opts: o, logger: o.Logger, quit: make(chan struct{})}
	p.ready.Close(ErrStarting)
	p.engine = query.NewEngine(o.Query)
	conf, err := p.load()
	if err != nil {
		return nil, err
	}
	if err := p.build(conf); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.ExternalURL == nil {
		o.ExternalURL = &url.URL{Scheme: "http", Host: "localhost"}
	}
	if o.Access == nil {
		access := query.DefaultAccess()
		o.Access = &access
	}
	if o.ListenAddress == "" {
		o.ListenAddress = ":0" // the API wants to see a port
	}
	if o.Storage.Retention == (config.TSDBRetentionConfig{}) {
		o.Storage.Retention.Time = model.Duration(store.DefaultRetention)
	}
	o.Query.Logger = o.Logger.With("component", "query engine")
	o.Query.Registerer = o.Registry
}

// build makes the stages in the order in which samples pass through them.
func (p *Pipeline) build(conf *config.Config) error {
	o := p.opts
	metadata := &lateScraper{}
	so := o.Storage
	so.Logger, so.Registerer, so.Metadata = p.logger, o.Registry, metadata
	if t := conf.StorageConfig.TSDBConfig; t != nil {
		so.Retention = *t.Retention
		so.OutOfOrderWindow = time.Duration(t.OutOfOrderTimeWindow) * time.Millisecond
	}
	if so.Exemplars > 0 {
		so.Exemplars = conf.StorageConfig.ExemplarsConfig.MaxExemplars
	}
	so.TypeAndUnit, so.TSDB.MetadataRecords = o.Scrape.TypeAndUnit, o.Scrape.AppendMetadata
	p.store = store.New(so)
	p.querier = query.NewQuerier(p.engine, p.store)
	// What appends would repeat at each interval that the disk is full.
	quiet := slog.New(p.store.Quiet(p.logger.Handler()))

	var err error
	if p.discover, err = discover.New(p.logger, o.Registry); err != nil {
		return err
	}
	sco := o.Scrape
	sco.Store, sco.Logger, sco.Registerer = p.store, quiet, o.Registry
	p.scrape, err = scrape.New(sco)
	if err != nil {
		return err
	}
	metadata.set(p.scrape)

	ro := o.Rule
	ro.Engine, ro.Parser, ro.Store, ro.Local = p.engine, p.engine.Parser(), p.store, p.store.Local()
	ro.ExternalURL, ro.Logger, ro.Registerer = o.ExternalURL, quiet, o.Registry
	p.rules = rule.New(ro)
	p.tracing = tracing.NewManager(p.logger.With("component", "tracing"))
	p.reloads = newReloads(conf, o.Registry)
	p.register(o.Registry)
	p.buildAPI(quiet)
	return nil
}

// register adds what Prometheus' command says of itself, for dashboards and alerts
// that ask for it.
func (p *Pipeline) register(r prometheus.Registerer) {
	p.requests = query.NewRequests(r)
	r.MustRegister(version.NewCollector("prometheus"), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prometheus_ready", Help: "Whether all that was stored has been loaded and queries are answered.",
	}, func() float64 {
		if p.Ready() != nil {
			return 0
		}
		return 1
	}))
}

// Measure measures a route that is not among Routes, as those are.
func (p *Pipeline) Measure(route string, h http.Handler) http.Handler {
	return p.requests.Measure(route, h)
}

func (p *Pipeline) buildAPI(logger *slog.Logger) {
	o := p.opts
	p.api = query.NewAPI(query.APIOptions{
		Engine:         p.engine,
		Store:          p.store,
		Exemplars:      p.store.Local(),
		Admin:          p.store.Local(),
		Dir:            o.Storage.Dir,
		Pools:          p.scrape,
		Targets:        p.scrape,
		Alertmanagers:  p.rules,
		Rules:          p.rules,
		Config:         func() config.Config { return *p.reloads.current() },
		Flags:          o.Flags,
		Status:         p.status,
		Ready:          p.Ready,
		ExternalURL:    o.ExternalURL,
		ListenAddress:  o.ListenAddress,
		Access:         *o.Access,
		TypeAndUnit:    o.Scrape.TypeAndUnit,
		AppendMetadata: o.Scrape.AppendMetadata,
		Requests:       p.requests,
		Logger:         logger.With("component", "web"),
		Registry:       o.Registry,
	})
	p.federate = query.NewFederate(p.engine, p.store.Local(), p.Ready,
		func() config.Config { return *p.reloads.current() }, logger, o.Registry)
	p.api.Notifications.AddNotification(notifications.StartingUp)
}

// status fills what the API cannot know about this process.
func (p *Pipeline) status(info *v1.RuntimeInfo) {
	info.GOGC = strconv.Itoa(p.reloads.current().Runtime.GoGC)
	info.ReloadConfigSuccess, info.LastConfigTime = p.reloads.last()
	info.StorageRetention = store.Retained(*p.reloads.current().StorageConfig.TSDBConfig.Retention)
}

// Store is where samples can be appended and queried.
func (p *Pipeline) Store() *store.Storage { return p.store }

// Engine evaluates PromQL.
func (p *Pipeline) Engine() *query.Engine { return p.engine }

// Querier asks the store in this process.
func (p *Pipeline) Querier() *query.Querier { return p.querier }

// Config is the running configuration; it must not be changed.
func (p *Pipeline) Config() *config.Config { return p.reloads.current() }

// MetricType is what targets of a job say of a metric family, see
// scrape.Scraper.
func (p *Pipeline) MetricType(job, family string) model.MetricType {
	return p.scrape.MetricType(job, family)
}

// ScrapeInterval is how often the targets of a job are scraped; for a job that
// is not in the configuration, what holds by default.
func (p *Pipeline) ScrapeInterval(job string) time.Duration {
	conf := p.reloads.current()
	for _, c := range conf.ScrapeConfigs {
		if c.JobName == job {
			return time.Duration(c.ScrapeInterval)
		}
	}
	return time.Duration(conf.GlobalConfig.ScrapeInterval)
}

// Ready is nil when every query can be answered, else ErrStarting or
// ErrStopping.
func (p *Pipeline) Ready() error { return p.ready.Ready() }

// Whole is Ready, and ErrGap for two scrape intervals after a start which found
// the newest sample further back than that. A rate over the usual window, of four
// intervals, has no value then: of two servers the other must not be stopped
// before.
func (p *Pipeline) Whole() error {
	if err := p.Ready(); err != nil {
		return err
	}
	if left := time.Until(time.UnixMilli(p.whole.Load())); left > 0 {
		return fmt.Errorf("%w, %s from now", ErrGap, left.Round(time.Second))
	}
	return nil
}

// resume notes, before anything is scraped, when rates are whole again.
func (p *Pipeline) resume(now time.Time) error {
	newest, err := p.store.Local().Newest()
	if err != nil {
		return err
	}
	if two := 2 * time.Duration(p.reloads.current().GlobalConfig.ScrapeInterval); now.Sub(newest) > two {
		p.whole.Store(now.Add(two).UnixMilli())
	}
	return nil
}

// Run opens the store, applies the configuration, and scrapes, evaluates and
// answers until the context ends, someone asks for the end over HTTP, or a
// stage fails. It returns when every stage has stopped and the store is closed;
// nil when the end was asked for.
func (p *Pipeline) Run(ctx context.Context) error {
	if err := p.store.Open(); err != nil {
		return errors.Join(err, p.Close())
	}
	if err := p.resume(time.Now()); err != nil {
		return errors.Join(err, p.Close())
	}
	if err := p.engine.Track(p.opts.Storage.Dir); err != nil {
		p.logger.Warn("Queries that run when the process dies will not be logged at the next start", "err", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	stage := func(name string, run func() error) {
		g.Go(func() error {
			defer cancel() // the end of one stage is the end of all
			if err := run(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	// A receiver of targets needs the configuration that they belong to, and
	// evaluated rules need the store: so the stages start after both.
	err := p.apply(p.reloads.current())
	stage("discover", p.discover.Run)
	stage("rule", func() error { p.rules.Run(); return nil })
	stage("notify", func() error { p.rules.RunNotifier(p.discover.Alertmanagers()); return nil })
	targets := p.discover.Targets()
	if p.opts.Fast != nil {
		targets = p.opts.Fast.Targets(ctx, targets, p.reloads.current)
		stage("autoscaled targets", func() error { return p.opts.Fast.Run(ctx) })
	}
	stage("scrape", func() error { return p.scrape.Run(targets) })
	if err == nil {
		p.reloads.done(nil)
		p.ready.Open()
		p.api.Notifications.DeleteNotification(notifications.StartingUp)
		p.logger.Info("The pipeline is ready")
		select {
		case <-ctx.Done():
		case <-p.quit:
		}
	}
	p.ready.Close(ErrStopping)
	p.api.Notifications.AddNotification(notifications.ShuttingDown)
	p.stop()
	return errors.Join(err, g.Wait(), p.Close())
}

// stop ends the stages from the sources on, so that none works on what is gone:
// rules that no longer see targets must not raise absent() alerts.
func (p *Pipeline) stop() {
	p.discover.Stop()
	p.rules.Stop()
	p.scrape.Stop()
	p.rules.StopNotifier()
	p.tracing.Stop()
}

// Quit ends Run as the end of its context does.
func (p *Pipeline) Quit() { p.once.quit.Do(func() { close(p.quit) }) }

// Close releases what New made, for a pipeline that is not run; Run does it by
// itself. It may be called more than once.
func (p *Pipeline) Close() error {
	var err error
	p.once.close.Do(func() {
		if p.discover != nil {
			p.discover.Stop()
		}
		if p.engine != nil {
			err = p.engine.Close()
		}
		if p.store != nil {
			err = errors.Join(err, p.store.Close())
		}
	})
	return err
}
