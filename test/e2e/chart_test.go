package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/image"
	"github.com/strata-metrics/strata/test/e2e/setup"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// chart is where the chart is.
func chart() string { return story.Chart(shared.root) }

// helm runs helm and returns its output, and the error's text where it failed.
func helm(t *testing.T, args ...string) (out, failure string) {
	t.Helper()
	out, err := shared.cluster.Helm(t.Context(), args...)
	if err != nil {
		failure = err.Error()
	}
	return out, failure
}

// TestChartValues takes each set of values in the chart's ci directory to the
// API server, without leaving anything: manifests are valid and complete, and
// pods are admitted under the Pod Security level that the chart claims.
func TestChartValues(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chart(), "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	levels := map[string]string{}
	for _, level := range []string{"restricted", "baseline", "privileged"} {
		levels[level] = "chart-" + level
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: levels[level], Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
		_, err := shared.cluster.Client().CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, deleteNamespace(ns.Name)) })
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			text, failure := helm(t, "template", "checked", chart(), "--namespace", levels["privileged"], "--values", file)
			require.Empty(t, failure)
			// The agent's own namespace is that of the dry run, too.
			text = strings.ReplaceAll(text, "namespace: strata-agent\n", "namespace: "+levels["privileged"]+"\n")
			out, err := shared.cluster.Run(t.Context(), text, "kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename", "-")
			require.NoError(t, err)
			objects := manifests(t, text)
			require.Equal(t, len(objects), strings.Count(out, "(server dry run)"), out)
			for _, o := range objects {
				if template := podTemplate(t, o); template != nil {
					admitted(t, o, template, levels)
				}
			}
		})
	}
}

func deleteNamespace(name string) error {
	return shared.cluster.Client().CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
}

// manifests are the objects in a YAML stream.
func manifests(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Object != nil {
			all = append(all, o)
		}
	}
}

// podTemplate is the pod that an object makes, with volumes in the place of the
// claims that its controller would make; nil for other objects.
func podTemplate(t *testing.T, o *unstructured.Unstructured) *corev1.Pod {
	t.Helper()
	content := o.Object
	if o.GetKind() != "Pod" {
		var found bool
		var err error
		content, found, err = unstructured.NestedMap(o.Object, "spec", "template")
		require.NoError(t, err)
		if !found {
			return nil
		}
	}
	pod := &corev1.Pod{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(content, pod))
	claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	require.NoError(t, err)
	for range claims {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}})
	}
	pod.Name, pod.Namespace = o.GetName(), ""
	pod.Spec.ServiceAccountName = "" // that of the release is not there in a dry run
	return pod
}

// admitted holds that a pod is admitted at its level, and the agent at no lower.
func admitted(t *testing.T, o *unstructured.Unstructured, pod *corev1.Pod, levels map[string]string) {
	t.Helper()
	agent := o.GetLabels()["app.kubernetes.io/component"] == "agent"
	for level, want := range map[string]bool{"restricted": !agent, "baseline": !agent, "privileged": true} {
		_, err := shared.cluster.Client().CoreV1().Pods(levels[level]).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if want {
			require.NoError(t, err, "%s at %s", o.GetName(), level)
			continue
		}
		require.True(t, apierrors.IsForbidden(err), "%v", err)
		require.ErrorContains(t, err, "violates PodSecurity", "%s at %s", o.GetName(), level)
		// The reasons that the chart gives, and no others.
		shares := "host namespaces (hostNetwork=true)"
		if pod.Spec.HostPID { // by agent.hostPID alone
			shares = "host namespaces (hostNetwork=true, hostPID=true)"
		}
		require.Contains(t, err.Error(), shares)
		require.Contains(t, err.Error(), "hostPort (containers")
		require.Contains(t, err.Error(), "hostPath")
		for _, other := range []string{"privileged (container", "capabilities", "seccompProfile", "allowPrivilegeEscalation"} {
			require.NotContains(t, err.Error(), other)
		}
	}
}

// TestChartRefuses holds that wrong values are named.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"server.retenion=5d":                                   `at '/server': additional properties 'retenion' not allowed`,
		"cores.enabled=false":                                  `additional properties 'cores' not allowed`,
		"core.replicas=0":                                      `at '/core/replicas': minimum: got 0, want 1`,
		"core.source=cadvisor":                                 `at '/core/source': value must be one of 'kubelet', 'exporter'`,
		"scrapeInterval=15":                                    `at '/scrapeInterval': got number, want string`,
		"scrapeInterval=15sec":                                 `at '/scrapeInterval': '15sec' does not match pattern`,
		"agent.node.port=http":                                 `at '/agent/node/port': got string, want integer`,
		"server.persistence.size=20 Gi":                        `at '/server/persistence/size'`,
		"server.ruleGroups[0].name=a":                          `at '/server/ruleGroups/0': missing property 'rules'`,
		"networkPolicy.nodeCIDRs={10.0.0.1}":                   `at '/networkPolicy/nodeCIDRs/0'`,
		"agent.enabled=false":                                  `install with --set core.source=kubelet`,
		"server.replicas=2,server.persistence.existingClaim=a": `existingClaim is one volume`,
	} {
		out, failure := helm(t, "template", "strata", chart(), "--set", set)
		require.Empty(t, out, set)
		require.Contains(t, failure, want, set)
	}
}

// TestChart is the life of an installation without any values on a node as
// distributions make them: from nothing to kubectl top and custom metrics, an
// upgrade and a rollback under the eyes of a reader, and its end.
func TestChart(t *testing.T) {
	if out, _ := helm(t, "list", "--namespace", story.Namespace, "--short"); strings.TrimSpace(out) != "" {
		_, failure := helm(t, "uninstall", "strata", "--namespace", story.Namespace, "--wait")
		require.Empty(t, failure)
		t.Cleanup(func() {
			require.NoError(t, story.Install(context.Background(), shared.cluster, shared.root, slog.Default()))
		})
	}
	install := plainNode(t, 2)
	t.Cleanup(func() { // what a failure has left, before the node's parts go
		_, err := shared.cluster.Helm(context.Background(), "uninstall", "strata", "--namespace", story.Namespace, "--ignore-not-found", "--wait")
		require.NoError(t, err)
	})
	require.True(t, t.Run("conflict", chartBesideAnother))
	require.True(t, t.Run("forbidden", chartWithoutRights))
	require.True(t, t.Run("install", func(t *testing.T) { chartInstall(t, install) }))
	t.Run("upgrade", chartUpgrade)
	t.Run("rights", chartLosesRights)
	t.Run("uninstall", chartUninstall)
}

// plainNode makes of this machine's node what the nodes of distributions are:
// mounts under / propagate, containerd has its socket at the usual place and
// the chart's images their own names, and there are volumes. Where the place of
// the socket is taken by a containerd of the machine's own, it gives the
// arguments that tell helm so.
func plainNode(t *testing.T, volumes int) (install []string) {
	t.Helper()
	programs, err := story.Released(shared.root)
	require.NoError(t, err)
	require.NoError(t, setup.Load(t.Context(), shared.cluster, programs...))
	if mountinfo, err := os.ReadFile("/proc/self/mountinfo"); err == nil && !rootIsShared(string(mountinfo)) {
		require.NoError(t, unix.Mount("", "/", "", unix.MS_SHARED, ""))
		t.Cleanup(func() { require.NoError(t, unix.Mount("", "/", "", unix.MS_PRIVATE, "")) })
	}
	const socket = "/run/containerd/containerd.sock"
	// Relative, since the agent sees it under /host.
	target, err := filepath.Rel(filepath.Dir(socket), shared.cluster.RuntimeSocket())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(socket), 0o755))
	if err := os.Symlink(target, socket); errors.Is(err, os.ErrExist) {
		t.Logf("%s is that of a containerd of this machine; the agent is told of another", socket)
		install = []string{"--set", "agent.container.runtimeSocket=" + shared.cluster.RuntimeSocket()}
	} else {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.Remove(socket)) })
	}
	for i := range volumes {
		dir := filepath.Join(shared.cluster.Options().StateDir, "volumes", fmt.Sprint(i))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.Chown(dir, 65532, 65532))
		name := fmt.Sprintf("chart-%d", i)
		require.NoError(t, shared.cluster.Apply(t.Context(), "", fmt.Sprintf(volume, name, dir)))
		t.Cleanup(func() {
			require.NoError(t, shared.cluster.Client().CoreV1().PersistentVolumes().Delete(context.Background(), name, metav1.DeleteOptions{}))
			require.NoError(t, os.RemoveAll(dir))
		})
	}
	return install
}

const volume = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: %s}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: %s}
`

// rootIsShared reads /proc/self/mountinfo.
func rootIsShared(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 6 && f[4] == "/" {
			return strings.HasPrefix(f[6], "shared:")
		}
	}
	return false
}

// foreign is an API as metrics-server's chart has it.
const foreign = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %s, annotations: {meta.helm.sh/release-name: other, meta.helm.sh/release-namespace: kube-system}}
spec:
  group: %s
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: another, namespace: kube-system, port: 443}
`

// chartBesideAnother holds that an API that another serves stays with it.
func chartBesideAnother(t *testing.T) {
	for group, without := range map[string]string{
		"metrics.k8s.io":          "core.enabled=false",
		"external.metrics.k8s.io": "server.adapter.enabled=false",
	} {
		name := "v1beta1." + group
		require.NoError(t, shared.cluster.Apply(t.Context(), "", fmt.Sprintf(foreign, name, group)))
		_, failure := helm(t, "install", "strata", chart(), "--namespace", story.Namespace, "--create-namespace")
		assertLine(t, failure, "this cluster's "+name+" is served by kube-system/another already: remove that one first, or install with --set "+without)
		out, _ := helm(t, "list", "--all", "--namespace", story.Namespace, "--short")
		require.Empty(t, strings.TrimSpace(out), "nothing was begun")
		_, failure = helm(t, "install", "strata", chart(), "--namespace", story.Namespace, "--create-namespace", "--dry-run=server", "--set", without)
		require.Empty(t, failure)
		_, err := shared.cluster.Kubectl(t.Context(), "delete", "apiservice", name)
		require.NoError(t, err)
	}
}

func assertLine(t *testing.T, text, want string) {
	t.Helper()
	t.Log(text)
	require.Contains(t, text, want)
}

// chartWithoutRights holds that a user who may not install is told what is missing.
func chartWithoutRights(t *testing.T) {
	_, failure := helm(t, "install", "strata", chart(), "--namespace", story.Namespace, "--kube-as-user", "jane", "--kube-as-group", "system:authenticated")
	assertLine(t, failure, `User "jane" cannot`)
	require.Contains(t, failure, "forbidden")
}

func chartInstall(t *testing.T, more []string) {
	start := time.Now()
	args := append([]string{"install", "strata", chart(), "--namespace", story.Namespace, "--create-namespace", "--wait", "--timeout", "3m"}, more...)
	_, failure := helm(t, args...)
	if failure != "" {
		t.Fatal(failure, shared.cluster.Describe(context.Background(), story.Namespace))
	}
	t.Logf("every workload is ready after %s", time.Since(start).Round(time.Second))
	cluster.Eventually(t, time.Minute, func() error {
		_, err := shared.cluster.Kubectl(t.Context(), "top", "nodes")
		return err
	})
	t.Logf("kubectl top answers after %s", time.Since(start).Round(time.Second))
	out, failure := helm(t, "test", "strata", "--namespace", story.Namespace, "--timeout", "4m")
	require.Empty(t, failure)
	t.Logf("helm test has passed after %s:\n%s", time.Since(start).Round(time.Second), out)
	out, err := shared.cluster.Kubectl(t.Context(), "get", "configmaps", "--namespace", story.Namespace, "--selector", "grafana_dashboard=1", "--output", "name")
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(shared.root, "dashboards", "grafana", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.Len(t, strings.Fields(out), len(files), "a ConfigMap for each dashboard")
}

// reads counts what a reader of the autoscaling APIs saw.
type reads struct {
	total, failed int
	gap           time.Duration // longest time without an answer
	last          error
}

// read asks every 200 ms until ctx ends.
func read(ctx context.Context, paths map[string]string) map[string]*reads {
	all, last := map[string]*reads{}, map[string]time.Time{}
	for name := range paths {
		all[name], last[name] = &reads{}, time.Now()
	}
	for {
		for name, path := range paths {
			r := all[name]
			r.total++
			if err := items(context.WithoutCancel(ctx), path); err != nil {
				r.failed++
				r.last = fmt.Errorf("at %s: %w", time.Now().Format(time.TimeOnly), err)
				continue
			}
			r.gap = max(r.gap, time.Since(last[name]))
			last[name] = time.Now()
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return all
		}
	}
}

// asked is what an HPA of type Resource and one of type Pods ask.
func asked(ns string) map[string]string {
	return map[string]string{
		"resource": "/apis/metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods",
		"custom":   "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*/http_requests_per_second",
	}
}

// items is the body of a list with something in it.
func items(ctx context.Context, path string) error {
	body, err := shared.cluster.Raw(ctx, path)
	if err == nil && !strings.Contains(string(body), `"items":[{`) {
		err = fmt.Errorf("an empty answer: %s", body)
	}
	return err
}

// during runs helm under the eyes of a reader of both APIs.
func during(t *testing.T, ns string, args ...string) map[string]*reads {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan map[string]*reads, 1)
	go func() { ended <- read(ctx, asked(ns)) }()
	args = append(args, "--namespace", story.Namespace, "--wait", "--timeout", "5m")
	start := time.Now()
	_, failure := helm(t, args...)
	took := time.Since(start)
	answered(t, ns)
	stop()
	all := <-ended
	require.Empty(t, failure)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		t.Logf("helm %s (%s): %d of %d reads of %s metrics failed, longest pause %s (%v)", args[0], took.Round(time.Second), r.failed, r.total, name, r.gap.Round(10*time.Millisecond), r.last)
	}
	return all
}

// answered waits until each API has answered ten times in a row.
func answered(t *testing.T, ns string) {
	t.Helper()
	row := 0
	cluster.Eventually(t, 3*time.Minute, func() error {
		row++
		for _, path := range asked(ns) {
			if err := items(t.Context(), path); err != nil {
				row = 0
				return err
			}
		}
		if row < 10 {
			return fmt.Errorf("answered %d times", row)
		}
		return nil
	})
}

// scraped waits until each server has rates of the pods of a namespace: the
// Service leads to one of them, and in an upgrade to the other, which may have
// seen a new pod once by then.
func scraped(t *testing.T, ns string) {
	query := url.QueryEscape(fmt.Sprintf("rate(http_requests_total{namespace=%q}[1m])", ns))
	for _, p := range pods(t, story.Namespace, map[string]string{"app.kubernetes.io/component": "server"}, 2) {
		path := "/api/v1/namespaces/" + p.Namespace + "/pods/http:" + p.Name + ":9090/proxy/api/v1/query?query=" + query
		cluster.Eventually(t, 2*time.Minute, func() error {
			body, err := shared.cluster.Kubectl(t.Context(), "get", "--raw", path)
			if err == nil && !strings.Contains(body, `"value":[`) {
				err = fmt.Errorf("%s has no rates yet: %s", p.Name, body)
			}
			return err
		})
	}
}

func chartUpgrade(t *testing.T) {
	ns := namespace(t)
	require.NoError(t, setup.Load(t.Context(), shared.cluster, image.Strata(shared.root, "strata-app")))
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.Shop()))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	_, err := get(t.Context(), "http://"+pod.Status.PodIP+":8180/")
	require.NoError(t, err)
	answered(t, ns)
	scraped(t, ns)

	change := []string{"upgrade", "strata", chart(), "--reset-then-reuse-values", "--set", "core.metricResolution=14s,scrapeInterval=14s"}
	for _, args := range [][]string{change, {"rollback", "strata"}} {
		for name, r := range during(t, ns, args...) {
			require.Zero(t, r.failed, "%s metrics: %v", name, r.last)
		}
	}
}

// chartLosesRights takes rights from a running installation: who starts without
// them says which, what runs goes on, and an upgrade gives them back.
func chartLosesRights(t *testing.T) {
	ctx := t.Context()
	_, err := shared.cluster.Kubectl(ctx, "delete", "clusterrolebinding", "strata-kubestate", "strata-core")
	require.NoError(t, err)
	_, err = shared.cluster.Kubectl(ctx, "--namespace", story.Namespace, "rollout", "restart", "deployment/strata-kubestate", "deployment/strata-core")
	require.NoError(t, err)
	for _, component := range []string{"kubestate", "core"} {
		cluster.Eventually(t, time.Minute, func() error {
			logs, err := shared.cluster.Kubectl(ctx, "--namespace", story.Namespace, "logs", "--tail=-1", "--selector", "app.kubernetes.io/component="+component)
			want := regexp.MustCompile(`strata-` + component + `\\" cannot (list|watch) resource \\"nodes\\"`)
			if err == nil && !want.MatchString(logs) {
				err = fmt.Errorf("%s does not say %s: %s", component, want, logs)
			}
			return err
		})
	}
	_, err = shared.cluster.Kubectl(ctx, "top", "nodes")
	require.NoError(t, err, "the replicas of core that run go on")
	_, failure := helm(t, "upgrade", "strata", chart(), "--reuse-values", "--namespace", story.Namespace, "--wait", "--timeout", "3m")
	require.Empty(t, failure)
	_, failure = helm(t, "test", "strata", "--namespace", story.Namespace, "--timeout", "4m")
	require.Empty(t, failure)
}

// TestScrapedOnce holds that pods of an annotated Service have its name in their
// metrics, and that a pod is not counted twice when it is annotated as well.
func TestScrapedOnce(t *testing.T) {
	strata(t)
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.ShopOfService()))
	pods(t, ns, map[string]string{"app": "shop"}, 1)
	by := func(job string) string { return `up{job="` + job + `",namespace="` + ns + `"} == 1` }
	require.Contains(t, queried(t, by("kubernetes-service-endpoints"))[0].Series, `"service":"shop"`)
	_, err := shared.cluster.Kubectl(t.Context(), "--namespace", ns, "patch", "deployment", "shop", "--patch",
		`{"spec": {"template": {"metadata": {"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9102"}}}}}`)
	require.NoError(t, err)
	queried(t, by("kubernetes-pods")+` unless on (namespace) up{job="kubernetes-service-endpoints"}`)
	require.Len(t, queried(t, `up{namespace="`+ns+`"}`), 1)
}

// chartUninstall holds that nothing stays, in no namespace and of no kind.
func chartUninstall(t *testing.T) {
	_, failure := helm(t, "uninstall", "strata", "--namespace", story.Namespace, "--wait")
	require.Empty(t, failure)
	ctx := t.Context()
	cluster.Eventually(t, 2*time.Minute, func() error {
		kinds, err := shared.cluster.Kubectl(ctx, "api-resources", "--verbs=list", "--output=name", "--cached=false")
		if err != nil {
			return err
		}
		all := strings.Join(strings.Fields(kinds), ",")
		labelled, err := shared.cluster.Kubectl(ctx, "get", all, "--all-namespaces", "--selector", "app.kubernetes.io/instance=strata", "--output", "name")
		if err != nil {
			return err
		}
		inside, err := shared.cluster.Kubectl(ctx, "get", all, "--namespace", story.Namespace, "--output", "custom-columns=KIND:.kind,NAME:.metadata.name,NAMESPACE:.metadata.namespace", "--no-headers")
		if err != nil {
			return err
		}
		left := strings.Fields(labelled)
		for line := range strings.Lines(inside) {
			f := strings.Fields(line)
			// What the API server, not the chart, puts into each namespace.
			if len(f) == 3 && f[2] == story.Namespace && f[0] != "Event" && !slices.Contains([]string{"ServiceAccount default", "ConfigMap kube-root-ca.crt"}, f[0]+" "+f[1]) {
				left = append(left, f[0]+"/"+f[1])
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left behind: %v", left)
		}
		return nil
	})
	_, err := shared.cluster.Kubectl(ctx, "get", "--raw", "/apis/metrics.k8s.io/v1beta1")
	require.Error(t, err, "the API is gone with its server")
}
