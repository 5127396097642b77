// Command strata-kubestate shows the state of a cluster's objects under the
// names, and by the flags, of kube-state-metrics. See the package
// exporters/kubestate.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/strata-metrics/strata/exporters/kubestate"
	"github.com/strata-metrics/strata/internal/metric"
	"github.com/strata-metrics/strata/internal/serve"
)

const name = "strata-kubestate"

func main() {
	serve.CoarseTimers(name, os.Stderr)
	os.Exit(serve.Main(name, os.Args[1:], os.Stderr, run))
}

func run(ctx context.Context, args []string) error {
	app := serve.NewApp(name, "The state of a Kubernetes cluster's objects as metrics, as kube-state-metrics shows it.")
	f, log := &flags{}, &serve.Flags{}
	f.declare(app)
	log.Log(app)
	if _, err := serve.Parse(app, args); err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return &serve.UsageError{Err: err}
	}
	logger, registry := log.Logger(), serve.NewRegistry("kube_state_metrics")
	klog.SetSlogLogger(logger) // what client-go says by itself
	if options.Config, err = kubestate.LoadConfig(f.apiserver, f.kubeconfig); err != nil {
		return err
	}
	options.Logger, options.Registry = logger, registry
	exporter, err := kubestate.New(options)
	if err != nil {
		return err
	}

	shared := serve.Options{Name: name, Logger: logger, WebConfigFile: f.webConfig}
	metrics, telemetry := shared, shared
	metrics.Listen, metrics.ListenFlag = []string{net.JoinHostPort(f.host, f.port)}, "--port"
	metrics.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"port": "metrics"}, registry)
	telemetry.Listen, telemetry.ListenFlag = []string{net.JoinHostPort(f.telemetryHost, f.telemetry)}, "--telemetry-port"
	telemetry.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"port": "telemetry"}, registry)
	telemetry.Name, telemetry.PProf = name+" telemetry", f.pprof

	metricsServer, err := newServer(metrics, exporter, f.encoding(exporter.Handler()), "State of the cluster's objects")
	if err != nil {
		return err
	}
	own := metric.Handler(metric.HandlerOptions{Registry: registry, Logger: logger})
	telemetryServer, err := newServer(telemetry, exporter, f.encoding(own), "Metrics of this program")
	if err != nil {
		return err
	}
	if err := errors.Join(metricsServer.Listen(), telemetryServer.Listen()); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return exporter.Run(ctx) })
	group.Go(func() error { return metricsServer.Run(ctx) })
	group.Go(func() error { return telemetryServer.Run(ctx) })
	return group.Wait()
}

// newServer makes a server with /metrics and with the probes that manifests
// for kube-state-metrics name. To be alive takes no API server: a restart
// would not bring it back, and would forget its last state.
func newServer(o serve.Options, e *kubestate.Exporter, metrics http.Handler, title string) (*serve.Server, error) {
	s, err := serve.New(o)
	if err != nil {
		return nil, err
	}
	s.AddReady("Kubernetes", e.Ready)
	s.Handle("/metrics", title, metrics)
	alive := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "OK") })
	s.Handle("/healthz", "", alive)
	s.Handle("/livez", "", alive)
	s.Handle("/readyz", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := e.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		alive(w, r)
	}))
	return s, nil
}

// encoding keeps compression off when the flag says so.
func (f *flags) encoding(h http.Handler) http.Handler {
	if f.gzip {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		h.ServeHTTP(w, r)
	})
}
