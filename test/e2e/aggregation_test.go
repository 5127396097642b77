package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/test/e2e/cluster"
)

// aggregatedManifest puts a process on the host behind an APIService: a Service
// without a selector and its hand-made EndpointSlice.
const aggregatedManifest = `
apiVersion: v1
kind: Service
metadata: {name: backend}
spec:
  ports: [{name: https, port: 443}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: backend, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
endpoints: [{addresses: [%q], conditions: {ready: true}}]
ports: [{name: https, port: %d}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.e2e.strata.test}
spec:
  group: e2e.strata.test
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {namespace: %s, name: backend, port: 443}
`

// TestAggregation shows that the API server proxies a group to a process of
// this run and tells it who asks.
func TestAggregation(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	listener, err := net.Listen("tcp", net.JoinHostPort(shared.cluster.Options().NodeIP, "0"))
	require.NoError(t, err)
	backend := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(answerDiscovery)}}
	backend.StartTLS()
	t.Cleanup(backend.Close)
	t.Cleanup(func() {
		if _, err := shared.cluster.Kubectl(context.Background(), "delete", "apiservice", "v1.e2e.strata.test"); err != nil {
			t.Error(err) // a group that does not answer would disturb the other tests
		}
	})
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, fmt.Sprintf(aggregatedManifest, shared.cluster.Options().NodeIP, port, ns)))

	cluster.Eventually(t, 30*time.Second, func() error {
		body, err := shared.cluster.Raw(t.Context(), "/apis/e2e.strata.test/v1/whoami")
		if err != nil {
			return err
		}
		var who map[string]string
		if err := json.Unmarshal(body, &who); err != nil {
			return err
		}
		if who["user"] != "admin" {
			return fmt.Errorf("the backend was asked by %q", who["user"])
		}
		return nil
	})
}

func answerDiscovery(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch r.URL.Path {
	case "/apis/e2e.strata.test/v1":
		answer = map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "e2e.strata.test/v1", "resources": []any{}}
	case "/apis/e2e.strata.test/v1/whoami":
		answer = map[string]string{"user": r.Header.Get("X-Remote-User")}
	default:
		http.NotFound(w, r)
		return
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
