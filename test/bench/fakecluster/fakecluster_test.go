package fakecluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func start(t *testing.T) (*Cluster, *rest.Config) {
	t.Helper()
	dir := t.TempDir()
	c, err := New(Options{
		Dir: dir, Nodes: 3, Users: []User{{File: "hpa", Name: "hpa"}},
		Workloads: []Workload{{Namespace: "a", Name: "web", Pods: 4}, {Namespace: "b", Name: "db", Pods: 3}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	conf, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, KubeconfigFile))
	require.NoError(t, err)
	return c, conf
}

// TestObjects reads the objects as Strata and metrics-server do: with informers,
// in JSON and in protobuf.
func TestObjects(t *testing.T) {
	t.Parallel()
	cluster, conf := start(t)
	for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(filepath.Base(contentType), func(t *testing.T) {
			t.Parallel()
			conf := rest.CopyConfig(conf)
			conf.ContentType = contentType
			client, err := kubernetes.NewForConfig(conf)
			require.NoError(t, err)
			meta, err := metadata.NewForConfig(conf)
			require.NoError(t, err)
			nodes := informers.NewSharedInformerFactory(client, 0)
			pods := metadatainformer.NewSharedInformerFactory(meta, 0)
			nodeLister, podLister := nodes.Core().V1().Nodes().Lister(), pods.ForResource(corev1.SchemeGroupVersion.WithResource("pods")).Lister()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			nodes.Start(ctx.Done())
			pods.Start(ctx.Done())
			defer nodes.Shutdown()
			defer pods.Shutdown()
			defer cancel()
			for what, ok := range nodes.WaitForCacheSync(ctx.Done()) {
				require.True(t, ok, what)
			}
			for what, ok := range pods.WaitForCacheSync(ctx.Done()) {
				require.True(t, ok, what)
			}
			found, err := nodeLister.List(labels.Everything())
			require.NoError(t, err)
			require.Len(t, found, 3)
			all, err := podLister.List(labels.Everything())
			require.NoError(t, err)
			require.Len(t, all, 7)
			one, err := podLister.ByNamespace("b").Get(cluster.pods[5].name)
			require.NoError(t, err)
			require.Equal(t, "db", one.(*metav1.PartialObjectMetadata).Labels["app"])

			list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			require.NoError(t, err)
			require.Len(t, list.Items, 3)
			listed, err := meta.Resource(corev1.SchemeGroupVersion.WithResource("pods")).List(ctx, metav1.ListOptions{})
			require.NoError(t, err)
			require.Len(t, listed.Items, 7)
			review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "hpa"},
			}, metav1.CreateOptions{})
			require.NoError(t, err)
			require.True(t, review.Status.Allowed)
			config, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
			require.NoError(t, err)
			require.Contains(t, config.Data["client-ca-file"], "BEGIN CERTIFICATE")
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cluster, _ := start(t)
	get := func(url string) string {
		conf, err := Client(cluster.o.Dir, "hpa")
		require.NoError(t, err)
		transport := &http.Transport{TLSClientConfig: conf}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(url)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	// Pods 0, 3 and 6 run on the first node.
	usage := get(fmt.Sprintf("https://127.0.0.1:%d/metrics/resource", cluster.ports[0]))
	require.Equal(t, 3, strings.Count(usage, "\ncontainer_cpu_usage_seconds_total{"))
	require.Contains(t, usage, fmt.Sprintf("container_memory_working_set_bytes{container=\"app\",namespace=\"a\",pod=%q} 4.194304e+06 ", cluster.pods[3].name))
	require.Contains(t, usage, "\nnode_cpu_usage_seconds_total ")
	requests := get("http://" + cluster.Info().Target + "/metrics")
	require.Equal(t, 7, strings.Count(requests, "\nhttp_requests_total{"))

	_, err := http.Get(cluster.Info().APIServer + "/api/v1/pods")
	require.Error(t, err, "the authority is not known")
}
