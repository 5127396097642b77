package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"github.com/strata-metrics/strata/test/bench/process"
	"github.com/strata-metrics/strata/test/e2e/cluster"
)

// upRules make a custom and an external metric of a series of kubestate, which
// strata up runs.
const upRules = `
rules:
- seriesQuery: kube_pod_container_status_restarts_total{namespace!="",pod!=""}
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: restarts}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: kube_node_info
  resources: {namespaced: false}
  name: {as: nodes}
  metricsQuery: count(<<.Series>>{<<.LabelMatchers>>})
`

// TestUp holds that strata up with a kubeconfig answers all three APIs from
// this machine, to whom the cluster knows, and ends when it is told to.
func TestUp(t *testing.T) {
	t.Parallel()
	ns, dir := namespace(t), t.TempDir()
	demo(t, ns, 1)
	rules := filepath.Join(dir, "rules.yml")
	require.NoError(t, os.WriteFile(rules, []byte(upRules), 0o644))
	api, err := process.FreeAddress()
	require.NoError(t, err)
	args := []string{
		"up", "--kubeconfig=" + shared.cluster.Kubeconfig(), "--secure-port=" + fmt.Sprint(api.Port), "--adapter.config=" + rules,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--scrape.interval=2s", "--metric-resolution=2s",
		"--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP", "--container-runtime-endpoint=unix://" + shared.cluster.RuntimeSocket(),
	}
	for _, listener := range []string{"web", "node", "container", "app", "kubestate"} {
		args = append(args, "--"+listener+".listen-address=127.0.0.1:0")
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(shared.root, "bin", "strata"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	var says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &says, &says
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return <-ended
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			t.Logf("strata up ended with %v and said\n%s", stop(), says.String())
		}
	})

	config := shared.cluster.RESTConfig()
	config.Host, config.Insecure, config.CAFile, config.CAData = "https://"+api.String(), true, "", nil
	clients, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	client := clients.Discovery().RESTClient()
	for path, want := range map[string]string{
		"metrics.k8s.io/v1/nodes":                                                                           `"strata-e2e"`,
		"metrics.k8s.io/v1beta1/nodes/strata-e2e":                                                           `"memory":`,
		"metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods":                                                 `"demo"`,
		"custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*/restarts":                               `"value":"0"`,
		"custom.metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods/*/container_cpu_usage_seconds_per_second": `"value":"`,
		"external.metrics.k8s.io/v1beta1/namespaces/default/nodes":                                          `"value":"1"`,
	} {
		cluster.Eventually(t, time.Minute, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), askLimit)
			defer cancel()
			body, err := client.Get().AbsPath("/apis/" + path).MaxRetries(0).DoRaw(ctx)
			if err == nil && !strings.Contains(string(body), want) {
				err = fmt.Errorf("%s answered %s, without %s", path, body, want)
			}
			return err
		})
	}
	// Whom the cluster does not know is told nothing.
	conn, err := tls.Dial("tcp", api.String(), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /apis/metrics.k8s.io/v1beta1/nodes HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	status := make([]byte, len("HTTP/1.0 403"))
	_, err = conn.Read(status)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.0 403", string(status))
	stopped = true
	require.NoError(t, stop(), "it ends in peace")
}
