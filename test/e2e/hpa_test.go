package e2e

import (
	"context"
	"errors"
	"fmt"
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
	readyPods := func(enough func(int) bool) func() error {
		return func() error {
			ready, err := shared.cluster.ReadyPods(t.Context(), ns, match)
			if err == nil && !enough(len(ready)) {
				err = fmt.Errorf("%d pods are ready: %s", len(ready), hpaStatus(t.Context(), ns, app))
			}
			return err
		}
	}
	cluster.Eventually(t, 4*time.Minute, readyPods(func(n int) bool { return n >= 4 }))
	stop()
	require.NoError(t, <-ended)
	cluster.Eventually(t, 4*time.Minute, readyPods(func(n int) bool { return n == 1 }))
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
