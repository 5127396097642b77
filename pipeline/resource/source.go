package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// DefaultBodyLimit bounds the answer of one node, unpacked: ten times what
	// a node with 500 pods says.
	DefaultBodyLimit = 32 << 20
	// DefaultRequestTimeout bounds one reading of one node.
	DefaultRequestTimeout = 10 * time.Second
	// DefaultReaders is how many answers are parsed at a time.
	DefaultReaders = 64
	// PathAnnotation on a node names another path than /metrics/resource.
	PathAnnotation = "metrics.k8s.io/resource-metrics-path"
	// KubeletPort is where kubelets serve /metrics/resource.
	KubeletPort = 10250
	// ExporterPort is where the container exporter does.
	ExporterPort = 9101
)

// ErrNoAddress is in the error about a node that has no address of a wanted type.
var ErrNoAddress = errors.New("node has no address of the types asked for")

// A Source reads what a node and its containers use. Read is called for many
// nodes at a time and returns when ctx ends.
type Source interface {
	Read(ctx context.Context, node *corev1.Node) (*Reading, error)
}

// HTTPOptions say how nodes are asked over HTTP.
type HTTPOptions struct {
	// Client asks; KubeletClient and ExporterClient make fitting ones.
	Client *http.Client
	// Scheme is https (default) or http.
	Scheme string
	// Port of the nodes; default KubeletPort.
	Port int
	// PortFromStatus takes the kubelet's port from the node's status, where it is set.
	PortFromStatus bool
	// AddressTypes are tried in this order; default DefaultAddressTypes.
	AddressTypes []corev1.NodeAddressType
	// BodyLimit in bytes; default DefaultBodyLimit.
	BodyLimit int64
	// Readers is how many answers may be read at a time; default
	// DefaultReaders. Waiting for a slow node's first byte is not counted, so
	// that dead nodes do not hold up the others.
	Readers int
}

// DefaultAddressTypes is the order in which a node's addresses are tried.
func DefaultAddressTypes() []corev1.NodeAddressType {
	return []corev1.NodeAddressType{
		corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeInternalIP,
		corev1.NodeExternalDNS, corev1.NodeExternalIP,
	}
}

// HTTPSource reads /metrics/resource of nodes over HTTP.
type HTTPSource struct {
	o       HTTPOptions
	readers chan struct{}
}

var _ Source = (*HTTPSource)(nil)

// NewHTTPSource makes a Source of kubelets or container exporters.
func NewHTTPSource(o HTTPOptions) (*HTTPSource, error) {
	if o.Client == nil {
		return nil, errors.New("HTTPOptions.Client is needed")
	}
	if o.Scheme == "" {
		o.Scheme = "https"
	}
	if o.Port == 0 {
		o.Port = KubeletPort
	}
	if len(o.AddressTypes) == 0 {
		o.AddressTypes = DefaultAddressTypes()
	}
	if o.BodyLimit <= 0 {
		o.BodyLimit = DefaultBodyLimit
	}
	if o.Readers <= 0 {
		o.Readers = DefaultReaders
	}
	return &HTTPSource{o: o, readers: make(chan struct{}, o.Readers)}, nil
}

// Read asks one node. The error names what was asked.
func (s *HTTPSource) Read(ctx context.Context, node *corev1.Node) (*Reading, error) {
	target, err := s.address(node)
	if err != nil {
		return nil, err
	}
	r, err := s.read(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return r, nil
}

func (s *HTTPSource) read(ctx context.Context, target string) (*Reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain; version=0.0.4")
	req.Header.Set("User-Agent", "strata-core")
	asked := time.Now()
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = resp.Body.Close() }()
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for one of %d readers: %w", s.o.Readers, ctx.Err())
	}
	if resp.StatusCode != http.StatusOK {
		// A short answer is read to its end, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		return nil, statusError(resp)
	}
	return Parse(resp.Body, asked, s.o.BodyLimit)
}

func statusError(resp *http.Response) error {
	hint := ""
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		hint = ": the kubelet does not take this token or certificate (does it run with webhook authentication?)"
	case http.StatusForbidden:
		hint = ": get on nodes/metrics is not allowed to this user (see the ClusterRole)"
	}
	return fmt.Errorf("answered %s%s", resp.Status, hint)
}

func (s *HTTPSource) address(node *corev1.Node) (string, error) {
	address := ""
	for _, t := range s.o.AddressTypes {
		for _, a := range node.Status.Addresses {
			if a.Type == t && address == "" {
				address = a.Address
			}
		}
	}
	if address == "" {
		return "", fmt.Errorf("%w (%v)", ErrNoAddress, s.o.AddressTypes)
	}
	port := s.o.Port
	if p := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port); s.o.PortFromStatus && p != 0 {
		port = p
	}
	path := "/metrics/resource"
	if p := node.Annotations[PathAnnotation]; p != "" {
		path = p
	}
	if path[0] != '/' {
		path = "/" + path
	}
	return s.o.Scheme + "://" + net.JoinHostPort(address, strconv.Itoa(port)) + path, nil
}

// KubeletTLS says how kubelets are trusted and how we show who we are.
type KubeletTLS struct {
	// Insecure takes any serving certificate. CAFile, when set, replaces the
	// API server's authority.
	Insecure bool
	CAFile   string
	// CertFile and KeyFile replace the API client's certificate and token.
	CertFile, KeyFile string
}

// KubeletClient makes a client for kubelets which shows them the same token or
// certificate as api, the connection to the API server.
func KubeletClient(api *rest.Config, tls KubeletTLS) (*http.Client, error) {
	c := rest.CopyConfig(api)
	c.Timeout, c.UserAgent = 0, ""
	c.TLSClientConfig.ServerName = ""
	// HTTP/1.1: one request at a time to each node needs no more.
	c.TLSClientConfig.NextProtos = []string{"http/1.1"}
	switch {
	case tls.Insecure && tls.CAFile != "":
		return nil, errors.New("kubelet certificates: either insecure or an authority, not both")
	case tls.Insecure:
		c.TLSClientConfig.Insecure, c.TLSClientConfig.CAFile, c.TLSClientConfig.CAData = true, "", nil
	case tls.CAFile != "":
		c.TLSClientConfig.Insecure, c.TLSClientConfig.CAFile, c.TLSClientConfig.CAData = false, tls.CAFile, nil
	}
	if tls.CertFile != "" {
		c.TLSClientConfig.CertFile, c.TLSClientConfig.CertData = tls.CertFile, nil
		c.TLSClientConfig.KeyFile, c.TLSClientConfig.KeyData = tls.KeyFile, nil
		c.BearerToken, c.BearerTokenFile = "", ""
	}
	config, err := rest.TLSConfigFor(c)
	if err != nil {
		return nil, fmt.Errorf("TLS to kubelets: %w", err)
	}
	t := transport()
	t.TLSClientConfig, t.DialContext = config, c.Dial
	rt, err := rest.HTTPWrappersForConfig(c, t)
	if err != nil {
		return nil, fmt.Errorf("authentication to kubelets: %w", err)
	}
	return client(rt), nil
}

// ExporterClient makes a client for container exporters: plain HTTP, without
// any token.
func ExporterClient() *http.Client { return client(transport()) }

func transport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     2 * time.Minute,
		TLSHandshakeTimeout: DefaultRequestTimeout,
		// Nodes are asked directly: no proxy, HTTP/1.1.
		ForceAttemptHTTP2: false,
	}
}

func client(rt http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: rt,
		// A redirect could lead the token anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
