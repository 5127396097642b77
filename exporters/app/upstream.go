package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout is long for a neighbour in the same pod, and bounds what a
	// client waits for one that is not there.
	dialTimeout = 3 * time.Second
	// idleUpstream is how long an unused connection to the app is kept: less
	// than any server in the field does, since a request on a connection that
	// the app is closing is lost. A new one costs next to nothing here.
	idleUpstream = time.Second
	// maxIdleUpstream bounds the unused connections.
	maxIdleUpstream = 1024
)

// upstream is the way to the app. It implements http.RoundTripper, and speaks
// with the app the protocol that the client spoke with us.
type upstream struct {
	host    string
	dialer  net.Dialer
	http1   *http.Transport
	http2   *http.Transport
	metrics *metrics
	logger  *slog.Logger
	state   stateLog
	// dials counts attempts, so that a scrape knows whether there were any.
	dials atomic.Int64
}

// dialError is what every failure to connect is, so that it can be told from
// a connection that broke.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func newUpstream(host string, m *metrics, logger *slog.Logger) *upstream {
	u := &upstream{host: host, dialer: net.Dialer{Timeout: dialTimeout}, metrics: m, logger: logger}
	transport := func(p *http.Protocols) *http.Transport {
		return &http.Transport{
			// No Proxy: what the environment says of proxies is not meant for
			// the neighbour.
			DialContext:           u.dial,
			Protocols:             p,
			DisableCompression:    true, // bodies pass as they are
			MaxIdleConns:          maxIdleUpstream,
			MaxIdleConnsPerHost:   maxIdleUpstream,
			IdleConnTimeout:       idleUpstream,
			ExpectContinueTimeout: time.Second,
		}
	}
	u.http1, u.http2 = transport(protocols(true, false)), transport(protocols(false, true))
	return u
}

// RoundTrip implements http.RoundTripper.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ProtoMajor == 2 {
		return u.http2.RoundTrip(r)
	}
	return u.http1.RoundTrip(r)
}

// dial connects to the app and keeps account of whether it could.
func (u *upstream) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := u.dialer.DialContext(ctx, "tcp", u.host)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil, &dialError{err} // the client left: this says nothing of the app
	}
	u.dials.Add(1)
	if u.state.changed(err) {
		if err != nil {
			u.logger.Warn("the app takes no connections", "app", u.host, "err", err)
		} else {
			u.logger.Info("the app takes connections again", "app", u.host)
		}
	}
	if err != nil {
		u.metrics.upstreamUp.Set(0)
		return nil, &dialError{err}
	}
	u.metrics.upstreamUp.Set(1)
	return conn, nil
}

// check connects once when there was no attempt since the count of dials that
// the caller saw last, so that upstream_up is never older than a scrape. It
// gives the count.
func (u *upstream) check(ctx context.Context, seen int64) int64 {
	if u.dials.Load() == seen {
		if conn, err := u.dial(ctx, "", ""); err == nil {
			_ = conn.Close()
		}
	}
	return u.dials.Load()
}

func (u *upstream) close() {
	u.http1.CloseIdleConnections()
	u.http2.CloseIdleConnections()
}
