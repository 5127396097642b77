package query

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Requests are the metrics of HTTP routes, by the names and labels that
// Prometheus has for its own: dashboards and alerts of a Prometheus ask for them.
type Requests struct {
	count          *prometheus.CounterVec
	duration, size *prometheus.HistogramVec
}

// NewRequests registers them.
func NewRequests(r prometheus.Registerer) *Requests {
	m := &Requests{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prometheus_http_requests_total", Help: "HTTP requests, by route and status.",
		}, []string{"handler", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prometheus_http_request_duration_seconds", Help: "How long requests took, in seconds.",
			Buckets:                     []float64{.1, .2, .4, 1, 3, 8, 20, 60, 120},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler"}),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prometheus_http_response_size_bytes", Help: "Bytes of answers.", Buckets: prometheus.ExponentialBuckets(100, 10, 8),
		}, []string{"handler"}),
	}
	r.MustRegister(m.count, m.duration, m.size)
	return m
}

// Measure measures a route. Its count is there before its first request.
func (m *Requests) Measure(route string, next http.Handler) http.Handler {
	m.count.WithLabelValues(route, "200")
	of := prometheus.Labels{"handler": route}
	return promhttp.InstrumentHandlerCounter(m.count.MustCurryWith(of),
		promhttp.InstrumentHandlerDuration(m.duration.MustCurryWith(of),
			promhttp.InstrumentHandlerResponseSize(m.size.MustCurryWith(of), next)))
}
