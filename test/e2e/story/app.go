package story

import (
	"context"
	"fmt"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
)

// ProxyPort is where the sidecar takes the app's requests.
const ProxyPort = 8180

// Shop is a demo application with Strata's sidecar before it, and its Service.
// The sidecar's metrics, and through it the app's own, are scraped since its
// pods' annotations ask for it.
func Shop() string { return fmt.Sprintf(shop, scraped, "") }

// ShopOfService is the same, scraped since the Service's annotations ask for it,
// which gives the metrics the Service's name.
func ShopOfService() string { return fmt.Sprintf(shop, "", scraped) }

const scraped = `prometheus.io/scrape: "true", prometheus.io/port: "9102"`

const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}
      annotations: {%[1]s}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: shop
        image: strata.test/demo:e2e
        ports: [{name: app, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: app}, periodSeconds: 1}
        resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {memory: 64Mi}}
        securityContext: &restricted
          runAsNonRoot: true
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
      - name: strata-app
        image: strata.test/strata-app:e2e
        args: ["--app.address=127.0.0.1:8080", "--proxy.listen-address=:8180"]
        ports: [{name: http, containerPort: 8180}, {name: metrics, containerPort: 9102}]
        readinessProbe: {httpGet: {path: /-/ready, port: metrics}, periodSeconds: 1}
        resources: {requests: {cpu: 20m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi}}
        securityContext: *restricted
---
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}, annotations: {%[2]s}}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: http}]
`

// PerPod is the target of RequestsMetric: requests a second in each pod.
const PerPod = 10

// HPA scales a Deployment of its own name between 1 and 5 pods by one metric,
// given as a flow mapping of autoscaling/v2's MetricSpec.
func HPA(name, metric string) string {
	return fmt.Sprintf(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  minReplicas: 1
  maxReplicas: 5
  metrics: [%[2]s]
  behavior: {scaleDown: {stabilizationWindowSeconds: 15}}
`, name, metric)
}

// RequestsMetric is the requests that the sidecars of an HPA's pods count.
const RequestsMetric = `{type: Pods, pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: "10"}}}`

// URLs gives the address of a page in every ready pod with these labels, for
// load.Options.
func URLs(c *cluster.Cluster, namespace string, match map[string]string, port int, path string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		pods, err := c.ReadyPods(ctx, namespace, match)
		if err != nil {
			return nil, err
		}
		urls := make([]string, len(pods))
		for i, p := range pods {
			urls[i] = load.URL(p.Status.PodIP, port, path)
		}
		if len(urls) == 0 {
			err = fmt.Errorf("no pod with %v is ready in %s", match, namespace)
		}
		return urls, err
	}
}
