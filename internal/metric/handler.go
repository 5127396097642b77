package metric

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// HandlerOptions says what a /metrics endpoint serves.
type HandlerOptions struct {
	// Collect fills the batch. Its context ends a little before the scraper's
	// patience, see TimeoutOffset. An error is answered as a status of 500.
	// nil means none.
	Collect func(context.Context, *Batch) error
	// WriteText writes families that are kept rendered, behind the batch and
	// the registry. Its text is sent while it is written, so that a body of
	// any size takes no memory. Its error is that of the writer. nil means
	// none.
	WriteText func(io.Writer) error
	// Registry is client_golang's registry with the process's own metrics,
	// written behind the batch. nil means none.
	Registry prometheus.Gatherer
	// Logger gets what cannot be answered any more. nil means slog.Default().
	Logger *slog.Logger
	// MaxInFlight bounds the scrapes served at once; more get a status of 503.
	// 0 means no bound.
	MaxInFlight int
	// TimeoutOffset is taken off the time in the scraper's header
	// X-Prometheus-Scrape-Timeout-Seconds, for the way back. 0 means 0.5 s.
	TimeoutOffset time.Duration
}

// Handler serves a batch and a registry in the text format, compressed with
// gzip for those who accept it.
func Handler(o HandlerOptions) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.TimeoutOffset == 0 {
		o.TimeoutOffset = 500 * time.Millisecond
	}
	h := &handler{HandlerOptions: o}
	if o.MaxInFlight > 0 {
		h.slots = make(chan struct{}, o.MaxInFlight)
	}
	h.pool.New = func() any {
		zip, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails on wrong levels only
		return &exposition{batch: NewBatch(), zip: zip}
	}
	return h
}

type handler struct {
	HandlerOptions
	slots chan struct{}
	pool  sync.Pool
}

// exposition is the memory of one scrape, used again by the next.
type exposition struct {
	batch *Batch
	text  []byte
	zip   *gzip.Writer
	body  bytes.Buffer
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
	e := h.pool.Get().(*exposition)
	defer h.pool.Put(e)
	e.batch.Reset()
	if h.Collect != nil {
		if err := h.Collect(ctx, e.batch); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	if err := h.appendAll(e); err != nil {
		// What could be gathered is in the text: an incomplete view of
		// ourselves must not cost the scraper the rest.
		h.Logger.Error("own metrics are incomplete", "err", err)
	}
	if h.WriteText != nil {
		h.stream(w, r, e)
		return
	}
	h.write(w, r, e)
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

// appendAll renders the batch and the registry behind it.
func (h *handler) appendAll(e *exposition) error {
	if h.Registry == nil {
		e.text = e.batch.AppendText(e.text[:0])
		return nil
	}
	families, err := h.Registry.Gather()
	for _, f := range families {
		e.batch.giveWay(f.GetName())
	}
	e.text = e.batch.AppendText(e.text[:0])
	e.body.Reset()
	enc := expfmt.NewEncoder(&e.body, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if encErr := enc.Encode(f); encErr != nil {
			return fmt.Errorf("encoding %s: %w", f.GetName(), encErr)
		}
	}
	e.text = append(e.text, e.body.Bytes()...)
	return err
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, e *exposition) {
	header, body := w.Header(), e.text
	header.Set("Content-Type", ContentType)
	header.Add("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		e.body.Reset()
		e.zip.Reset(&e.body)
		// A bytes.Buffer takes everything, so these cannot fail.
		_, _ = e.zip.Write(e.text)
		_ = e.zip.Close()
		header.Set("Content-Encoding", "gzip")
		body = e.body.Bytes()
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		h.Logger.Debug("scraper left before the end", "remote", r.RemoteAddr, "err", err)
	}
}

// stream sends what was collected and then what WriteText writes.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, e *exposition) {
	header := w.Header()
	header.Set("Content-Type", ContentType)
	header.Add("Vary", "Accept-Encoding")
	var out io.Writer = w
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		e.zip.Reset(w)
		defer e.zip.Reset(io.Discard) // do not keep the answer in the pool
		out = e.zip
	}
	_, err := out.Write(e.text)
	if err == nil {
		err = h.WriteText(out)
	}
	if err == nil && out == e.zip {
		err = e.zip.Close()
	}
	if err != nil {
		h.Logger.Debug("scraper left before the end", "remote", r.RemoteAddr, "err", err)
	}
}

// acceptsGzip reads Accept-Encoding as RFC 9110 has it: a weight of 0 is a no.
func acceptsGzip(r *http.Request) bool {
	for _, field := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(field, ",") {
			coding, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			weight, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			return !ok || err != nil || q > 0
		}
	}
	return false
}
