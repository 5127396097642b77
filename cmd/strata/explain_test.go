package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// explainWith runs the command against something.
func explainWith(t *testing.T, x *explainer) (string, error) {
	t.Helper()
	var out bytes.Buffer
	x.kind, x.name, x.out = "hpa", "web", &out
	if x.since == 0 {
		require.NoError(t, x.since.Set("30m"))
	}
	err := x.run(t.Context())
	return out.String(), err
}

// TestExplainServer: one server is asked; what it answers is shown or said.
func TestExplainServer(t *testing.T) {
	t.Parallel()
	code, body, asked := http.StatusOK, "", ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	defer s.Close()
	body = `{"status":"success","data":{"namespace":"shop","name":"web","scales":"Deployment/web","why":["It waits."]}}`
	text, err := explainWith(t, &explainer{server: s.URL + "/", namespace: "shop"})
	require.NoError(t, err)
	require.Equal(t, "/api/strata/v1/hpas/shop/web?since=30m", asked)
	require.Contains(t, text, "shop/web scales Deployment/web\n\n  It waits.\n")
	text, err = explainWith(t, &explainer{server: s.URL, output: "json"})
	require.NoError(t, err)
	require.True(t, json.Valid([]byte(text)))
	require.Contains(t, asked, "/default/web", "without a kubeconfig")

	f := func(status int, answer, want string) {
		t.Helper()
		code, body = status, answer
		_, err := explainWith(t, &explainer{server: s.URL})
		require.ErrorContains(t, err, want)
	}
	f(http.StatusNotFound, `{"status":"error","error":"no such HPA"}`, "no such HPA")
	f(http.StatusNotFound, "404 page not found", "is it a Strata server?")
	f(http.StatusOK, `{"status":"success","data":null}`, "it serves no metrics of a cluster (--adapter.config)")
	f(http.StatusOK, "<html>", "is it a Strata server?")
	_, err = explainWith(t, &explainer{server: "localhost"})
	require.ErrorContains(t, err, "write http://host:port")
	s.Close()
	_, err = explainWith(t, &explainer{server: s.URL})
	require.ErrorContains(t, err, "ask the server")
}

// TestExplainCluster: of several servers the one that the autoscaler asked last
// has the word, one that is away does not matter.
func TestExplainCluster(t *testing.T) {
	t.Parallel()
	pod := func(name string, port int32) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "strata", Name: name}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 9443}, {Name: "http", ContainerPort: port}}}},
		}}
	}
	pods := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []corev1.Pod{pod("a", 9090), pod("b", 80), pod("c", 9090)}}
	answered := func(at string) string {
		return `{"status":"success","data":{"namespace":"shop","name":"web","scales":"Deployment/web","why":["Answered at ` + at + `."],` +
			`"metrics":[{"answers":[{"time":"2026-06-01T` + at + `Z"}]}]}}`
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/pods", func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, serverPods, r.URL.Query().Get("labelSelector"))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(runtime.Object(&pods))
	})
	for name, body := range map[string]string{"http:a:9090": answered("12:00:00"), "http:b:80": answered("12:00:15")} {
		mux.HandleFunc("/api/v1/namespaces/strata/pods/"+name+"/proxy/api/strata/v1/hpas/shop/web", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(body))
		})
	}
	s := httptest.NewServer(mux)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: "shop"}
	config.CurrentContext = "c"
	require.NoError(t, clientcmd.WriteToFile(*config, file))

	text, err := explainWith(t, &explainer{kubeconfig: file})
	require.NoError(t, err)
	require.Contains(t, text, "Answered at 12:00:15.")

	pods.Items = pods.Items[2:]
	_, err = explainWith(t, &explainer{kubeconfig: file})
	require.ErrorContains(t, err, "/pods/http:c:9090/proxy answered 404")
	pods.Items = nil
	_, err = explainWith(t, &explainer{kubeconfig: file})
	require.ErrorContains(t, err, "is the chart installed?")
	require.NoError(t, os.Remove(file))
	_, err = explainWith(t, &explainer{kubeconfig: file, since: model.Duration(1)})
	require.ErrorContains(t, err, "give --kubeconfig, or --server=URL")
}
