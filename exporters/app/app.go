// Package app is the sidecar beside one application: a reverse proxy that
// counts and times the requests by method, code and route, and passes the
// application's own metrics through, so that an application without any has
// the metrics that an autoscaler needs, and one with has both at one address.
//
// The proxy changes nothing of a request but X-Forwarded-For, holds no body,
// and speaks HTTP/1.1 or HTTP/2 in the clear with the application as the client
// does with it; upgrades such as WebSockets, trailers and streams go through.
//
// The answer of /metrics is the sidecar's own families and then those of the
// application, which is asked for the text format 0.0.4 and no other: that one
// can be checked line by line without making objects of it. What is not in the
// format, or has the name of a family of ours, is left out and counted. The
// sidecar's go_* and process_* families are not there, since most applications
// have families of those names; see Handler.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/internal/serve"
)

// Options of an Exporter. DefaultOptions are those of a strata-app without
// flags; what says nothing of 0 must be given.
type Options struct {
	// App is where the application listens: host:port, or a URL of the scheme
	// http without a path. Empty means that there is none beside this process,
	// and only what Measure is given is measured.
	App string
	// Listen is the address for the traffic.
	Listen string
	// ListenFlag is the flag that sets Listen, named when the port is taken.
	// Empty means --proxy.listen-address.
	ListenFlag string
	// MetricsPath is where the application has its metrics. Empty means that
	// it has none.
	MetricsPath string
	// MetricsTimeout bounds the wait for them; the scraper's own patience
	// holds besides.
	MetricsTimeout time.Duration
	// MetricsLimit is how many bytes of them are taken at most. A longer
	// answer is no answer.
	MetricsLimit int64
	// RoutePatterns are templates such as /api/orders/{id}. Paths that none
	// of them fits are shortened by rules.
	RoutePatterns []string
	// RouteLimit bounds the routes made by rules; all others are "other".
	RouteLimit int
	// ShutdownTimeout is what requests under way have once the end has come.
	ShutdownTimeout time.Duration
	// Logger, nil means slog.Default().
	Logger *slog.Logger
}

// DefaultOptions are those of a strata-app without flags.
func DefaultOptions() Options {
	return Options{
		App:             "127.0.0.1:8080",
		Listen:          ":9180",
		MetricsPath:     "/metrics",
		MetricsTimeout:  5 * time.Second,
		MetricsLimit:    16 << 20,
		RouteLimit:      100,
		ShutdownTimeout: 30 * time.Second,
	}
}

// Exporter is the sidecar of one application.
type Exporter struct {
	options  Options
	upstream *upstream    // nil without App
	proxy    http.Handler // nil without App
	metrics  *metrics
	scraper  *scraper
	listener net.Listener
	traffic  traffic
}

// New makes a sidecar. It fails when the address of the application or a route
// pattern cannot be understood. The application need not be there yet.
func New(o Options) (*Exporter, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ListenFlag == "" {
		o.ListenFlag = "--proxy.listen-address"
	}
	if o.MetricsPath != "" && !strings.HasPrefix(o.MetricsPath, "/") {
		return nil, fmt.Errorf("metrics path %q (--app.metrics-path) does not begin with /", o.MetricsPath)
	}
	if o.MetricsTimeout <= 0 {
		return nil, fmt.Errorf("metrics timeout %s (--app.metrics-timeout) is not above 0", o.MetricsTimeout)
	}
	router, err := newRouter(o.RoutePatterns, o.RouteLimit)
	if err != nil {
		return nil, err
	}
	e := &Exporter{options: o, metrics: newMetrics(router)}
	if o.App == "" {
		e.options.MetricsPath = ""
	} else {
		host, err := parseAddress(o.App)
		if err != nil {
			return nil, err
		}
		e.upstream = newUpstream(host, e.metrics, o.Logger)
		e.proxy = e.Measure(newReverseProxy(e))
	}
	if e.scraper, err = newScraper(e); err != nil {
		return nil, err
	}
	return e, nil
}

// parseAddress gives the host:port of an application's address.
func parseAddress(text string) (string, error) {
	host, isURL := strings.CutPrefix(text, "http://")
	if !isURL && strings.Contains(text, "://") {
		return "", fmt.Errorf("app address %q (--app.address): only http is spoken with the app", text)
	}
	u, err := url.Parse("http://" + host)
	if err != nil {
		return "", fmt.Errorf("app address %q (--app.address): %w", text, errors.Unwrap(err))
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" || u.Hostname() == "" {
		return "", fmt.Errorf("app address %q (--app.address): host:port is expected, such as 127.0.0.1:8080", text)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return u.Host, nil
}

// Register adds the sidecar's families about the traffic and itself to a
// registry of the caller's, besides the one that Handler serves.
func (e *Exporter) Register(r prometheus.Registerer) error {
	if e.upstream == nil {
		return e.metrics.registerTraffic(r)
	}
	return errors.Join(e.metrics.registerTraffic(r), e.metrics.registerUpstream(r))
}

// Measure counts and times what a handler of this process serves, as the proxy
// does with the app beside it.
func (e *Exporter) Measure(h http.Handler) http.Handler {
	return &proxy{next: h, metrics: e.metrics, traffic: &e.traffic}
}

// Proxy is the handler of the traffic, for those with a server of their own.
func (e *Exporter) Proxy() http.Handler { return e.proxy }

// Handler serves /metrics: what was seen of the traffic, and the application's
// own. It does not have the metrics of this process.
func (e *Exporter) Handler() http.Handler { return e.scraper.handler }

// Listen binds the address for the traffic. Run calls it when it was not
// called before.
func (e *Exporter) Listen() (err error) {
	e.listener, err = serve.ListenOn(e.options.Listen, e.options.ListenFlag)
	return err
}

// Addr is the bound address; nil before Listen.
func (e *Exporter) Addr() net.Addr {
	if e.listener == nil {
		return nil
	}
	return e.listener.Addr()
}

const (
	// headerTimeout bounds how long a client may take for the head of a
	// request.
	headerTimeout = 20 * time.Second
	// idleTimeout is longer than what the load balancers of the field keep
	// idle connections for (10 minutes at most): the one who closes first
	// must be the client, else requests are lost.
	idleTimeout = 11 * time.Minute
)

// Run carries the traffic until the context ends. Then it takes no more, and
// lets what is under way end within the ShutdownTimeout. It returns nil after
// such an end, else what went wrong.
func (e *Exporter) Run(ctx context.Context) error {
	if e.listener == nil {
		if err := e.Listen(); err != nil {
			return err
		}
	}
	defer e.upstream.close()
	// Requests outlive ctx, up to the timeout.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(errShutdown)
	server := &http.Server{
		Handler:           e.proxy,
		BaseContext:       func(net.Listener) context.Context { return base },
		Protocols:         protocols(true, true),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(e.options.Logger.Handler(), slog.LevelDebug),
	}
	errs := make(chan error, 1)
	go func() { errs <- server.Serve(e.listener) }()
	e.options.Logger.Info("carrying traffic", "address", "http://"+e.listener.Addr().String(), "app", "http://"+e.upstream.host)
	select {
	case err := <-errs:
		return fmt.Errorf("serving the traffic: %w", err)
	case <-ctx.Done():
	}
	e.drain(server, cancel)
	<-errs
	return nil
}

// errShutdown is why requests are cut off at the end.
var errShutdown = errors.New("the sidecar ends")

// drain ends the server. Clients learn that their connections end from the
// answers; at the timeout the rest is cut off.
func (e *Exporter) drain(server *http.Server, cancel context.CancelCauseFunc) {
	limit, stop := context.WithTimeout(context.Background(), e.options.ShutdownTimeout)
	defer stop()
	err := server.Shutdown(limit)
	select {
	case <-e.traffic.ended():
	case <-limit.Done():
		err = limit.Err()
	}
	if err != nil {
		e.options.Logger.Warn("requests cut off at the end", "after", e.options.ShutdownTimeout)
		cancel(errShutdown)
		_ = server.Close()
		<-e.traffic.ended()
	}
}

// traffic counts requests under way, also those that took their connection
// over, which http.Server does not wait for.
type traffic struct {
	mu   sync.Mutex
	n    int           // guarded by mu
	none chan struct{} // closed when n is 0; nil when nobody waits; guarded by mu
}

func (t *traffic) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *traffic) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// ended gives a channel that is closed when there is no traffic.
func (t *traffic) ended() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	if t.n == 0 {
		close(t.none)
		t.none = nil
	}
	return none
}

func protocols(http1, unencryptedHTTP2 bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(unencryptedHTTP2)
	return &p
}
