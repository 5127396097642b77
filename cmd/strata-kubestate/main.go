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
	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	log.Klog(app)
	if _, err := serve.Parse(app, args); err != nil {
		return err
	}
	logger, registry := log.Logger(), serve.NewRegistry("kube_state_metrics")
	klog.SetSlogLogger(logger) // what client-go says by itself
	kube := newService(*f, logger, registry)
	set, err := kube.start()
	if err != nil {
		return err
	}
	if set.memLimit {
		if err := serve.LimitMemory("/", set.memRatio); err != nil {
			return fmt.Errorf("--auto-gomemlimit: %w", err)
		}
	}
	servers, err := set.servers(kube, registry)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return kube.run(ctx) })
	for _, s := range servers {
		group.Go(func() error { return s.Run(ctx) })
	}
	return group.Wait()
}

// servers makes the servers of both ports, and listens.
func (f *flags) servers(kube *service, registry *serve.Registry) ([]*serve.Server, error) {
	logger := kube.logger
	guard := func(h http.Handler) http.Handler { return h }
	if f.authFilter {
		config, err := kubestate.LoadConfig(f.apiserver, f.kubeconfig)
		if err == nil {
			guard, err = kubestate.AuthFilter(config, logger)
		}
		if err != nil {
			return nil, fmt.Errorf("--auth-filter: %w", err)
		}
	}
	shared := serve.Options{Name: name, Logger: logger, WebConfigFile: f.webConfig, ReadTimeout: f.readTimeout}
	metrics, telemetry := shared, shared
	metrics.Listen, metrics.ListenFlag = []string{net.JoinHostPort(f.host, f.port)}, "--port"
	metrics.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"port": "metrics"}, registry)
	telemetry.Listen, telemetry.ListenFlag = []string{net.JoinHostPort(f.telemetryHost, f.telemetry)}, "--telemetry-port"
	telemetry.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"port": "telemetry"}, registry)
	telemetry.Name, telemetry.PProf = name+" telemetry", f.pprof

	metricsServer, err := newServer(metrics, kube, guard(timed(registry, f.encoding(kube))), "State of the cluster's objects")
	if err != nil {
		return nil, err
	}
	own := metric.Handler(metric.HandlerOptions{Registry: registry, Logger: logger})
	telemetryServer, err := newServer(telemetry, kube, guard(f.encoding(own)), "Metrics of this program")
	if err != nil {
		return nil, err
	}
	return []*serve.Server{metricsServer, telemetryServer}, errors.Join(metricsServer.Listen(), telemetryServer.Listen())
}

// timed measures the requests for the metrics of the cluster.
func timed(r prometheus.Registerer, h http.Handler) http.Handler {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "How long requests for the metrics of the cluster took, in seconds.",
		Buckets: prometheus.DefBuckets, ConstLabels: prometheus.Labels{"handler": "metrics"},
	}, []string{"method"})
	r.MustRegister(took)
	return promhttp.InstrumentHandlerDuration(took, h)
}

// newServer makes a server with /metrics and with the probes that manifests
// for kube-state-metrics name. To be alive takes no API server: a restart
// would not bring it back, and would forget its last state.
func newServer(o serve.Options, kube *service, metrics http.Handler, title string) (*serve.Server, error) {
	s, err := serve.New(o)
	if err != nil {
		return nil, err
	}
	s.AddReady("Kubernetes", kube.ready)
	s.Handle("/metrics", title, metrics)
	alive := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "OK") })
	s.Handle("/healthz", "", alive)
	s.Handle("/livez", "", alive)
	s.Handle("/readyz", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := kube.ready(); err != nil {
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
