package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/storage"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/adapter"
	"github.com/strata-metrics/strata/pipeline/apiserver"
	"github.com/strata-metrics/strata/pipeline/explain"
	"github.com/strata-metrics/strata/pipeline/journal"
	"github.com/strata-metrics/strata/pipeline/keda"
	"github.com/strata-metrics/strata/pipeline/metricrule"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/resource"
)

// adapterFlags are those of custom and external metrics.
type adapterFlags struct {
	api  apiFlags
	file string
	// maxAge is how old samples may be where a rule says nothing.
	maxAge model.Duration
	// builtin offers the names that need no rule.
	builtin bool
	// metricRules watches the rules of namespaces.
	metricRules bool
}

// declare adds the flags. bind and builtin are the defaults of --bind-address
// and --adapter.builtin.
func (f *adapterFlags) declare(cmd *kingpin.CmdClause, e *env, bind string, builtin bool) {
	cmd.Flag("adapter.config", "Rules of custom and external metrics, as prometheus-adapter reads them. With it, custom.metrics.k8s.io and external.metrics.k8s.io are served on --secure-port.").
		PlaceHolder("<file>").StringVar(&f.file)
	duration(cmd, "adapter.max-age", "How old the samples behind an answer may be where its rule has no maxAge; 0 is as old as a query looks back.", &f.maxAge).Default("0s")
	cmd.Flag("adapter.builtin", "Offer the metrics of every pod that is scraped as custom metrics without rules: x_total as x_per_second, a gauge by its name, a histogram as x_p50, x_p90, x_p95 and x_p99. With it, the APIs are served without --adapter.config too.").
		Default(strconv.FormatBool(builtin)).BoolVar(&f.builtin)
	cmd.Flag("adapter.metricrules", "Serve the metrics that teams publish with MetricRules of the cluster, where the APIs are served.").
		Default("true").BoolVar(&f.metricRules)
	f.api.declare(cmd, e, bind)
}

// adapterAPI serves custom and external metrics from a pipeline's store.
type adapterAPI struct {
	file    string
	adapter *adapter.Adapter
	lister  *adapter.Lister
	server  *apiserver.Server
	journal *journal.Journal
	explain *explain.Explainer
	rules   *metricrule.Controller // nil without --adapter.metricrules
	core    *coreAPI               // nil where strata core serves metrics.k8s.io
	log     *slog.Logger
}

// start loads the rules and binds the port. Without --adapter.config and
// --adapter.builtin it gives nil, which serves nothing. core has metrics.k8s.io
// served too, unless it is nil.
func (f *adapterFlags) start(e *env, p *pipeline.Pipeline, core *coreFlags, reg prometheus.Registerer) (*adapterAPI, error) {
	if f.file == "" && !f.builtin {
		return nil, nil
	}
	a := &adapterAPI{file: f.file, log: e.logger().With("component", "adapter")}
	config, err := f.api.config()
	if err != nil {
		return nil, err
	}
	if core != nil {
		if a.core, err = core.start(e, config, reg); err != nil {
			return nil, err
		}
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for objects' names: %w", err)
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the cluster's resources: %w", err)
	}
	if a.lister, err = adapter.NewLister(adapter.ListerOptions{Client: objects, Logger: a.log}); err != nil {
		return nil, err
	}
	if err := a.explainer(f, p, config, reg); err != nil {
		return nil, err
	}
	var builtin *adapter.Builtin
	if f.builtin {
		builtin = &adapter.Builtin{Type: p.MetricType, Interval: p.ScrapeInterval}
	}
	a.adapter, err = adapter.New(adapter.Options{
		Builtin: builtin, Querier: localData(p), Mapper: adapter.NewMapper(kinds), Lister: a.lister, Parser: p.Engine().Parser(),
		MaxAge: time.Duration(f.maxAge), Journal: a.journal, Logger: a.log, Registry: reg,
	})
	if err != nil {
		return nil, err
	}
	if a.file != "" {
		if err := a.adapter.LoadFile(a.file); err != nil {
			return nil, fmt.Errorf("--adapter.config: %w", err)
		}
	}
	if err := a.watchRules(f, p, config, reg); err != nil {
		return nil, err
	}
	o, err := f.api.options(e, config)
	if err != nil {
		return nil, err
	}
	o.Name, o.Custom, o.External = "strata-adapter", a.adapter, a.adapter
	o.Serves = f.serves(a.adapter)
	o.Ready = []healthz.HealthChecker{resource.NewCheck("store", p.Whole)}
	a.core.serve(&o)
	a.server, err = apiserver.New(o)
	return a, err
}

// localData is a pipeline's store as rules ask it.
func localData(p *pipeline.Pipeline) *adapter.Local {
	return adapter.NewLocal(p.Store(), func(q storage.Queryable) adapter.Querier { return query.NewQuerier(p.Engine(), q) })
}

// serves tells whether a group of the APIs is there: when there are rules for
// it, as prometheus-adapter does it. One that an APIService leads here for is
// always, since one that leads to nothing spoils discovery of the whole cluster.
func (f *adapterFlags) serves(a *adapter.Adapter) func(group string) bool {
	return func(group string) bool {
		for _, s := range f.api.apiServices {
			if _, g, _ := strings.Cut(s, "."); g == group {
				return true
			}
		}
		custom, external := a.Serves()
		return group == custom_metrics.GroupName && custom || group == external_metrics.GroupName && external
	}
}

// explainer makes what keeps the answers and what explains them.
func (a *adapterAPI) explainer(f *adapterFlags, p *pipeline.Pipeline, config *rest.Config, reg prometheus.Registerer) error {
	a.journal = journal.New(journal.Options{Autoscalers: append(slices.Clone(f.api.autoscalers), keda.User), Store: p.Store(), Logger: a.log, Registry: reg})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for autoscalers: %w", err)
	}
	a.explain, err = explain.New(explain.Options{Client: client, Journal: a.journal, History: p.Querier()})
	return err
}

// watchRules makes what takes the rules from the cluster.
func (a *adapterAPI) watchRules(f *adapterFlags, p *pipeline.Pipeline, config *rest.Config, reg prometheus.Registerer) error {
	if !f.metricRules {
		return nil
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for MetricRules: %w", err)
	}
	a.rules, err = metricrule.New(metricrule.Options{Client: client, Adapter: a.adapter, Parser: p.Engine().Parser(), Logger: a.log, Registry: reg})
	return err
}

// route gives the server of the page what there is to say of autoscalers.
func (a *adapterAPI) route(s *serve.Server) {
	if a == nil {
		s.Handle(explain.Path, "", explain.Unavailable())
		return
	}
	s.Handle(journal.Path, "", a.journal)
	s.Handle(explain.Path, "", a.explain)
}

// reload takes the rules from their file again. A broken file leaves those
// before in force.
func (a *adapterAPI) reload() {
	if a == nil || a.file == "" {
		return
	}
	if err := a.adapter.LoadFile(a.file); err != nil {
		a.log.Error("the rules before stay in force", "err", err)
	}
}

// run serves until ctx ends.
func (a *adapterAPI) run(ctx context.Context) error {
	if a == nil {
		<-ctx.Done()
		return nil
	}
	runs := []func(context.Context) error{a.lister.Run, a.journal.Run, a.server.Run}
	if a.rules != nil {
		runs = append(runs, a.rules.Run)
	}
	if a.core != nil {
		runs = append(runs, a.core.run)
	}
	return together(ctx, runs...)
}
