package kubestate

import (
	"fmt"
	"io"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// benchPod is a running pod of two containers, as a controller makes it.
func benchPod(i int) *corev1.Pod {
	at := metav1.NewTime(time.Unix(1767323045+int64(i), 0))
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprintf("service-%d-7c9d4f5b6-%05d", i/20, i), ResourceVersion: fmt.Sprint(i),
			UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), CreationTimestamp: at,
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: fmt.Sprintf("service-%d-7c9d4f5b6", i/20), Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprint("node-", i%500), ServiceAccountName: "default", SchedulerName: "default-scheduler", RestartPolicy: "Always",
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute"},
				{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute"},
			},
		},
		Status: corev1.PodStatus{
			Phase: "Running", QOSClass: "Burstable", HostIP: "10.0.0.1", PodIP: "10.1.2.3", PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}}, StartTime: &at,
		},
	}
	for _, condition := range []corev1.PodConditionType{"PodScheduled", "Initialized", "ContainersReady", "Ready"} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: condition, Status: "True", LastTransitionTime: at})
	}
	for _, name := range []string{"app", "sidecar"} {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: "registry/" + name + ":1", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("256Mi")},
		}})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: name, Ready: true, Image: "registry/" + name + ":1",
			ImageID:     "registry/" + name + "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			ContainerID: fmt.Sprintf("containerd://%064d", i),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
		})
	}
	return pod
}

// benchExporter holds 10,000 pods, without an API server.
func benchExporter(b *testing.B) *Exporter {
	b.Helper()
	e, err := New(Options{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Resources: []string{"pods"}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		r, err := e.kinds[0].render(benchPod(i))
		if err == nil {
			err = e.kinds[0].sources[0].store.Add(r)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return e
}

// BenchmarkStore measures what is kept of a pod of two containers.
func BenchmarkStore(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e := benchExporter(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/pod")
		runtime.KeepAlive(e)
	}
}

// BenchmarkRender measures a change of one pod.
func BenchmarkRender(b *testing.B) {
	kind, pod := bindAll(pods()), benchPod(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kind.render(pod); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScrape measures a scrape of 10,000 pods.
func BenchmarkScrape(b *testing.B) {
	e := benchExporter(b)
	b.Run("text", func(b *testing.B) {
		size := &counter{}
		b.ReportAllocs()
		for b.Loop() {
			size.n = 0
			if err := e.WriteText(size); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(size.n)
	})
	b.Run("gzip", func(b *testing.B) {
		request := httptest.NewRequest("GET", "/metrics", nil)
		request.Header.Set("Accept-Encoding", "gzip")
		b.ReportAllocs()
		for b.Loop() {
			w := httptest.NewRecorder()
			size := &counter{}
			e.Handler().ServeHTTP(discard{w, size}, request)
			b.ReportMetric(float64(size.n), "B/body")
		}
	})
}

// discard is a response whose body is only counted.
type discard struct {
	*httptest.ResponseRecorder
	body io.Writer
}

func (d discard) Write(p []byte) (int, error) { return d.body.Write(p) }

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
