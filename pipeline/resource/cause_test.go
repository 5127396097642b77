package resource

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// certified is a kubelet whose own certificate ends at a time and is for an
// address, and the file with it.
func certified(t *testing.T, ends time.Time, address string) (*corev1.Node, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubelet"}, IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: ends.Add(-time.Hour), NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, kubeletBody) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	n := &corev1.Node{}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	n.Annotations = map[string]string{"port": port}
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return n, file
}

// TestCauseAndCure: who reads the log of a node that cannot be read learns what
// to do about it.
func TestCauseAndCure(t *testing.T) {
	t.Parallel()
	f := func(n *corev1.Node, port, ca, want string) {
		t.Helper()
		client, err := KubeletClient(&rest.Config{}, KubeletTLS{CAFile: ca})
		require.NoError(t, err)
		defer client.CloseIdleConnections()
		p, err := net.LookupPort("tcp", port)
		require.NoError(t, err)
		s, err := NewHTTPSource(HTTPOptions{Client: client, Port: p})
		require.NoError(t, err)
		_, err = s.Read(t.Context(), n)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "Get \"https")
	}
	good, ca := certified(t, time.Now().Add(time.Hour), "127.0.0.1")
	f(good, good.Annotations["port"], ca, "")
	old, oldCA := certified(t, time.Now().Add(-time.Minute), "127.0.0.1")
	f(old, old.Annotations["port"], oldCA, "(renew the kubelet's serving certificate")
	f(good, good.Annotations["port"], oldCA, "(give the authority of the kubelets' certificates with --kubelet-certificate-authority")
	other, otherCA := certified(t, time.Now().Add(time.Hour), "127.0.0.2")
	f(other, other.Annotations["port"], otherCA, "(let --kubelet-preferred-address-types choose")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, free, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	f(good, free, ca, "(nothing listens there: does it run, and is --kubelet-port right?)")
	require.ErrorContains(t, cause(context.DeadlineExceeded), "--kubelet-request-timeout")
	require.ErrorContains(t, cause(&net.DNSError{Err: "no such host", Name: "node-1"}), "put InternalIP first")
	require.Equal(t, io.ErrUnexpectedEOF, cause(io.ErrUnexpectedEOF))
}
