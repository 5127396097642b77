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
	"strings"

	"github.com/alecthomas/kingpin/v2"
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

// flags are those that only this program has, by kube-state-metrics' names.
// Those that hold lists may be given more than once.
type flags struct {
	apiserver, kubeconfig                   string
	host, port, telemetryHost, telemetry    string
	webConfig, tlsConfig                    string
	pprof, gzip                             bool
	node                                    string
	resources, namespaces, denied           []string
	allow, deny, optIn, labels, annotations []string
}

func (f *flags) declare(app *kingpin.Application) {
	app.Flag("apiserver", "Address of the API server, in the place of the one in --kubeconfig.").StringVar(&f.apiserver)
	app.Flag("kubeconfig", "Path of a kubeconfig file. With neither this nor --apiserver: the service account of the pod that this runs in.").StringVar(&f.kubeconfig)
	app.Flag("host", "Address to serve the metrics of the cluster on. Empty means all.").StringVar(&f.host)
	app.Flag("port", "Port to serve the metrics of the cluster on.").Default("9103").StringVar(&f.port)
	app.Flag("telemetry-host", "Address to serve the metrics of this program on. Empty means all.").StringVar(&f.telemetryHost)
	app.Flag("telemetry-port", "Port to serve the metrics of this program on.").Default("8081").StringVar(&f.telemetry)
	app.Flag("web.config.file", "File with TLS and basic authentication for both ports, in the format of exporter-toolkit.").StringVar(&f.webConfig)
	app.Flag("tls-config", "The same as --web.config.file, by kube-state-metrics' name.").StringVar(&f.tlsConfig)
	app.Flag("web.enable-pprof", "Serve Go's profiles at /debug/pprof/ of the telemetry port.").BoolVar(&f.pprof)
	app.Flag("enable-gzip-encoding", "Compress for those who accept gzip.").Default("true").BoolVar(&f.gzip)
	f.declareSelection(app)
}

func (f *flags) declareSelection(app *kingpin.Application) {
	list := func(flag, help string, to *[]string) {
		app.Flag(flag, help).PlaceHolder("NAME,...").StringsVar(to)
	}
	list("resources", "Kinds of objects to show: "+strings.Join(kubestate.Resources(), ", ")+". All by default.", &f.resources)
	list("namespaces", "Namespaces to show. All by default. Kinds without a namespace are shown in any case.", &f.namespaces)
	list("namespaces-denylist", "Namespaces not to show.", &f.denied)
	list("metric-allowlist", "Families to show and no others: regular expressions that match anywhere in the name. Not together with --metric-denylist.", &f.allow)
	list("metric-denylist", "Families not to show: regular expressions that match anywhere in the name.", &f.deny)
	list("metric-opt-in-list", "Families to show that are not by default, such as kube_pod_nodeselectors: regular expressions.", &f.optIn)
	app.Flag("metric-labels-allowlist", "Kubernetes labels to show as labels of kube_KIND_labels, by resource. A name may hold one *; the resource * stands for all.").
		PlaceHolder("pods=[app,example.org/*],nodes=[*]").StringsVar(&f.labels)
	app.Flag("metric-annotations-allowlist", "Kubernetes annotations to show as labels of kube_KIND_annotations, by resource, as above.").
		PlaceHolder("pods=[example.org/*]").StringsVar(&f.annotations)
	app.Flag("node", "Show only the pods of this node; needs --resources=pods.").StringVar(&f.node)
}

// options makes the exporter's options of the flags.
func (f *flags) options() (kubestate.Options, error) {
	o := kubestate.Options{
		Resources:          split(f.resources),
		Namespaces:         split(f.namespaces),
		NamespacesDenylist: split(f.denied),
		Node:               f.node,
		MetricAllowlist:    split(f.allow),
		MetricDenylist:     split(f.deny),
		MetricOptIn:        split(f.optIn),
	}
	var err error
	if o.LabelsAllowlist, err = allowlist("--metric-labels-allowlist", f.labels); err != nil {
		return o, err
	}
	if o.AnnotationsAllowlist, err = allowlist("--metric-annotations-allowlist", f.annotations); err != nil {
		return o, err
	}
	if f.tlsConfig != "" {
		if f.webConfig != "" && f.webConfig != f.tlsConfig {
			return o, fmt.Errorf("--tls-config %s and --web.config.file %s are not the same; give one of them", f.tlsConfig, f.webConfig)
		}
		f.webConfig = f.tlsConfig
	}
	return o, o.Validate()
}

// split takes lists with commas apart.
func split(lists []string) []string {
	var all []string
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

func allowlist(flag string, values []string) (kubestate.Allowlist, error) {
	all := kubestate.Allowlist{}
	for _, value := range values {
		list, err := kubestate.ParseAllowlist(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		all.Merge(list)
	}
	return all, nil
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
