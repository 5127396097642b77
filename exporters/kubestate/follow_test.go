package kubestate

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) {
	// The servers of the tests and their clients share one transport, whose
	// idle connections outlive a test.
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	}), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// bothLists runs a test on an API server that lists by a watch, and on one
// that is older than that.
func bothLists(t *testing.T, do func(t *testing.T, api *fakeAPI)) {
	t.Helper()
	for name, watchList := range map[string]bool{"watch list": true, "pages": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, newFakeAPI(t, watchList))
		})
	}
}

func replicas(n int64) map[string]any {
	return map[string]any{"spec": map[string]any{"replicas": n}}
}

func TestChangesAreFollowed(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("deployments", object("a", "web", replicas(1)))
		e := follow(t, Options{Config: api.config()})
		ready(t, e)
		body := scrape(t, e)
		require.Contains(t, body, `kube_deployment_spec_replicas{namespace="a",deployment="web"} 1`)
		require.Contains(t, body, "# TYPE kube_deployment_deletion_timestamp gauge\n", "the head of a family without series")
		require.NotContains(t, body, "kube_pod_info", "the head of a family of a kind without objects")

		api.put("deployments", object("a", "web", replicas(2)))
		eventually(t, "change", has(e, `kube_deployment_spec_replicas{namespace="a",deployment="web"} 2`))
		api.put("pods", object("a", "web-1", nil))
		eventually(t, "addition", has(e, `kube_pod_info{namespace="a",pod="web-1"`))
		api.put("pods", object("a", "web-2", nil))
		eventually(t, "addition", has(e, `kube_pod_info{namespace="a",pod="web-2"`))
		scrape(t, e)
		api.remove("pods", object("a", "web-1", nil))
		eventually(t, "removal", func() bool { return !strings.Contains(text(e), "web-1") })
		api.remove("pods", object("a", "web-2", nil))
		eventually(t, "removal of the last", func() bool { return !strings.Contains(text(e), "kube_pod_info") })
		scrape(t, e)
	})
}

func TestHistoryThatIsGone(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("deployments", object("a", "kept", replicas(1)))
		api.put("deployments", object("a", "gone", replicas(1)))
		book := &logBook{}
		e := follow(t, Options{Config: api.config(), Resources: []string{"deployments"}, Logger: book.logger()})
		ready(t, e)
		// What the watch does not say, only a list can.
		api.mu.Lock()
		k := api.kinds["deployments"]
		k.objects = k.objects[:1]
		api.mu.Unlock()
		api.putQuietly("deployments", object("a", "new", replicas(3)))
		api.expire("deployments")
		eventually(t, "new list", has(e, `kube_deployment_spec_replicas{namespace="a",deployment="new"} 3`))
		require.NotContains(t, text(e), `"gone"`)
		require.Contains(t, text(e), `"kept"`)
		require.NotContains(t, book.String(), "level=ERROR")
	})
}

func TestWatchThatEnds(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("pods", object("a", "p", nil))
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}})
		ready(t, e)
		for i := range 3 {
			api.endWatches()
			eventually(t, "another watch", func() bool { return api.count("watch pods") > i+1 })
			require.Contains(t, text(e), `pod="p"`, "the last state is served on")
		}
		api.put("pods", object("a", "q", nil))
		eventually(t, "changes come again", has(e, `pod="q"`))
	})
}

func TestForbiddenKind(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("pods", object("a", "p", nil))
		api.put("nodes", object("", "n", nil))
		api.fail("list nodes", http.StatusForbidden)
		api.fail("watch nodes", http.StatusForbidden)
		book := &logBook{}
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods", "nodes"}, Logger: book.logger()})
		eventually(t, "the other kind", has(e, `kube_pod_info{namespace="a",pod="p"`))
		eventually(t, "refusals", func() bool { return api.count("list nodes") > 5 })
		err := e.Ready()
		require.ErrorContains(t, err, "nodes: ")
		require.ErrorContains(t, err, "Forbidden")
		require.NotContains(t, err.Error(), "pods")
		require.Equal(t, 1, book.count("level=ERROR"), book.String())
		require.Equal(t, 1, book.count(`allow list and watch of nodes in the API group \"\"`), book.String())

		api.fail("list nodes", 0)
		api.fail("watch nodes", 0)
		ready(t, e)
		require.Contains(t, scrape(t, e), `kube_node_info{node="n"`)
		eventually(t, "the end of it in the log", func() bool { return book.count("following nodes again") == 1 })
	})
}

func TestWatchThatIsForbidden(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("pods", object("a", "p", nil))
		api.fail("watch pods", http.StatusForbidden)
		book := &logBook{}
		e := follow(t, Options{Config: api.config(), Resources: []string{"pods"}, Logger: book.logger()})
		ready(t, e)
		eventually(t, "new lists", func() bool { return api.count("list pods") > 5 })
		require.Contains(t, text(e), `pod="p"`)
		require.Equal(t, 1, book.count("level=ERROR"), book.String())
	})
}

func TestAPIServerThatGoesAway(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		api.put("pods", object("a", "p", nil))
		book := &logBook{}
		e := follow(t, Options{Config: api.config(), Logger: book.logger()})
		ready(t, e)
		before := api.count("watch pods")
		api.setDown(true)
		eventually(t, "log", func() bool { return book.count("does not answer") > 0 })
		require.Contains(t, scrape(t, e), `pod="p"`, "the last state is served on")
		require.NoError(t, e.Ready(), "a state that was complete is served on")
		api.putQuietly("pods", object("a", "q", nil))
		api.expire("pods")
		api.setDown(false)
		eventually(t, "another watch", func() bool { return api.count("watch pods") > before })
		eventually(t, "what came in the meantime", has(e, `pod="q"`))
		eventually(t, "log", func() bool { return book.count("answers again") == 1 })
		require.Equal(t, 1, book.count("level=ERROR"), book.String())
	})
}

func TestKubeconfigThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	book := &logBook{}
	e := follow(t, Options{Config: &rest.Config{Host: "http://" + address}, Logger: book.logger()})
	require.Error(t, e.Ready())
	eventually(t, "log", func() bool { return book.count("does not answer") == 1 })
	require.ErrorContains(t, e.Ready(), "API server http://"+address+" does not answer: ")
	require.Empty(t, scrape(t, e))

	api := &fakeAPI{version: 1, failures: map[string]int{}, done: make(chan struct{}), kinds: map[string]*fakeKind{}}
	for plural, k := range newFakeAPI(t, true).kinds {
		api.kinds[plural] = k
	}
	l, err = net.Listen("tcp", address)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(api.serve))
	server.Listener = l
	server.Start()
	defer server.Close()
	defer close(api.done) // first, or Close waits for the watches
	ready(t, e)
	require.Equal(t, 1, book.count("level=ERROR"), book.String())
	require.Equal(t, 1, book.count("the API server answers"), book.String())
}

// TestEndWhileAway holds that the end does not wait for a pause between tries.
func TestEndWhileAway(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	e, err := New(Options{Config: api.config(), Logger: new(logBook).logger(), retry: time.Hour})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	ready(t, e)
	for _, b := range e.kinds {
		// A watch that brought nothing would be followed by a list.
		api.put(b.name, object("a", "seen", nil))
		eventually(t, "change", has(e, "# TYPE %s ", b.families[0].Name()))
	}
	require.NoError(t, api.Listener.Close())
	api.CloseClientConnections()
	eventually(t, "failure", func() bool {
		e.health.mu.Lock()
		defer e.health.mu.Unlock()
		return len(e.health.away) == len(DefaultResources())
	})
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("Run does not end")
	}
}

// TestUnservedKind holds that an API server which is older than a kind costs
// neither the readiness nor the other kinds.
func TestUnservedKind(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		delete(api.kinds, "mutatingadmissionpolicies")
		api.put("secrets", object("a", "s", nil))
		book := &logBook{}
		e := follow(t, Options{Config: api.config(), Logger: book.logger()})
		ready(t, e)
		require.Contains(t, scrape(t, e), "kube_secret_info{")
		require.Equal(t, 1, book.count("does not serve mutatingadmissionpolicies of admissionregistration.k8s.io/v1"), book.String())
	})
}

// TestEndIsSilent holds that the end of the program is no failure in the log.
func TestEndIsSilent(t *testing.T) {
	t.Parallel()
	bothLists(t, func(t *testing.T, api *fakeAPI) {
		book := &logBook{}
		e, err := New(Options{Config: api.config(), Logger: book.logger(), retry: time.Millisecond})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		ready(t, e)
		cancel()
		require.NoError(t, <-done)
		require.NotContains(t, book.String(), "level=ERROR")
	})
}

// TestGarbage holds that a server that is no API server is told as such.
func TestGarbage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>sign in</html>"))
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	book := &logBook{}
	e := follow(t, Options{Config: &rest.Config{Host: server.URL}, Resources: []string{"pods"}, Logger: book.logger()})
	eventually(t, "log", func() bool { return book.count("level=ERROR") > 0 })
	require.ErrorContains(t, e.Ready(), "pods: ")
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, false)
	api.put("pods", object("a", "p", nil))
	registry := prometheus.NewRegistry()
	e := follow(t, Options{Config: api.config(), Registry: registry, Resources: []string{"pods"}})
	ready(t, e)
	eventually(t, "watch", func() bool { return api.count("watch pods") > 1 })
	eventually(t, "counts", func() bool {
		return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP kube_state_metrics_list_total Calls to the API server to list the objects of a resource.
# TYPE kube_state_metrics_list_total counter
kube_state_metrics_list_total{resource="pods",result="error"} 0
kube_state_metrics_list_total{resource="pods",result="success"} 1
# HELP kube_state_metrics_watch_total Calls to the API server to watch the objects of a resource.
# TYPE kube_state_metrics_watch_total counter
kube_state_metrics_watch_total{resource="pods",result="error"} 0
kube_state_metrics_watch_total{resource="pods",result="success"} 1
`), "kube_state_metrics_list_total", "kube_state_metrics_watch_total") == nil
	})
	_, err := New(Options{Config: api.config(), Registry: registry})
	require.NoError(t, err, "one exporter may follow another")
	registry = prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "kube_state_metrics_list_total"}))
	_, err = New(Options{Config: api.config(), Registry: registry})
	require.ErrorContains(t, err, "registering")
}

func TestSelection(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	on := func(node string) map[string]any { return map[string]any{"spec": map[string]any{"nodeName": node}} }
	for _, ns := range []string{"a", "b", "c"} {
		api.put("pods", object(ns, "p1", on("n1")))
		api.put("pods", object(ns, "p2", on("n2")))
	}
	api.put("nodes", object("", "n1", nil))
	f := func(want string, o Options) {
		t.Helper()
		o.Config, o.MetricAllowlist = api.config(), []string{"^kube_pod_service_account$", "^kube_node_spec_unsched"}
		e := follow(t, o)
		ready(t, e)
		var got []string
		for line := range strings.Lines(scrape(t, e)) {
			if strings.HasPrefix(line, "kube_pod") {
				parts := strings.Split(line, `"`)
				got = append(got, parts[1]+"/"+parts[3])
			} else if strings.HasPrefix(line, "kube_node") {
				got = append(got, "node")
			}
		}
		require.Equal(t, want, strings.Join(got, " "))
	}
	f("node a/p1 a/p2 b/p1 b/p2 c/p1 c/p2", Options{})
	f("node", Options{Resources: []string{"nodes"}, Namespaces: []string{"a"}})
	f("node a/p1 a/p2 c/p1 c/p2", Options{Namespaces: []string{"a", "c", "a"}})
	f("node a/p1 a/p2", Options{NamespacesDenylist: []string{"b", "c"}})
	f("node b/p1 b/p2", Options{Namespaces: []string{"a", "b"}, NamespacesDenylist: []string{"a"}})
	f("a/p2 b/p2 c/p2", Options{Resources: []string{"pods"}, Node: "n2"})
	f("b/p2 c/p2", Options{Resources: []string{"pods"}, Node: "n2", NamespacesDenylist: []string{"a"}})
	f("a/p1", Options{Resources: []string{"pods"}, Node: "n1", Namespaces: []string{"a"}})
}

func TestUsage(t *testing.T) {
	t.Parallel()
	f := func(want string, o Options) {
		t.Helper()
		if o.Config == nil {
			o.Config = &rest.Config{Host: "http://127.0.0.1:1"}
		}
		_, err := New(o)
		require.ErrorIs(t, err, ErrUsage)
		require.ErrorContains(t, err, want)
	}
	f("unknown resource", Options{Resources: []string{"pod"}})
	f("unknown resource", Options{LabelsAllowlist: Allowlist{"pod": nil}})
	f("--resources=pods", Options{Node: "n"})
	f("--metric-opt-in-list", Options{MetricOptIn: []string{"("}})
	f("exclude each other", Options{MetricAllowlist: []string{"a"}, MetricDenylist: []string{"b"}})
	_, err := New(Options{})
	require.ErrorIs(t, err, ErrUsage)
}

// OpenMetrics is taken by Prometheus, and has the series of the text format.
func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("pods", object("a", "p", nil))
	api.put("nodes", object("", "n", nil))
	e := follow(t, Options{Config: api.config()})
	eventually(t, "pod and node", func() bool {
		return has(e, "kube_pod_info{")() && has(e, "kube_node_info{")()
	})
	ask := func(accept string) (body []byte, series []string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		e.Handler().ServeHTTP(w, r)
		for line := range strings.Lines(w.Body.String()) {
			if line[0] != '#' {
				series = append(series, line)
			}
		}
		return w.Body.Bytes(), series
	}
	_, want := ask("")
	body, got := ask("application/openmetrics-text;version=1.0.0")
	require.Equal(t, want, got)
	p := textparse.NewOpenMetricsParser(body, labels.NewSymbolTable())
	samples, err := 0, error(nil)
	for kind := textparse.EntryInvalid; err == nil; kind, err = p.Next() {
		if kind == textparse.EntrySeries {
			samples++
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, len(got), samples)
}

func TestWriterThatFails(t *testing.T) {
	t.Parallel()
	api := newFakeAPI(t, true)
	api.put("pods", object("a", "p", nil))
	e := follow(t, Options{Config: api.config()})
	ready(t, e)
	require.Error(t, e.WriteText(failingWriter{}))
}
