package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"k8s.io/metrics/pkg/apis/metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// storage is metrics.k8s.io with one node, or one pod.
type storage struct {
	kind       string
	namespaced bool
	object     runtime.Object
	list       runtime.Object
}

func (s *storage) New() runtime.Object     { return s.object.DeepCopyObject() }
func (s *storage) Destroy()                {}
func (s *storage) Kind() string            { return s.kind }
func (s *storage) NewList() runtime.Object { return s.list.DeepCopyObject() }
func (s *storage) NamespaceScoped() bool   { return s.namespaced }
func (s *storage) GetSingularName() string { return "" }
func (s *storage) Get(context.Context, string, *metav1.GetOptions) (runtime.Object, error) {
	return s.object.DeepCopyObject(), nil
}
func (s *storage) List(context.Context, *internalversion.ListOptions) (runtime.Object, error) {
	return s.list.DeepCopyObject(), nil
}
func (s *storage) ConvertToTable(context.Context, runtime.Object, runtime.Object) (*metav1.Table, error) {
	return &metav1.Table{}, nil
}

func testResource() *Resource {
	node := &metrics.NodeMetrics{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	pod := &metrics.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
	return &Resource{
		Nodes: &storage{"NodeMetrics", false, node, &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{*node}}},
		Pods:  &storage{"PodMetrics", true, pod, &metrics.PodMetricsList{Items: []metrics.PodMetrics{*pod}}},
	}
}

// fakeMetrics provides one custom and one external metric, and more when asked to.
type fakeMetrics struct{ more atomic.Bool }

func (f *fakeMetrics) ListAllMetrics() []provider.CustomMetricInfo {
	all := []provider.CustomMetricInfo{
		{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "http_requests"},
		{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: false, Metric: "mixed_scope"},
	}
	if f.more.Load() {
		all = append(all, provider.CustomMetricInfo{GroupResource: schema.GroupResource{Group: "batch", Resource: "jobs"}, Namespaced: true, Metric: "queue"})
	}
	return all
}

func (f *fakeMetrics) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	if info.Metric != "http_requests" {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{Kind: "Pod", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric}, Value: resource.MustParse("7"),
	}, nil
}

func (f *fakeMetrics) GetMetricBySelector(ctx context.Context, namespace string, _ labels.Selector, info provider.CustomMetricInfo, s labels.Selector) (*custom_metrics.MetricValueList, error) {
	v, err := f.GetMetricByName(ctx, types.NamespacedName{Namespace: namespace, Name: "p"}, info, s)
	if err != nil {
		return nil, err
	}
	return &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{*v}}, nil
}

func (f *fakeMetrics) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return []provider.ExternalMetricInfo{{Metric: "queue_length"}}
}

func (f *fakeMetrics) GetExternalMetric(context.Context, string, labels.Selector, provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{MetricName: "queue_length", Value: resource.MustParse("3")}}}, nil
}

// frontProxy is the client certificate of an aggregation layer, and the file of its authority.
func frontProxy(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c, err := template("front-proxy", time.Now())
	require.NoError(t, err)
	c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage = true, true, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// withoutCluster takes the users that an aggregation layer of this authority
// names, and allows those of system:masters all.
func withoutCluster(ca string) (*genericoptions.DelegatingAuthenticationOptions, *genericoptions.DelegatingAuthorizationOptions) {
	n, z := genericoptions.NewDelegatingAuthenticationOptions(), genericoptions.NewDelegatingAuthorizationOptions()
	n.RemoteKubeConfigFileOptional, n.SkipInClusterLookup = true, true
	n.RequestHeader.ClientCAFile = ca
	z.RemoteKubeConfigFileOptional = true
	return n, z
}

// serve runs a server and gives what asks it, as admin unless anonymous.
func serve(t *testing.T, o Options) (get func(path, accept string) (int, string), anonymous *http.Client, base string) {
	t.Helper()
	cert, ca := frontProxy(t)
	o.Authentication, o.Authorization = withoutCluster(ca)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o.Listener = l
	s, err := New(o)
	require.NoError(t, err)
	require.Error(t, s.Ready())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	require.Eventually(t, func() bool { return s.Ready() == nil && s.certs.CABundle() != nil }, time.Minute, 10*time.Millisecond)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(s.certs.CABundle()))
	client := func(certs ...tls.Certificate) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	base = "https://" + s.Addr().String()
	known := client(cert)
	return func(path, accept string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		require.NoError(t, err)
		req.Header.Set("X-Remote-User", "admin")
		req.Header.Set("X-Remote-Group", "system:masters")
		req.Header.Set("Accept", accept)
		return answer(t, known, req)
	}, client(), base
}

// TestProtocols holds which protocol a client gets that takes both.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for http2, want := range map[bool]string{false: "http/1.1", true: "h2"} {
		_, _, base := serve(t, Options{Resource: testResource(), HTTP2: http2})
		conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		require.NoError(t, err)
		require.Equal(t, want, conn.ConnectionState().NegotiatedProtocol)
		require.NoError(t, conn.Close())
	}
}

// TestTLS holds that what is asked of TLS is kept.
func TestTLS(t *testing.T) {
	t.Parallel()
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	dial := func(base string, c *tls.Config) (tls.ConnectionState, error) {
		c.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		return conn.ConnectionState(), conn.Close()
	}
	_, _, base := serve(t, Options{Resource: testResource(), CipherSuites: []string{tls.CipherSuiteName(suite)}})
	state, err := dial(base, &tls.Config{MaxVersion: tls.VersionTLS12})
	require.NoError(t, err)
	require.Equal(t, suite, state.CipherSuite)
	_, err = dial(base, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	require.ErrorContains(t, err, "handshake failure")

	_, _, base = serve(t, Options{Resource: testResource(), MinTLSVersion: "VersionTLS13"})
	_, err = dial(base, &tls.Config{MaxVersion: tls.VersionTLS12})
	require.ErrorContains(t, err, "protocol version")
	state, err = dial(base, &tls.Config{})
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, state.Version)
}

func answer(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

const asDiscovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discovered gives group/version: resources and subresources of the aggregated form.
func discovered(t *testing.T, body string) map[string][]string {
	t.Helper()
	var list apidiscoveryv2.APIGroupDiscoveryList
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	found := map[string][]string{}
	for _, g := range list.Items {
		for _, v := range g.Versions {
			names := []string{}
			for _, r := range v.Resources {
				require.NotNil(t, r.ResponseKind, "clients leave out what has no kind: %s", r.Resource)
				require.NotEmpty(t, r.ResponseKind.Kind, r.Resource)
				names = append(names, r.Resource)
				for _, s := range r.Subresources {
					names = append(names, r.Resource+"/"+s.Subresource)
				}
			}
			slices.Sort(names)
			found[g.Name+"/"+v.Version] = names
		}
	}
	return found
}

func TestAllGroupsOnOneServer(t *testing.T) {
	f := &fakeMetrics{}
	get, anonymous, base := serve(t, Options{Resource: testResource(), Custom: f, External: f})
	has := func(path string, parts ...string) {
		t.Helper()
		code, body := get(path, "application/json")
		require.Equal(t, http.StatusOK, code, "%s: %s", path, body)
		for _, p := range parts {
			require.Contains(t, body, p, path)
		}
	}
	for _, v := range []string{"v1", "v1beta1"} {
		has("/apis/metrics.k8s.io/"+v+"/nodes", `"apiVersion":"metrics.k8s.io/`+v+`"`, `"name":"n"`)
		has("/apis/metrics.k8s.io/"+v+"/namespaces/shop/pods/p", `"kind":"PodMetrics"`)
	}
	for _, v := range []string{"v1beta1", "v1beta2"} {
		has("/apis/custom.metrics.k8s.io/"+v+"/namespaces/shop/pods/*/http_requests", `"apiVersion":"custom.metrics.k8s.io/`+v+`"`, `"value":"7"`)
		has("/apis/custom.metrics.k8s.io/"+v, `"name":"pods/http_requests"`)
	}
	has("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_length", `"value":"3"`)
	has("/apis/external.metrics.k8s.io/v1beta1", `"name":"queue_length"`)
	has("/apis/custom.metrics.k8s.io", `"preferredVersion":{"groupVersion":"custom.metrics.k8s.io/v1beta2"`, `"custom.metrics.k8s.io/v1beta1"`)
	has("/apis/metrics.k8s.io", `"preferredVersion":{"groupVersion":"metrics.k8s.io/v1"`)
	has("/openapi/v2", "io.k8s.metrics.pkg.apis.metrics.v1.PodMetrics", "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics")
	has("/openapi/v3", "apis/metrics.k8s.io/v1beta1", "apis/custom.metrics.k8s.io/v1beta2", "apis/external.metrics.k8s.io/v1beta1")
	has("/openapi/v3/apis/metrics.k8s.io/v1", "io.k8s.metrics.pkg.apis.metrics.v1.NodeMetrics")
	has("/metrics", "apiserver_request_total", "go_goroutines")
	code, _ := get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/p/nope", "application/json")
	require.Equal(t, http.StatusNotFound, code)

	code, body := get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/http_requests?metricLabelSelector=a%20b", "application/json")
	require.Equal(t, http.StatusBadRequest, code, body)

	_, body = get("/apis", asDiscovery)
	want := map[string][]string{
		"metrics.k8s.io/v1": {"nodes", "pods"}, "metrics.k8s.io/v1beta1": {"nodes", "pods"},
		"custom.metrics.k8s.io/v1beta2": {"pods", "pods/http_requests"}, "custom.metrics.k8s.io/v1beta1": {"pods", "pods/http_requests"},
		"external.metrics.k8s.io/v1beta1": {"queue_length"},
	}
	require.Equal(t, want, discovered(t, body))
	f.more.Store(true)
	require.Eventually(t, func() bool {
		_, body := get("/apis", asDiscovery)
		return slices.Contains(discovered(t, body)["custom.metrics.k8s.io/v1beta2"], "jobs.batch/queue")
	}, time.Minute, 50*time.Millisecond, "a new metric is discovered without a restart")

	for path, want := range map[string]int{"/healthz": 200, "/livez": 200, "/readyz": 200, "/metrics": 403, "/apis/metrics.k8s.io/v1/nodes": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		require.NoError(t, err)
		code, body := answer(t, anonymous, req)
		require.Equal(t, want, code, "%s: %s", path, body)
	}
}

func TestOneGroupAlone(t *testing.T) {
	get, _, _ := serve(t, Options{External: &fakeMetrics{}})
	_, body := get("/apis", asDiscovery)
	require.Equal(t, map[string][]string{"external.metrics.k8s.io/v1beta1": {"queue_length"}}, discovered(t, body))
	code, _ := get("/apis/custom.metrics.k8s.io/v1beta2", "application/json")
	require.Equal(t, http.StatusNotFound, code)
}

// TestGroupsComeAndGo serves a group from when there is something to serve.
func TestGroupsComeAndGo(t *testing.T) {
	f := &fakeMetrics{}
	var external atomic.Bool
	get, anonymous, base := serve(t, Options{Resource: testResource(), Custom: f, External: f, Serves: func(group string) bool {
		return group != external_metrics.GroupName || external.Load()
	}})
	const group, version = "/apis/external.metrics.k8s.io", "/apis/external.metrics.k8s.io/v1beta1"
	paths := []string{group, group + "/", version, version + "/namespaces/shop/queue_length"}
	for _, shown := range []bool{false, true, false} {
		external.Store(shown)
		want := http.StatusNotFound
		if shown {
			want = http.StatusOK
		}
		for _, path := range paths {
			code, body := get(path, "application/json")
			require.Equal(t, want, code, "%s: %s", path, body)
		}
		for _, path := range []string{"/apis", "/apis/"} {
			_, body := get(path, "application/json")
			require.Equal(t, shown, strings.Contains(body, external_metrics.GroupName), body)
			require.Contains(t, body, custom_metrics.GroupName)
		}
		require.Eventually(t, func() bool {
			_, body := get("/apis", asDiscovery)
			_, listed := discovered(t, body)["external.metrics.k8s.io/v1beta1"]
			return listed == shown
		}, time.Minute, 50*time.Millisecond)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+version, nil)
		require.NoError(t, err)
		code, _ := answer(t, anonymous, req)
		require.Equal(t, http.StatusForbidden, code, "who may see nothing learns nothing")
	}
	for _, path := range []string{"/apis/metrics.k8s.io/v1/nodes", "/apis/custom.metrics.k8s.io/v1beta2"} {
		code, _ := get(path, "application/json")
		require.Equal(t, http.StatusOK, code, path)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorIs(t, err, ErrNothingToServe)
	_, err = New(Options{Resource: testResource(), Kubeconfig: filepath.Join(t.TempDir(), "none")})
	require.ErrorContains(t, err, "kubeconfig of delegated")
	_, err = New(Options{Resource: testResource(), CertFile: "none.crt", KeyFile: "none.key"})
	require.ErrorContains(t, err, "serving certificate")
	_, err = New(Options{Resource: testResource(), MinTLSVersion: "1.3"})
	require.ErrorContains(t, err, `unknown tls version "1.3"; one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13`)
	_, err = New(Options{Resource: testResource(), CipherSuites: []string{"AES"}})
	require.ErrorContains(t, err, "Cipher suite AES not supported or doesn't exist; of TLS_")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, err = New(Options{Resource: testResource(), BindAddress: net.IPv4(127, 0, 0, 1), Port: l.Addr().(*net.TCPAddr).Port})
	require.ErrorContains(t, err, "address already in use")
}
