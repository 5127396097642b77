package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/strata-metrics/strata/internal/metric"
)

// scraper answers /metrics.
type scraper struct {
	*Exporter
	registry *prometheus.Registry
	handler  http.Handler
	pool     sync.Pool
	state    stateLog
	dials    atomic.Int64 // of the upstream, at the scrape before
}

// exposition is the memory of one scrape, used again by the next.
type exposition struct {
	body   bytes.Buffer // of the app
	head   bytes.Buffer // our own families
	text   []byte       // the answer
	copier *passthrough
}

const (
	// returnTime is taken off the scraper's patience, for the way back.
	returnTime = 500 * time.Millisecond
	// minCompressed is the size from which an answer is compressed.
	minCompressed = 1 << 10
	// accept asks for the one format that can be passed through.
	accept = "text/plain;version=0.0.4"
)

func newScraper(e *Exporter) (*scraper, error) {
	s := &scraper{Exporter: e, registry: prometheus.NewRegistry()}
	if err := e.Register(s.registry); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	if e.options.MetricsPath != "" {
		if err := e.metrics.registerScrape(s.registry); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	s.pool.New = func() any { return &exposition{copier: newPassthrough(isOwn)} }
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(minCompressed), gzhttp.CompressionLevel(1))
	if err != nil {
		return nil, fmt.Errorf("setting up compression: %w", err)
	}
	s.handler = compress(http.HandlerFunc(s.serve))
	return s, nil
}

func (s *scraper) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.deadline(r)
	defer cancel()
	x := s.pool.Get().(*exposition)
	defer s.pool.Put(x)
	var passed []byte
	if s.options.MetricsPath != "" {
		passed = s.read(ctx, x)
	}
	if s.upstream != nil {
		// The app may have used up all the time: this comes out of the way back.
		checkCtx, cancelCheck := context.WithTimeout(r.Context(), returnTime/2)
		defer cancelCheck()
		s.dials.Store(s.upstream.check(checkCtx, s.dials.Load()))
	}
	if err := s.gather(x); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", metric.ContentType)
	if _, err := w.Write(x.head.Bytes()); err == nil {
		_, _ = w.Write(passed)
	}
}

// deadline is the earlier of the MetricsTimeout and the scraper's patience.
func (s *scraper) deadline(r *http.Request) (context.Context, context.CancelFunc) {
	patience, end := metric.ScrapeContext(r, returnTime)
	ctx, cancel := context.WithTimeout(patience, s.options.MetricsTimeout)
	return ctx, func() { cancel(); end() }
}

// gather writes our own families.
func (s *scraper) gather(x *exposition) error {
	families, err := s.registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering: %w", err)
	}
	x.head.Reset()
	enc := expfmt.NewEncoder(&x.head, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("encoding %s: %w", f.GetName(), err)
		}
	}
	return nil
}

// read gives what is right of the app's own metrics, and keeps account of it.
// The scrape goes on without them when the app does not answer as it should.
func (s *scraper) read(ctx context.Context, x *exposition) []byte {
	start := time.Now()
	x.text = x.text[:0]
	err := s.fetch(ctx, x)
	m := s.metrics
	m.scrapeDuration.Set(time.Since(start).Seconds())
	if s.state.changed(err) {
		if err != nil {
			s.options.Logger.Warn("no metrics from the app; --app.metrics-path says where they are, empty for none",
				"url", s.url(), "err", err)
		} else {
			s.options.Logger.Info("metrics from the app again", "url", s.url())
		}
	}
	if err != nil {
		m.scrapeUp.Set(0)
		m.scrapeSamples.Set(0)
		return nil
	}
	x.text = x.copier.copy(x.text, x.body.Bytes())
	m.scrapeUp.Set(1)
	m.scrapeSamples.Set(float64(x.copier.samples))
	m.scrapeDropped.WithLabelValues("broken").Add(float64(x.copier.broken))
	m.scrapeDropped.WithLabelValues("clash").Add(float64(x.copier.clashes))
	return x.text
}

func (s *scraper) url() string { return "http://" + s.upstream.host + s.options.MetricsPath }

// errTooLong says that the app's answer is over the MetricsLimit.
var errTooLong = errors.New("the answer is longer than --app.metrics-limit")

// fetch reads the app's answer into x.body.
func (s *scraper) fetch(ctx context.Context, x *exposition) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(), nil)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "strata-app")
	if end, ok := ctx.Deadline(); ok {
		left := max(time.Until(end), time.Millisecond).Seconds()
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(left, 'f', 3, 64))
	}
	resp, err := s.upstream.http1.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	if err := checkFormat(resp.Header); err != nil {
		return err
	}
	x.body.Reset()
	limit := s.options.MetricsLimit
	n, err := x.body.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if n > limit {
		return fmt.Errorf("%w=%d", errTooLong, limit)
	}
	return nil
}

// checkFormat refuses what is not the text format. OpenMetrics is so like it
// that the lines would pass, but its times are in seconds.
func checkFormat(h http.Header) error {
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fmt.Errorf("content encoding %q, which was not asked for", encoding)
	}
	text := h.Get("Content-Type")
	if text == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(text); err != nil || media != "text/plain" {
		return fmt.Errorf("content type %q, but %q was asked for", text, accept)
	}
	return nil
}
