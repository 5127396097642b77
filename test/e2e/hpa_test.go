package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

var errNotRestarted = errors.New("the container has not restarted yet")

// TestHPA takes a Deployment from one pod to four under load and back, by each
// type of metric that an HPA knows: requests that the sidecars count, in each
// pod (Pods), of a Service (Object) and in all (External), and the cpu of pods
// (Resource) and of one of their containers (ContainerResource).
func TestHPA(t *testing.T) {
	strata(t)
	for name, metric := range map[string]string{
		"Pods":     story.RequestsMetric,
		"Object":   `{type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: shop}, metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: "10"}}}`,
		"External": `{type: External, external: {metric: {name: http_requests_per_second, selector: {matchLabels: {code: "200"}}}, target: {type: AverageValue, averageValue: "10"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := namespace(t)
			shop := story.Shop()
			if name == "Object" {
				shop = story.ShopOfService()
			}
			scale(t, ns, "shop", shop+"---"+story.HPA("shop", metric), load.Options{
				Rate: 60, Targets: story.URLs(shared.cluster, ns, map[string]string{"app": "shop"}, story.ProxyPort, "/"),
			})
		})
	}
	t.Run("Resource", func(t *testing.T) {
		t.Parallel()
		ns := namespace(t)
		const cpu = `{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}`
		scale(t, ns, "demo", demoManifest+"---"+story.HPA("demo", cpu), load.Options{
			Rate: 15, Targets: story.URLs(shared.cluster, ns, map[string]string{"app": "demo"}, 8080, "/work?ms=15"),
		})
	})
	t.Run("ContainerResource", func(t *testing.T) {
		t.Parallel()
		ns := namespace(t)
		const cpu = `{type: ContainerResource, containerResource: {name: cpu, container: shop, target: {type: Utilization, averageUtilization: 50}}}`
		scale(t, ns, "shop", story.Shop()+"---"+story.HPA("shop", cpu), load.Options{
			Rate: 15, Targets: story.URLs(shared.cluster, ns, map[string]string{"app": "shop"}, story.ProxyPort, "/work?ms=15"),
		})
	})
}

// TestHPAToZero takes a Deployment to no pod at all and back, by metrics that do
// not need one, and holds that a policy of the HPA's behavior bounds each step.
func TestHPAToZero(t *testing.T) {
	strata(t)
	const bounded = `, scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 10}]}`
	for name, metric := range map[string]string{
		"Object":   `{type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: shop}, metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: "10"}}}`,
		"External": `{type: External, external: {metric: {name: http_requests_per_second, selector: {matchLabels: {code: "200"}}}, target: {type: AverageValue, averageValue: "10"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := namespace(t)
			shop := story.Shop()
			if name == "Object" {
				shop = story.ShopOfService()
			}
			worker := strings.ReplaceAll(demoManifest, "demo", "worker")
			worker = strings.ReplaceAll(worker, "strata.test/worker", "strata.test/demo")
			hpa := strings.ReplaceAll(story.HPA("worker", metric), "minReplicas: 1", "minReplicas: 0")
			hpa = strings.ReplaceAll(hpa, "maxReplicas: 5", "maxReplicas: 3")
			hpa = strings.ReplaceAll(hpa, "stabilizationWindowSeconds: 15}", "stabilizationWindowSeconds: 15}"+bounded)
			require.NoError(t, shared.cluster.Apply(t.Context(), ns, shop+"---"+worker+"---"+hpa))
			pods(t, ns, map[string]string{"app": "shop"}, 1)
			pods(t, ns, map[string]string{"app": "worker"}, 1) // or one that is not ready yet would count as none
			scaled := func(n int) {
				t.Helper()
				cluster.Eventually(t, 4*time.Minute, replicas(t, ns, "worker", func(have int) bool { return have == n }))
			}
			// Its metric has a value only once the shop has been asked.
			urls := story.URLs(shared.cluster, ns, map[string]string{"app": "shop"}, story.ProxyPort, "/")
			_, err := load.Run(t.Context(), load.Options{Rate: 1, Duration: time.Second, Targets: urls})
			require.NoError(t, err)
			scaled(0)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() {
				_, err := load.Run(ctx, load.Options{Rate: 60, Duration: 4 * time.Minute, Targets: urls})
				ended <- err
			}()
			scaled(3)
			stop()
			require.NoError(t, <-ended)
			scaled(0)

			x := explained(t, ns, "worker")
			// Equal events are one, at the time of the last: to 0 twice.
			sizes := []int{}
			for _, e := range x.Events {
				var n int
				if _, err := fmt.Sscanf(e.Message, "New size: %d;", &n); err == nil {
					sizes = append(sizes, n)
				}
			}
			require.Equal(t, []int{1, 2, 3}, sizes[:3], "one pod a step, as the policy says: %v", x.Events)
			require.Equal(t, 0, sizes[len(sizes)-1])
		})
	}
}

// scale applies a Deployment and its HPA of the same name, and holds that the
// load brings at least four ready pods and its end one.
func scale(t *testing.T, ns, app, manifest string, o load.Options) {
	t.Helper()
	match := map[string]string{"app": app}
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, manifest))
	pods(t, ns, match, 1)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o.Duration = 4 * time.Minute
	ended := make(chan error, 1)
	go func() {
		result, err := load.Run(ctx, o)
		if err == nil && result.Failed > result.Sent/10 {
			err = fmt.Errorf("%d of %d requests failed, the last by: %w", result.Failed, result.Sent, result.Err)
		}
		ended <- err
	}()
	cluster.Eventually(t, 4*time.Minute, replicas(t, ns, app, func(n int) bool { return n >= 4 }))
	stop()
	require.NoError(t, <-ended)
	cluster.Eventually(t, 4*time.Minute, replicas(t, ns, app, func(n int) bool { return n == 1 }))

	x := explained(t, ns, app)
	require.NotEmpty(t, x.Why)
	require.Empty(t, x.Notes)
	require.GreaterOrEqual(t, len(x.Replicas), 2, "from one to more")
	require.Contains(t, fmt.Sprint(x.Events), "New size: 1", "each step is among the events")
	if kind := x.Metrics[0].Type; kind == "Pods" || kind == "Object" || kind == "External" {
		highest := 0.0
		for _, a := range x.Metrics[0].Answers {
			highest = max(highest, a.Value)
		}
		require.Greater(t, highest, float64(story.PerPod), "the answers that made it scale are kept")
	}
}

// replicas holds that the ready pods of an app are enough.
func replicas(t *testing.T, ns, app string, enough func(int) bool) func() error {
	return func() error {
		ready, err := shared.cluster.ReadyPods(t.Context(), ns, map[string]string{"app": app})
		if err == nil && !enough(len(ready)) {
			err = fmt.Errorf("%d pods are ready: %s", len(ready), hpaStatus(t.Context(), ns, app))
		}
		return err
	}
}

// explanation is of strata explain's output what is looked at here.
type explanation struct {
	Why, Notes []string
	Metrics    []struct {
		Type    string
		Answers []struct {
			Value float64
			Error string
		}
	}
	Events   []struct{ Reason, Message string }
	Replicas []struct{ Current, Desired int }
}

// explained is what strata explain says of an HPA, which it asks the servers of
// the cluster.
func explained(t *testing.T, ns, name string) explanation {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(shared.root, "bin", "strata"), "explain", "hpa", name,
		"--namespace="+ns, "--kubeconfig="+shared.cluster.Kubeconfig(), "--output=json")
	out, err := cmd.Output()
	require.NoError(t, err)
	var x explanation
	require.NoError(t, json.Unmarshal(out, &x))
	cmd = exec.CommandContext(t.Context(), cmd.Path, cmd.Args[1:len(cmd.Args)-1]...)
	text, err := cmd.Output()
	require.NoError(t, err)
	t.Logf("strata explain hpa %s:\n%s", name, text)
	return x
}

// hpaStatus is what the HPA says of itself, for the failure's message.
func hpaStatus(ctx context.Context, ns, name string) string {
	hpa, err := shared.cluster.Client().AutoscalingV2().HorizontalPodAutoscalers(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	status := fmt.Sprintf("wants %d", hpa.Status.DesiredReplicas)
	for _, c := range hpa.Status.Conditions {
		status += fmt.Sprintf("; %s=%s %s", c.Type, c.Status, c.Message)
	}
	return status
}
