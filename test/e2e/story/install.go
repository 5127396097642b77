// Package story is Strata's first story on a real cluster: the chart is
// installed, a request to a pod becomes a sample, the sample an answer of the
// custom metrics API, and a HorizontalPodAutoscaler adds pods. The end-to-end
// tests check each step; Tell shows them to a person.
package story

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/image"
	"github.com/strata-metrics/strata/test/e2e/setup"
)

// Namespace is where the chart is installed, as release strata.
const Namespace = "strata"

// ScrapeInterval is that of the installation, shorter than the chart's so that
// a person need not wait.
const ScrapeInterval = 5 * time.Second

// MaxAge is how old the samples behind an answer of the installation's custom
// and external metrics may be.
const MaxAge = 20 * time.Second

// Programs are Strata's binaries that the chart runs.
func Programs(root string) []image.Program {
	var all []image.Program
	for _, name := range []string{"strata", "strata-node", "strata-container", "strata-kubestate", "strata-app"} {
		all = append(all, image.Strata(root, name))
	}
	return all
}

// Install gives the cluster Strata's images, installs the chart and waits
// until every workload of it is ready.
func Install(ctx context.Context, c *cluster.Cluster, root string, log *slog.Logger) error {
	log.Info("building and loading Strata's images")
	if err := setup.Load(ctx, c, Programs(root)...); err != nil {
		return err
	}
	if err := c.Apply(ctx, "default", sink); err != nil {
		return err
	}
	log.Info("installing the chart")
	return Tune(ctx, c, root, Installed())
}

// Tuning is what decides how fresh the installation's answers are.
type Tuning struct {
	Interval time.Duration // of scrapes, and of core's readings of each node
	Window   time.Duration // of the rule's rate
	MaxAge   time.Duration // of the samples behind custom and external metrics
}

// Installed is the tuning that Install gives.
func Installed() Tuning {
	return Tuning{Interval: ScrapeInterval, Window: 30 * time.Second, MaxAge: MaxAge}
}

// Tune installs the chart, or changes the installation, whose images the
// cluster has, and waits until every workload of it is ready.
func Tune(ctx context.Context, c *cluster.Cluster, root string, by Tuning) error {
	_, err := c.Run(ctx, values(c, by), "helm", "upgrade", "--install", "strata", Chart(root),
		"--namespace", Namespace, "--create-namespace", "--wait", "--timeout", "3m", "--values", "-")
	if err != nil {
		return errors.Join(err, errors.New(c.Describe(context.WithoutCancel(ctx), Namespace)))
	}
	return nil
}

// values are those of the chart: local images, a node without volumes, one
// server on its two cores, and times shorter than a production cluster wants.
func values(c *cluster.Cluster, by Tuning) string {
	return fmt.Sprintf(`
image: {registry: strata.test, tag: e2e}
scrapeInterval: %[1]s
agent: {mountPropagation: None, container: {runtimeSocket: %[2]s}}
core: {metricResolution: %[1]s, source: exporter}
server:
  replicas: 1
  persistence: {enabled: false}
  alerting: {alertmanagers: [{static_configs: [{targets: ["%[3]s:8080"]}]}]}
  remoteWrite: [{name: sink, url: "http://%[3]s:8080/api/v1/write"}]
  adapter:
    maxAge: %[4]s
    config:
      rules:
      - &rule
        seriesQuery: http_requests_total{namespace!="",pod!=""}
        resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}}
        name: {matches: ^(.*)_total$, as: "${1}_per_second"}
        metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[%[5]s])) by (<<.GroupBy>>)
      externalRules: [*rule]
`, by.Interval, c.RuntimeSocket(), sinkIP, by.MaxAge, by.Window)
}

// Released are Strata's binaries under the names that the chart gives their
// images by itself.
func Released(root string) ([]image.Program, error) {
	text, err := os.ReadFile(filepath.Join(Chart(root), "Chart.yaml"))
	if err != nil {
		return nil, err
	}
	var chart struct {
		AppVersion string `json:"appVersion"`
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		return nil, fmt.Errorf("Chart.yaml: %w", err)
	}
	all := Programs(root)
	for i := range all {
		all[i].Image = "docker.io/strata-metrics/" + filepath.Base(all[i].Package) + ":" + chart.AppVersion
	}
	return all, nil
}

// Chart is the directory of the chart.
func Chart(root string) string { return filepath.Join(root, "deploy", "helm", "strata") }

// Offer makes ready what a person needs to install the chart by hand, and gives
// the arguments of helm: the images under their own names, and values for what
// this cluster has otherwise than those that people run (volumes, the place of
// the runtime's socket).
func Offer(ctx context.Context, c *cluster.Cluster, root string, log *slog.Logger) ([]string, error) {
	log.Info("building and loading Strata's images")
	programs, err := Released(root)
	if err != nil {
		return nil, err
	}
	if err := setup.Load(ctx, c, programs...); err != nil {
		return nil, err
	}
	values := fmt.Sprintf("agent: {mountPropagation: None, container: {runtimeSocket: %s}}\nserver: {replicas: 1, persistence: {enabled: false}}\n", c.RuntimeSocket())
	file := filepath.Join(c.Options().StateDir, "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o644); err != nil {
		return nil, err
	}
	return []string{"install", "strata", "deploy/helm/strata", "--namespace", Namespace, "--create-namespace", "--values", file}, nil
}

// sinkIP is the address of the sink's Service; the cluster has no DNS.
const sinkIP = "10.96.77.77"

// sink takes the installation's alerts and remote write.
const sink = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: sink}
spec:
  selector: {matchLabels: {app: sink}}
  template:
    metadata: {labels: {app: sink}}
    spec:
      terminationGracePeriodSeconds: 2
      containers: [{name: sink, image: "strata.test/demo:e2e"}]
---
apiVersion: v1
kind: Service
metadata: {name: sink}
spec:
  clusterIP: ` + sinkIP + `
  selector: {app: sink}
  ports: [{port: 8080}]
`

// Pod is the one ready pod of a component of the installation.
func Pod(ctx context.Context, c *cluster.Cluster, component string) (corev1.Pod, error) {
	pods, err := c.ReadyPods(ctx, Namespace, map[string]string{
		"app.kubernetes.io/name": "strata", "app.kubernetes.io/component": component,
	})
	if err != nil {
		return corev1.Pod{}, err
	}
	if len(pods) == 0 {
		return corev1.Pod{}, fmt.Errorf("no pod of %s is ready", component)
	}
	return pods[0], nil
}

// ServerURL is the address of the page and of PromQL.
func ServerURL(ctx context.Context, c *cluster.Cluster) (string, error) {
	pod, err := Pod(ctx, c, "server")
	if err != nil {
		return "", err
	}
	return "http://" + pod.Status.PodIP + ":9090", nil
}
