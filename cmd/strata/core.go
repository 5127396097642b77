package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	oklog "github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	clientversion "github.com/prometheus/client_golang/prometheus/collectors/version"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline/apiserver"
	"github.com/strata-metrics/strata/pipeline/resource"
)

// apiFlags are those of every command that serves aggregated APIs, with the
// names that metrics-server and prometheus-adapter give them.
type apiFlags struct {
	bind       net.IP
	port       int
	kubeconfig string

	certFile, keyFile, certDir string
	secret                     string
	service                    string
	apiServices                []string

	authn       *genericoptions.DelegatingAuthenticationOptions
	authz       *genericoptions.DelegatingAuthorizationOptions
	profiling   bool
	noHTTP2     bool
	ciphers     []string
	minTLS      string
	autoscalers []string
}

// declare adds the flags. bind is the address that is listened on by default.
func (f *apiFlags) declare(cmd *kingpin.CmdClause, e *env, bind string) {
	f.authn, f.authz = genericoptions.NewDelegatingAuthenticationOptions(), genericoptions.NewDelegatingAuthorizationOptions()
	cmd.Flag("kubeconfig", "Kubeconfig of the cluster; by default the Pod's own service account.").StringVar(&f.kubeconfig)
	cmd.Flag("bind-address", "Address to serve the APIs on.").Default(bind).IPVar(&f.bind)
	cmd.Flag("secure-port", "Port to serve the APIs on, with TLS.").Default("9443").IntVar(&f.port)
	cmd.Flag("disable-http2-serving", "Serve the APIs over HTTP/1.1 alone, which takes less time than HTTP/2.").Default("true").BoolVar(&f.noHTTP2)
	cmd.Flag("tls-cert-file", "Serving certificate; by default one is made and kept by Strata.").ExistingFileVar(&f.certFile)
	cmd.Flag("tls-private-key-file", "Key of --tls-cert-file.").ExistingFileVar(&f.keyFile)
	cmd.Flag("cert-dir", "Directory of apiserver.crt and apiserver.key, used when both are there and --tls-cert-file is not set.").StringVar(&f.certDir)
	cmd.Flag("tls-cipher-suites", "Cipher suites of TLS 1.2 that may be used, by the names of Go's crypto/tls; by default Go's choice.").
		PlaceHolder("TLS_ECDHE_...,...").SetValue(&commaList{&f.ciphers, false})
	cmd.Flag("tls-min-version", "Lowest version of TLS: VersionTLS12 or VersionTLS13.").Default("VersionTLS12").StringVar(&f.minTLS)
	cmd.Flag("cert-secret", "Secret, as namespace/name, through which replicas share the certificate that Strata makes. It exists already, empty. Without it each has its own.").
		PlaceHolder("<namespace/name>").StringVar(&f.secret)
	cmd.Flag("cert-service", "Service, as namespace/name, that the certificate is for.").
		PlaceHolder("<namespace/name>").StringVar(&f.service)
	cmd.Flag("cert-apiservice", "APIService whose caBundle is kept current (repeatable), as v1beta1.metrics.k8s.io.").
		PlaceHolder("<name>").StringsVar(&f.apiServices)
	f.declareDelegation(cmd)
	f.autoscalers = apiserver.DefaultAutoscalers()
	cmd.Flag("autoscaler-user", "Users whose reads keep a share of the server whatever others ask for, and whose answers are kept for strata explain.").
		SetValue(&commaList{&f.autoscalers, false})
	serve.Klog(cmd, &e.log)
	cmd.Flag("profiling", "Serve /debug/pprof to those who may get it.").BoolVar(&f.profiling)
}

func (f *apiFlags) declareDelegation(cmd *kingpin.CmdClause) {
	n, z := f.authn, f.authz
	cmd.Flag("authentication-kubeconfig", "Kubeconfig of the API server that authenticates; by default that of --kubeconfig.").
		StringVar(&n.RemoteKubeConfigFile)
	cmd.Flag("authentication-skip-lookup", "Do not read the authorities of clients from the cluster.").BoolVar(&n.SkipInClusterLookup)
	cmd.Flag("authentication-tolerate-lookup-failure", "Go on without the authorities of clients when they cannot be read.").BoolVar(&n.TolerateInClusterLookupFailure)
	cmd.Flag("authentication-token-webhook-cache-ttl", "How long an answer about a token is good.").
		Default(n.CacheTTL.String()).DurationVar(&n.CacheTTL)
	cmd.Flag("client-ca-file", "Authority of client certificates; by default the cluster's.").StringVar(&n.ClientCert.ClientCA)
	h := &n.RequestHeader
	cmd.Flag("requestheader-client-ca-file", "Authority of the aggregation layer; by default the cluster's.").StringVar(&h.ClientCAFile)
	cmd.Flag("requestheader-allowed-names", "Common names that the aggregation layer may have; any if empty.").SetValue(&commaList{&h.AllowedNames, false})
	cmd.Flag("requestheader-username-headers", "Headers with the name of the user.").SetValue(&commaList{&h.UsernameHeaders, false})
	cmd.Flag("requestheader-uid-headers", "Headers with the uid of the user.").SetValue(&commaList{&h.UIDHeaders, false})
	cmd.Flag("requestheader-group-headers", "Headers with the groups of the user.").SetValue(&commaList{&h.GroupHeaders, false})
	cmd.Flag("requestheader-extra-headers-prefix", "Prefixes of headers with more about the user.").SetValue(&commaList{&h.ExtraHeaderPrefixes, false})
	cmd.Flag("authorization-kubeconfig", "Kubeconfig of the API server that authorizes; by default that of --kubeconfig.").
		StringVar(&z.RemoteKubeConfigFile)
	cmd.Flag("authorization-always-allow-paths", "Paths that anybody may get.").SetValue(&commaList{&z.AlwaysAllowPaths, false})
	cmd.Flag("authorization-webhook-cache-authorized-ttl", "How long a yes is good.").Default(z.AllowCacheTTL.String()).DurationVar(&z.AllowCacheTTL)
	cmd.Flag("authorization-webhook-cache-unauthorized-ttl", "How long a no is good.").Default(z.DenyCacheTTL.String()).DurationVar(&z.DenyCacheTTL)
}

// commaList is a flag that takes a,b,c and may be repeated. What is set replaces the default.
type commaList struct {
	to  *[]string
	set bool
}

// Set implements kingpin.Value.
func (l *commaList) Set(s string) error {
	if !l.set {
		*l.to, l.set = nil, true
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l.to = append(*l.to, part)
		}
	}
	return nil
}

// String implements kingpin.Value.
func (l *commaList) String() string { return strings.Join(*l.to, ",") }

// IsCumulative tells kingpin that the flag may be repeated.
func (l *commaList) IsCumulative() bool { return true }

// config is how the cluster is reached.
func (f *apiFlags) config() (*rest.Config, error) {
	var c *rest.Config
	var err error
	if f.kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	} else if c, err = rest.InClusterConfig(); errors.Is(err, rest.ErrNotInCluster) {
		err = errors.New("this is not a Pod of a cluster: set --kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	c.UserAgent = "strata"
	return c, nil
}

// options fills in what the flags say about serving.
func (f *apiFlags) options(e *env, config *rest.Config) (apiserver.Options, error) {
	o := apiserver.Options{
		BindAddress: f.bind, Port: f.port, Kubeconfig: f.kubeconfig,
		Authentication: f.authn, Authorization: f.authz,
		CertFile: f.certFile, KeyFile: f.keyFile, HTTP2: !f.noHTTP2, CipherSuites: f.ciphers, MinTLSVersion: f.minTLS,
		Autoscalers: f.autoscalers, Profiling: f.profiling, Logger: e.logger(),
	}
	if o.CertFile == "" && f.certDir != "" {
		cert, key := filepath.Join(f.certDir, "apiserver.crt"), filepath.Join(f.certDir, "apiserver.key")
		if isFile(cert) && isFile(key) {
			o.CertFile, o.KeyFile = cert, key
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		return o, nil
	}
	c := apiserver.CertificateOptions{APIServices: f.apiServices, Logger: o.Logger}
	for flag, p := range map[string]string{"--cert-secret": f.secret, "--cert-service": f.service} {
		namespace, name, ok := strings.Cut(p, "/")
		switch {
		case p == "":
		case !ok || namespace == "" || name == "":
			return o, fmt.Errorf("%s: %q is not namespace/name", flag, p)
		case flag == "--cert-secret":
			c.Namespace, c.Secret = namespace, name
		default:
			host := name + "." + namespace
			c.Names = []string{host + ".svc", host, name, host + ".svc.cluster.local"}
		}
	}
	var err error
	if c.Client, err = kubernetes.NewForConfig(config); err != nil {
		return o, err
	}
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return o, err
	}
	o.Certificates, err = apiserver.NewCertificates(c)
	return o, err
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// coreFlags are those of strata core, which are metrics-server's where it has them.
type coreFlags struct {
	api        apiFlags
	source     string
	resolution time.Duration
	timeout    time.Duration
	selector   string

	kubeletTLS   resource.KubeletTLS
	port         int
	statusPort   bool
	addressTypes []string
	bodyLimit    units.Base2Bytes
}

func coreCommand() command {
	return command{
		name:   "core",
		help:   "Serve metrics.k8s.io (kubectl top, HPA, VPA, scheduler) from two points in memory.",
		serves: true,
		setup: func(cmd *kingpin.CmdClause, e *env) func(context.Context) error {
			f := &coreFlags{}
			f.api.declare(cmd, e, "0.0.0.0")
			f.declare(cmd)
			return func(ctx context.Context) error { return f.run(ctx, e) }
		},
	}
}

// declare adds the flags of the readings; those of serving are api's.
func (f *coreFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("source", "What is read on the nodes: kubelet, or exporter (strata-container).").Default("kubelet").EnumVar(&f.source, "kubelet", "exporter")
	cmd.Flag("metric-resolution", "How often each node is read; at least 1s.").Default(resource.DefaultResolution.String()).DurationVar(&f.resolution)
	cmd.Flag("kubelet-request-timeout", "Longest time of reading one node once.").Default(resource.DefaultRequestTimeout.String()).DurationVar(&f.timeout)
	cmd.Flag("node-selector", "Read only nodes with these labels.").StringVar(&f.selector)
	cmd.Flag("kubelet-port", "Port of the nodes; by default 10250, with --source=exporter 9101.").IntVar(&f.port)
	cmd.Flag("kubelet-use-node-status-port", "Take the port from the status of the node, where it is set.").BoolVar(&f.statusPort)
	types := make([]string, 0, 5)
	for _, t := range resource.DefaultAddressTypes() {
		types = append(types, string(t))
	}
	f.addressTypes = types
	cmd.Flag("kubelet-preferred-address-types", "Which address of a node is used; the first that it has.").SetValue(&commaList{&f.addressTypes, false})
	cmd.Flag("kubelet-insecure-tls", "Do not verify the certificates of kubelets.").BoolVar(&f.kubeletTLS.Insecure)
	cmd.Flag("kubelet-certificate-authority", "Authority of the kubelets' certificates; by default that of the API server.").StringVar(&f.kubeletTLS.CAFile)
	cmd.Flag("kubelet-client-certificate", "Certificate shown to kubelets instead of the token or certificate for the API server.").StringVar(&f.kubeletTLS.CertFile)
	cmd.Flag("kubelet-client-key", "Key of --kubelet-client-certificate.").StringVar(&f.kubeletTLS.KeyFile)
	cmd.Flag("kubelet-body-limit", "Most bytes that one node may answer; more costs that node its metrics.").Default("32MB").BytesVar(&f.bodyLimit)
}

// coreHeap is the share by which the heap of core grows between collections: the
// readings of 150,000 pods are 280 MB, of which the half is cheaper to collect
// twice as often than to hold.
const coreHeap = 50

func (f *coreFlags) run(ctx context.Context, e *env) error {
	serve.KeepHeap(coreHeap)
	config, err := f.api.config()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(clientversion.NewCollector("strata"))
	core, err := f.start(e, config, registry)
	if err != nil {
		return err
	}
	o, err := f.api.options(e, config)
	if err != nil {
		return err
	}
	o.Gatherer = registry
	core.serve(&o)
	server, err := apiserver.New(o)
	if err != nil {
		return err
	}
	return together(ctx, core.run, server.Run)
}

// coreAPI is what answers metrics.k8s.io.
type coreAPI struct {
	cluster   *resource.Cluster
	collector *resource.Collector
}

// start makes it; it answers once it runs.
func (f *coreFlags) start(e *env, config *rest.Config, registry prometheus.Registerer) (*coreAPI, error) {
	source, err := f.newSource(config)
	if err != nil {
		return nil, err
	}
	cluster, err := f.newCluster(e, config)
	if err != nil {
		return nil, err
	}
	collector, err := resource.NewCollector(resource.Options{
		Nodes: cluster.Nodes(), Source: source, Resolution: f.resolution, Timeout: f.timeout,
		Logger: e.logger().With("component", "resource"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	return &coreAPI{cluster, collector}, cluster.OnNodes(collector.Changed)
}

// serve adds the API and its health to what a server serves.
func (c *coreAPI) serve(o *apiserver.Options) {
	if c == nil {
		return
	}
	ready, alive := c.collector.Checks()
	o.Ready = append(o.Ready, ready, resource.NewCheck("metric-informer-sync", c.cluster.Synced))
	o.Live = append(o.Live, alive)
	o.Health = append(o.Health, resource.NewCheck("metadata-informer-sync", c.cluster.Synced))
	o.Resource = &apiserver.Resource{
		Nodes: resource.NewNodes(c.cluster.Nodes(), c.collector), Pods: resource.NewPods(c.cluster.Pods(), c.collector),
	}
}

// run follows the cluster and reads its nodes until ctx ends.
func (c *coreAPI) run(ctx context.Context) error {
	return together(ctx, c.cluster.Run, func(ctx context.Context) error {
		if !c.cluster.WaitForNodes(ctx) {
			return nil
		}
		return c.collector.Run(ctx)
	})
}

// together runs all until one ends or ctx does, and then ends the others.
func together(ctx context.Context, runs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g oklog.Group
	for _, r := range runs {
		g.Add(func() error { return r(ctx) }, func(error) { cancel() })
	}
	return g.Run()
}

func (f *coreFlags) newSource(config *rest.Config) (*resource.HTTPSource, error) {
	o := resource.HTTPOptions{Port: f.port, PortFromStatus: f.statusPort, BodyLimit: int64(f.bodyLimit)}
	for _, t := range f.addressTypes {
		o.AddressTypes = append(o.AddressTypes, corev1.NodeAddressType(t))
	}
	if f.source == "exporter" {
		o.Scheme, o.Client = "http", resource.ExporterClient()
		if o.Port == 0 {
			o.Port = resource.ExporterPort
		}
		return resource.NewHTTPSource(o)
	}
	var err error
	var client *http.Client
	if client, err = resource.KubeletClient(config, f.kubeletTLS); err != nil {
		return nil, err
	}
	o.Client = client
	return resource.NewHTTPSource(o)
}

func (f *coreFlags) newCluster(e *env, config *rest.Config) (*resource.Cluster, error) {
	o := resource.ClusterOptions{Logger: e.logger()}
	var err error
	if f.selector != "" {
		if o.NodeSelector, err = labels.Parse(f.selector); err != nil {
			return nil, fmt.Errorf("--node-selector: %w", err)
		}
	}
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	if o.Client, err = kubernetes.NewForConfig(protobuf); err != nil {
		return nil, err
	}
	if o.Metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, err
	}
	return resource.NewCluster(o)
}
