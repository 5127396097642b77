package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/exporters/app"
	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/exporters/kubestate"
	"github.com/strata-metrics/strata/exporters/node"
	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline/discover"
)

// layer is one of the four exporters in this process, on an address of its own
// as if it were a program of its own.
type layer struct {
	name, note string
	server     *serve.Server // nil when the layer is not there
	targets    []discover.Exporter
	work       func(context.Context) error // beside the server; nil for none
	end        func() error                // nil for none
	// measure stands before the page; nil for a layer that does not.
	measure func(http.Handler) http.Handler
}

func (l *layer) run(ctx context.Context) error {
	if l.server == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.server.Run(ctx) })
	if l.work != nil {
		group.Go(func() error { return l.work(ctx) })
	}
	return group.Wait()
}

func (l *layer) close() error {
	if l == nil || l.end == nil {
		return nil
	}
	return l.end()
}

// exporterFlags are the flags of the four layers.
type exporterFlags struct {
	node, container, app, kubestate string // addresses
	runtime                         string
	appAddress, proxy               string
	kubeconfig                      string
}

func (f *exporterFlags) declare(cmd *kingpin.CmdClause) {
	listen := func(layer, address string, to *string) {
		cmd.Flag(layer+".listen-address", "Address of the "+layer+" exporter.").Default(address).StringVar(to)
	}
	listen("node", "127.0.0.1:9100", &f.node)
	listen("container", "127.0.0.1:9101", &f.container)
	listen("app", "127.0.0.1:9102", &f.app)
	listen("kubestate", "127.0.0.1:9103", &f.kubestate)
	cmd.Flag("container-runtime-endpoint", "Socket of the container runtime (CRI), as unix:///PATH. Empty means that of containerd or CRI-O under /run, if there is one.").
		StringVar(&f.runtime)
	cmd.Flag("app.address", "An app of yours (host:port or URL) whose requests are to be counted: send them to --app.proxy.listen-address instead.").
		StringVar(&f.appAddress)
	cmd.Flag("app.proxy.listen-address", "Where the requests for --app.address are taken.").Default("127.0.0.1:9180").StringVar(&f.proxy)
}

// start makes the exporters and binds their addresses. Those that were made
// before one failed are returned with the error.
func (f *exporterFlags) start(logger *slog.Logger) ([]*layer, error) {
	var layers []*layer
	for _, start := range []func(*slog.Logger) (*layer, error){f.startNode, f.startContainer, f.startApp, f.startKubestate} {
		l, err := start(logger)
		if l != nil {
			layers = append(layers, l)
		}
		if err != nil {
			return layers, err
		}
	}
	return layers, nil
}

// serve binds a layer's address and names its targets after it.
func (l *layer) serve(address, flag string, logger *slog.Logger, registry prometheus.Registerer, targets ...discover.Exporter) error {
	var err error
	l.server, err = serve.New(serve.Options{
		Name: "strata up, " + l.name, Listen: []string{address}, ListenFlag: flag, Logger: logger, Registry: registry,
	})
	if err != nil {
		return err
	}
	if err := l.server.Listen(); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host's name: %w", err)
	}
	for _, t := range targets {
		t.Address = l.server.Addrs()[0].String()
		if t.Labels == nil {
			t.Labels = map[string]string{}
		}
		t.Labels["node"] = host
		l.targets = append(l.targets, t)
	}
	return nil
}

// newRegistry holds what an exporter says of itself beside the process, which
// the job strata shows once for all of them.
func newRegistry(program string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(versioncollector.NewCollector(program))
	return r
}

func (f *exporterFlags) startNode(logger *slog.Logger) (*layer, error) {
	l, registry, o := &layer{name: "node"}, newRegistry("node_exporter"), node.DefaultOptions()
	o.Logger, o.Registry = logger, registry
	exporter, err := node.New(o)
	if err != nil {
		return l, err
	}
	err = l.serve(f.node, "--node.listen-address", logger, registry, discover.Exporter{Job: discover.JobNode})
	if err != nil {
		return l, err
	}
	l.server.Handle("/metrics", "Metrics", exporter.Handler())
	return l, nil
}

func (f *exporterFlags) startContainer(logger *slog.Logger) (*layer, error) {
	l, registry := &layer{name: "container"}, newRegistry("strata_container")
	exporter, err := container.New(container.Options{
		RuntimeEndpoint: f.runtime, Registry: registry, Gatherer: registry, Logger: logger,
	})
	if err != nil {
		// A host without cgroups is measured all the same.
		l.note = "none: " + err.Error()
		return l, nil
	}
	l.end = exporter.Close
	err = l.serve(f.container, "--container.listen-address", logger, registry, discover.Exporter{
		Job: discover.JobKubelet, MetricsPath: "/metrics/cadvisor", HonorLabels: true, OwnTimestamps: true,
	})
	if err != nil {
		return l, err
	}
	l.server.Handle("/metrics", "Containers, as cAdvisor shows them", exporter.Handler())
	l.server.Handle("/metrics/cadvisor", "Containers, as the kubelet shows them", exporter.CAdvisorHandler())
	l.server.Handle("/metrics/resource", "CPU and memory of the node, pods and containers", exporter.ResourceHandler())
	return l, nil
}

func (f *exporterFlags) startKubestate(logger *slog.Logger) (*layer, error) {
	l := &layer{name: "Kubernetes"}
	if f.kubeconfig == "" {
		l.note = "none: --kubeconfig=FILE measures the objects of a cluster"
		return l, nil
	}
	config, err := kubestate.LoadConfig("", f.kubeconfig)
	if err != nil {
		return l, err
	}
	registry := newRegistry("kube_state_metrics")
	exporter, err := kubestate.New(kubestate.Options{Config: config, LinesByObject: true, Logger: logger, Registry: registry})
	if err != nil {
		return l, err
	}
	l.work, l.note = exporter.Run, "objects of "+config.Host
	err = l.serve(f.kubestate, "--kubestate.listen-address", logger, registry, discover.Exporter{Job: discover.JobKubeState, HonorLabels: true})
	if err != nil {
		return l, err
	}
	l.server.AddReady("Kubernetes", exporter.Ready)
	l.server.Handle("/metrics", "State of the cluster's objects", exporter.Handler())
	return l, nil
}

// startApp measures the requests to an app, or, where none is given, those to
// this program's own page and API.
func (f *exporterFlags) startApp(logger *slog.Logger) (*layer, error) {
	l, o := &layer{name: "application"}, app.DefaultOptions()
	o.App, o.Listen, o.ListenFlag, o.Logger = f.appAddress, f.proxy, "--app.proxy.listen-address", logger
	exporter, err := app.New(o)
	if err != nil {
		return l, &serve.UsageError{Err: err}
	}
	if f.appAddress == "" {
		l.measure, l.note = exporter.Measure, "requests to this page; --app.address=HOST:PORT measures an app of yours"
	} else {
		if err := exporter.Listen(); err != nil {
			return l, err
		}
		l.work, l.note = exporter.Run, "requests for "+f.appAddress+" go to http://"+exporter.Addr().String()
	}
	err = l.serve(f.app, "--app.listen-address", logger, newRegistry("strata_app"), discover.Exporter{Job: discover.JobApp})
	if err != nil {
		return l, err
	}
	l.server.Handle("/metrics", "Metrics of the app and its traffic", exporter.Handler())
	return l, nil
}
