package metric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// HandlerOptions says what a /metrics endpoint serves.
type HandlerOptions struct {
	// Collect fills the batch. Its context ends a little before the scraper's
	// patience, see TimeoutOffset. An error is answered as a status of 500.
	// nil means none.
	Collect func(context.Context, *Batch) error
	// WriteText writes families that are kept rendered, behind the batch and
	// the registry. Its text is sent while it is written, so that a body of
	// any size takes no memory; it is the only format then, unless there is
	// WriteOpenMetrics. Its error is that of the writer. nil means none.
	WriteText func(io.Writer) error
	// WriteOpenMetrics writes what WriteText does as OpenMetrics, without the
	// line that ends the exposition. nil means that this is not offered.
	WriteOpenMetrics func(io.Writer) error
	// Registry is client_golang's registry with the process's own metrics,
	// served among those of the batch; best a BatchGatherer. nil means none.
	Registry prometheus.Gatherer
	// Registerer gets promhttp_metric_handler_*, the metrics of the handler
	// itself. nil means they are not kept.
	Registerer prometheus.Registerer
	// Logger gets what cannot be answered any more. nil means slog.Default().
	Logger *slog.Logger
	// MaxInFlight bounds the scrapes served at once; more get a status of 503.
	// 0 means no bound.
	MaxInFlight int
	// TimeoutOffset is taken off the time in the scraper's header
	// X-Prometheus-Scrape-Timeout-Seconds, for the way back. 0 means 0.5 s.
	TimeoutOffset time.Duration
}

// BatchGatherer is a gatherer that can give some of its families to a batch,
// which takes less time than messages do. The rest it gathers.
type BatchGatherer interface {
	prometheus.Gatherer
	GatherInto(*Batch) ([]*dto.MetricFamily, error)
}

// Handler serves a batch and a registry as promhttp serves a registry: in the
// format and compression that the scraper asks for, and with the parameter
// name[] only the families of these names. It panics when the Registerer has
// other metrics of the handler's names.
func Handler(o HandlerOptions) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.TimeoutOffset == 0 {
		o.TimeoutOffset = 500 * time.Millisecond
	}
	h := &handler{HandlerOptions: o, clashes: map[string]bool{}, errors: newHandlerErrors(o.Registerer)}
	if o.MaxInFlight > 0 {
		h.slots = make(chan struct{}, o.MaxInFlight)
	}
	if o.Registerer != nil {
		return promhttp.InstrumentMetricHandler(o.Registerer, h)
	}
	return h
}

// newHandlerErrors counts what promhttp counts, by its names.
func newHandlerErrors(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promhttp_metric_handler_errors_total",
		Help: "Total number of internal errors encountered by the metric handler.",
	}, []string{"cause"})
	c.WithLabelValues("gathering")
	c.WithLabelValues("encoding")
	if r == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		return already.ExistingCollector.(*prometheus.CounterVec)
	} else if err != nil {
		panic(err)
	}
	return c
}

type handler struct {
	HandlerOptions
	slots  chan struct{}
	errors *prometheus.CounterVec

	mu      sync.Mutex
	idle    []*exposition   // guarded by mu
	clashes map[string]bool // families that were told of already; guarded by mu
}

// maxIdle is how many expositions wait for their next scrape: one for each
// scraper of a pair, and as many again.
const maxIdle = 4

// take gives the exposition that served last, which knows most of what the
// next scrape will show. A sync.Pool would forget it with each collection of
// garbage.
func (h *handler) take() *exposition {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.idle) - 1
	if last < 0 {
		return &exposition{batch: NewBatch(), kept: newKept()}
	}
	e := h.idle[last]
	h.idle = h.idle[:last]
	return e
}

func (h *handler) give(e *exposition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.idle) < maxIdle {
		h.idle = append(h.idle, e)
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.slots != nil {
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way already", h.MaxInFlight), http.StatusServiceUnavailable)
			return
		}
	}
	ctx, cancel := ScrapeContext(r, h.TimeoutOffset)
	defer cancel()
	e := h.take()
	defer h.give(e)
	e.batch.Reset()
	if h.Collect != nil {
		if err := h.Collect(ctx, e.batch); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	a := newAnswer(r, &h.HandlerOptions)
	h.compose(e, a)
	header := w.Header()
	header.Set("Content-Type", string(a.mediaType))
	header.Add("Vary", "Accept")
	header.Add("Vary", "Accept-Encoding")
	if a.encoding != identity {
		header.Set("Content-Encoding", a.encoding)
	}
	var err error
	if h.WriteText != nil {
		err = h.stream(w, e, a)
	} else {
		err = e.write(w, a)
	}
	if err != nil {
		h.Logger.Debug("scraper left before the end", "remote", r.RemoteAddr, "err", err)
	}
}

// ScrapeContext bounds the work for a scrape by what the scraper says it will
// wait, less an offset for the way back.
func ScrapeContext(r *http.Request, offset time.Duration) (context.Context, context.CancelFunc) {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	seconds -= offset.Seconds()
	if err != nil || !(seconds > 0 && seconds < time.Hour.Seconds()) {
		return context.WithCancel(r.Context())
	}
	return context.WithTimeout(r.Context(), time.Duration(seconds*float64(time.Second)))
}

// stream sends what was collected and then what WriteText writes.
func (h *handler) stream(w io.Writer, e *exposition, a answer) error {
	out := e.compressor.stream(a.encoding, w)
	defer e.compressor.release()
	for i := range e.parts {
		if _, err := out.Write(e.parts[i].in(&e.out)); err != nil {
			return err
		}
	}
	write, end := h.WriteText, ""
	if a.format == formatOpenMetrics {
		write, end = h.WriteOpenMetrics, openEnd
	}
	if err := write(out); err != nil {
		return err
	}
	if _, err := io.WriteString(out, end); err != nil {
		return err
	}
	return out.Close()
}
