// Package serve is the HTTP server of every Strata binary: one table of
// routes, each counted; health and readiness; TLS and basic authentication by
// the field's web configuration file; limits on headers and time; and a
// graceful end.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
)

// Options of a Server.
type Options struct {
	// Name of the program, for the landing page and the log.
	Name string
	// Listen holds the addresses (host:port) to listen on; port 0 picks one.
	Listen []string
	// ListenFlag is the flag that sets Listen, named in the error when a port
	// is taken. Empty means --web.listen-address.
	ListenFlag string
	// SystemdSocket serves on the sockets that systemd passes to the process
	// (sd_listen_fds(3)) instead of those of Listen.
	SystemdSocket bool
	// WebConfigFile is the path of a web configuration file (TLS, basic
	// authentication, headers) of exporter-toolkit. Empty means plain HTTP.
	WebConfigFile string
	// PProf serves the profiles of Go at /debug/pprof/.
	PProf bool
	// Registry gets strata_http_requests_total. nil means it is not kept.
	Registry prometheus.Registerer
	// Logger, nil means slog.Default().
	Logger *slog.Logger
	// ReadTimeout bounds the reading of one request and the life of an idle
	// connection. 0 means 5 minutes.
	ReadTimeout time.Duration
	// Wrap stands before all routes, such as to measure what they serve. nil
	// means nothing does.
	Wrap func(http.Handler) http.Handler
	// WrapListener changes each listener before it is served, such as to
	// bound its connections. nil means none.
	WrapListener func(net.Listener) net.Listener
}

// shutdownTimeout is what requests under way have once the end has come.
const shutdownTimeout = 10 * time.Second

// Server is an HTTP server with a table of routes. Routes and readiness
// checks are given before Run.
type Server struct {
	Options
	mux       *http.ServeMux
	requests  *prometheus.CounterVec
	links     []web.LandingLinks
	landing   bool
	checks    []check
	listeners []net.Listener
}

type check struct {
	name  string
	ready func() error
}

// New makes a server that has /-/healthy and /-/ready, and fails when the web
// configuration file is not valid.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ListenFlag == "" {
		o.ListenFlag = "--web.listen-address"
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 5 * time.Minute
	}
	if err := web.Validate(o.WebConfigFile); err != nil {
		return nil, fmt.Errorf("web configuration file %s: %w", o.WebConfigFile, err)
	}
	s := &Server{Options: o, mux: http.NewServeMux(), landing: true}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "strata_http_requests_total",
		Help: "HTTP requests served, by route and status code.",
	}, []string{"handler", "code"})
	if o.Registry != nil {
		if err := o.Registry.Register(s.requests); err != nil {
			return nil, fmt.Errorf("registering the server's metrics: %w", err)
		}
	}
	s.Handle("/-/healthy", "Healthy", http.HandlerFunc(s.healthy))
	s.Handle("/-/ready", "Ready", http.HandlerFunc(s.ready))
	if o.PProf {
		s.mux.HandleFunc("/debug/pprof/", pprof.Index)
		s.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		s.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		s.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		s.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return s, nil
}

// MetricsPath says whether metrics can be served at a path that a flag gives: those
// of the server itself, and the taken, are none.
func MetricsPath(flag, path string, taken ...string) error {
	switch {
	case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{} "):
		return &UsageError{fmt.Errorf("--%s: %q is not a path as /metrics is one", flag, path)}
	case strings.HasPrefix(path, "/-/"), strings.HasPrefix(path, "/debug/"), slices.Contains(taken, path):
		return &UsageError{fmt.Errorf("--%s: something else is served at %s; choose another path", flag, path)}
	}
	return nil
}

// Handle adds a route by a pattern of http.ServeMux. Routes with a title are
// linked from the landing page, which stands at / unless / is handled.
func (s *Server) Handle(pattern, title string, h http.Handler) {
	if pattern == "/" {
		s.landing = false
	}
	if title != "" {
		s.links = append(s.links, web.LandingLinks{Address: pattern, Text: title})
	}
	counted := s.requests.MustCurryWith(prometheus.Labels{"handler": pattern})
	s.mux.Handle(pattern, promhttp.InstrumentHandlerCounter(counted, h))
}

// AddReady adds a condition of /-/ready. Its error is shown to the one who
// asks, so it should say what is awaited.
func (s *Server) AddReady(name string, ready func() error) {
	s.checks = append(s.checks, check{name, ready})
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, "%s is healthy.\n", s.Name)
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var errs []error
	for _, c := range s.checks {
		if err := c.ready(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "%s is ready.\n", s.Name)
}

// Listen binds all addresses, or none. Run calls it when it was not called
// before.
func (s *Server) Listen() error {
	if s.SystemdSocket {
		return s.listenOnPassed()
	}
	for _, address := range s.Options.Listen {
		l, err := ListenOn(address, s.ListenFlag)
		if err != nil {
			s.closeListeners()
			return err
		}
		if s.WrapListener != nil {
			l = s.WrapListener(l)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// listenOnPassed takes the sockets that systemd has passed.
func (s *Server) listenOnPassed() error {
	listeners, err := activation.Listeners()
	if err != nil {
		return fmt.Errorf("taking systemd's sockets: %w", err)
	}
	for _, l := range listeners {
		if l == nil { // a socket that is no listener
			continue
		}
		if s.WrapListener != nil {
			l = s.WrapListener(l)
		}
		s.listeners = append(s.listeners, l)
	}
	if len(s.listeners) == 0 {
		return errors.New("systemd has passed no socket to listen on; --web.systemd-socket needs a .socket unit beside the service")
	}
	return nil
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.listeners = nil
}

// Addrs are the bound addresses, in the order of Options.Listen.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Handler gives the routes without a listener, for tests.
func (s *Server) Handler() http.Handler {
	if s.landing {
		s.landing = false
		page, err := web.NewLandingPage(web.LandingConfig{
			Name: s.Name, Version: version.Info(), Links: s.links, Profiling: fmt.Sprint(s.PProf),
		})
		if err == nil { // the template is the library's own
			s.mux.Handle("/{$}", page)
		}
	}
	return s.mux
}

// Run serves until the context ends, then lets requests under way end within
// 10 s. It returns nil after such an end, else what went wrong.
func (s *Server) Run(ctx context.Context) error {
	if s.listeners == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	handler := s.Handler()
	if s.Wrap != nil {
		handler = s.Wrap(handler)
	}
	errs := make(chan error, len(s.listeners))
	servers := make([]*http.Server, len(s.listeners))
	for i, l := range s.listeners {
		servers[i] = &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       s.ReadTimeout,
			IdleTimeout:       s.ReadTimeout,
			ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		}
		go func() { errs <- s.serve(l, servers[i]) }()
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-errs:
		errs <- nil
	}
	s.shutdown(servers)
	for range servers {
		if err := <-errs; err != nil && !errors.Is(err, http.ErrServerClosed) {
			first = errors.Join(first, err)
		}
	}
	return first
}

func (s *Server) serve(l net.Listener, server *http.Server) error {
	if s.WebConfigFile == "" {
		s.Logger.Info("listening", "program", s.Name, "address", "http://"+l.Addr().String())
		return server.Serve(l)
	}
	return web.Serve(l, server, &web.FlagConfig{WebConfigFile: &s.WebConfigFile}, s.Logger)
}

func (s *Server) shutdown(servers []*http.Server) {
	// The context of Run has ended: this one bounds the way out.
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var wait sync.WaitGroup
	for _, server := range servers {
		wait.Go(func() {
			if err := server.Shutdown(ctx); err != nil {
				s.Logger.Warn("requests cut off at the end", "program", s.Name, "err", err)
				_ = server.Close()
			}
		})
	}
	wait.Wait()
}
