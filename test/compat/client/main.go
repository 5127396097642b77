// Command client asks the metrics APIs of a cluster with the typed clients of
// k8s.io/metrics, as the HPA controller and kubectl do, and says what it got.
// It is built twice: with go.mod for the current release of the clients, with
// previous.mod for the one before.
//
//	client KUBECONFIG NAMESPACE POD CUSTOM_METRIC EXTERNAL_METRIC
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/client/clientset/versioned"
	custom "k8s.io/metrics/pkg/client/custom_metrics"
	external "k8s.io/metrics/pkg/client/external_metrics"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: client KUBECONFIG NAMESPACE POD CUSTOM_METRIC EXTERNAL_METRIC")
		os.Exit(2)
	}
	found, err := run(context.Background(), os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// run asks everything once; the names are those of the calls.
func run(ctx context.Context, args []string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	kubeconfig, namespace, pod, customMetric, externalMetric := args[0], args[1], args[2], args[3], args[4]
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	if err := resourceMetrics(ctx, config, found, namespace, pod); err != nil {
		return nil, fmt.Errorf("metrics.k8s.io: %w", err)
	}
	if err := customMetrics(config, found, namespace, pod, customMetric); err != nil {
		return nil, fmt.Errorf("custom.metrics.k8s.io: %w", err)
	}
	if err := externalMetrics(config, found, namespace, externalMetric); err != nil {
		return nil, fmt.Errorf("external.metrics.k8s.io: %w", err)
	}
	return found, nil
}

// resourceMetrics asks in JSON and in protobuf.
func resourceMetrics(ctx context.Context, config *rest.Config, found map[string]any, namespace, pod string) error {
	for _, media := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		c := rest.CopyConfig(config)
		c.ContentType, c.AcceptContentTypes = media, media
		client, err := versioned.NewForConfig(c)
		if err != nil {
			return err
		}
		pods, err := client.MetricsV1beta1().PodMetricses(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		one, err := client.MetricsV1beta1().PodMetricses(namespace).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		nodes, err := client.MetricsV1beta1().NodeMetricses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		found[media] = map[string]any{
			"pods": len(pods.Items), "nodes": len(nodes.Items), "window": one.Window.Duration.String(),
			"memory": one.Containers[0].Usage.Memory().String(), "age": time.Since(one.Timestamp.Time).Seconds(),
		}
	}
	return nil
}

// customMetrics asks as the HPA controller does: by discovery of the preferred
// version, then by each of the two.
func customMetrics(config *rest.Config, found map[string]any, namespace, pod, metric string) error {
	dc, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(dc))
	getter := custom.NewAvailableAPIsGetter(dc)
	preferred, err := getter.PreferredVersion()
	if err != nil {
		return err
	}
	found["preferred"] = preferred.String()
	clients := map[string]custom.CustomMetricsClient{"discovered": custom.NewForConfig(config, mapper, getter)}
	for _, v := range []string{"v1beta1", "v1beta2"} {
		c, err := custom.NewForVersionForConfig(config, mapper, schema.GroupVersion{Group: "custom.metrics.k8s.io", Version: v})
		if err != nil {
			return err
		}
		clients[v] = c
	}
	kind := schema.GroupKind{Kind: "Pod"}
	for name, c := range clients {
		all, err := c.NamespacedMetrics(namespace).GetForObjects(kind, labels.Everything(), metric, labels.Everything())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		one, err := c.NamespacedMetrics(namespace).GetForObject(kind, pod, metric, labels.Everything())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		of, err := c.RootScopedMetrics().GetForObject(schema.GroupKind{Kind: "Namespace"}, namespace, metric, labels.Everything())
		if err != nil {
			return fmt.Errorf("%s, a namespace: %w", name, err)
		}
		found["custom "+name] = []any{len(all.Items), one.Metric.Name, one.Value.String(), one.DescribedObject.Name, of.Value.String()}
	}
	return nil
}

func externalMetrics(config *rest.Config, found map[string]any, namespace, metric string) error {
	c, err := external.NewForConfig(config)
	if err != nil {
		return err
	}
	list, err := c.NamespacedMetrics(namespace).List(metric, labels.SelectorFromSet(labels.Set{"queue": "mail"}))
	if err != nil {
		return err
	}
	values := []string{}
	for _, i := range list.Items {
		values = append(values, i.MetricLabels["queue"]+" "+i.Value.String())
	}
	found["external"] = values
	return nil
}
