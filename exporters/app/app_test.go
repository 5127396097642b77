package app

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits for what must come; it is never a measure.
const patience = 20 * time.Second

// bench is a sidecar that runs beside an app.
type bench struct {
	*Exporter
	t      testing.TB
	url    string // of the proxy
	client *http.Client
	log    *syncBuffer
	stop   func() // ends Run and waits for it
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a sidecar; change may alter its options.
func start(t testing.TB, app string, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, log: &syncBuffer{}}
	o := DefaultOptions()
	o.App, o.Listen = app, "127.0.0.1:0"
	o.Logger = slog.New(slog.NewTextHandler(b.log, nil))
	for _, f := range change {
		f(&o)
	}
	var err error
	b.Exporter, err = New(o)
	require.NoError(t, err)
	require.NoError(t, b.Listen())
	b.url = "http://" + b.Addr().String()
	transport := &http.Transport{DisableCompression: true}
	b.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			transport.CloseIdleConnections()
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(b.stop)
	return b
}

// beside starts an app and a sidecar for it.
func beside(t testing.TB, app http.HandlerFunc, change ...func(*Options)) *bench {
	t.Helper()
	server := httptest.NewUnstartedServer(app)
	server.Config.Protocols = protocols(true, true)
	server.Start()
	t.Cleanup(server.Close)
	return start(t, server.URL, change...)
}

// get makes a request to the app through the sidecar.
func (b *bench) do(method, path string, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp, string(body)
}

// scrape gives the answer of /metrics, which must be an exposition.
func (b *bench) scrape() string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(b.t, http.StatusOK, w.Code, w.Body.String())
	parser := expfmt.NewTextParser(model.LegacyValidation)
	_, err := parser.TextToMetricFamilies(strings.NewReader(w.Body.String()))
	require.NoError(b.t, err)
	return w.Body.String()
}

// shows waits until a scrape has the lines; a request is counted when its
// handler ends, which may be after the client has the answer.
func (b *bench) shows(lines ...string) {
	b.t.Helper()
	var text string
	ok := func() bool {
		text = b.scrape()
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			require.Fail(b.t, "not shown", "%q in\n%s", lines, text)
		}
	}
}

func total(method, code, route string) string {
	return `http_requests_total{code="` + code + `",method="` + method + `",route="` + route + `"} 1`
}

func noMetrics(o *Options) { o.MetricsPath = "" }

func TestCountsByMethodCodeRoute(t *testing.T) {
	t.Parallel()
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		if r.URL.Path == "/teapot" {
			w.WriteHeader(http.StatusTeapot)
		}
	}, noMetrics, func(o *Options) { o.RoutePatterns = []string{"/teapot", "/u/{name}"} })
	b.do("GET", "/orders/17")
	b.do("POST", "/orders/17/items")
	b.do("BREW", "/teapot")
	b.do("GET", "/missing")
	b.do("GET", "/u/anna")
	b.do("CONNECT", "/x")
	b.shows(total("GET", "200", "/orders/{id}"), total("POST", "200", "/orders/{id}/items"), total("OTHER", "418", "/teapot"),
		total("GET", "404", "other"), total("GET", "200", "/u/{name}"), total("CONNECT", "405", "other"),
		`http_request_duration_seconds_count{code="200",method="GET",route="/orders/{id}"} 1`,
		`http_request_duration_seconds_bucket{code="200",method="GET",route="/orders/{id}",le="+Inf"} 1`,
		"http_requests_in_flight 0", "strata_app_upstream_up 1", "strata_app_routes 2")
	require.NotContains(t, b.scrape(), "strata_app_metrics_up")
	require.NotContains(t, b.scrape(), "go_goroutines")
}

// The app sees the request as the client sent it, and X-Forwarded-For.
func TestRequestUnchanged(t *testing.T) {
	t.Parallel()
	var got *http.Request
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-App", "a")
		w.Header().Add("Set-Cookie", "a=b")
		w.Header().Add("Set-Cookie", "c=d")
		w.Header().Set("Location", "http://elsewhere/")
		w.Header()["Content-Type"] = nil
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, "<html>moved</html>")
	}, noMetrics)
	req, err := http.NewRequest(http.MethodGet, b.url+"/a%2Fb/c%20d?x=1;y=2&z=%zz&", nil)
	require.NoError(t, err)
	req.Host = "shop.example"
	req.Header = http.Header{
		"User-Agent": {""}, "X-Forwarded-For": {"10.0.0.1", "10.0.0.2"}, "X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host": {"front.example"}, "Forwarded": {"for=10.0.0.1"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "X-Odd": {"1", "2"},
	}
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, "/a%2Fb/c%20d?x=1;y=2&z=%zz&", got.RequestURI)
	require.Equal(t, "shop.example", got.Host)
	require.Equal(t, http.Header{
		"X-Forwarded-For": {"10.0.0.1, 10.0.0.2, 127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"front.example"},
		"Forwarded": {"for=10.0.0.1"}, "X-Odd": {"1", "2"},
	}, got.Header)
	require.Equal(t, http.StatusFound, resp.StatusCode)
	require.Equal(t, "<html>moved</html>", string(body))
	require.Equal(t, "a", resp.Header.Get("X-App"))
	require.Equal(t, []string{"a=b", "c=d"}, resp.Header.Values("Set-Cookie"))
	require.Equal(t, "http://elsewhere/", resp.Header.Get("Location"))
	require.NotContains(t, resp.Header, "Content-Type")
}

// Both ways stream: each side has what the other sent while both go on.
func TestStreams(t *testing.T) {
	t.Parallel()
	f := func(t *testing.T, transport *http.Transport) {
		t.Helper()
		b := beside(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			w.Header().Set("Trailer", "X-Sum")
			for in := bufio.NewScanner(r.Body); in.Scan(); {
				_, _ = io.WriteString(w, "echo "+in.Text()+"\n")
				_ = rc.Flush()
			}
			w.Header().Set("X-Sum", "42")
		}, noMetrics)
		defer transport.CloseIdleConnections()
		read, write := io.Pipe()
		req, err := http.NewRequest(http.MethodPost, b.url+"/chat", read)
		require.NoError(t, err)
		go func() { _, _ = io.WriteString(write, "one\n") }()
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		out := bufio.NewReader(resp.Body)
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "echo one\n", line)
		require.Contains(t, b.scrape(), "http_requests_in_flight 1\n")
		_, err = io.WriteString(write, "two\n")
		require.NoError(t, err)
		line, err = out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "echo two\n", line)
		require.NoError(t, write.Close())
		_, err = out.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		_ = resp.Body.Close()
		require.Equal(t, "42", resp.Trailer.Get("X-Sum"))
		b.shows(total("POST", "200", "/chat"), "http_requests_in_flight 0")
	}
	t.Run("http1", func(t *testing.T) { t.Parallel(); f(t, &http.Transport{Protocols: protocols(true, false)}) })
	t.Run("h2c", func(t *testing.T) { t.Parallel(); f(t, &http.Transport{Protocols: protocols(false, true)}) })
}

// The app is spoken to in the protocol of the client.
func TestProtocolOfTheClient(t *testing.T) {
	t.Parallel()
	b := beside(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }, noMetrics)
	for _, two := range []bool{false, true} {
		transport := &http.Transport{Protocols: protocols(!two, two)}
		resp, err := (&http.Client{Transport: transport}).Get(b.url)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, resp.Proto, string(body))
		require.Equal(t, two, resp.ProtoMajor == 2)
		transport.CloseIdleConnections()
	}
}

// Answers that only inform go through and are not what is counted, and the
// answer to HEAD keeps the length of what is not sent.
func TestInformationalAndHead(t *testing.T) {
	t.Parallel()
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusCreated)
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	}, noMetrics)
	var hints, continues int
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints && h.Get("Link") != "" {
				hints++
			}
			return nil
		},
		Got100Continue: func() { continues++ },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPut, b.url+"/x", strings.NewReader("hello"))
	require.NoError(t, err)
	req.Header.Set("Expect", "100-continue")
	transport := &http.Transport{ExpectContinueTimeout: patience}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, "hello", string(body))
	require.Equal(t, []int{1, 1}, []int{hints, continues})
	head, body2 := b.do("HEAD", "/x")
	require.EqualValues(t, 5, head.ContentLength)
	require.Empty(t, body2)
	b.shows(total("PUT", "201", "/x"), total("HEAD", "201", "/x"))
}

// hijack is an app that upgrades and then sends back what it gets.
func hijack(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

// upgrade opens a connection through the sidecar and upgrades it.
func (b *bench) upgrade(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	return conn, in
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	b := beside(t, hijack, noMetrics)
	conn, in := b.upgrade(t)
	for _, word := range []string{"hello\n", "again\n"} {
		_, err := io.WriteString(conn, word)
		require.NoError(t, err)
		got, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, word, got)
	}
	b.shows(total("GET", "101", "/ws"), "http_requests_in_flight 1")
	require.NoError(t, conn.Close())
	b.shows(total("GET", "101", "/ws"), "http_requests_in_flight 0")
}

// A client that does not wait for the answer is counted as 499.
func TestClientGone(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	b := beside(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done() // the sidecar lets the app know
	}, noMetrics)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/slow", nil)
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := b.client.Do(req)
		failed <- err
	}()
	<-entered
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	b.shows(total("GET", "499", "other"), "http_requests_in_flight 0", `strata_app_upstream_errors_total{reason="broken"} 0`)
}

// So is one that breaks off in the middle of its request.
func TestClientGoneWithinItsBody(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	b := beside(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
	}, noMetrics)
	conn, err := net.Dial("tcp", b.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
	require.NoError(t, err)
	<-entered
	require.NoError(t, conn.Close())
	b.shows(total("POST", "499", "other"), `strata_app_upstream_errors_total{reason="broken"} 0`)
}

func TestAppDown(t *testing.T) {
	t.Parallel()
	b := start(t, deadAddress(t))
	resp, body := b.do("GET", "/orders/1")
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Equal(t, "strata-app: the app takes no connections\n", body)
	b.do("GET", "/orders/1")
	b.shows(`http_requests_total{code="502",method="GET",route="other"} 2`, "strata_app_upstream_up 0",
		`strata_app_upstream_errors_total{reason="dial"} 2`, "strata_app_metrics_up 0", "http_requests_in_flight 0")
	require.Equal(t, 1, strings.Count(b.log.String(), "the app takes no connections"), b.log.String())
	require.Equal(t, 1, strings.Count(b.log.String(), "no metrics from the app"), b.log.String())
}

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// An app that ends the connection without an answer.
func TestAppBreaks(t *testing.T) {
	t.Parallel()
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}, noMetrics)
	resp, body := b.do("POST", "/none")
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Equal(t, "strata-app: the app gave no answer\n", body)
	// On a connection of its own: Go's client asks again when a kept one ends.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(b.url + "/half")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	require.Error(t, err, "the client must not take a half answer for a whole one")
	b.shows(total("POST", "502", "other"), total("GET", "200", "/half"),
		`strata_app_upstream_errors_total{reason="broken"} 1`, `strata_app_upstream_errors_total{reason="truncated"} 1`)
}

// At the end requests under way are answered, and no new connections taken.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	b := beside(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "done")
	}, noMetrics)
	type answer struct {
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := b.client.Get(b.url + "/slow")
		if err != nil {
			got <- answer{err: err}
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		got <- answer{string(body), err}
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		b.stop()
		close(stopped)
	}()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", b.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond)
	close(leave)
	require.Equal(t, answer{body: "done"}, <-got)
	<-stopped
	b.shows(total("GET", "200", "/slow"))
	require.NotContains(t, b.log.String(), "cut off")
}

// What does not end in time is cut off, requests and upgraded connections.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	b := beside(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			hijack(w, r)
			return
		}
		close(entered)
		<-r.Context().Done()
	}, noMetrics, func(o *Options) { o.ShutdownTimeout = time.Millisecond })
	_, in := b.upgrade(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := b.client.Get(b.url + "/never"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	b.stop()
	<-ended
	_, err := in.ReadByte()
	require.Error(t, err)
	b.shows("http_requests_in_flight 0")
	require.Contains(t, b.log.String(), "cut off")
}

func TestNewBad(t *testing.T) {
	t.Parallel()
	f := func(want string, change func(*Options)) {
		t.Helper()
		o := DefaultOptions()
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
	address := func(text string) func(*Options) { return func(o *Options) { o.App = text } }
	f(`app address "https://x" (--app.address): only http`, address("https://x"))
	f(`app address "127.0.0.1:99/path" (--app.address): host:port is expected`, address("127.0.0.1:99/path"))
	f(`app address "http://" (--app.address): host:port is expected`, address("http://"))
	f(`app address "a:b:c" (--app.address): `, address("a:b:c"))
	f(`metrics path "metrics" (--app.metrics-path) does not begin with /`, func(o *Options) { o.MetricsPath = "metrics" })
	f(`metrics timeout 0s (--app.metrics-timeout) is not above 0`, func(o *Options) { o.MetricsTimeout = 0 })
	f(`route pattern "x" (--route.pattern)`, func(o *Options) { o.RoutePatterns = []string{"x"} })

	good := func(text, want string) {
		t.Helper()
		got, err := parseAddress(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	good("127.0.0.1:8080", "127.0.0.1:8080")
	good("http://app:8080/", "app:8080")
	good("app", "app:80")
	good("http://[::1]", "[::1]:80")
}
