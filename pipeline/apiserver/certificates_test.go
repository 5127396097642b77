package apiserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

const service = "core.strata.svc"

func TestPair(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p, err := newPair([]string{service, "127.0.0.1"}, nil, now)
	require.NoError(t, err)
	require.NoError(t, p.check([]string{service, "127.0.0.1"}, now))
	require.Error(t, p.check([]string{"other.svc"}, now), "another name")
	require.ErrorContains(t, p.check(nil, now.Add(certificateLife-renewBefore+time.Hour)), "it ends on")
	require.Error(t, new(pair).check(nil, now), "an empty Secret")
	other, err := newPair([]string{service}, p.ca, now)
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(other.ca, []byte("BEGIN")), "the authority before stays trusted")
	require.Error(t, (&pair{cert: other.cert, key: p.key, ca: p.ca}).check(nil, now), "not its key")
	require.Error(t, (&pair{cert: other.cert, key: other.key, ca: p.ca}).check([]string{service}, now), "not its authority")
	late, err := newPair([]string{service}, other.ca, now.Add(certificateLife+time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(late.ca, []byte("BEGIN")), "those that have ended go")
}

// emptySecret is what the chart makes, in an API server that refuses old resourceVersions.
func emptySecret() *fake.Clientset {
	c := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "strata", Name: "cert", ResourceVersion: "1"}})
	version := "1"
	var mu sync.Mutex
	c.PrependReactor("update", "secrets", func(a k8stesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		s := a.(k8stesting.UpdateAction).GetObject().(*corev1.Secret)
		if s.ResourceVersion != version {
			return true, nil, apierrors.NewConflict(corev1.Resource("secrets"), s.Name, errors.New("old"))
		}
		version += "1"
		s.ResourceVersion = version
		return false, nil, nil
	})
	return c
}

func apiService(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"group": "metrics.k8s.io", "insecureSkipTLSVerify": false},
	}}
}

func caBundle(t *testing.T, c *dynamicfake.FakeDynamicClient, name string) []byte {
	t.Helper()
	o, err := c.Resource(apiServices).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	text, _, err := unstructured.NestedString(o.Object, "spec", "caBundle")
	require.NoError(t, err)
	ca, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return ca
}

func verifies(t *testing.T, c *Certificates, ca []byte) {
	t.Helper()
	cert, _ := c.CurrentCertKeyContent()
	block, _ := pem.Decode(cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: service, Roots: roots})
	require.NoError(t, err)
}

func TestTwoReplicasShareOneCertificate(t *testing.T) {
	t.Parallel()
	client := emptySecret()
	dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), apiService("v1.metrics.k8s.io"), apiService("v1beta1.metrics.k8s.io"))
	var replicas [8]*Certificates
	var started sync.WaitGroup
	for i := range replicas {
		c, err := NewCertificates(CertificateOptions{
			Names: []string{service}, Client: client, Namespace: "strata", Secret: "cert",
			Dynamic: dynamic, APIServices: []string{"v1.metrics.k8s.io", "v1beta1.metrics.k8s.io"},
		})
		require.NoError(t, err)
		replicas[i] = c
		started.Go(func() {
			if c.Start(t.Context()) == nil {
				_ = c.keep(t.Context())
			}
		})
	}
	started.Wait()
	first, _ := replicas[0].CurrentCertKeyContent()
	for _, c := range replicas {
		cert, _ := c.CurrentCertKeyContent()
		require.Equal(t, string(first), string(cert))
		verifies(t, c, caBundle(t, dynamic, "v1.metrics.k8s.io"))
		verifies(t, c, caBundle(t, dynamic, "v1beta1.metrics.k8s.io"))
	}
}

// run starts c and keeps it until the test ends.
func run(t *testing.T, c *Certificates, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.Start(ctx) == nil {
			c.Run(ctx)
		}
	}()
	f()
	cancel()
	<-done
}

type listener struct{ n atomic.Int32 }

func (l *listener) Enqueue() { l.n.Add(1) }

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestCertificateIsRenewedAfterItsAuthorityIsTrusted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), apiService("v1.metrics.k8s.io"))
		c, err := NewCertificates(CertificateOptions{
			Names: []string{service}, Dynamic: dynamic, APIServices: []string{"v1.metrics.k8s.io"}, Interval: 24 * time.Hour,
		})
		require.NoError(t, err)
		var refuse atomic.Bool
		dynamic.PrependReactor("patch", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			return refuse.Load(), nil, errors.New("no")
		})
		l := &listener{}
		c.AddListener(l)
		run(t, c, func() {
			time.Sleep(time.Hour)
			synctest.Wait()
			before := c.CABundle()
			require.EqualValues(t, 1, l.n.Load())
			verifies(t, c, caBundle(t, dynamic, "v1.metrics.k8s.io"))
			refuse.Store(true)
			time.Sleep(certificateLife - renewBefore + 24*time.Hour)
			synctest.Wait()
			require.Equal(t, before, c.CABundle(), "not served while it is not trusted")
			refuse.Store(false)
			time.Sleep(time.Hour)
			synctest.Wait()
			require.EqualValues(t, 2, l.n.Load())
			ca := caBundle(t, dynamic, "v1.metrics.k8s.io")
			require.True(t, bytes.HasSuffix(ca, before), "both are trusted")
			verifies(t, c, ca)
		})
	})
}

func TestMissingObjectsAreOneLineAndARetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
		var log lockedBuffer
		c, err := NewCertificates(CertificateOptions{
			Names: []string{service}, Client: client, Namespace: "strata", Secret: "cert",
			Dynamic: dynamic, APIServices: []string{"v1.metrics.k8s.io"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err)
		run(t, c, func() {
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			require.Nil(t, c.CABundle())
			require.Equal(t, 1, strings.Count(log.String(), "strata/cert does not exist: create it empty"), log.String())
			_, err := client.CoreV1().Secrets("strata").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert"}}, metav1.CreateOptions{})
			require.NoError(t, err)
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			require.NotNil(t, c.CABundle())
			require.Equal(t, 1, strings.Count(log.String(), "APIService v1.metrics.k8s.io; trying again"), log.String())
			_, err = dynamic.Resource(apiServices).Create(t.Context(), apiService("v1.metrics.k8s.io"), metav1.CreateOptions{})
			require.NoError(t, err)
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			verifies(t, c, caBundle(t, dynamic, "v1.metrics.k8s.io"))
		})
	})
	_, err := NewCertificates(CertificateOptions{Secret: "cert"})
	require.Error(t, err)
	_, err = NewCertificates(CertificateOptions{APIServices: []string{"a"}})
	require.Error(t, err)
}
