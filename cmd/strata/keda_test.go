package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

// certificate makes one that signs itself, for server, client and authority,
// and puts it and its key into files of dir.
func certificate(t *testing.T, dir string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "strata"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	write(t, dir, "tls.crt", cert)
	write(t, dir, "tls.key", private)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(private))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(cert)))
	return pair, pool
}

var answering = regexp.MustCompile(`msg="KEDA is answered" .*address=(\S+)`)

// A server answers KEDA with mutual TLS from its store, and ends its streams
// when it ends.
func TestKEDA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "")
	pair, pool := certificate(t, dir)
	p := server(t, dir, "--keda.listen-address=127.0.0.1:0", "--keda.interval=10ms",
		"--keda.tls-cert-file=tls.crt", "--keda.tls-private-key-file=tls.key", "--keda.client-ca-file=tls.crt")
	address := ""
	p.wait("the address for KEDA", func() error {
		m := answering.FindStringSubmatch(p.logged())
		if m == nil {
			return errors.New("not yet")
		}
		address = m[1]
		return nil
	})
	client := func(c *tls.Config) pb.ExternalScalerClient {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		return pb.NewExternalScalerClient(conn)
	}
	ref := func(query string) *pb.ScaledObjectRef {
		return &pb.ScaledObjectRef{Namespace: "shop", ScalerMetadata: map[string]string{"query": query, "threshold": "5"}}
	}
	keda := client(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}})
	got, err := keda.GetMetrics(t.Context(), &pb.GetMetricsRequest{ScaledObjectRef: ref("vector(7)")})
	require.NoError(t, err)
	require.Equal(t, 7.0, got.MetricValues[0].MetricValueFloat)
	_, err = keda.IsActive(t.Context(), ref("sum(up)"))
	require.Equal(t, codes.NotFound, status.Code(err), "%v", err)
	_, err = keda.IsActive(t.Context(), &pb.ScaledObjectRef{Namespace: "shop", ScalerMetadata: map[string]string{"metric": "m", "threshold": "5"}})
	require.Equal(t, codes.FailedPrecondition, status.Code(err), "%v", err)

	_, err = client(&tls.Config{RootCAs: pool}).IsActive(t.Context(), ref("vector(7)"))
	require.Equal(t, codes.Unavailable, status.Code(err), "no certificate, no answer: %v", err)

	stream, err := keda.StreamIsActive(t.Context(), ref("vector(7)"))
	require.NoError(t, err)
	active, err := stream.Recv()
	require.NoError(t, err)
	require.True(t, active.Result)
	metrics, err := p.get("/metrics")
	require.NoError(t, err)
	require.Contains(t, metrics, "strata_keda_streams 1\n")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	code, out := p.ends()
	require.Zero(t, code, out)
}

func TestKEDAFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "")
	certificate(t, dir)
	f := func(code int, want string, args ...string) {
		t.Helper()
		args = append([]string{"server", "--web.listen-address=127.0.0.1:0", "--storage.tsdb.path=" + t.TempDir(), "--keda.listen-address=127.0.0.1:0"}, args...)
		got, out := launch(t, dir, args...).ends()
		require.Equal(t, code, got, out)
		require.Contains(t, out, want)
	}
	f(2, "go together", "--keda.tls-cert-file=tls.crt")
	f(2, "needs both", "--keda.client-ca-file=tls.crt")
	f(2, "--keda.interval must be above 0", "--keda.interval=0s")
	f(2, "must be one of off,namespace,any", "--keda.queries=some")
	f(1, "--keda.tls-cert-file: open none", "--keda.tls-cert-file=none", "--keda.tls-private-key-file=tls.key")
	f(1, "--keda.client-ca-file: tls.key has no certificate", "--keda.tls-cert-file=tls.crt", "--keda.tls-private-key-file=tls.key", "--keda.client-ca-file=tls.key")
}
