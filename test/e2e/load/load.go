// Package load sends requests to pods from this machine, at a bounded rate and
// for a bounded time.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds that no options can pass: this machine also runs the cluster.
const (
	MaxRate     = 2000 // requests a second
	MaxDuration = 15 * time.Minute
	maxInFlight = 64
)

// ErrOptions says that Options are not within bounds.
var ErrOptions = errors.New("bad load options")

// Options says what to send where.
type Options struct {
	// Targets returns the URLs to ask in turn, asked again every second so that
	// new pods get their share. Their hosts must be addresses that are loopback
	// or private.
	Targets func(context.Context) ([]string, error)
	// Rate is in requests a second over all targets.
	Rate float64
	// Duration ends the load by itself.
	Duration time.Duration
	// Timeout is for one request; default 5 s.
	Timeout time.Duration
}

// Result is what happened.
type Result struct {
	Sent   int            // requests begun
	Failed int            // without an answer
	Shed   int            // not begun since too many were open
	Codes  map[int]int    // answers by status
	ByURL  map[string]int // requests begun by target
	Err    error          // the last failure
}

// Run sends until Duration is over or ctx ends, waits for the answers and
// returns. A failing request is counted and is no error of Run.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Rate <= 0 || o.Rate > MaxRate || o.Duration <= 0 || o.Duration > MaxDuration {
		return Result{}, fmt.Errorf("%w: rate %v must be in (0, %d] and duration %v in (0, %v]", ErrOptions, o.Rate, MaxRate, o.Duration, MaxDuration)
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	targets, err := o.targets(ctx)
	if err != nil {
		return Result{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true} // a Service balances by connection
	s := &sender{
		client: &http.Client{Transport: transport, Timeout: o.Timeout},
		slots:  make(chan struct{}, maxInFlight),
		result: Result{Codes: map[int]int{}, ByURL: map[string]int{}},
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	s.loop(ctx, o, targets)
	s.open.Wait()
	return s.result, nil
}

// targets asks for the URLs and refuses those that leave this machine.
func (o Options) targets(ctx context.Context) ([]string, error) {
	urls, err := o.Targets(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding targets: %w", err)
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: no targets", ErrOptions)
	}
	for _, u := range urls {
		req, err := http.NewRequest(http.MethodGet, u, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
		ip, err := netip.ParseAddr(req.URL.Hostname())
		if err != nil || !ip.IsLoopback() && !ip.IsPrivate() {
			return nil, fmt.Errorf("%w: target %s is not a loopback or private address", ErrOptions, u)
		}
	}
	return urls, nil
}

type sender struct {
	client *http.Client
	slots  chan struct{}
	open   sync.WaitGroup

	mu     sync.Mutex
	result Result
}

// loop begins as many requests as are due at each tick, so that the rate holds
// even when the machine is late.
func (s *sender) loop(ctx context.Context, o Options, targets []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	refresh := time.NewTicker(time.Second)
	defer refresh.Stop()
	begin, due := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
			if fresh, err := o.targets(ctx); err == nil { // else keep those we have
				targets = fresh
			}
		case <-tick.C:
			for ; float64(due) < time.Since(begin).Seconds()*o.Rate; due++ {
				s.begin(targets[due%len(targets)])
			}
		}
	}
}

func (s *sender) begin(url string) {
	select {
	case s.slots <- struct{}{}:
	default:
		s.count(func(r *Result) { r.Shed++ })
		return
	}
	s.count(func(r *Result) { r.Sent++; r.ByURL[url]++ })
	s.open.Go(func() {
		defer func() { <-s.slots }()
		code, err := s.get(url)
		s.count(func(r *Result) {
			if err != nil {
				r.Failed++
				r.Err = err
				return
			}
			r.Codes[code]++
		})
	})
}

// get does not end with the load: an answer under way is waited for.
func (s *sender) get(url string) (int, error) {
	resp, err := s.client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

func (s *sender) count(change func(*Result)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.result)
}

// URL is the address of a page of a pod or Service.
func URL(ip string, port int, path string) string {
	return "http://" + net.JoinHostPort(ip, fmt.Sprint(port)) + path
}
