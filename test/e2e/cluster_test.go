package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
)

// demoManifest is the demo application with a Service. Two cores are all there
// is, so it asks for little.
const demoManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo, labels: {app: demo}}
spec:
  replicas: 1
  selector: {matchLabels: {app: demo}}
  template:
    metadata: {labels: {app: demo}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: demo
        image: strata.test/demo:e2e
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {memory: 64Mi}}
        securityContext:
          runAsNonRoot: true
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: demo}
spec:
  selector: {app: demo}
  ports: [{name: http, port: 80, targetPort: http}]
`

// demo deploys the demo application and waits for n Ready pods.
func demo(t *testing.T, ns string, n int) []corev1.Pod {
	t.Helper()
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, demoManifest))
	return pods(t, ns, map[string]string{"app": "demo"}, n)
}

// pods waits for exactly n Ready pods with these labels.
func pods(t *testing.T, ns string, match map[string]string, n int) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	cluster.Eventually(t, time.Minute, func() error {
		var err error
		if ready, err = shared.cluster.ReadyPods(t.Context(), ns, match); err != nil {
			return err
		}
		if len(ready) != n {
			return fmt.Errorf("%d pods with %v are Ready, want %d", len(ready), match, n)
		}
		return nil
	})
	return ready
}

// get is the body of a page; any status but 200 is an error.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

func TestNode(t *testing.T) {
	t.Parallel()
	nodes, err := shared.cluster.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 1)
	require.Positive(t, nodes.Items[0].Status.Allocatable.Cpu().MilliValue())
	out, err := shared.cluster.Kubectl(t.Context(), "get", "nodes")
	require.NoError(t, err)
	require.Regexp(t, `strata-e2e +Ready `, out)
	for _, path := range []string{"/stats/summary", "/metrics/cadvisor", "/metrics/resource"} {
		body, err := shared.cluster.Raw(t.Context(), "/api/v1/nodes/strata-e2e/proxy"+path)
		require.NoError(t, err)
		require.NotEmpty(t, body, path)
	}
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := demo(t, ns, 1)[0]
	ctx := t.Context()

	body, err := get(ctx, load.URL(pod.Status.PodIP, 8080, "/"))
	require.NoError(t, err, "by the pod's address from the host")
	require.Equal(t, "hello from "+pod.Name+"\n", body)

	service, err := shared.cluster.Client().CoreV1().Services(ns).Get(ctx, "demo", metav1.GetOptions{})
	require.NoError(t, err)
	vip := load.URL(service.Spec.ClusterIP, 80, "/")
	cluster.Eventually(t, 20*time.Second, func() error {
		body, err := get(ctx, vip)
		if err == nil && body != "hello from "+pod.Name+"\n" {
			err = fmt.Errorf("%s answered %q", vip, body)
		}
		return err
	})

	logs, err := shared.cluster.Kubectl(ctx, "logs", "--namespace", ns, pod.Name)
	require.NoError(t, err)
	require.Contains(t, logs, "listening")
	help, err := shared.cluster.Kubectl(ctx, "exec", "--namespace", ns, pod.Name, "--", "/bin/demo", "-get", "http://127.0.0.1:8080/metrics")
	require.NoError(t, err)
	require.Contains(t, help, "demo_orders_total 2\n", "both requests are counted")
}

func TestScale(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	demo(t, ns, 1)
	_, err := shared.cluster.Kubectl(t.Context(), "scale", "--namespace", ns, "deployment/demo", "--replicas", "4")
	require.NoError(t, err)
	four := pods(t, ns, map[string]string{"app": "demo"}, 4)
	result, err := load.Run(t.Context(), load.Options{
		Rate: 100, Duration: time.Second,
		Targets: func(context.Context) ([]string, error) {
			var urls []string
			for _, p := range four {
				urls = append(urls, load.URL(p.Status.PodIP, 8080, "/work?ms=1"))
			}
			return urls, nil
		},
	})
	require.NoError(t, err)
	require.Zero(t, result.Failed, result.Err)
	require.Len(t, result.ByURL, 4)
	_, err = shared.cluster.Kubectl(t.Context(), "scale", "--namespace", ns, "deployment/demo", "--replicas", "1")
	require.NoError(t, err)
	pods(t, ns, map[string]string{"app": "demo"}, 1)
}

// TestAPIServerFromPod asks from inside a pod, with the pod's own account.
func TestAPIServerFromPod(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := demo(t, ns, 1)[0]
	const account = "/var/run/secrets/kubernetes.io/serviceaccount"
	cluster.Eventually(t, 20*time.Second, func() error {
		out, err := shared.cluster.Kubectl(t.Context(), "exec", "--namespace", ns, pod.Name, "--",
			"/bin/demo", "-get", "https://10.96.0.1/api", "-ca", account+"/ca.crt", "-token", account+"/token")
		if err == nil && !strings.Contains(out, "APIVersions") {
			err = fmt.Errorf("the API server answered %q", out)
		}
		return err
	})
}

// TestKill kills a container, whose pod then has a new one.
func TestKill(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := demo(t, ns, 1)[0]
	require.NoError(t, shared.cluster.Kill(t.Context(), pod, "demo"))
	require.Error(t, shared.cluster.Kill(t.Context(), pod, "absent"))
	cluster.Eventually(t, 30*time.Second, func() error {
		now, err := shared.cluster.Client().CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if status := now.Status.ContainerStatuses[0]; status.RestartCount != 1 || status.State.Running == nil {
			return fmt.Errorf("the container runs for the %d. time", status.RestartCount+1)
		}
		return nil
	})
}
