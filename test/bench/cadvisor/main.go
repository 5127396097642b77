// Command cadvisor serves cAdvisor's /metrics/cadvisor as the kubelet does: its
// manager with all kinds of containers, the kubelet's groups of metrics and
// housekeeping each 10 to 15 s. It is what strata-container is measured beside.
//
// With -all it serves /metrics of every group instead, each value read for the
// scrape that shows it. That is what strata-container is compared with.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/cadvisor/lib/cache/memory"
	"github.com/google/cadvisor/lib/container"
	"github.com/google/cadvisor/lib/fs"
	"github.com/google/cadvisor/lib/fs/overlay"
	"github.com/google/cadvisor/lib/fs/tmpfs"
	"github.com/google/cadvisor/lib/fs/vfs"
	"github.com/google/cadvisor/lib/manager"
	"github.com/google/cadvisor/lib/metrics"
	info "github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"

	// The kinds of containers that a kubelet knows.
	_ "github.com/google/cadvisor/lib/container/containerd/install"
	_ "github.com/google/cadvisor/lib/container/crio/install"
	_ "github.com/google/cadvisor/lib/container/systemd/install"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	address := flag.String("listen-address", "127.0.0.1:9101", "where to serve")
	all := flag.Bool("all", false, "serve /metrics of every group, read at each scrape")
	// The kubelet's choice; cAdvisor by itself reads each second.
	if err := flag.Set("housekeeping_interval", "10s"); err != nil {
		return err
	}
	flag.Parse()
	for name, plugin := range map[string]fs.FsPlugin{"vfs": vfs.NewPlugin(), "tmpfs": tmpfs.NewPlugin(), "overlay": overlay.NewPlugin()} {
		if err := fs.RegisterPlugin(name, plugin); err != nil {
			return err
		}
	}
	groups, path, labels := kubeletGroups(), "/metrics/cadvisor", metrics.ContainerLabelsFunc(kubeletLabels)
	options := info.RequestOptions{IdType: info.TypeName, Count: 1, Recursive: true}
	if *all {
		groups, path, labels = container.AllMetrics, "/metrics", metrics.DefaultContainerLabels
		options.MaxAge = new(time.Duration)
	}
	interval, dynamic := 15*time.Second, true
	m, err := manager.New(memory.New(2*time.Minute, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &interval, AllowDynamic: &dynamic}, groups, []string{"/"}, nil, "", 0)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := m.Start(); err != nil {
		return fmt.Errorf("starting the manager: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewPrometheusCollector(m, labels, groups, clock.RealClock{}, options),
		metrics.NewPrometheusMachineCollector(m, groups),
	)
	http.Handle(path, promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return http.ListenAndServe(*address, nil)
}

// kubeletGroups are those that the kubelet has collected.
func kubeletGroups() container.MetricSet {
	groups := container.MetricSet{
		container.CpuUsageMetrics: {}, container.MemoryUsageMetrics: {}, container.DiskIOMetrics: {}, container.DiskUsageMetrics: {},
		container.NetworkUsageMetrics: {}, container.AppMetrics: {}, container.ProcessMetrics: {}, container.OOMMetrics: {},
	}
	if _, err := os.Stat("/sys/fs/cgroup/cpu.pressure"); err == nil {
		groups[container.PressureMetrics] = struct{}{}
	}
	return groups
}

// kubeletLabels are those of the kubelet.
func kubeletLabels(c *info.ContainerInfo) map[string]string {
	set := map[string]string{metrics.LabelID: c.Name, metrics.LabelName: "", metrics.LabelImage: c.Spec.Image,
		"pod": c.Spec.Labels["io.kubernetes.pod.name"], "namespace": c.Spec.Labels["io.kubernetes.pod.namespace"],
		"container": c.Spec.Labels["io.kubernetes.container.name"]}
	if len(c.Aliases) > 0 {
		set[metrics.LabelName] = c.Aliases[0]
	}
	return set
}
