package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/discover"
)

// upCommand is `strata up`.
func upCommand() command {
	return command{name: "up", help: "Measure this host: exporters, pipeline and page in one process, without configuration.", serves: true,
		setup: func(cmd *kingpin.CmdClause, e *env) func(context.Context) error {
			u := &up{env: e, cmd: cmd, out: os.Stdout}
			u.pipeline.declare(cmd, "127.0.0.1:9090", dataDir(), true)
			duration(cmd, "scrape.interval", "How often the built-in targets are scraped.", &u.interval).Default("5s")
			cmd.Flag("config.file", "Configuration, as Prometheus reads it, whose jobs, rules and remote storage are added to the built-in ones.").
				PlaceHolder("<file>").StringVar(&u.config)
			u.exporters.declare(cmd)
			u.adapter.declare(cmd, e, "127.0.0.1", true)
			cmd.GetFlag("kubeconfig").Help("Kubeconfig of a cluster whose objects are to be measured, and whose metrics APIs are to be answered.")
			u.core.declare(cmd)
			u.fast.declare(cmd)
			u.keda.declare(cmd)
			return u.run
		}}
}

// dataDir is where a user's programs keep state, by the XDG base directory
// specification.
func dataDir() string {
	state := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); state == "" && err == nil {
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "strata", "data")
}

// up is one run of the command.
type up struct {
	env       *env
	cmd       *kingpin.CmdClause
	out       io.Writer
	pipeline  pipelineFlags
	interval  model.Duration
	config    string
	exporters exporterFlags
	adapter   adapterFlags
	core      coreFlags
	fast      fastFlags
	keda      kedaFlags
}

func (u *up) run(ctx context.Context) (err error) {
	logger := u.env.logger()
	u.exporters.kubeconfig = u.adapter.api.kubeconfig
	layers, err := u.exporters.start(logger)
	defer func() {
		for _, l := range layers {
			err = errors.Join(err, l.close())
		}
	}()
	if err != nil {
		return err
	}
	reg := serve.NewRegistry("strata")
	o, err := u.pipeline.options(u.env, u.cmd, logger, reg)
	if err != nil {
		return err
	}
	u.pipeline.memory.apply(ctx, logger)
	s, err := u.pipeline.server(logger, reg)
	if err != nil {
		return err
	}
	for _, l := range layers {
		if l.measure != nil {
			s.Wrap = l.measure
		}
	}
	if err := s.Listen(); err != nil {
		return err
	}
	address := s.Addrs()[0].String()
	self := &layer{targets: []discover.Exporter{{Job: discover.JobSelf, Address: address}}}
	o.Load = u.load(append(layers, self), u.pipeline.defaults(u.env))
	if o.Fast, err = u.fast.start(u.adapter.api.config, logger, reg); err != nil {
		return err
	}
	p, err := pipeline.New(o)
	if err != nil {
		return err
	}
	api, scaler, err := u.answer(s, p, o.ExternalURL, reg)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	u.tell(address, layers, api)

	group, ctx := errgroup.WithContext(ctx)
	for _, l := range layers {
		group.Go(func() error { return l.run(ctx) })
	}
	group.Go(func() error {
		return scaler.before(ctx, func(ctx context.Context) error {
			return together(ctx, api.run, func(ctx context.Context) error { return runPipeline(ctx, p, s) })
		})
	})
	return group.Wait()
}

// answer makes what answers from the pipeline: the page and PromQL, with a
// cluster its metrics APIs, and KEDA.
func (u *up) answer(s *serve.Server, p *pipeline.Pipeline, external *url.URL, reg *serve.Registry) (*adapterAPI, *kedaScaler, error) {
	if err := u.pipeline.route(s, p, u.pipeline.prefix(external), reg); err != nil {
		return nil, nil, err
	}
	var api *adapterAPI
	var err error
	if u.adapter.api.kubeconfig != "" {
		if api, err = u.adapter.start(u.env, p, &u.core, reg); err != nil {
			return nil, nil, err
		}
	}
	api.route(s)
	scaler, err := u.keda.start(u.env, p, api, u.adapter.maxAge, reg)
	return api, scaler, err
}

// load makes the configuration: the built-in jobs, after those of the user's
// file where there is one.
func (u *up) load(layers []*layer, d discover.Defaults) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		var targets []discover.Exporter
		for _, l := range layers {
			for _, t := range l.targets {
				t.Interval = time.Duration(u.interval)
				targets = append(targets, t)
			}
		}
		if u.config == "" {
			return discover.Builtin(time.Duration(u.interval), d, targets...)
		}
		conf, err := discover.Load(u.config, d, u.env.logger())
		if err != nil {
			return nil, err
		}
		return conf, discover.Add(conf, targets...)
	}
}

// tell prints where everything is.
func (u *up) tell(page string, layers []*layer, api *adapterAPI) {
	table := tabwriter.NewWriter(u.out, 0, 0, 2, ' ', 0)
	line := func(what, where, note string) { _, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", what, where, note) }
	_, _ = fmt.Fprintln(u.out, "Strata measures this host. Ctrl-C ends it.")
	_, _ = fmt.Fprintln(u.out)
	line("page", "http://"+page+"/", "")
	line("PromQL", "http://"+page+"/api/v1/query?query=up", "")
	for _, l := range layers {
		where := "-"
		if len(l.targets) > 0 {
			where = "http://" + l.targets[0].Address + "/metrics"
		}
		line(l.name, where, l.note)
	}
	if api != nil {
		line("metrics APIs", "https://"+api.server.Addr().String()+"/apis", "kubectl top and HPAs ask them once an APIService leads here")
	}
	line("data", u.pipeline.storage.dir, "kept "+u.pipeline.kept())
	_, _ = fmt.Fprintln(table)
	_ = table.Flush()
}
