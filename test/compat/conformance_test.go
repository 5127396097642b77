package compat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const conformanceRules = `
rules:
- seriesQuery: 'requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)
- seriesQuery: 'open_carts{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: 'queue_length{queue!=""}'
  resources: {namespaced: false}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
`

// conformanceAccess is who may what: a reader of one metric of one namespace,
// one of external metrics, and one who may nothing.
const conformanceAccess = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: conf}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: conf}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: conf}
rules:
- {apiGroups: [custom.metrics.k8s.io], resources: [pods/requests_per_second], verbs: [get]}
- {apiGroups: [external.metrics.k8s.io], resources: [queue_length], verbs: [list]}
- {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: conf}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: conf}]
---`

// metricsAPIs are the two servers of all three groups.
type metricsAPIs struct {
	core, server string            // base URLs
	tokens       map[string]string // by service account
}

// startAPIs runs both servers over one node with two running pods, with an
// APIService for each version, and waits until they have all to say.
func startAPIs(t *testing.T) *metricsAPIs {
	t.Helper()
	apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: conf}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---"+conformanceAccess)
	port := kubelet(t, func(time.Time) []string {
		lines := []string{
			fmt.Sprintf("node_cpu_usage_seconds_total %f", counted(1)), "node_memory_working_set_bytes 4294967296",
		}
		for i := range 3 {
			l := fmt.Sprintf(`{container="app",namespace="conf",pod="web-%d"}`, i)
			lines = append(lines, fmt.Sprintf("container_cpu_usage_seconds_total%s %f", l, counted(0.25)), "container_memory_working_set_bytes"+l+" 67108864")
		}
		return lines
	})
	applyWithStatus(t, nodeManifest("conf-1", port)+podManifest("conf", "web-0", "conf-1", "Running", "app: web, shard: zero")+
		podManifest("conf", "web-1", "conf-1", "Running", "app: web, shard: one")+podManifest("conf", "web-2", "conf-1", "Pending", "app: web"))
	t.Cleanup(func() { // kubectl top would list it
		_, err := kubectl(t, "delete", "nodes", "--all")
		require.NoError(t, err)
	})
	config := target(t, func() string {
		return fmt.Sprintf("requests_total{namespace=\"conf\",pod=\"web-0\"} %f\nrequests_total{namespace=\"conf\",pod=\"web-1\"} %f\n", counted(4), counted(8)) +
			"open_carts{namespace=\"conf\",pod=\"web-0\",kind=\"a\"} 7\nqueue_length{queue=\"mail\"} 30\nqueue_length{queue=\"sms\"} 12.5\n"
	})
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(conformanceRules), 0o600))
	server := startAdapter(t, "conformance", config, rules, 23000, rulesAlone(t)...)
	core := start(t, "core-conformance", shared.Programs["strata"], "core", "--kubeconfig="+shared.control.Kubeconfig(), "--secure-port=23010",
		"--kubelet-insecure-tls", "--kubelet-use-node-status-port", "--kubelet-preferred-address-types=InternalIP", "--metric-resolution=1s")
	m := &metricsAPIs{core: "https://127.0.0.1:23010", server: server.base, tokens: map[string]string{}}
	admin := administrator(t)
	server.until(t, server.scraped(t, `count_over_time(up[15s]) >= 14`))
	server.until(t, answers(t.Context(), admin, server.base+"/readyz"))
	core.until(t, answers(t.Context(), admin, m.core+"/readyz"))
	for _, name := range []string{"reader", "nobody"} {
		token, err := kubectl(t, "create", "token", name, "-n", "conf")
		require.NoError(t, err)
		m.tokens[name] = strings.TrimSpace(token)
	}
	lead(t, "metrics.k8s.io", "v1", 200, 23010)
	lead(t, "metrics.k8s.io", "v1beta1", 100, 23010)
	lead(t, "custom.metrics.k8s.io", "v1beta2", 200, 23000)
	lead(t, "custom.metrics.k8s.io", "v1beta1", 100, 23000)
	lead(t, "external.metrics.k8s.io", "v1beta1", 100, 23000)
	_, err := kubectl(t, "wait", "--for=condition=Available", "--timeout=120s", "apiservice/v1.metrics.k8s.io", "apiservice/v1beta1.metrics.k8s.io",
		"apiservice/v1beta2.custom.metrics.k8s.io", "apiservice/v1beta1.custom.metrics.k8s.io", "apiservice/v1beta1.external.metrics.k8s.io")
	require.NoError(t, err)
	return m
}

// TestConformance holds the APIs to what their clients may expect.
func TestConformance(t *testing.T) {
	m := startAPIs(t)
	t.Run("resource", m.resourceRoutes)
	t.Run("custom", m.customRoutes)
	t.Run("external", m.externalRoutes)
	t.Run("discovery", m.discovery)
	t.Run("openapi", m.openAPI)
	t.Run("access", m.access)
	t.Run("delegation", m.delegation)
	t.Run("kubectl", m.kubectl)
	t.Run("clients", m.clients)
}

const (
	asTable    = "application/json;as=Table;v=v1;g=meta.k8s.io"
	asPartial  = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	asPartials = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	asProtobuf = "application/vnd.kubernetes.protobuf"
	asGroups   = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	notAllowed = `"reason":"MethodNotAllowed"`
	notFound   = `"reason":"NotFound"`
	badRequest = `"reason":"BadRequest"`
)

// route is a request with what its answer must be.
type route struct {
	method, path, accept string
	status               int
	contains             string
}

// hold asks all routes below base, as administrator. Of media types the answer
// is held to the one asked for.
func hold(t *testing.T, base string, routes []route) {
	t.Helper()
	admin := administrator(t)
	for _, r := range routes {
		headers := map[string]string{}
		if r.accept != "" {
			headers["Accept"] = r.accept
		}
		a, err := ask(t.Context(), admin, r.method, base+r.path, headers)
		require.NoError(t, err, r.path)
		what := fmt.Sprintf("%s %s [%s]: %s", r.method, r.path, r.accept, a.body)
		require.Equal(t, r.status, a.status, what)
		require.Contains(t, a.body, r.contains, what)
		media := strings.FieldsFunc(r.accept+";", func(c rune) bool { return c == ';' || c == ',' })
		if r.status == http.StatusOK && len(media) > 0 {
			require.True(t, strings.HasPrefix(a.header.Get("Content-Type"), media[0]), "%s: %s", what, a.header)
		}
	}
}

// writes are the methods that no metric takes.
func writes(paths ...string) []route {
	var routes []route
	for _, path := range paths {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			routes = append(routes, route{method, path, "", 405, notAllowed})
		}
	}
	return routes
}

func (m *metricsAPIs) resourceRoutes(t *testing.T) {
	for _, version := range []string{"v1", "v1beta1"} {
		g := "/apis/metrics.k8s.io/" + version
		is := fmt.Sprintf(`"apiVersion":"metrics.k8s.io/%s"`, version)
		pods := g + "/namespaces/conf/pods"
		hold(t, m.core, []route{
			{"GET", g + "/nodes", "", 200, `"kind":"NodeMetricsList",` + is},
			{"GET", g + "/nodes/conf-1", "", 200, `"memory":"4Gi"`},
			{"GET", g + "/pods", "", 200, `"kind":"PodMetricsList",` + is},
			{"GET", pods, "", 200, `"name":"web-1","namespace":"conf"`},
			{"GET", pods + "/web-0", "", 200, `"memory":"64Mi"`},
			{"GET", pods + "/web-0", asProtobuf, 200, "web-0"},
			{"GET", pods, asProtobuf, 200, "k8s\x00"},
			{"GET", g + "/nodes", asProtobuf + ", application/json", 200, "k8s\x00"},
			{"GET", pods, "application/yaml", 200, "kind: PodMetricsList"},
			{"GET", pods, asTable, 200, `"columnDefinitions":[{"name":"Name"`},
			{"GET", g + "/nodes/conf-1", asTable, 200, `"cells":["conf-1",`},
			{"GET", g + "/nodes?includeObject=Object", asTable, 200, `"kind":"NodeMetrics"`},
			{"GET", pods, asPartials, 200, `"kind":"PartialObjectMetadataList"`},
			{"GET", pods + "/web-0", asPartial, 200, `"kind":"PartialObjectMetadata"`},
			{"GET", pods, "text/html", 406, "Available representations"},
			{"GET", pods, "application/json;as=Table;v=v9;g=meta.k8s.io", 406, "NotAcceptable"},
			{"GET", pods + "?labelSelector=shard%3Done", "", 200, `"items":[{"metadata":{"name":"web-1"`},
			{"GET", pods + "?labelSelector=app%20in%20(web),shard!%3Done", "", 200, `"items":[{"metadata":{"name":"web-0"`},
			{"GET", pods + "?labelSelector=app%3Dnone", "", 200, `"items":[]`},
			{"GET", pods + "?fieldSelector=metadata.name%3Dweb-1", "", 200, `"items":[{"metadata":{"name":"web-1"`},
			{"GET", g + "/nodes?fieldSelector=metadata.name%3Dconf-1&labelSelector=zone%3Da", "", 200, `"name":"conf-1"`},
			{"GET", pods + "?limit=1", "", 200, `"name":"web-1"`},
			{"GET", pods + "?limit=1&continue=abc", "", 200, `"name":"web-1"`},
			{"GET", pods + "?resourceVersion=5", "", 200, `"name":"web-1"`},
			{"GET", g + "/namespaces/nowhere/pods", "", 200, `"items":[]`},
			{"GET", pods + "?labelSelector=a%20b", "", 400, badRequest},
			{"GET", pods + "?fieldSelector=status.phase%3DRunning", "", 400, badRequest},
			{"GET", pods + "?limit=x", "", 400, badRequest},
			{"GET", pods + "?resourceVersionMatch=Exact", "", 422, `"reason":"Invalid"`},
			{"GET", pods + "?watch=true", "", 405, notAllowed},
			{"GET", g + "/nodes?watch=1", "", 405, notAllowed},
			{"GET", g + "/watch/pods", "", 404, notFound},
			{"GET", pods + "/web-2", "", 404, `pods \"web-2\" not found`},
			{"GET", pods + "/web-9", "", 404, `pods \"web-9\" not found`},
			{"GET", g + "/nodes/conf-9", "", 404, `node \"conf-9\" not found`},
			{"GET", g + "/nodes/conf-9", asProtobuf, 404, "NotFound"},
			{"GET", g + "/services", "", 404, notFound},
			{"GET", pods + "/web-0/status", "", 404, notFound},
			{"GET", "/apis/metrics.k8s.io/v1alpha1/nodes", "", 404, notFound},
		})
		hold(t, m.core, writes(g+"/nodes", g+"/nodes/conf-1", pods, pods+"/web-0"))
	}
	var list struct{ Items []any }
	a, err := ask(t.Context(), administrator(t), http.MethodGet, m.core+"/apis/metrics.k8s.io/v1/pods?limit=1", nil)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(a.body), &list))
	require.Len(t, list.Items, 2, "running pods, whatever the limit")
}

func (m *metricsAPIs) customRoutes(t *testing.T) {
	for _, version := range []string{"v1beta1", "v1beta2"} {
		g := "/apis/custom.metrics.k8s.io/" + version
		one, all := g+"/namespaces/conf/pods/web-0/open_carts", g+"/namespaces/conf/pods/*/requests_per_second"
		hold(t, m.server, []route{
			{"GET", one, "", 200, `"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/` + version + `"`},
			{"GET", one, "", 200, `"value":"7"`},
			{"GET", one, asProtobuf, 200, "k8s\x00"},
			{"GET", one, "application/yaml", 200, "kind: MetricValueList"},
			{"GET", one, asTable + ",application/json", 200, `"value":"7"`},
			{"GET", one, asTable, 406, "NotAcceptable"},
			{"GET", one, "text/html", 406, "Available representations"},
			{"GET", all, "", 200, `"name":"web-1"`},
			{"GET", all + "?labelSelector=shard%3Dzero", "", 200, `"items":[{"describedObject":{"kind":"Pod","namespace":"conf","name":"web-0"`},
			{"GET", all + "?metricLabelSelector=kind%3Db", "", 200, `"items":[]`},
			{"GET", one + "?metricLabelSelector=kind%3Da", "", 200, `"matchLabels":{"kind":"a"}`},
			{"GET", one + "?metricLabelSelector=kind%3Db", "", 404, notFound},
			{"GET", g + "/namespaces/conf/metrics/open_carts", "", 200, `"kind":"Namespace","name":"conf"`},
			{"GET", g + "/namespaces/*/metrics/open_carts", "", 200, `"name":"conf"`},
			{"GET", all + "?limit=1&continue=x&resourceVersion=7", "", 200, `"name":"web-1"`},
			{"GET", all + "?labelSelector=a%20b", "", 400, badRequest},
			{"GET", all + "?metricLabelSelector=a%20b", "", 400, badRequest},
			{"GET", all + "?fieldSelector=status.phase%3DRunning", "", 400, badRequest},
			{"GET", all + "?limit=x", "", 400, badRequest},
			{"GET", all + "?labelSelector=app%3Dnone", "", 404, notFound},
			{"GET", g + "/namespaces/conf/pods/web-0/unknown", "", 404, "could not find the metric unknown for pods"},
			{"GET", g + "/namespaces/conf/gizmos/x/open_carts", "", 404, notFound},
			{"GET", "/apis/custom.metrics.k8s.io/v1/namespaces/conf/pods/web-0/open_carts", "", 404, notFound},
		})
		hold(t, m.server, writes(one, all, g))
	}
}

func (m *metricsAPIs) externalRoutes(t *testing.T) {
	queue := "/apis/external.metrics.k8s.io/v1beta1/namespaces/conf/queue_length"
	hold(t, m.server, []route{
		{"GET", queue, "", 200, `"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1"`},
		{"GET", queue, "", 200, `"value":"12500m"`},
		{"GET", queue, asProtobuf, 200, "k8s\x00"},
		{"GET", queue, "application/yaml", 200, "kind: ExternalMetricValueList"},
		{"GET", queue, asTable, 406, "NotAcceptable"},
		{"GET", queue + "?labelSelector=queue%3Dmail", "", 200, `"items":[{"metricName":"queue_length","metricLabels":{"queue":"mail"}`},
		{"GET", queue + "?labelSelector=queue%20in%20(sms,none)", "", 200, `"items":[{"metricName":"queue_length","metricLabels":{"queue":"sms"}`},
		{"GET", queue + "?labelSelector=queue%3Dnone", "", 200, `"items":[]`},
		{"GET", queue + "?limit=1", "", 200, `"queue":"sms"`},
		{"GET", queue + "?labelSelector=a%20b", "", 400, badRequest},
		{"GET", queue + "?fieldSelector=a%3Db", "", 400, badRequest},
		{"GET", queue + "?watch=1", "", 405, notAllowed},
		{"GET", "/apis/external.metrics.k8s.io/v1beta1/namespaces/conf/unknown", "", 404, notFound},
		{"GET", "/apis/external.metrics.k8s.io/v1beta2/namespaces/conf/queue_length", "", 404, notFound},
	})
	hold(t, m.server, writes(queue))
}

func (m *metricsAPIs) discovery(t *testing.T) {
	preferred := func(group, version string) string {
		return fmt.Sprintf(`"preferredVersion":{"groupVersion":"%s/%s","version":"%[2]s"}`, group, version)
	}
	versions := func(group string, versions ...string) string {
		var all []string
		for _, v := range versions {
			all = append(all, fmt.Sprintf(`{"groupVersion":"%s/%s","version":"%[2]s"}`, group, v))
		}
		return `"versions":[` + strings.Join(all, ",") + `]`
	}
	hold(t, m.core, []route{
		{"GET", "/apis", "", 200, preferred("metrics.k8s.io", "v1")},
		{"GET", "/apis/metrics.k8s.io", "", 200, versions("metrics.k8s.io", "v1", "v1beta1")},
		{"GET", "/apis/metrics.k8s.io/v1", "", 200, `"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]`},
		{"GET", "/apis/metrics.k8s.io/v1beta1", "", 200, `"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]`},
		{"GET", "/apis", asGroups, 200, `"version":"v1beta1","resources":[{"resource":"nodes"`},
		{"GET", "/apis/custom.metrics.k8s.io", "", 404, ""},
	})
	hold(t, m.server, []route{
		{"GET", "/apis", "", 200, preferred("external.metrics.k8s.io", "v1beta1")},
		{"GET", "/apis/custom.metrics.k8s.io", "", 200, versions("custom.metrics.k8s.io", "v1beta2", "v1beta1")},
		{"GET", "/apis/custom.metrics.k8s.io", "", 200, preferred("custom.metrics.k8s.io", "v1beta2")},
		{"GET", "/apis/custom.metrics.k8s.io/v1beta1", "", 200, `"name":"pods/open_carts","singularName":"","namespaced":true,"kind":"MetricValueList","verbs":["get"]`},
		{"GET", "/apis/custom.metrics.k8s.io/v1beta2", "", 200, `"name":"namespaces/requests_per_second","singularName":"","namespaced":false`},
		{"GET", "/apis/external.metrics.k8s.io/v1beta1", "", 200, `"name":"queue_length","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]`},
		{"GET", "/apis", asGroups, 200, `"subresource":"open_carts"`},
		{"GET", "/apis", asGroups, 200, `"resource":"queue_length"`},
		{"GET", "/apis/metrics.k8s.io/v1", "", 404, ""},
	})
}

// openAPI reads the descriptions and finds every type of every version, and
// no reference that leads nowhere.
func (m *metricsAPIs) openAPI(t *testing.T) {
	admin := administrator(t)
	types := map[string][]string{
		"metrics.k8s.io/v1": {"metrics.v1.NodeMetrics", "metrics.v1.NodeMetricsList", "metrics.v1.PodMetrics", "metrics.v1.PodMetricsList", "metrics.v1.ContainerMetrics"},
		"metrics.k8s.io/v1beta1": {"metrics.v1beta1.NodeMetrics", "metrics.v1beta1.NodeMetricsList", "metrics.v1beta1.PodMetrics", "metrics.v1beta1.PodMetricsList",
			"metrics.v1beta1.ContainerMetrics"},
		"custom.metrics.k8s.io/v1beta1":   {"custom_metrics.v1beta1.MetricValue", "custom_metrics.v1beta1.MetricValueList"},
		"custom.metrics.k8s.io/v1beta2":   {"custom_metrics.v1beta2.MetricValue", "custom_metrics.v1beta2.MetricValueList", "custom_metrics.v1beta2.MetricIdentifier"},
		"external.metrics.k8s.io/v1beta1": {"external_metrics.v1beta1.ExternalMetricValue", "external_metrics.v1beta1.ExternalMetricValueList"},
	}
	for version, names := range types {
		base := m.server
		if strings.HasPrefix(version, "metrics.k8s.io/") {
			base = m.core
		}
		for path, prefix := range map[string]string{"/openapi/v2": "#/definitions/", "/openapi/v3/apis/" + version: "#/components/schemas/"} {
			a, err := ask(t.Context(), admin, http.MethodGet, base+path, nil)
			require.NoError(t, err)
			require.Equal(t, 200, a.status, path)
			var doc struct {
				Swagger, OpenAPI string
				Info             struct{ Title, Version string }
				Paths            map[string]any
				Definitions      map[string]any
				Parameters       map[string]any // of version 2
				Components       struct{ Schemas map[string]any }
			}
			require.NoError(t, json.Unmarshal([]byte(a.body), &doc), path)
			require.True(t, doc.Swagger == "2.0" || strings.HasPrefix(doc.OpenAPI, "3."), path)
			require.NotEmpty(t, doc.Info.Title, path)
			require.NotEmpty(t, doc.Info.Version, path)
			require.NotEmpty(t, doc.Paths, path)
			schemas := doc.Components.Schemas
			if doc.Swagger != "" {
				schemas = doc.Definitions
			}
			for _, name := range names {
				require.Contains(t, schemas, "io.k8s.metrics.pkg.apis."+name, path)
			}
			for _, ref := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
				if name, ok := strings.CutPrefix(ref[1], "#/parameters/"); ok {
					require.Contains(t, doc.Parameters, name, path)
					continue
				}
				name, ok := strings.CutPrefix(ref[1], prefix)
				require.True(t, ok, "%s: %s", path, ref[1])
				require.Contains(t, schemas, name, path)
			}
		}
		listed, err := ask(t.Context(), admin, http.MethodGet, base+"/openapi/v3", nil)
		require.NoError(t, err)
		require.Contains(t, listed.body, `"apis/`+version+`"`)
	}
}

// as asks with the token of a service account.
func (m *metricsAPIs) as(t *testing.T, c *http.Client, account, url string) answer {
	t.Helper()
	a, err := ask(t.Context(), c, http.MethodGet, url, map[string]string{"Authorization": "Bearer " + m.tokens[account]})
	require.NoError(t, err)
	return a
}

// access holds rights to single metrics, which RBAC sees as subresources.
func (m *metricsAPIs) access(t *testing.T) {
	custom, external := m.server+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/", m.server+"/apis/external.metrics.k8s.io/v1beta1/namespaces/"
	resource := m.core + "/apis/metrics.k8s.io/v1/"
	c := client(t)
	for _, r := range []struct {
		url    string
		reader int
	}{
		{custom + "conf/pods/web-0/requests_per_second", 200},
		{custom + "conf/pods/*/requests_per_second", 200},
		{custom + "conf/pods/web-0/open_carts", 403},
		{custom + "conf/pods/*/open_carts", 403},
		{custom + "conf/metrics/requests_per_second", 403},
		{custom + "other/pods/*/requests_per_second", 403},
		{external + "conf/queue_length", 200},
		{external + "conf/queue_width", 403},
		{external + "other/queue_length", 403},
		{resource + "namespaces/conf/pods", 200},
		{resource + "namespaces/conf/pods/web-0", 200},
		{resource + "namespaces/other/pods", 403},
		{resource + "pods", 403},
		{resource + "nodes/conf-1", 403},
		{m.server + "/metrics", 403},
	} {
		a := m.as(t, c, "reader", r.url)
		require.Equal(t, r.reader, a.status, "%s: %s", r.url, a.body)
		if r.reader == 403 {
			require.Contains(t, a.body, `"reason":"Forbidden"`)
			require.Contains(t, a.body, "system:serviceaccount:conf:reader")
		}
		require.Equal(t, 403, m.as(t, c, "nobody", r.url).status, r.url)
		anonymous, err := ask(t.Context(), c, http.MethodGet, r.url, nil)
		require.NoError(t, err)
		require.Equal(t, 403, anonymous.status, r.url)
		wrong, err := ask(t.Context(), c, http.MethodGet, r.url, map[string]string{"Authorization": "Bearer nonsense"})
		require.NoError(t, err)
		require.Equal(t, 401, wrong.status, r.url)
		require.Contains(t, wrong.body, `"reason":"Unauthorized"`)
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		a, err := ask(t.Context(), c, http.MethodGet, m.server+path, nil)
		require.NoError(t, err)
		require.Equal(t, 200, a.status, path)
	}
}

// reviews counts what the API server was asked about tokens and rights.
func reviews(t *testing.T) (n int) {
	t.Helper()
	out, err := kubectl(t, "get", "--raw", "/metrics")
	require.NoError(t, err)
	lines := regexp.MustCompile(`(?m)^apiserver_request_total\{[^}]*resource="(?:tokenreviews|subjectaccessreviews)"[^}]*\} (\d+)$`)
	for _, l := range lines.FindAllStringSubmatch(out, -1) {
		count, err := strconv.Atoi(l[1])
		require.NoError(t, err)
		n += count
	}
	return n
}

// delegation holds that answers about tokens and rights, yes and no, are kept:
// many requests ask the API server about once. A token is good for 10 s.
func (m *metricsAPIs) delegation(t *testing.T) {
	c := client(t)
	yes := m.server + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/conf/pods/*/requests_per_second"
	no := m.server + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/conf/pods/*/open_carts"
	const requests = 100
	before := reviews(t)
	begun := time.Now()
	for range requests {
		require.Equal(t, 200, m.as(t, c, "reader", yes).status)
		require.Equal(t, 403, m.as(t, c, "reader", no).status)
	}
	// Each of the three answers may run out once in its 10 s; two are before that.
	most := 3 * (2 + int(time.Since(begun)/(10*time.Second)))
	require.LessOrEqual(t, reviews(t)-before, most, "of %d requests", 2*requests)
}

// kubectl asks through the aggregation layer, as people do.
func (m *metricsAPIs) kubectl(t *testing.T) {
	for _, r := range []struct {
		args     string
		contains []string
	}{
		{"get --raw /apis/metrics.k8s.io/v1/nodes", []string{`"kind":"NodeMetricsList"`, "conf-1"}},
		{"get --raw /apis/metrics.k8s.io/v1beta1/namespaces/conf/pods/web-0", []string{`"kind":"PodMetrics"`}},
		{"get --raw /apis/custom.metrics.k8s.io/v1beta2/namespaces/conf/pods/*/open_carts", []string{`"value":"7"`}},
		{"get --raw /apis/custom.metrics.k8s.io/v1beta1/namespaces/conf/metrics/open_carts", []string{`"value":"7"`}},
		{"get --raw /apis/external.metrics.k8s.io/v1beta1/namespaces/conf/queue_length?labelSelector=queue%3Dmail", []string{`"value":"30"`}},
		{"api-versions", []string{"metrics.k8s.io/v1\n", "metrics.k8s.io/v1beta1\n", "custom.metrics.k8s.io/v1beta1\n", "custom.metrics.k8s.io/v1beta2\n", "external.metrics.k8s.io/v1beta1\n"}},
		{"api-resources --api-group=metrics.k8s.io", []string{"nodes", "NodeMetrics", "pods", "PodMetrics", "metrics.k8s.io/v1 "}},
		{"api-resources --api-group=external.metrics.k8s.io", []string{"queue_length", "ExternalMetricValueList"}},
		{"api-resources --api-group=custom.metrics.k8s.io", []string{"pods", "MetricValueList", "custom.metrics.k8s.io/v1beta2 "}},
		{"explain nodes --api-version=metrics.k8s.io/v1", []string{"NodeMetrics", "usage", "window"}},
		{"explain pods.containers --api-version=metrics.k8s.io/v1beta1", []string{"PodMetrics", "usage"}},
		{"get pods.metrics.k8s.io -n conf", []string{"NAME", "CPU", "MEMORY", "WINDOW", "web-0", "web-1"}},
		{"get nodes.v1beta1.metrics.k8s.io conf-1 -o yaml", []string{"kind: NodeMetrics", "apiVersion: metrics.k8s.io/v1beta1"}},
		{"top nodes", []string{"conf-1", "4096Mi"}},
		{"top pods -n conf --containers", []string{"web-0", "app", "64Mi"}},
	} {
		var out string
		var err error
		require.Eventually(t, func() bool { // discovery of a new APIService takes some seconds
			out, err = kubectl(t, strings.Fields(r.args)...)
			return err == nil && !slices.ContainsFunc(r.contains, func(part string) bool { return !strings.Contains(out, part) })
		}, time.Minute, 500*time.Millisecond, "kubectl %s wants %q", r.args, r.contains)
	}
}

// clients asks with the typed clients of this release and of the one before.
func (m *metricsAPIs) clients(t *testing.T) {
	for _, program := range []string{"client", "client-previous"} {
		t.Run(program, func(t *testing.T) {
			out, code := command(t, "", nil, shared.Programs[program], shared.control.Kubeconfig(), "conf", "web-0", "open_carts", "queue_length")
			require.Zero(t, code, out)
			var found map[string]any
			require.NoError(t, json.Unmarshal([]byte(out), &found), out)
			require.Equal(t, "custom.metrics.k8s.io/v1beta2", found["preferred"])
			for _, media := range []string{"application/json", asProtobuf} {
				r := found[media].(map[string]any)
				require.EqualValues(t, 2, r["pods"], out)
				require.EqualValues(t, 1, r["nodes"], out)
				require.Equal(t, "64Mi", r["memory"], out)
				require.Less(t, r["age"], 60.0, out)
			}
			for _, c := range []string{"discovered", "v1beta1", "v1beta2"} {
				require.Equal(t, []any{1.0, "open_carts", "7", "web-0", "7"}, found["custom "+c], out)
			}
			require.Equal(t, []any{"mail 30"}, found["external"], out)
		})
	}
}
