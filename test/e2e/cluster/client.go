package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ErrNotRunning says that no cluster runs in a state directory.
var ErrNotRunning = errors.New("no cluster is running")

// Attach returns the kept cluster in stateDir, as left by Options.Keep. Its
// Stop ends it for good.
func Attach(stateDir string, log *slog.Logger) (*Cluster, error) {
	s, err := readState(stateDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(s.processes()) == 0 {
		return nil, fmt.Errorf("%w in %s: start one with make cluster", ErrNotRunning, stateDir)
	}
	if err != nil {
		return nil, err
	}
	s.Options.Log = log
	c := &Cluster{o: s.Options.withDefaults(), ledger: &ledger{dir: stateDir, state: s}}
	return c, c.connect()
}

// Options are the cluster's options with their defaults.
func (c *Cluster) Options() Options { return c.o }

// Client is a client with all rights.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// RESTConfig is the configuration of a client with all rights; the caller owns it.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig is the path of a kubeconfig with all rights.
func (c *Cluster) Kubeconfig() string { return c.o.path("pki", "admin.conf") }

// BinDir is a directory with kubectl, helm, promtool and the components.
func (c *Cluster) BinDir() string { return c.o.path("bin") }

// RuntimeSocket is where containerd serves the CRI on this machine.
func (c *Cluster) RuntimeSocket() string { return c.o.socket() }

// StaticPodDir is where the kubelet looks for manifests of static pods.
func (c *Cluster) StaticPodDir() string { return c.o.path("static") }

// Kill ends a container's first process as kill -9 does: it is asked nothing,
// and the kubelet starts the container again.
func (c *Cluster) Kill(ctx context.Context, pod corev1.Pod, container string) error {
	for _, status := range pod.Status.ContainerStatuses {
		id, ok := strings.CutPrefix(status.ContainerID, "containerd://")
		if status.Name != container || !ok {
			continue
		}
		if err := c.ctr(ctx, "tasks", "kill", "--signal", "SIGKILL", id); err != nil {
			return fmt.Errorf("killing %s in %s/%s: %w", container, pod.Namespace, pod.Name, err)
		}
		return nil
	}
	return fmt.Errorf("%s/%s has no running container %s", pod.Namespace, pod.Name, container)
}

// Env are the variables that point kubectl and helm to this cluster, and their
// caches into its state directory.
func (c *Cluster) Env() []string {
	home := c.o.path("home")
	return []string{
		"KUBECONFIG=" + c.Kubeconfig(), "PATH=" + c.BinDir() + ":" + os.Getenv("PATH"), "KUBECACHEDIR=" + home + "/kube",
		"HELM_CACHE_HOME=" + home + "/helm", "HELM_CONFIG_HOME=" + home + "/helm", "HELM_DATA_HOME=" + home + "/helm",
	}
}

// Run runs one of the cluster's programs against it and returns its standard
// output; the error holds its standard error.
func (c *Cluster) Run(ctx context.Context, stdin, program string, args ...string) (string, error) {
	file, ok := c.o.Binaries[program]
	if !ok {
		return "", fmt.Errorf("the cluster has no program %s", program)
	}
	return runWith(ctx, append(c.Env(), c.mark()), stdin, append([]string{file}, args...)...)
}

// mark makes a command that is still under way end with the cluster.
func (c *Cluster) mark() string { return markName + "=" + c.o.StateDir }

// ctr runs containerd's client against the cluster's.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	_, err := runWith(ctx, []string{c.mark()}, "", append([]string{"ctr", "--address", c.o.socket(), "--namespace", "k8s.io"}, args...)...)
	return err
}

// Kubectl runs kubectl against the cluster and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Run(ctx, "", "kubectl", args...)
}

// Helm runs helm against the cluster and returns what it printed.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return c.Run(ctx, "", "helm", args...)
}

// Promtool runs promtool and returns what it printed.
func (c *Cluster) Promtool(ctx context.Context, args ...string) (string, error) {
	return c.Run(ctx, "", "promtool", args...)
}

// Apply applies a manifest of one or more documents.
func (c *Cluster) Apply(ctx context.Context, namespace, manifest string) error {
	_, err := c.Run(ctx, manifest, "kubectl", "apply", "--namespace", namespace, "--filename", "-")
	return err
}

// LoadImage gives the node the image in an archive, as image.Pack writes it.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	if err := c.ctr(ctx, "images", "import", archive); err != nil {
		return fmt.Errorf("loading an image: %w", err)
	}
	return nil
}

// Raw is the body of a GET of a path of the API server.
func (c *Cluster) Raw(ctx context.Context, path string) ([]byte, error) {
	return c.client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
}

// CreateNamespace makes a namespace and waits until it takes pods.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return await(ctx, func() error {
		_, err := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// ReadyPods lists the pods with these labels that are Ready and not ending.
// Their addresses (Status.PodIP) are reachable from this machine.
func (c *Cluster) ReadyPods(ctx context.Context, namespace string, match map[string]string) ([]corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(match).String()})
	if err != nil {
		return nil, fmt.Errorf("listing pods in %s: %w", namespace, err)
	}
	var ready []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && podReady(pod) {
			ready = append(ready, pod)
		}
	}
	return ready, nil
}

func podReady(pod corev1.Pod) bool {
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Describe is what a person wants to see of a namespace when a test has
// failed: its objects, events and the ends of its pods' logs.
func (c *Cluster) Describe(ctx context.Context, namespace string) string {
	var b strings.Builder
	show := func(args ...string) {
		out, err := c.Kubectl(ctx, append(args, "--namespace", namespace)...)
		fmt.Fprintf(&b, "--- kubectl %s -n %s\n%s", strings.Join(args, " "), namespace, out)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	show("get", "pods,deployments,daemonsets,services,hpa", "--output", "wide")
	show("get", "events", "--sort-by", ".lastTimestamp")
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(&b, err)
		return b.String()
	}
	for _, pod := range pods.Items {
		show("logs", pod.Name, "--all-containers", "--tail", "30")
	}
	return b.String()
}

// Eventually waits until condition returns nil, and fails the test with its
// last error when that takes longer than timeout.
func Eventually(t testing.TB, timeout time.Duration, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, fmt.Errorf("not after %s", timeout))
	defer cancel()
	if err := await(ctx, condition); err != nil {
		t.Fatal(err)
	}
}
