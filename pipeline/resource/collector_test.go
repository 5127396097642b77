package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
)

// objects are listers over objects that a test may change.
type objects struct{ nodes, pods cache.Indexer }

func newObjects(nodes ...string) *objects {
	byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	o := &objects{cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{}), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byNamespace)}
	for _, n := range nodes {
		_ = o.nodes.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n, Labels: map[string]string{"name": n}}})
	}
	return o
}

func (o *objects) addPod(namespace, name string) {
	_ = o.pods.Add(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}})
}

func (o *objects) nodeLister() corelisters.NodeLister { return corelisters.NewNodeLister(o.nodes) }

func (o *objects) podLister() cache.GenericLister {
	return cache.NewGenericLister(o.pods, schema.GroupResource{Resource: "pods"})
}

// fakeSource answers by node; a node without an answer uses one core and has a pod web-<node>.
type fakeSource struct {
	mu      sync.Mutex
	asked   map[string]int
	answers map[string]func(context.Context) (*Reading, error)
}

func newFakeSource() *fakeSource {
	return &fakeSource{asked: map[string]int{}, answers: map[string]func(context.Context) (*Reading, error){}}
}

func (s *fakeSource) set(node string, f func(context.Context) (*Reading, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[node] = f
}

func (s *fakeSource) Read(ctx context.Context, n *corev1.Node) (*Reading, error) {
	s.mu.Lock()
	s.asked[n.Name]++
	f := s.answers[n.Name]
	s.mu.Unlock()
	if f != nil {
		return f(ctx)
	}
	now := time.Now().UnixNano()
	one := sample{time: now, cpu: uint64(now), memory: 1 << 20}
	return &Reading{node: one, containers: []containerReading{{containerKey{"shop", "web-" + n.Name, "app"}, one}}}, nil
}

func (s *fakeSource) count(node string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[node]
}

// collect runs f beside a running Collector, in made time.
func collect(t *testing.T, o *objects, source Source, f func(c *Collector, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := NewCollector(Options{
			Nodes: o.nodeLister(), Source: source, Resolution: 10 * time.Second, Timeout: 3 * time.Second,
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: prometheus.NewRegistry(),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		f(c, &log)
		cancel()
		require.NoError(t, <-done)
	})
}

// wait lets d pass and everything come to rest.
func wait(d time.Duration) {
	time.Sleep(d) // made time
	synctest.Wait()
}

func TestCollector(t *testing.T) {
	t.Parallel()
	o, source := newObjects("a", "b"), newFakeSource()
	collect(t, o, source, func(c *Collector, _ *bytes.Buffer) {
		wait(time.Second)
		require.ErrorContains(t, c.Ready(), "two readings")
		require.NoError(t, c.Alive())
		wait(10 * time.Second)
		require.NoError(t, c.Ready())
		require.Equal(t, 2, c.Snapshot().Nodes())
		require.Equal(t, 2, c.Snapshot().Pods())
		require.Equal(t, uint64(1e9), c.Snapshot().node("a").nanocores())
		require.Equal(t, 10*time.Second, c.Snapshot().node("a").window())

		// A new node is asked at once, a deleted one is forgotten.
		_ = o.nodes.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "c"}})
		_ = o.nodes.Delete(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}})
		c.Changed()
		wait(time.Second)
		require.Equal(t, 1, source.count("c"))
		require.Equal(t, 1, c.Snapshot().Nodes())
		wait(10 * time.Second)
		require.NotNil(t, c.Snapshot().node("c"))
		require.Equal(t, 2, source.count("b"))
	})
}

func TestOneBadNodeCostsOnlyItself(t *testing.T) {
	t.Parallel()
	o, source := newObjects("garbage", "good", "panic", "slow", "stuck"), newFakeSource()
	source.set("garbage", func(context.Context) (*Reading, error) {
		return Parse(strings.NewReader("this is not { metrics at all\n"), time.Now(), DefaultBodyLimit)
	})
	source.set("panic", func(context.Context) (*Reading, error) { panic("boom") })
	source.set("slow", func(ctx context.Context) (*Reading, error) { <-ctx.Done(); return nil, ctx.Err() })
	source.set("stuck", func(context.Context) (*Reading, error) { time.Sleep(25 * time.Second); return nil, errors.New("late") })
	collect(t, o, source, func(c *Collector, log *bytes.Buffer) {
		wait(31 * time.Second)
		require.NotNil(t, c.Snapshot().node("good"))
		require.Equal(t, 1, c.Snapshot().Nodes())
		require.Equal(t, 4, source.count("good"))
		require.Equal(t, 2, source.count("stuck"), "never twice at a time")
		require.InDelta(t, 2, testutil.ToFloat64(c.readings.WithLabelValues("skipped")), 0)
		require.Equal(t, 1, strings.Count(log.String(), "node=garbage"), "one line, not one a round: %s", log)
		require.Contains(t, log.String(), "not the Prometheus text format")
		require.Contains(t, log.String(), "panic: boom")

		source.set("garbage", nil)
		wait(20 * time.Second)
		require.NotNil(t, c.Snapshot().node("garbage"))
		require.Contains(t, log.String(), "can be read again")
	})
}

func TestOneMissedReadingNeedsTwoGoodOnes(t *testing.T) {
	t.Parallel()
	o, source := newObjects("a"), newFakeSource()
	collect(t, o, source, func(c *Collector, _ *bytes.Buffer) {
		wait(11 * time.Second)
		require.NotNil(t, c.Snapshot().node("a"))
		source.set("a", func(context.Context) (*Reading, error) { return nil, io.ErrUnexpectedEOF })
		wait(10 * time.Second)
		require.Nil(t, c.Snapshot().node("a"))
		require.Error(t, c.Ready())
		source.set("a", nil)
		wait(10 * time.Second)
		require.Nil(t, c.Snapshot().node("a"))
		wait(10 * time.Second)
		require.NotNil(t, c.Snapshot().node("a"))
	})
}

func TestCollectorIsNotAliveWhenItDoesNotAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := NewCollector(Options{Nodes: newObjects().nodeLister(), Source: newFakeSource(), Resolution: time.Second})
		require.NoError(t, err)
		require.NoError(t, c.Alive(), "not started: readiness tells that")
		c.round(t.Context(), &sync.WaitGroup{}, true)
		time.Sleep(DefaultRequestTimeout)
		require.NoError(t, c.Alive())
		time.Sleep(time.Second)
		require.ErrorContains(t, c.Alive(), "last asked 11s ago")
	})
	_, err := NewCollector(Options{Nodes: newObjects().nodeLister(), Source: newFakeSource(), Resolution: time.Second / 2})
	require.ErrorContains(t, err, "below 1s")
}

func TestREST(t *testing.T) {
	t.Parallel()
	o, source := newObjects("a", "b", "c"), newFakeSource()
	source.set("c", func(context.Context) (*Reading, error) { return nil, io.EOF })
	for i := range 12 {
		o.addPod("shop", fmt.Sprintf("waiting-%d", i))
	}
	o.addPod("shop", "web-b")
	o.addPod("shop", "web-a")
	collect(t, o, source, func(c *Collector, _ *bytes.Buffer) {
		wait(11 * time.Second)
		nodes, pods := NewNodes(o.nodeLister(), c), NewPods(o.podLister(), c)
		shop := request.WithNamespace(t.Context(), "shop")

		got, err := nodes.Get(t.Context(), "a", nil)
		require.NoError(t, err)
		require.Equal(t, "1", got.(*metrics.NodeMetrics).Usage.Cpu().String())
		require.Equal(t, "1Mi", got.(*metrics.NodeMetrics).Usage.Memory().String())
		_, err = nodes.Get(t.Context(), "x", nil)
		require.EqualError(t, err, `node "x" not found`)
		_, err = nodes.Get(t.Context(), "c", nil)
		require.True(t, apierrors.IsNotFound(err))
		require.EqualError(t, err, `nodemetrics.metrics.k8s.io "c" not found`)

		pod, err := pods.Get(shop, "web-a", nil)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"app": "web-a"}, pod.(*metrics.PodMetrics).Labels)
		_, err = pods.Get(shop, "x", nil)
		require.EqualError(t, err, `pods "x" not found`)
		_, err = pods.Get(shop, "waiting-1", nil)
		require.EqualError(t, err, `podmetrics.metrics.k8s.io "shop/waiting-1" not found`)

		names := func(ctx context.Context, label, field string) []string {
			l, err := labels.Parse(label)
			require.NoError(t, err)
			list, err := pods.List(ctx, &internalversion.ListOptions{LabelSelector: l, FieldSelector: fields.ParseSelectorOrDie(field)})
			require.NoError(t, err)
			var names []string
			for _, p := range list.(*metrics.PodMetricsList).Items {
				names = append(names, p.Name)
			}
			return names
		}
		require.Equal(t, []string{"web-a", "web-b"}, names(shop, "", ""))
		require.Equal(t, []string{"web-a", "web-b"}, names(t.Context(), "app", ""))
		require.Equal(t, []string{"web-b"}, names(t.Context(), "app=web-b", ""))
		require.Equal(t, []string{"web-b"}, names(t.Context(), "", "metadata.name!=web-a"))
		require.Empty(t, names(shop, "", "metadata.namespace=other"))
		require.Empty(t, names(request.WithNamespace(t.Context(), "other"), "", ""))

		list, err := nodes.List(t.Context(), nil)
		require.NoError(t, err)
		table, err := nodes.ConvertToTable(t.Context(), list, nil)
		require.NoError(t, err)
		require.Equal(t, []any{"a", "1", "1Mi", "10s"}, table.Rows[0].Cells)
		require.Len(t, table.ColumnDefinitions, 4)
		list, err = pods.List(shop, nil)
		require.NoError(t, err)
		table, err = pods.ConvertToTable(t.Context(), list, nil)
		require.NoError(t, err)
		require.Equal(t, []any{"web-b", "1", "1Mi", "10s"}, table.Rows[1].Cells)
		_, err = pods.ConvertToTable(t.Context(), &metrics.NodeMetrics{}, nil)
		require.Error(t, err)
	})
}

// kubelet serves h over TLS and gives a node that leads to it.
func kubelet(t *testing.T, h http.HandlerFunc) (*corev1.Node, *rest.Config) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: u.Hostname()}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	return n, &rest.Config{BearerToken: "secret"}
}

func sourceFor(t *testing.T, api *rest.Config, limit int64) *HTTPSource {
	t.Helper()
	client, err := KubeletClient(api, KubeletTLS{Insecure: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	s, err := NewHTTPSource(HTTPOptions{Client: client, PortFromStatus: true, BodyLimit: limit})
	require.NoError(t, err)
	return s
}

func TestHTTPSource(t *testing.T) {
	t.Parallel()
	n, api := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/custom" && r.Header.Get("Authorization") == "Bearer secret" {
			_, _ = io.WriteString(w, kubeletBody)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	})
	s := sourceFor(t, api, 0)
	_, err := s.Read(t.Context(), n)
	require.ErrorContains(t, err, "/metrics/resource: answered 403 Forbidden: get on nodes/metrics is not allowed")
	n.Annotations = map[string]string{PathAnnotation: "custom"}
	r, err := s.Read(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, 2, r.Containers())

	n.Status.Addresses[0].Type = corev1.NodeExternalIP
	s.o.AddressTypes = []corev1.NodeAddressType{corev1.NodeInternalIP}
	_, err = s.Read(t.Context(), n)
	require.ErrorIs(t, err, ErrNoAddress)
}

func TestHTTPSourceVerifiesKubelets(t *testing.T) {
	t.Parallel()
	n, api := kubelet(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, kubeletBody) })
	client, err := KubeletClient(api, KubeletTLS{})
	require.NoError(t, err)
	s, err := NewHTTPSource(HTTPOptions{Client: client, PortFromStatus: true})
	require.NoError(t, err)
	_, err = s.Read(t.Context(), n)
	require.ErrorContains(t, err, "certificate")
	_, err = KubeletClient(api, KubeletTLS{Insecure: true, CAFile: "ca.crt"})
	require.ErrorContains(t, err, "not both")
}

func TestNodeThatSends100MB(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	n, api := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(&endless{line: "some_other_metric_total{code=\"200\"} 12345.678\n"}, 100<<20))
	})
	_, err := sourceFor(t, api, limit).Read(t.Context(), n)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestNodeThatSendsGarbage(t *testing.T) {
	t.Parallel()
	n, api := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<html><body>hello</body></html>\n")
	})
	_, err := sourceFor(t, api, 0).Read(t.Context(), n)
	require.ErrorIs(t, err, ErrSyntax)
}

func TestNodeThatRedirects(t *testing.T) {
	t.Parallel()
	n, api := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://other.example/", http.StatusFound)
	})
	_, err := sourceFor(t, api, 0).Read(t.Context(), n)
	require.ErrorContains(t, err, "answered 302", "the token goes nowhere else")
}
