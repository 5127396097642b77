package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/strata-metrics/strata/test/bench/likeness"
	"github.com/strata-metrics/strata/test/bench/process"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
)

// likePods are pods of all kinds: of one container, of two with limits, with an
// init container that has ended, in the host's network, and one whose container
// is started again.
const likePods = `
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "strata.test/demo:e2e"}]
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: first, image: "strata.test/demo:e2e", resources: {requests: {cpu: 20m, memory: 16Mi}, limits: {cpu: 100m, memory: 64Mi}}}
  - {name: second, image: "strata.test/demo:e2e", args: [-listen=:8081], resources: {limits: {memory: 64Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: guaranteed, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "strata.test/demo:e2e", resources: {limits: {cpu: 50m, memory: 64Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: init, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{name: before, image: "strata.test/demo:e2e", args: ["-get=http://%[1]s:%[2]d/healthz"]}]
  containers: [{name: app, image: "strata.test/demo:e2e"}]
---
apiVersion: v1
kind: Pod
metadata: {name: host, labels: {tier: like}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "strata.test/demo:e2e", args: ["-listen=127.0.0.1:0"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: again, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "strata.test/demo:e2e"}]
`

// staticPod is one that the kubelet finds in a file.
const staticPod = `
apiVersion: v1
kind: Pod
metadata: {name: static, namespace: %s, labels: {tier: like}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "strata.test/demo:e2e"}]
`

// TestLikeKubelet holds that strata-container says of pods what the kubelet
// says: at /metrics/cadvisor and /metrics/resource the same series, no more and
// no less, with values between those that the kubelet read before and after.
func TestLikeKubelet(t *testing.T) {
	t.Parallel()
	if !shared.cluster.KubeletNamesContainers() {
		t.Skip("another containerd runs on this machine, which the kubelet takes for its own")
	}
	ns := namespace(t)
	o := shared.cluster.Options()
	manifest := filepath.Join(shared.cluster.StaticPodDir(), ns+".yaml")
	require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil, staticPod, ns), 0o644))
	t.Cleanup(func() { require.NoError(t, os.Remove(manifest)) })
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, fmt.Sprintf(likePods, o.NodeIP, o.Ports.KubeletHealth)))
	all := likeRunning(t, ns)
	ours := likeExporter(t)

	// The kubelet reads containers each 10 to 30 s. What it shows it has read
	// before ours reads.
	started := time.Now()
	before := map[string]likeness.Body{}
	for path, complete := range map[string]func(likeness.Body) error{cadvisorPath: all.inCadvisor, resourcePath: all.inResource} {
		eachSecond(t, func() error {
			body, err := kubeletBody(t.Context(), ns, path)
			if err == nil {
				err = complete(body)
			}
			before[path] = body
			return errors.Join(err, readAfter(body, started))
		})
	}
	begin := time.Now()
	all.work(t)
	mine := map[string]likeness.Body{}
	for _, path := range []string{cadvisorPath, resourcePath} {
		cluster.Eventually(t, time.Minute, func() error {
			body, err := likeBody(get(t.Context(), ours+path))
			if err != nil {
				return err
			}
			mine[path] = body.Keep(likeCompared(ns))
			return readAfter(body, begin)
		})
	}
	end := time.Now()
	all.work(t)

	var sum likeness.Result
	for _, path := range []string{cadvisorPath, resourcePath} {
		var after likeness.Body
		eachSecond(t, func() error {
			var err error
			if after, err = kubeletBody(t.Context(), ns, path); err != nil {
				return err
			}
			return readAfter(after, end.Add(kubeletStamps))
		})
		r := likeness.Readings{Before: before[path], Ours: mine[path], After: after}
		one := r.Compare(kubeletDifferences(), kubeletTolerances())
		t.Logf("%s: right=%d of=%d differs=%d", path, one.Right, one.Of, one.Differs)
		sum.Add(one)
	}
	sum.Print(os.Stdout)
	fmt.Printf("compat kubelet right=%d of=%d differs=%d\n", sum.Right, sum.Of, sum.Differs)
	require.NoError(t, sum.Err())
}

const (
	cadvisorPath = "/metrics/cadvisor"
	resourcePath = "/metrics/resource"
)

// kubeletStamps is more than the time from a reading of the kubelet to the
// stamp that it gives it.
const kubeletStamps = 3 * time.Second

// eachSecond waits for a condition on what the kubelet shows, which is large.
func eachSecond(t *testing.T, condition func() error) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	cluster.Eventually(t, 2*time.Minute, func() error {
		err := condition()
		if err != nil {
			<-tick.C
		}
		return err
	})
}

// liked are the pods that are compared.
type liked []corev1.Pod

// likeRunning waits until all pods run, the one that was killed for the second
// time.
func likeRunning(t *testing.T, ns string) liked {
	t.Helper()
	match, count := map[string]string{"tier": "like"}, strings.Count(likePods, "kind: Pod")+1
	for _, pod := range pods(t, ns, match, count) {
		if pod.Name == "again" {
			require.NoError(t, shared.cluster.Kill(t.Context(), pod, "app"))
		}
	}
	var all liked
	cluster.Eventually(t, time.Minute, func() error {
		var err error
		if all, err = shared.cluster.ReadyPods(t.Context(), ns, match); err != nil {
			return err
		}
		for _, pod := range all {
			if pod.Name == "again" && restarts(&pod) == 0 {
				return errNotRestarted
			}
		}
		if len(all) != count {
			return fmt.Errorf("%d of %d pods are Ready", len(all), count)
		}
		return nil
	})
	return all
}

// likeExporter runs strata-container on the node and waits until it knows every
// container. It gives its address.
func likeExporter(t *testing.T) string {
	t.Helper()
	free, err := process.FreeAddress()
	require.NoError(t, err)
	address := free.String()
	cmd := exec.Command(filepath.Join(shared.root, "bin", "strata-container"),
		"--web.listen-address="+address, "--container-runtime-endpoint=unix://"+shared.cluster.RuntimeSocket())
	var says strings.Builder
	cmd.Stdout, cmd.Stderr = &says, &says
	require.NoError(t, cmd.Start(), "run make build")
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("strata-container ended with %v and said\n%s", err, says.String())
		}
	})
	cluster.Eventually(t, time.Minute, func() error {
		body, err := likeBody(get(t.Context(), "http://"+address+cadvisorPath))
		if err == nil && body["container_scrape_error{}"].Value != 0 {
			err = errors.New("not all could be read yet")
		}
		return err
	})
	return "http://" + address
}

func likeBody(text string, err error) (likeness.Body, error) {
	if err != nil {
		return nil, err
	}
	return likeness.Parse(text)
}

// kubeletBody reads what the kubelet shows of what is compared.
func kubeletBody(ctx context.Context, ns, path string) (likeness.Body, error) {
	text, err := shared.cluster.Raw(ctx, "/api/v1/nodes/"+shared.cluster.Options().NodeName+"/proxy"+path)
	body, err := likeBody(string(text), err)
	return body.Keep(likeCompared(ns)), err
}

// likeCompared tells whether a sample is of the test's pods, or of the machine
// and of the cgroups above all pods. Those of others come and go.
func likeCompared(ns string) func(likeness.Sample) bool {
	return func(s likeness.Sample) bool {
		if namespace := s.Labels["namespace"]; namespace != "" {
			return namespace == ns
		}
		id := s.Labels["id"]
		return id == "" || id == "/" || strings.HasPrefix(id, "/kubepods") && !strings.Contains(id, "/pod")
	}
}

// readAfter tells whether all of a body was read after a time.
func readAfter(body likeness.Body, after time.Time) error {
	count := 0
	for series, s := range body {
		if s.Name != "container_memory_working_set_bytes" && s.Name != "node_memory_working_set_bytes" && s.Name != "pod_memory_working_set_bytes" {
			continue
		}
		if !s.Time.After(after) {
			return fmt.Errorf("%s was read at %s, not after %s", series, s.Time, after)
		}
		count++
	}
	if count == 0 {
		return errors.New("no memory is shown")
	}
	return nil
}

// work asks each pod something, so that its counters move.
func (l liked) work(t *testing.T) {
	t.Helper()
	for _, pod := range l {
		if !pod.Spec.HostNetwork {
			_, err := get(t.Context(), load.URL(pod.Status.PodIP, 8080, "/work?ms=5"))
			require.NoError(t, err)
		}
	}
}

// inCadvisor tells whether a body has each pod's cgroup, sandbox and containers.
func (l liked) inCadvisor(body likeness.Body) error {
	have := map[string]int{}
	for _, s := range body {
		if s.Name == "container_memory_rss" {
			have[s.Labels["pod"]]++
		}
	}
	for _, pod := range l {
		if want := 2 + len(pod.Spec.Containers); have[pod.Name] != want {
			return fmt.Errorf("%d cgroups of %s are shown, not %d", have[pod.Name], pod.Name, want)
		}
	}
	return nil
}

// inResource tells whether a body has each pod and container.
func (l liked) inResource(body likeness.Body) error {
	for _, pod := range l {
		for _, c := range pod.Spec.Containers {
			for _, name := range []string{"container_cpu_usage_seconds_total", "container_memory_working_set_bytes"} {
				series := fmt.Sprintf("%s{container=%q,namespace=%q,pod=%q}", name, c.Name, pod.Namespace, pod.Name)
				if _, ok := body[series]; !ok {
					return fmt.Errorf("%s is not shown", series)
				}
			}
		}
	}
	return nil
}

// kubeletDifferences are those that are allowed.
func kubeletDifferences() []likeness.Difference {
	const layer = "what a container has written, which cAdvisor knows of Docker alone"
	all := likeness.CAdvisor()
	for _, name := range []string{"usage_bytes", "limit_bytes", "inodes_total", "inodes_free"} {
		all = append(all, likeness.Difference{Kind: likeness.Added, Family: "container_fs_" + name, Where: ofContainer, Why: layer})
	}
	return all
}

func ofContainer(s likeness.Sample) bool { return s.Labels["container"] != "" }

// kubeletTolerances are of what moves both ways between readings.
func kubeletTolerances() []likeness.Tolerance {
	node := func(s likeness.Sample) bool { return s.Labels["namespace"] == "" && s.Type == "gauge" }
	gauge := func(s likeness.Sample) bool { return s.Type == "gauge" }
	const (
		others  = "what else runs on the machine"
		process = "what the processes of a pod hold"
		batches = "the kernel charges memory in batches of each processor, and heaps breathe"
		inodes  = "the kernel makes up the time of a cgroup anew when it has forgotten its inode"
		commit  = "CRI's time of creation is taken after containerd has written the container to disk, cAdvisor's before"
	)
	spare := float64(512<<10 + runtime.NumCPU()*256<<10)
	return []likeness.Tolerance{
		{Family: "container_start_time_seconds", Where: node, By: 600, Why: inodes},
		{Family: "container_creation_time_seconds", Where: node, By: 600, Why: inodes},
		{Family: "container_creation_time_seconds", Where: ofContainer, By: 30, Why: commit},
		{Family: "container_memory_*", Where: node, Share: 0.2, By: 256 << 20, Why: others},
		{Family: "node_memory_*", Where: node, Share: 0.2, By: 256 << 20, Why: others},
		{Family: "container_fs_usage_bytes", Share: 0.1, By: 256 << 20, Why: others},
		{Family: "container_fs_inodes_free", Share: 0.1, By: 10000, Why: others},
		{Family: "container_fs_io_current", By: 100, Why: others},
		{Family: "container_processes", Where: node, Share: 0.5, By: 200, Why: others},
		{Family: "container_threads", Where: node, Share: 0.5, By: 1000, Why: others},
		{Family: "container_sockets", Where: node, Share: 0.5, By: 1000, Why: others},
		{Family: "container_file_descriptors", Where: node, Share: 0.5, By: 1000, Why: others},
		{Family: "container_memory_*", Where: gauge, By: spare, Why: batches},
		{Family: "pod_memory_*", By: spare, Why: batches},
		{Family: "container_threads", By: 5, Why: process},
		{Family: "container_sockets", By: 5, Why: process},
		{Family: "container_file_descriptors", By: 5, Why: process},
	}
}
