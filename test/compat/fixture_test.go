package compat

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is when all counters were 0, long ago, so that a restart is no reset.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// counted is the value of a counter with this rate.
func counted(rate float64) float64 { return rate * time.Since(epoch).Seconds() }

// apply gives objects to the API server.
func apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	require.NoError(t, os.WriteFile(file, []byte(manifest), 0o600))
	_, err := kubectl(t, "apply", "--server-side", "--validate=false", "-f", file)
	require.NoError(t, err)
}

// target serves series in the text format and gives the configuration of a
// server that scrapes it each second.
func target(t *testing.T, series func() string) (config string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, series())
	}))
	t.Cleanup(s.Close)
	config = filepath.Join(t.TempDir(), "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: shop
  honor_labels: true
  static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	return config
}

// kubelet serves /metrics/resource as a node's kubelet does, on the address of
// the nodes, and gives its port.
func kubelet(t *testing.T, lines func(now time.Time) []string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(nodeIP, "0"))
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics/resource" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		now := time.Now()
		for _, line := range lines(now) {
			fmt.Fprintf(w, "%s %d\n", line, now.UnixMilli())
		}
	}))
	s.Listener = l
	s.TLS = &tls.Config{}
	s.StartTLS()
	t.Cleanup(s.Close)
	return l.Addr().(*net.TCPAddr).Port
}

// nodeManifest is a node whose kubelet is the one at port.
func nodeManifest(name string, port int) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Node
metadata: {name: %s, labels: {kubernetes.io/hostname: %[1]s, zone: a}}
status:
  addresses: [{type: InternalIP, address: %s}]
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  allocatable: {cpu: "4", memory: 8Gi, pods: "110"}
  conditions: [{type: Ready, status: "True"}]
  daemonEndpoints: {kubeletEndpoint: {Port: %d}}
---`, name, nodeIP, port)
}

// podManifest is a pod in a phase.
func podManifest(namespace, name, node, phase, labels string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, labels: {%s}}
spec: {nodeName: %s, containers: [{name: app, image: app}]}
status: {phase: %s}
---`, namespace, name, labels, node, phase)
}

// applyWithStatus gives nodes and pods with what their kubelet would report.
func applyWithStatus(t *testing.T, manifest string) {
	t.Helper()
	apply(t, manifest)
	file := filepath.Join(t.TempDir(), "objects.yaml")
	require.NoError(t, os.WriteFile(file, []byte(manifest), 0o600))
	_, err := kubectl(t, "apply", "--server-side", "--force-conflicts", "--validate=false", "--subresource=status", "-f", file)
	require.NoError(t, err)
}

// lead makes an APIService that leads to a server of ours on the nodes' address.
func lead(t *testing.T, group, version string, priority, port int) {
	t.Helper()
	name := strings.ReplaceAll(group, ".", "-")
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: kube-system}
spec: {ports: [{name: https, port: 443, targetPort: %[2]d, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, namespace: kube-system, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
endpoints: [{addresses: [%[3]q], conditions: {ready: true}}]
ports: [{name: https, port: %[2]d, protocol: TCP}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %[4]s.%[5]s}
spec: {service: {name: %[1]s, namespace: kube-system}, group: %[5]s, version: %[4]s, insecureSkipTLSVerify: true, groupPriorityMinimum: 100, versionPriority: %[6]d}
`, name, port, nodeIP, version, group, priority))
	t.Cleanup(func() { // one that leads to nothing would spoil discovery for the tests after this one
		_, err := kubectl(t, "delete", "apiservice", version+"."+group)
		require.NoError(t, err)
	})
}
