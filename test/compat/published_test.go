package compat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
)

// published are configurations with what prometheus-adapter's documents and
// charts show: how each kind of rule is written there, over series of ours.
// Each names requests with the values that they are answered with.
var published = []struct {
	name, rules string
	answers     map[string][]string // path below /apis: values, sorted; ~ for about
}{
	{"walkthrough", `
rules:
- seriesQuery: 'http_requests_total{kubernetes_namespace!="",kubernetes_pod_name!=""}'
  resources:
    overrides:
      kubernetes_namespace: {resource: "namespace"}
      kubernetes_pod_name: {resource: "pod"}
  name: {matches: "^(.*)_total", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)'
`, map[string][]string{
		"custom.metrics.k8s.io/v1beta1/namespaces/shop/pods/*/http_requests_per_second":                       {"~5", "~10"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/http_requests_per_second":                       {"~5", "~10"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/http_requests_per_second":                   {"~5"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/http_requests_per_second":                      {"~15"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/http_requests_per_second?labelSelector=shard=1": {"~10"},
	}},
	{"containers", `
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  resources: &cadvisor
    overrides: {namespace: {resource: namespace}, pod: {resource: pod}}
  name: {matches: "^container_(.*)_seconds_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[10s])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*_total",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^container_.*_seconds_total$"}]
  resources: *cadvisor
  name: {matches: "^container_(.*)_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[10s])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^container_.*_total$"}]
  resources: *cadvisor
  name: {matches: "^container_(.*)$"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
`, map[string][]string{
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/cpu_usage":                      {"~250m"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/network_receive_bytes":          {"~1000"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/memory_usage_bytes":                 {"1048576", "2097152"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/memory_usage_bytes":                {"3145728"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/cpu_usage_seconds_total":        nil,
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/network_receive_bytes_total":    nil,
		"custom.metrics.k8s.io/v1beta1/namespaces/shop/pods/web-1/memory_usage_bytes?limit=1":     {"2097152"},
		"custom.metrics.k8s.io/v1beta1/namespaces/shop/pods/web-1/container_memory_usage_bytes":   nil,
		"custom.metrics.k8s.io/v1beta2/namespaces/elsewhere/pods/web-0/memory_usage_bytes":        nil,
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/memory_usage_bytes?labelSelector=x": nil,
	}},
	{"generic", `
rules:
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: ".*_total$"}]
  resources: {template: "<<.Resource>>"}
  name: {matches: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: ".*_seconds_total"}]
  resources: {template: "<<.Resource>>"}
  name: {matches: "^(.*)_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: []
  resources: {template: "<<.Resource>>"}
  name: {matches: "^(.*)_seconds_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)
`, map[string][]string{
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/services/front/orders":               {"~3"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/web-0/orders":                   {"~3"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/open_carts":     {"12"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/services/front/busy":                 {"~500m"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/services/*/busy":                     {"~500m"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/services/front/busy_seconds":         nil,
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/open_carts":                  {"12"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/ingresses.networking.k8s.io/in/hits": {"7"},
	}},
	{"association", `
rules:
- seriesQuery: 'latency_ms{kube_apps_deployment!=""}'
  resources: {template: "kube_<<.Group>>_<<.Resource>>", overrides: {team: {resource: namespace}}}
  metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{__name__="microservice_load",microservice!=""}'
  resources:
    overrides:
      team: {resource: namespace}
      microservice: {group: "apps", resource: "deployment"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'ripeness{soft="true"}'
  name: {as: "how_ripe"}
  resources:
    overrides: {brand: {group: "cheese.example.org", resource: "brand"}}
  metricsQuery: 'count(<<.Series>>{soft="true",<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'machine_load{instance!=""}'
  resources: {overrides: {instance: {resource: node}}}
  name: {matches: "machine_(.*)", as: "node_$1"}
  metricsQuery: avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'http_requests_total{kubernetes_pod_name!=""}'
  resources: {overrides: {kubernetes_namespace: {resource: namespace}, kubernetes_pod_name: {resource: pod}}}
  name: {as: "by_values"}
  metricsQuery: 'sum(<<.Series>>{<<range $k, $v := .LabelValuesByName>><<$k>>=~"<<$v>>",<<end>>} > bool 0) by (<<range .GroupBySlice>><<.>><<end>>)'
`, map[string][]string{
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/latency_ms":        {"20"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments/web/latency_ms":             {"20"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/microservice_load": {"1500m"},
		"custom.metrics.k8s.io/v1beta2/brands.cheese.example.org/brie/how_ripe":                {"1"},
		"custom.metrics.k8s.io/v1beta2/nodes/pub-1/node_load":                                  {"3"},
		"custom.metrics.k8s.io/v1beta2/nodes/*/node_load":                                      {"3"},
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/by_values":                       {"1", "1"},
	}},
	{"external", `
externalRules:
- seriesQuery: '{__name__="queue_consumer_lag",name!=""}'
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)
  resources: {overrides: {namespace: {resource: "namespace"}}}
- seriesQuery: '{__name__="queue_depth",topic!=""}'
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)
  resources: {namespaced: false}
- seriesQuery: '{__name__=~"^queue_done_.*"}'
  name: {matches: "^queue_(.*)_total$", as: "${1}_rate"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (name)
  resources: {template: "<<.Resource>>"}
`, map[string][]string{
		"external.metrics.k8s.io/v1beta1/namespaces/shop/queue_consumer_lag":                                     {"5", "7"},
		"external.metrics.k8s.io/v1beta1/namespaces/shop/queue_consumer_lag?labelSelector=name=mail":             {"5"},
		"external.metrics.k8s.io/v1beta1/namespaces/default/queue_consumer_lag":                                  {},
		"external.metrics.k8s.io/v1beta1/namespaces/default/queue_depth":                                         {"40"},
		"external.metrics.k8s.io/v1beta1/namespaces/default/queue_depth?labelSelector=namespace=shop,name=mail":  {"40"},
		"external.metrics.k8s.io/v1beta1/namespaces/default/queue_depth?labelSelector=namespace%20in%20(shop,x)": {"40"},
		"external.metrics.k8s.io/v1beta1/namespaces/default/queue_depth?labelSelector=namespace=elsewhere":       {},
		"external.metrics.k8s.io/v1beta1/namespaces/shop/done_mail_rate":                                         {"~2"},
		"external.metrics.k8s.io/v1beta1/namespaces/shop/nothing":                                                nil,
	}},
	{"chart", `
rules:
- seriesQuery: '{__name__=~"^open_carts$"}'
  resources: {template: <<.Resource>>}
  name: {matches: "", as: "my_custom_metric"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: '{__name__=~"^queue_depth$"}'
  resources: {template: <<.Resource>>}
  name: {matches: "", as: "my_external_metric"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
resourceRules:
  cpu:
    containerQuery: |
      sum by (<<.GroupBy>>) (rate(container_cpu_usage_seconds_total{container!="",<<.LabelMatchers>>}[3m]))
    nodeQuery: |
      sum by (<<.GroupBy>>) (rate(node_cpu_seconds_total{mode!="idle",<<.LabelMatchers>>}[3m]))
    resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: |
      sum by (<<.GroupBy>>) (avg_over_time(container_memory_working_set_bytes{container!="",<<.LabelMatchers>>}[3m]))
    nodeQuery: |
      sum by (<<.GroupBy>>) (avg_over_time(node_memory_MemTotal_bytes{<<.LabelMatchers>>}[3m]))
    resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  window: 3m
`, map[string][]string{
		"custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/my_custom_metric": {"12"},
		"external.metrics.k8s.io/v1beta1/namespaces/shop/my_external_metric":                  {"40"},
	}},
}

// publishedSeries are what the rules above are about.
func publishedSeries() string {
	var b strings.Builder
	for i, pod := range []string{"web-0", "web-1"} {
		fmt.Fprintf(&b, "http_requests_total{kubernetes_namespace=\"shop\",kubernetes_pod_name=%q,method=\"GET\"} %f\n", pod, counted(5*float64(i+1)))
		for _, container := range []string{"app", "POD"} {
			l := fmt.Sprintf(`{namespace="shop",pod=%q,container=%q}`, pod, container)
			fmt.Fprintf(&b, "container_cpu_usage_seconds_total%s %f\n", l, counted(0.25))
			fmt.Fprintf(&b, "container_network_receive_bytes_total%s %f\n", l, counted(1000))
			fmt.Fprintf(&b, "container_memory_usage_bytes%s %d\n", l, (i+1)<<20)
		}
	}
	fmt.Fprintf(&b, `
orders_total{namespace="shop",service="front",pod="web-0"} %f
busy_seconds_total{namespace="shop",service="front"} %f
open_carts{namespace="shop",deployment="web"} 12
hits{namespace="shop",ingress="in"} 7
latency_ms{team="shop",kube_apps_deployment="web",path="/a"} 20
latency_ms{team="shop",kube_apps_deployment="web",path="/b"} 3
microservice_load{team="shop",microservice="web"} 1.5
ripeness{brand="brie",soft="true"} 1
machine_load{instance="pub-1"} 3
queue_consumer_lag{namespace="shop",name="mail"} 5
queue_consumer_lag{namespace="shop",name="sms"} 7
queue_depth{namespace="shop",name="mail",topic="t"} 40
queue_done_mail_total{namespace="shop",name="mail"} %f
`, counted(3), counted(0.5), counted(2))
	return b.String()
}

const publishedObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: app}]}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: in, namespace: shop}
spec: {defaultBackend: {service: {name: front, port: {number: 80}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: brands.cheese.example.org}
spec:
  group: cheese.example.org
  scope: Cluster
  names: {kind: Brand, plural: brands, singular: brand}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---`

// TestPublishedConfigurations loads configurations as they are published and
// asks for what they define.
func TestPublishedConfigurations(t *testing.T) {
	apply(t, publishedObjects)
	apply(t, nodeManifest("pub-1", 1)+podManifest("shop", "web-0", "pub-1", "Running", `shard: "0"`)+podManifest("shop", "web-1", "pub-1", "Running", `shard: "1"`))
	t.Cleanup(func() {
		_, err := kubectl(t, "delete", "nodes", "--all")
		require.NoError(t, err)
	})
	_, err := kubectl(t, "wait", "--for=condition=Established", "crd/brands.cheese.example.org", "--timeout=60s")
	require.NoError(t, err)
	config, alone := target(t, publishedSeries), rulesAlone(t)
	servers := map[string]*servedAdapter{}
	for i, p := range published {
		rules := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(rules, []byte(p.rules), 0o600))
		servers[p.name] = startAdapter(t, "published-"+p.name, config, rules, 22000+2*i, alone...)
	}
	admin := administrator(t)
	for _, p := range published {
		t.Run(p.name, func(t *testing.T) {
			s := servers[p.name]
			s.until(t, s.scraped(t, `count_over_time(up[15s]) >= 14`))
			s.until(t, answers(t.Context(), admin, s.base+"/readyz"))
			for path, want := range p.answers {
				a, err := ask(t.Context(), admin, http.MethodGet, s.base+"/apis/"+path, nil)
				require.NoError(t, err)
				if want == nil {
					require.Equal(t, http.StatusNotFound, a.status, "%s: %s", path, a.body)
					continue
				}
				require.Equal(t, http.StatusOK, a.status, "%s: %s", path, a.body)
				sameValues(t, path, want, a.body)
			}
			s.stop()
		})
	}
}

// sameValues compares the values of an answer, in order of size.
func sameValues(t *testing.T, path string, want []string, body string) {
	t.Helper()
	var list struct {
		Items []struct {
			Value     resource.Quantity
			Timestamp time.Time
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &list), body)
	require.Len(t, list.Items, len(want), "%s: %s", path, body)
	var got []resource.Quantity
	for _, i := range list.Items {
		got = append(got, i.Value)
		require.WithinDuration(t, time.Now(), i.Timestamp, time.Minute, path)
	}
	slices.SortFunc(got, func(a, b resource.Quantity) int { return a.Cmp(b) })
	for i, w := range want {
		if about, ok := strings.CutPrefix(w, "~"); ok {
			wanted := resource.MustParse(about)
			require.InEpsilon(t, wanted.AsApproximateFloat64(), got[i].AsApproximateFloat64(), 0.05, "%s: %s", path, body)
			continue
		}
		require.Zero(t, got[i].Cmp(resource.MustParse(w)), "%s: %s, want %s", path, body, w)
	}
}
