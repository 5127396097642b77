package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// deadCluster is a kubeconfig that leads to nobody.
const deadCluster = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
`

func TestCoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(deadCluster), 0o600))
	refuses := func(message string, args ...string) {
		t.Helper()
		command, _, err := parse(append([]string{"core"}, args...))
		if err == nil {
			err = command(t.Context())
		}
		require.ErrorContains(t, err, message)
	}
	refuses("set --kubeconfig")
	refuses("no such file", "--kubeconfig", filepath.Join(dir, "none"))
	refuses("--no-such-flag", "--no-such-flag")
	refuses("below 1s", "--kubeconfig", kubeconfig, "--metric-resolution", "500ms")
	refuses("--node-selector", "--kubeconfig", kubeconfig, "--node-selector", "a b")
	refuses("not both", "--kubeconfig", kubeconfig, "--kubelet-insecure-tls", "--kubelet-certificate-authority", kubeconfig)
	refuses("is not namespace/name", "--kubeconfig", kubeconfig, "--cert-secret", "cert")
}

func TestCoreFlags(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) *coreFlags {
		t.Helper()
		f := &coreFlags{}
		app := kingpin.New("strata", "").Terminate(nil).UsageWriter(io.Discard)
		cmd := app.Command("core", "")
		f.api.declare(cmd, &env{log: promslog.Config{Level: promslog.NewLevel()}}, "0.0.0.0")
		f.declare(cmd)
		_, err := serve.Parse(app, append([]string{"core"}, args...))
		require.NoError(t, err)
		return f
	}
	f := parse()
	require.Equal(t, []string{"Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"}, f.addressTypes)
	require.Equal(t, []string{"/healthz", "/readyz", "/livez"}, f.api.authz.AlwaysAllowPaths)
	require.Equal(t, 9443, f.api.port)
	require.EqualValues(t, 32<<20, f.bodyLimit)
	f = parse("--kubelet-preferred-address-types=InternalIP,Hostname", "--requestheader-allowed-names=a", "--requestheader-allowed-names=b, c")
	require.Equal(t, []string{"InternalIP", "Hostname"}, f.addressTypes)
	require.Equal(t, []string{"a", "b", "c"}, f.api.authn.RequestHeader.AllowedNames)
	f = parse("--kubelet-insecure-tls=true", "--disable-http2-serving=false", "--requestheader-uid-headers=X-Remote-Uid", "-v=4",
		"--tls-min-version=VersionTLS13", "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
	require.True(t, f.kubeletTLS.Insecure)
	require.False(t, f.api.noHTTP2)
	require.Equal(t, []string{"X-Remote-Uid"}, f.api.authn.RequestHeader.UIDHeaders)
	require.Equal(t, "VersionTLS13", f.api.minTLS)
	require.Len(t, f.api.ciphers, 2)
}
