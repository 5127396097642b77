package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	apimetrics "k8s.io/apiserver/pkg/endpoints/metrics"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/metrics/legacyregistry"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// DefaultPort is where the APIs are served.
const DefaultPort = 9443

// ErrNothingToServe is the error of New without a single provider.
var ErrNothingToServe = errors.New("no API to serve: neither Resource nor Custom nor External is given")

// Resource is what answers metrics.k8s.io: two storages of the internal types
// NodeMetrics and PodMetrics, as pipeline/resource makes them.
type Resource struct {
	Nodes, Pods rest.Storage
}

// Options of a Server.
type Options struct {
	// Name is the server's in OpenAPI and in health checks; default "strata".
	Name string

	// Listener serves; when nil, New listens on BindAddress (default all) and
	// Port (default DefaultPort).
	Listener    net.Listener
	BindAddress net.IP
	Port        int

	// Kubeconfig leads to the API server that authenticates and authorizes,
	// where the two below name none; "" is the Pod's own service account.
	Kubeconfig string
	// Authentication and Authorization are delegated; nil is the library's
	// default. Paths that need none are in Authorization.AlwaysAllowPaths, by
	// default /healthz, /livez and /readyz.
	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions

	// HTTP2 offers HTTP/2 beside HTTP/1.1, as the library does by default. It hands
	// an answer from goroutine to goroutine, each of which has to be woken: a
	// quarter of the time of a small answer. Its one connection for all requests
	// of a client ties them all to one replica.
	HTTP2 bool

	// CipherSuites of TLS 1.2 and MinTLSVersion are by the names of crypto/tls and of
	// its constants; empty is Go's choice and VersionTLS12.
	CipherSuites  []string
	MinTLSVersion string

	// CertFile and KeyFile are a certificate of the user's, read again when it
	// changes. Without them Certificates is used, and without that one in memory.
	CertFile, KeyFile string
	Certificates      *Certificates

	// Resource, Custom and External answer the three groups; nil is not served.
	Resource *Resource
	Custom   provider.CustomMetricsProvider
	External provider.ExternalMetricsProvider
	// Serves tells whether a group of Custom or External is there now; those it
	// denies are answered and listed as groups that do not exist. nil is yes to
	// all. It is asked with each request and must be fast.
	Serves func(group string) bool

	// Ready, Live and Health are checks of /readyz, of /livez, and of all of
	// /healthz, /livez and /readyz.
	Ready, Live, Health []healthz.HealthChecker

	// Autoscalers are the users whose reads keep a share of the server whatever
	// others ask for; default DefaultAutoscalers.
	Autoscalers []string

	// Profiling serves /debug/pprof to those who may get it.
	Profiling bool
	// Gatherer is served on /metrics beside the metrics of the libraries, which
	// bring go_* and process_*. May be nil.
	Gatherer prometheus.Gatherer
	// Logger may be nil. The libraries log through klog, which is the process's own.
	Logger *slog.Logger
}

// Server serves the APIs.
type Server struct {
	o        Options
	listener net.Listener
	cert     dynamiccertificates.CertKeyContentProvider
	certs    *Certificates // nil with files
	groups   *groupSwitch
	fair     *fair
	generic  atomic.Pointer[genericapiserver.GenericAPIServer]
}

// New checks the options and listens. Nothing is answered before Run. Errors
// are about what only its caller can mend: the options, a file that cannot be
// read, a port that is taken.
func New(o Options) (*Server, error) {
	if o.Resource == nil && o.Custom == nil && o.External == nil {
		return nil, ErrNothingToServe
	}
	if o.Name == "" {
		o.Name = "strata"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BindAddress == nil {
		o.BindAddress = net.IPv4zero
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Serves == nil {
		o.Serves = func(string) bool { return true }
	}
	if len(o.Autoscalers) == 0 {
		o.Autoscalers = DefaultAutoscalers()
	}
	if err := o.delegation(); err != nil {
		return nil, err
	}
	if err := o.ciphers(); err != nil {
		return nil, err
	}
	s := &Server{o: o, listener: o.Listener, groups: &groupSwitch{serves: o.Serves}, fair: newFair(o.Autoscalers)}
	if err := s.certificate(); err != nil {
		return nil, err
	}
	if s.listener == nil {
		address := net.JoinHostPort(o.BindAddress.String(), strconv.Itoa(o.Port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("serve the APIs: %w", err)
		}
		s.listener = l
	}
	return s, nil
}

// delegation fills in what leads to the API server and reads the kubeconfigs
// once, so that a wrong file is an error at the start and not a retry.
func (o *Options) delegation() error {
	if o.Authentication == nil {
		o.Authentication = genericoptions.NewDelegatingAuthenticationOptions()
	}
	if o.Authorization == nil {
		o.Authorization = genericoptions.NewDelegatingAuthorizationOptions()
	}
	authn, authz := *o.Authentication, *o.Authorization
	o.Authentication, o.Authorization = &authn, &authz
	for what, file := range map[string]*string{
		"authentication": &authn.RemoteKubeConfigFile, "authorization": &authz.RemoteKubeConfigFile,
	} {
		if *file == "" {
			*file = o.Kubeconfig
		}
		if *file == "" {
			continue
		}
		if _, err := clientcmd.BuildConfigFromFlags("", *file); err != nil {
			return fmt.Errorf("kubeconfig of delegated %s: %w", what, err)
		}
	}
	if err := errors.Join(append(authn.Validate(), authz.Validate()...)...); err != nil {
		return fmt.Errorf("delegated authentication and authorization: %w", err)
	}
	return nil
}

// ciphers says whether the library knows what is asked of TLS.
func (o *Options) ciphers() error {
	if _, err := cliflag.TLSVersion(o.MinTLSVersion); err != nil {
		return fmt.Errorf("lowest version of TLS: %w; one of %s", err, strings.Join(cliflag.TLSPossibleVersions(), ", "))
	}
	if _, err := cliflag.TLSCipherSuites(o.CipherSuites); err != nil {
		return fmt.Errorf("cipher suites: %w; of %s", err, strings.Join(cliflag.TLSCipherPossibleValues(), ", "))
	}
	return nil
}

func (s *Server) certificate() error {
	switch o := &s.o; {
	case o.CertFile != "" || o.KeyFile != "":
		files, err := dynamiccertificates.NewDynamicServingContentFromFiles("serving-cert", o.CertFile, o.KeyFile)
		if err != nil {
			return fmt.Errorf("serving certificate: %w", err)
		}
		s.cert = files
		return nil
	case o.Certificates != nil:
		s.certs = o.Certificates
	default:
		certs, err := NewCertificates(CertificateOptions{Logger: o.Logger})
		if err != nil {
			return err
		}
		s.certs = certs
	}
	s.cert = s.certs
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends and running requests have. It waits, and tries
// again with a line in the log, while there is no certificate or while the API
// server does not answer.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.certs != nil {
		if err := s.certs.Start(ctx); err != nil {
			_ = s.listener.Close()
			return ended(ctx, err)
		}
		keeping := make(chan struct{})
		go func() {
			defer close(keeping)
			s.certs.Run(ctx)
		}()
		defer func() {
			cancel()
			<-keeping
		}()
	}
	config, err := s.configure(ctx)
	if err != nil {
		_ = s.listener.Close()
		return ended(ctx, err)
	}
	generic, err := s.build(config)
	if err != nil {
		_ = s.listener.Close()
		return err
	}
	prepared := generic.PrepareRun()
	s.generic.Store(generic)
	s.o.Logger.Info("Serving aggregated APIs", "address", s.listener.Addr())
	return prepared.RunWithContext(ctx)
}

// ended gives nil when it was ctx that ended the wait.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Ready is nil when requests are answered and all ready checks pass.
func (s *Server) Ready() error {
	if s.generic.Load() == nil {
		return errors.New("the APIs are not served yet")
	}
	for _, c := range append(append([]healthz.HealthChecker{}, s.o.Ready...), s.o.Health...) {
		if err := c.Check(&http.Request{}); err != nil {
			return fmt.Errorf("%s: %w", c.Name(), err)
		}
	}
	return nil
}

// configure makes the configuration of the generic server. Authentication asks
// the API server for its client authorities: that is tried again until it works.
func (s *Server) configure(ctx context.Context) (*genericapiserver.Config, error) {
	c := genericapiserver.NewConfig(customapiserver.Codecs)
	if err := s.secure(c); err != nil {
		return nil, err
	}
	said := ""
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Cap: 30 * time.Second, Steps: 1 << 30}
	for {
		err := s.o.Authentication.ApplyTo(&c.Authentication, c.SecureServing, nil)
		if err == nil {
			break
		}
		if said != err.Error() {
			said = err.Error()
			s.o.Logger.Error("Cannot set up authentication; trying again", "err", err)
		}
		select {
		case <-time.After(backoff.Step()):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := s.authorize(c); err != nil {
		return nil, fmt.Errorf("delegated authorization: %w", err)
	}
	c.Authentication.Authenticator = newCertificates(c.Authentication.Authenticator, c.Authentication.RequestHeaderConfig)
	c.MaxRequestsInFlight += s.fair.most()                    // what waits for its turn takes nobody's place
	c.EnableProfiling, c.EnableMetrics = s.o.Profiling, false // /metrics is ours, see build
	c.OpenAPIConfig, c.OpenAPIV3Config = openAPI(s.o)
	c.AggregatedDiscoveryGroupManager = &currentDiscovery{ResourceManager: aggregated.NewResourceManager("apis"), groups: s.dynamicGroups(), serves: s.o.Serves}
	c.BuildHandlerChainFunc = func(h http.Handler, c *genericapiserver.Config) http.Handler {
		s.groups.next = newValues(h, s.o.Custom)
		s.fair.next = s.groups
		return handlerChain(s.fair, c)
	}
	return c, nil
}

// authorize sets up authorization, with decisions remembered here and not in
// the library.
func (s *Server) authorize(c *genericapiserver.Config) error {
	o := *s.o.Authorization
	o.AllowCacheTTL, o.DenyCacheTTL = 0, 0
	if err := o.ApplyTo(&c.Authorization); err != nil {
		return err
	}
	c.Authorization.Authorizer = newDecisions(c.Authorization.Authorizer, s.o.Authorization.AllowCacheTTL, s.o.Authorization.DenyCacheTTL)
	return nil
}

func (s *Server) secure(c *genericapiserver.Config) error {
	serving := genericoptions.NewSecureServingOptions().WithLoopback()
	serving.Listener, serving.BindAddress = s.listener, s.o.BindAddress
	serving.ServerCert.GeneratedCert, serving.DisableHTTP2Serving = s.cert, !s.o.HTTP2
	serving.CipherSuites, serving.MinTLSVersion = s.o.CipherSuites, s.o.MinTLSVersion
	if err := serving.ApplyTo(&c.SecureServing, &c.LoopbackClientConfig); err != nil {
		return fmt.Errorf("serve the APIs: %w", err)
	}
	return nil
}

// build makes the server and installs what it serves.
func (s *Server) build(c *genericapiserver.Config) (*genericapiserver.GenericAPIServer, error) {
	completed := (&customapiserver.Config{GenericConfig: c}).Complete(nil)
	custom, err := completed.New(s.o.Name, s.o.Custom, s.o.External)
	if err != nil {
		return nil, fmt.Errorf("make the API server: %w", err)
	}
	generic := custom.GenericAPIServer
	if s.o.Resource != nil {
		if err := installResource(generic, s.o.Resource); err != nil {
			return nil, err
		}
	}
	s.listVersions(generic)
	if err := errors.Join(
		generic.AddLivezChecks(0, s.o.Live...), generic.AddReadyzChecks(s.o.Ready...), generic.AddHealthChecks(s.o.Health...),
	); err != nil {
		return nil, fmt.Errorf("add health checks: %w", err)
	}
	apimetrics.Register()
	gatherers := prometheus.Gatherers{legacyregistry.DefaultGatherer, s.fair.registry}
	if s.o.Gatherer != nil {
		gatherers = append(gatherers, s.o.Gatherer)
	}
	generic.Handler.NonGoRestfulMux.Handle("/metrics", promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{MaxRequestsInFlight: 8}))
	return generic, nil
}
