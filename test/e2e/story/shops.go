package story

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
)

// shopsWithin is how long pods may take to be ready.
const shopsWithin = 2 * time.Minute

// Shops puts so many pods of the demo application into a new namespace, in the
// place of one that is there, and waits until they are ready and each has had a
// request: before, there is no series of it.
func Shops(ctx context.Context, c *cluster.Cluster, namespace string, count int) ([]corev1.Pod, error) {
	if _, err := c.Kubectl(ctx, "delete", "namespace", namespace, "--ignore-not-found"); err != nil {
		return nil, err
	}
	if err := c.CreateNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, namespace, Shop()); err != nil {
		return nil, err
	}
	if _, err := c.Kubectl(ctx, "scale", "--namespace", namespace, "deployment/shop", fmt.Sprintf("--replicas=%d", count)); err != nil {
		return nil, err
	}
	pods, err := shops(ctx, c, namespace, count)
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		target := load.URL(p.Status.PodIP, ProxyPort, "/")
		_, err := load.Run(ctx, load.Options{
			Targets: func(context.Context) ([]string, error) { return []string{target}, nil }, Rate: 1, Duration: time.Second,
		})
		if err != nil {
			return nil, err
		}
	}
	return pods, nil
}

func shops(ctx context.Context, c *cluster.Cluster, namespace string, count int) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, shopsWithin)
	defer cancel()
	for {
		ready, err := c.ReadyPods(ctx, namespace, map[string]string{"app": "shop"})
		if err == nil && len(ready) == count {
			return ready, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d pods of %s are ready after %s: %w", len(ready), count, namespace, shopsWithin, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
