package app

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
)

// Names of the families of the traffic, which those of an application must
// not have.
const (
	nameTotal    = "http_requests_total"
	nameDuration = "http_request_duration_seconds"
	nameInFlight = "http_requests_in_flight"
	// selfPrefix begins the names of the families about the sidecar.
	selfPrefix = "strata_app_"
)

// statusClientGone is the code under which requests are counted whose client
// did not wait for the answer, by nginx' convention. It is never sent.
const statusClientGone = 499

// metrics are those of the traffic and of the sidecar.
type metrics struct {
	router   *router
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge

	upstreamUp     prometheus.Gauge
	upstreamErrors *prometheus.CounterVec
	routes         prometheus.GaugeFunc
	routesFull     prometheus.CounterFunc

	// The following are of the application's own metrics.
	scrapeUp       prometheus.Gauge
	scrapeDuration prometheus.Gauge
	scrapeSamples  prometheus.Gauge
	scrapeDropped  *prometheus.CounterVec
}

func newMetrics(r *router) *metrics {
	labels := []string{"method", "code", "route"}
	m := &metrics{
		router: r,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: nameTotal, Help: "Requests to the app, by method, status code and route.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: nameDuration, Help: "Time from the head of a request to the end of its answer, by method, status code and route.",
			Buckets: prometheus.DefBuckets,
		}, labels),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: nameInFlight, Help: "Requests under way, upgraded connections among them.",
		}),
		upstreamUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: selfPrefix + "upstream_up", Help: "Whether the app took the last connection.",
		}),
		upstreamErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: selfPrefix + "upstream_errors_total",
			Help: "Requests that the app did not answer, by reason: dial, broken for a connection that ended without an answer, truncated for one that ended within it.",
		}, []string{"reason"}),
		routes: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: selfPrefix + "routes", Help: "Routes made from paths by rules.",
		}, func() float64 { n, _ := r.counts(); return float64(n) }),
		routesFull: prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: selfPrefix + "routes_full_total", Help: "Requests counted as route other since --route.limit was reached.",
		}, func() float64 { _, n := r.counts(); return float64(n) }),
		scrapeUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: selfPrefix + "metrics_up", Help: "Whether the app's own metrics could be read.",
		}),
		scrapeDuration: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: selfPrefix + "metrics_duration_seconds", Help: "How long the reading of the app's own metrics took.",
		}),
		scrapeSamples: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: selfPrefix + "metrics_samples", Help: "Samples of the app's own that were passed through.",
		}),
		scrapeDropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: selfPrefix + "metrics_dropped_lines_total",
			Help: "Lines of the app's own metrics left out, by reason: broken, or clash for a family of the sidecar's name.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{"dial", "broken", "truncated"} {
		m.upstreamErrors.WithLabelValues(reason)
	}
	return m
}

// registerTraffic adds what every exporter has to a registry.
func (m *metrics) registerTraffic(r prometheus.Registerer) error {
	return registerAll(r, m.total, m.duration, m.inFlight, m.routes, m.routesFull, versioncollector.NewCollector("strata_app"))
}

// registerUpstream adds what there is with an app beside the process.
func (m *metrics) registerUpstream(r prometheus.Registerer) error {
	return registerAll(r, m.upstreamUp, m.upstreamErrors)
}

func registerAll(r prometheus.Registerer, collectors ...prometheus.Collector) error {
	var errs []error
	for _, c := range collectors {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// registerScrape adds what there is with metrics of the app's own.
func (m *metrics) registerScrape(r prometheus.Registerer) error {
	for _, reason := range []string{"broken", "clash"} {
		m.scrapeDropped.WithLabelValues(reason)
	}
	return registerAll(r, m.scrapeUp, m.scrapeDuration, m.scrapeSamples, m.scrapeDropped)
}

// observe counts a request that came to its end.
func (m *metrics) observe(r *http.Request, code int, took time.Duration) {
	method, text, route := methodLabel(r.Method), codeLabel(code), m.router.route(r.URL.Path, code)
	m.total.WithLabelValues(method, text, route).Inc()
	m.duration.WithLabelValues(method, text, route).Observe(took.Seconds())
}

// methodLabel keeps the methods of RFC 9110 and RFC 5789, so that nobody can
// make series by inventing others.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return method
	default:
		return "OTHER"
	}
}

// codeLabel keeps the codes that mean something.
func codeLabel(code int) string {
	if code < 100 || code > 599 {
		return "OTHER"
	}
	return strconv.Itoa(code)
}

// stateLog writes a line when something begins to fail and when it is well
// again, and none in between.
type stateLog struct{ failing atomic.Bool }

// changed says whether the state is another than before.
func (s *stateLog) changed(err error) bool { return s.failing.Swap(err != nil) != (err != nil) }
