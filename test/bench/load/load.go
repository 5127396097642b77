// Package load asks an HTTPS server: at a fixed rate to learn how long answers
// take, or as fast as some workers can to learn how many there are. Nothing but
// loopback and private addresses is asked, and every run ends by itself.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// MaxDuration bounds a run.
const MaxDuration = 5 * time.Minute

// maxOpen bounds the requests of a fixed rate that wait for their answer: a
// server that stopped answering must not fill the generator's memory.
const maxOpen = 4096

// idleConns are kept, as by client-go and the aggregation layer.
const idleConns = 25

// ErrTarget means that a URL leads off this machine.
var ErrTarget = errors.New("target is not a loopback or private address")

// Client asks over connections of its own as a client of the API does: over one
// where the server offers HTTP/2, else over as many as it has open requests.
type Client struct {
	http *http.Client
	urls []string
	next atomic.Uint64
	// Check looks at an answer; nil takes any with status 200.
	check func(status int, body []byte) error
}

// NewClient makes a client that asks the URLs in turn. What check returns an
// error for counts as failed; nil takes every answer with status 200.
func NewClient(conf *tls.Config, check func(status int, body []byte) error, urls ...string) (*Client, error) {
	for _, u := range urls {
		parsed, err := url.Parse(u)
		if err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
		ip, err := netip.ParseAddr(parsed.Hostname())
		if err != nil || !ip.IsLoopback() && !ip.IsPrivate() {
			return nil, fmt.Errorf("%s: %w", u, ErrTarget)
		}
	}
	if len(urls) == 0 {
		return nil, errors.New("no targets")
	}
	if check == nil {
		check = func(status int, _ []byte) error {
			if status != http.StatusOK {
				return fmt.Errorf("status %d", status)
			}
			return nil
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &Client{
		http: &http.Client{
			Transport: &http.Transport{TLSClientConfig: conf, Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: idleConns},
			Timeout:   30 * time.Second,
		},
		urls: urls, check: check,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get asks the next URL once.
func (c *Client) Get(ctx context.Context, buf []byte) ([]byte, error) {
	u := c.urls[c.next.Add(1)%uint64(len(c.urls))]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return buf, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return buf, err
	}
	defer func() { _ = resp.Body.Close() }()
	if buf, err = readAll(resp.Body, buf[:0]); err != nil {
		return buf, fmt.Errorf("read the answer of %s: %w", u, err)
	}
	if err := c.check(resp.StatusCode, buf); err != nil {
		return buf, fmt.Errorf("%s: %w: %.200s", u, err, buf)
	}
	return buf, nil
}

// readAll is io.ReadAll into a buffer that is there.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) == 0 {
		buf = make([]byte, 0, 64<<10)
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// Result is what a run saw.
type Result struct {
	Sent, Failed int
	// Err is the first failure.
	Err error
	// Elapsed is from the first request to the last answer.
	Elapsed time.Duration
	// Bytes is the size of the last body.
	Bytes int

	latency *hdrhistogram.Histogram // microseconds
}

// Rate is the good answers a second.
func (r *Result) Rate() float64 { return float64(r.Sent-r.Failed) / r.Elapsed.Seconds() }

// Quantile is a latency in milliseconds; q is 0 to 1. At a fixed rate it is
// counted from when the request should have been sent.
func (r *Result) Quantile(q float64) float64 {
	return float64(r.latency.ValueAtPercentile(q*100)) / 1000
}

// Max is the longest latency in milliseconds.
func (r *Result) Max() float64 { return float64(r.latency.Max()) / 1000 }

// recorder collects a Result from many goroutines.
type recorder struct {
	mu sync.Mutex
	r  Result
}

func newRecorder() *recorder {
	return &recorder{r: Result{latency: hdrhistogram.New(1, (60 * time.Second).Microseconds(), 3)}}
}

func (rec *recorder) add(took time.Duration, bytes int, err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.r.Sent++
	rec.r.Bytes = bytes
	if err != nil {
		rec.r.Failed++
		if rec.r.Err == nil {
			rec.r.Err = err
		}
		return
	}
	_ = rec.r.latency.RecordValue(min(max(took.Microseconds(), 1), (60 * time.Second).Microseconds()))
}

// Fixed asks at a rate (requests a second) for a time. A request is late from
// the moment at which it should have been sent, so that a stall of the server
// counts for all that would have been asked in it.
func Fixed(ctx context.Context, c *Client, rate float64, d time.Duration) (*Result, error) {
	if rate <= 0 || d <= 0 || d > MaxDuration {
		return nil, fmt.Errorf("rate %v and duration %s: both must be above 0, the duration at most %s", rate, d, MaxDuration)
	}
	rec := newRecorder()
	var open sync.WaitGroup
	slots := make(chan struct{}, maxOpen)
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	begin := time.Now()
	for i := range int(rate * d.Seconds()) {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if err := waitUntil(ctx, due); err != nil {
			open.Wait()
			return nil, err
		}
		slots <- struct{}{}
		open.Go(func() {
			buf := buffers.Get().(*[]byte)
			var err error
			*buf, err = c.Get(ctx, *buf)
			rec.add(time.Since(due), len(*buf), err)
			buffers.Put(buf)
			<-slots
		})
	}
	open.Wait()
	rec.r.Elapsed = time.Since(begin)
	return &rec.r, ctx.Err()
}

// oversleep is how much too long a timer of an idle process takes: its system
// call counts in milliseconds, rounded up.
const oversleep = 2 * time.Millisecond

// waitUntil sleeps and then spins, so that what is sent late is not taken for
// an answer that is.
func waitUntil(ctx context.Context, due time.Time) error {
	if d := time.Until(due) - oversleep; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for time.Now().Before(due) {
		runtime.Gosched()
	}
	return ctx.Err()
}

// Closed lets each client have a number of requests open all the time.
func Closed(ctx context.Context, clients []*Client, workers int, d time.Duration) (*Result, error) {
	if d <= 0 || d > MaxDuration {
		return nil, fmt.Errorf("duration %s: it must be above 0 and at most %s", d, MaxDuration)
	}
	rec := newRecorder()
	begin := time.Now()
	until := begin.Add(d)
	var all sync.WaitGroup
	for _, c := range clients {
		for range workers {
			all.Go(func() {
				var buf []byte
				for time.Now().Before(until) && ctx.Err() == nil {
					var err error
					asked := time.Now()
					buf, err = c.Get(ctx, buf)
					rec.add(time.Since(asked), len(buf), err)
				}
			})
		}
	}
	all.Wait()
	rec.r.Elapsed = time.Since(begin)
	return &rec.r, ctx.Err()
}
