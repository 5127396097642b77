package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// installed is the chart's installation, made by the first test that needs it.
var installed sync.Once

// strata installs the chart, once for all tests, and gives the server's URL.
func strata(t *testing.T) string {
	t.Helper()
	var err error
	installed.Do(func() {
		err = story.Install(context.Background(), shared.cluster, shared.root, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	})
	require.NoError(t, err)
	var server string
	cluster.Eventually(t, time.Minute, func() error {
		server, err = story.ServerURL(t.Context(), shared.cluster)
		return err
	})
	return server
}

// queried waits until a query has a result.
func queried(t *testing.T, expr string) []story.Sample {
	t.Helper()
	var samples []story.Sample
	cluster.Eventually(t, time.Minute, func() error {
		server, err := story.ServerURL(t.Context(), shared.cluster)
		if err != nil {
			return err
		}
		if samples, err = story.Query(t.Context(), server, expr, time.Time{}); err == nil && len(samples) == 0 {
			err = story.ErrNoResult
		}
		return err
	})
	return samples
}

func TestFourLayers(t *testing.T) {
	strata(t)
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.Shop()))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	_, err := get(t.Context(), "http://"+pod.Status.PodIP+":8180/")
	require.NoError(t, err)
	in := `{namespace="` + ns + `",pod="` + pod.Name + `"}`

	queried(t, `node_cpu_seconds_total{node="strata-e2e"}`)
	require.NotEmpty(t, queried(t, `container_memory_working_set_bytes{container="shop",namespace="`+ns+`",pod="`+pod.Name+`",image="strata.test/demo:e2e"}`))
	queried(t, `container_cpu_usage_seconds_total`+in)
	queried(t, `container_network_receive_bytes_total`+in)
	queried(t, `http_requests_total`+in)
	queried(t, `demo_orders_total`+in) // the app's own, through the sidecar
	queried(t, `kube_pod_info`+in)
	// Pods of other tests may be ending just now.
	require.Empty(t, answer(t, `up{job!~"kubernetes-.+"} != 1 or up{namespace="`+ns+`"} != 1`, time.Time{}), "every target of the installation is healthy")

	// A deleted pod leaves queries within two scrapes of its end.
	ctx := t.Context()
	_, err = shared.cluster.Kubectl(ctx, "-n", ns, "delete", "deployment", "shop", "--wait=false")
	require.NoError(t, err)
	cluster.Eventually(t, time.Minute, func() error {
		_, err := shared.cluster.Kubectl(ctx, "-n", ns, "wait", "--for=delete", "pod/"+pod.Name, "--timeout=1s")
		return err
	})
	deadline := time.Now().Add(2 * story.ScrapeInterval)
	queriedAt(t, deadline)
	for _, name := range []string{"container_memory_working_set_bytes", "container_network_receive_bytes_total", "http_requests_total", "demo_orders_total", "kube_pod_info"} {
		require.Empty(t, answer(t, name+in, deadline), "%s of a deleted pod", name)
	}
}

// queriedAt waits until every target was scraped after a time, so that an empty
// answer for that time is final.
func queriedAt(t *testing.T, at time.Time) {
	t.Helper()
	cluster.Eventually(t, time.Minute, func() error {
		server, err := story.ServerURL(t.Context(), shared.cluster)
		if err != nil {
			return err
		}
		late := fmt.Sprintf("timestamp(up) <= %d", at.Unix())
		samples, err := story.Query(t.Context(), server, late, time.Time{})
		if err == nil && (len(samples) > 0 || time.Now().Before(at)) {
			err = fmt.Errorf("not scraped since %s: %v", at, samples)
		}
		return err
	})
}

// answer is the result of a query, which may be empty.
func answer(t *testing.T, expr string, at time.Time) []story.Sample {
	t.Helper()
	samples, err := story.Query(t.Context(), strata(t), expr, at)
	require.NoError(t, err)
	return samples
}

// TestAPIGroups holds that the three groups are there, and that every version
// of them answers with real values.
func TestAPIGroups(t *testing.T) {
	strata(t)
	ctx, ns := t.Context(), namespace(t)
	require.NoError(t, shared.cluster.Apply(ctx, ns, story.Shop()))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	_, err := get(ctx, "http://"+pod.Status.PodIP+":8180/")
	require.NoError(t, err)
	const rate = "/http_requests_per_second"
	for path, want := range map[string]string{
		"metrics.k8s.io/v1/nodes/strata-e2e":                                `"memory":`,
		"metrics.k8s.io/v1/namespaces/" + ns + "/pods":                      pod.Name,
		"metrics.k8s.io/v1beta1/nodes":                                      `"strata-e2e"`,
		"metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods/" + pod.Name:     `"strata-app"`,
		"custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*" + rate: pod.Name,
		"custom.metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods/*" + rate: pod.Name,
		"external.metrics.k8s.io/v1beta1/namespaces/" + ns + rate:           `"value":`,
	} {
		cluster.Eventually(t, time.Minute, func() error {
			body, err := shared.cluster.Raw(ctx, "/apis/"+path)
			if err == nil && !strings.Contains(string(body), want) {
				err = fmt.Errorf("%s answered %s, without %s", path, body, want)
			}
			return err
		})
	}
	// The list of metrics is kept for some seconds, by the server and by kubectl.
	cluster.Eventually(t, time.Minute, func() error {
		out, err := shared.cluster.Kubectl(ctx, "api-resources", "--no-headers", "--cached=false")
		for _, group := range []string{" metrics.k8s.io/v1 ", " custom.metrics.k8s.io/v1beta2 ", " external.metrics.k8s.io/v1beta1 "} {
			if err == nil && !strings.Contains(out, group) {
				err = fmt.Errorf("kubectl api-resources has no%s: %s", group, out)
			}
		}
		return err
	})
}

// TestKillServer holds that what a query returned before a kill -9 of the
// server, it returns after it.
func TestKillServer(t *testing.T) {
	strata(t)
	const expr = `{__name__=~"node_cpu_seconds_total|container_memory_working_set_bytes|kube_pod_info|up"}[2m]`
	queried(t, expr)
	at := time.Now()
	before := answer(t, expr, at)
	require.Greater(t, len(before), 100)
	pod, err := story.Pod(t.Context(), shared.cluster, "server")
	require.NoError(t, err)
	require.NoError(t, shared.cluster.Kill(t.Context(), pod, "server"))
	var after []story.Sample
	cluster.Eventually(t, 2*time.Minute, func() error {
		now, err := shared.cluster.Client().CoreV1().Pods(story.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if restarts(now) == restarts(&pod) {
			return errNotRestarted
		}
		server, err := story.ServerURL(t.Context(), shared.cluster)
		if err != nil {
			return err
		}
		after, err = story.Query(t.Context(), server, expr, at)
		return err
	})
	t.Logf("%d samples before, %d after", len(before), len(after))
	require.Subset(t, after, before)
	queried(t, "up")
}

func restarts(pod *corev1.Pod) int32 {
	var n int32
	for _, s := range pod.Status.ContainerStatuses {
		n += s.RestartCount
	}
	return n
}

// TestPromtool runs the field's own tool against the server and its files.
func TestPromtool(t *testing.T) {
	server := strata(t)
	ctx := t.Context()
	queried(t, "up")
	out, err := shared.cluster.Promtool(ctx, "query", "instant", server, "count(up)")
	require.NoError(t, err)
	require.Contains(t, out, "=>")

	text, err := shared.cluster.Kubectl(ctx, "-n", story.Namespace, "get", "configmap", "strata-server", "--output", "yaml")
	require.NoError(t, err)
	var configMap corev1.ConfigMap
	require.NoError(t, yaml.Unmarshal([]byte(text), &configMap))
	dir := t.TempDir()
	for name, content := range configMap.Data {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	out, err = shared.cluster.Promtool(ctx, "check", "config", filepath.Join(dir, "prometheus.yml"))
	require.NoError(t, err)
	require.Contains(t, out, "SUCCESS")
	out, err = shared.cluster.Promtool(ctx, "check", "rules", filepath.Join(dir, "rules.yml"))
	require.NoError(t, err)
	require.Contains(t, out, "SUCCESS")
}

// TestPage opens the page in Chromium with data of all four layers.
func TestPage(t *testing.T) {
	server := strata(t)
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.Shop()))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	_, err := get(t.Context(), "http://"+pod.Status.PodIP+":8180/")
	require.NoError(t, err)
	queried(t, `rate(http_requests_total{namespace="`+ns+`"}[1m])`)
	cmd := exec.CommandContext(t.Context(), "npm", "run", "test:browser")
	cmd.Dir = filepath.Join(shared.root, "web")
	cmd.Env = append(os.Environ(), "STRATA_URL="+server, "STRATA_LAYERS=node container app kube")
	out, err := cmd.CombinedOutput()
	t.Log(strings.TrimSpace(string(out)))
	require.NoError(t, err)
}
