package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy counts the requests that the next handler serves.
type proxy struct {
	next    http.Handler
	metrics *metrics
	traffic *traffic
}

// flushInterval is how long a part of an answer of known length may lie here
// when the app is slow with the rest.
const flushInterval = 10 * time.Millisecond

// newReverseProxy carries requests to the app.
func newReverseProxy(e *Exporter) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:    e.rewrite,
		Transport:  e.upstream,
		BufferPool: &bufferPool{},
		// Answers of unknown length are flushed at once by themselves.
		FlushInterval: flushInterval,
		ErrorHandler:  e.failed,
		ErrorLog:      slog.NewLogLogger(e.options.Logger.Handler(), slog.LevelDebug),
	}
}

// rewrite makes the app's request of the client's. ReverseProxy takes away
// what another proxy may have said about the client, and parts of the query
// that Go cannot read; both are given back.
func (e *Exporter) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme = "http"
	p.Out.URL.Host = e.upstream.host
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	p.Out.URL.ForceQuery = p.In.URL.ForceQuery
	for _, name := range [...]string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
	prior := p.In.Header["X-Forwarded-For"]
	client, _, err := net.SplitHostPort(p.In.RemoteAddr)
	if err == nil {
		prior = append(prior[:len(prior):len(prior)], client)
	}
	if len(prior) > 0 {
		p.Out.Header["X-Forwarded-For"] = []string{strings.Join(prior, ", ")}
	}
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.traffic.begin()
	defer p.traffic.end()
	p.metrics.inFlight.Inc()
	defer p.metrics.inFlight.Dec()
	rec := &recorder{ResponseWriter: w, request: r, metrics: p.metrics, start: time.Now()}
	defer rec.finish() // deferred since ReverseProxy ends by a panic when an answer breaks off
	if r.Method == http.MethodConnect {
		// The app is no proxy, and we are none for the world.
		http.Error(rec, "CONNECT is not served here", http.StatusMethodNotAllowed)
		rec.whole = true
		return
	}
	if r.ContentLength != 0 && r.Body != nil {
		// The answer may begin before the request has ended. A server that
		// cannot do this, as that of HTTP/2 which needs not be told, says so.
		_ = http.NewResponseController(w).EnableFullDuplex()
		rec.body = &watchedBody{ReadCloser: r.Body}
		r.Body = rec.body
	}
	p.next.ServeHTTP(rec, r)
	rec.whole = true
}

// failed answers a request that the app did not.
func (e *Exporter) failed(w http.ResponseWriter, r *http.Request, err error) {
	rec := w.(*recorder)
	ctx := rec.request.Context()
	var dial *dialError
	switch {
	case errors.Is(context.Cause(ctx), errShutdown):
		http.Error(w, "strata-app: the app did not answer before the end", http.StatusServiceUnavailable)
	case ctx.Err() != nil, rec.body != nil && rec.body.failed.Load():
		// There is nobody to answer.
		rec.code = statusClientGone
		panic(http.ErrAbortHandler)
	case errors.As(err, &dial):
		e.metrics.upstreamErrors.WithLabelValues("dial").Inc()
		http.Error(w, "strata-app: the app takes no connections", http.StatusBadGateway)
	default:
		e.metrics.upstreamErrors.WithLabelValues("broken").Inc()
		e.options.Logger.Warn("the app gave no answer", "method", r.Method, "path", r.URL.Path, "err", err)
		http.Error(w, "strata-app: the app gave no answer", http.StatusBadGateway)
	}
}

// recorder notes the code of an answer, and counts the request once.
type recorder struct {
	http.ResponseWriter
	request  *http.Request
	metrics  *metrics
	body     *watchedBody // nil when the request has none
	start    time.Time
	code     int // 0 until known
	observed bool
	whole    bool // the answer came to its end
	deaf     bool // the client takes no more of it
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK // as net/http has it
	}
	n, err := r.ResponseWriter.Write(p)
	if err != nil {
		r.deaf = true
	}
	return n, err
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	if code >= 200 && r.code == 0 {
		r.code = code
		if h := r.Header(); h["Content-Type"] == nil {
			h["Content-Type"] = nil // else net/http would guess one
		}
	}
	r.ResponseWriter.WriteHeader(code)
}

// Hijack implements http.Hijacker for upgrades. What comes after the upgrade
// is no request: it is counted here, by the time that the upgrade took.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.code = http.StatusSwitchingProtocols
		r.finish()
	}
	return conn, rw, err
}

// Unwrap gives http.ResponseController what we do not change, such as Flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) finish() {
	if r.observed {
		return
	}
	r.observed = true
	code := r.code
	if !r.whole && code != statusClientGone && code != http.StatusSwitchingProtocols && !r.deaf && r.request.Context().Err() == nil {
		r.metrics.upstreamErrors.WithLabelValues("truncated").Inc()
	}
	switch {
	case code != 0:
	case r.whole: // a handler of this process that left the answer to net/http
		code = http.StatusOK
	default: // a panic before any answer
		code = http.StatusInternalServerError
	}
	r.metrics.observe(r.request, code, time.Since(r.start))
}

// watchedBody remembers whether the client broke off its request.
type watchedBody struct {
	io.ReadCloser
	failed atomic.Bool
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, http.ErrBodyReadAfterClose) {
		b.failed.Store(true)
	}
	return n, err
}

// bufferPool implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
