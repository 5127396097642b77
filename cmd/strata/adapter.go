package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/storage"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/adapter"
	"github.com/strata-metrics/strata/pipeline/apiserver"
	"github.com/strata-metrics/strata/pipeline/query"
	"github.com/strata-metrics/strata/pipeline/resource"
)

// adapterFlags are those of custom and external metrics.
type adapterFlags struct {
	api  apiFlags
	file string
	// maxAge is how old samples may be where a rule says nothing.
	maxAge model.Duration
}

func (f *adapterFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("adapter.config", "Rules of custom and external metrics, as prometheus-adapter reads them. With it, custom.metrics.k8s.io and external.metrics.k8s.io are served on --secure-port.").
		PlaceHolder("<file>").StringVar(&f.file)
	duration(cmd, "adapter.max-age", "How old the samples behind an answer may be where its rule has no maxAge; 0 is as old as a query looks back.", &f.maxAge).Default("0s")
	f.api.declare(cmd)
}

// adapterAPI serves custom and external metrics from a pipeline's store.
type adapterAPI struct {
	file    string
	adapter *adapter.Adapter
	lister  *adapter.Lister
	server  *apiserver.Server
	log     *slog.Logger
}

// start loads the rules and binds the port. Without --adapter.config it gives
// nil, which serves nothing.
func (f *adapterFlags) start(e *env, p *pipeline.Pipeline, reg prometheus.Registerer) (*adapterAPI, error) {
	if f.file == "" {
		return nil, nil
	}
	a := &adapterAPI{file: f.file, log: e.logger().With("component", "adapter")}
	config, err := f.api.config()
	if err != nil {
		return nil, err
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
	local := adapter.NewLocal(p.Store(), func(q storage.Queryable) adapter.Querier { return query.NewQuerier(p.Engine(), q) })
	a.adapter, err = adapter.New(adapter.Options{
		Querier: local, Mapper: adapter.NewMapper(kinds), Lister: a.lister, Parser: p.Engine().Parser(),
		MaxAge: time.Duration(f.maxAge), Logger: a.log, Registry: reg,
	})
	if err != nil {
		return nil, err
	}
	if err := a.adapter.LoadFile(a.file); err != nil {
		return nil, fmt.Errorf("--adapter.config: %w", err)
	}
	o, err := f.api.options(e, config)
	if err != nil {
		return nil, err
	}
	o.Name, o.Custom, o.External = "strata-adapter", a.adapter, a.adapter
	o.Ready = []healthz.HealthChecker{resource.NewCheck("store", p.Ready)}
	a.server, err = apiserver.New(o)
	return a, err
}

// reload takes the rules from their file again. A broken file leaves those
// before in force.
func (a *adapterAPI) reload() {
	if a == nil {
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
	return together(ctx, a.lister.Run, a.server.Run)
}
