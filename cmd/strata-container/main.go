// Command strata-container shows the CPU, memory and network use of every
// container of a machine, under the names of cAdvisor and the kubelet.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/internal/serve"
)

const name = "strata-container"

func main() {
	serve.CoarseTimers(name, os.Stderr)
	os.Exit(serve.Main(name, os.Args[1:], os.Stderr, run))
}

// The sockets by default, by cAdvisor's names.
const (
	dockerSocket = "unix:///var/run/docker.sock"
	podmanSocket = "unix:///var/run/podman/podman.sock"
)

// flags are those that only this program has. Where cAdvisor has a flag for it,
// the name is cAdvisor's.
type flags struct {
	options     container.Options
	containerd  string
	docker      string
	podman      string
	env         [2]string // the flag and its older name
	storeLabels string
	labels      string
	enable      string
	disable     string
	procs       int
}

func (f *flags) declare(app *kingpin.Application) {
	app.Flag("path.rootfs", "Where the host's root is mounted. The other paths are under it when they are not given.").
		Default("/").StringVar(&f.options.Rootfs)
	app.Flag("path.procfs", "Where the host's proc is mounted. Empty means proc under --path.rootfs.").
		Default("").StringVar(&f.options.Procfs)
	app.Flag("path.sysfs", "Where the host's sys is mounted. Empty means sys under --path.rootfs.").
		Default("").StringVar(&f.options.Sysfs)
	app.Flag("path.cgroup", "Where the host's cgroup file systems are mounted. Empty means sys/fs/cgroup under --path.rootfs.").
		Default("").StringVar(&f.options.Cgroupfs)
	app.Flag("container-runtime-endpoint", "Socket of the container runtime (CRI), as unix:///PATH. Empty means that of containerd or CRI-O under /run of --path.rootfs, if there is one.").
		Default("").StringVar(&f.options.RuntimeEndpoint)
	app.Flag("containerd", "The same as --container-runtime-endpoint, by cAdvisor's name.").
		Default("").StringVar(&f.containerd)
	app.Flag("docker", "Socket of Docker, as unix:///PATH. The default one is looked for under /run of --path.rootfs. Empty or none means that Docker is not asked.").
		Default(dockerSocket).StringVar(&f.docker)
	app.Flag("podman", "Socket of podman, as unix:///PATH, and the same for it. Those of users (rootless) are looked for below run/user of --path.rootfs.").
		Default(podmanSocket).StringVar(&f.podman)
	app.Flag("container-runtime-timeout", "How long one listing of the container runtime may take. A scrape waits 2s for it and then shows what is known.").
		Default("10s").DurationVar(&f.options.RuntimeTimeout)
	app.Flag("store_container_labels", "Show the containers' own labels at /metrics, as container_label_NAME.").
		Default("true").EnumVar(&f.storeLabels, "true", "false")
	app.Flag("whitelisted_container_labels", "With --store_container_labels=false: labels to show all the same, separated by commas.").
		Default("").StringVar(&f.labels)
	app.Flag("env_metadata_whitelist", "Beginnings of the names of environment variables to show of containers of Docker and podman at /metrics, as container_env_NAME, separated by commas.").
		Default("").StringVar(&f.env[0])
	app.Flag("docker_env_metadata_whitelist", "The same, by its older name.").
		Default("").StringVar(&f.env[1])
	app.Flag("enable_metrics", "Groups of metrics to show and no others, separated by commas. If set, --disable_metrics does not count.").
		Default("").StringVar(&f.enable)
	app.Flag("disable_metrics", "Groups of metrics not to show, separated by commas. It takes the place of the default list.").
		Default(container.DisabledGroups()).StringVar(&f.disable)
	app.Flag("max_procs", "How many processors Go may run on at once (GOMAXPROCS). Less than 1 means all.").
		Envar("GOMAXPROCS").Default("1").IntVar(&f.procs)
}

// finish checks what was given and makes the options of it.
func (f *flags) finish() error {
	if f.containerd != "" {
		if e := f.options.RuntimeEndpoint; e != "" && e != f.containerd {
			return fmt.Errorf("--containerd %s and --container-runtime-endpoint %s are not the same; give one of them", f.containerd, e)
		}
		f.options.RuntimeEndpoint = f.containerd
	}
	var err error
	if f.options.Groups, err = container.SelectGroups(f.enable, f.disable); err != nil {
		return err
	}
	if f.options.RuntimeTimeout <= 0 {
		return fmt.Errorf("--container-runtime-timeout must be above 0, not %s", f.options.RuntimeTimeout)
	}
	f.options.DockerEndpoint, f.options.PodmanEndpoint = endpoint(f.docker, dockerSocket), endpoint(f.podman, podmanSocket)
	f.options.NoContainerLabels = f.storeLabels == "false"
	f.options.ContainerLabels, f.options.Env = listOf(f.labels), listOf(strings.Join(f.env[:], ","))
	return nil
}

// endpoint makes the option of a flag: the default one is looked for.
func endpoint(flag, byDefault string) string {
	switch flag {
	case byDefault:
		return ""
	case "":
		return container.NoEndpoint
	default:
		return flag
	}
}

// listOf splits a list with commas.
func listOf(text string) []string {
	var all []string
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

func run(ctx context.Context, args []string) (err error) {
	app := serve.NewApp(name, "CPU, memory and network of every container, as cAdvisor and the kubelet show them, read when scraped.")
	web := serve.NewFlags(app, ":9101")
	f := &flags{}
	f.declare(app)
	if _, err := serve.Parse(app, args); err != nil {
		return err
	}
	if err := f.finish(); err != nil {
		return &serve.UsageError{Err: err}
	}
	runtime.GOMAXPROCS(f.procs)
	serve.KeepHeap(serve.SmallHeap)
	logger, registry := web.Logger(), serve.NewRegistry("strata_container")
	f.options.Logger, f.options.Registry, f.options.Gatherer = logger, prometheus.Registerer(registry), registry
	server, err := serve.New(web.Options(name, logger, registry))
	if err != nil {
		return err
	}
	exporter, err := container.New(f.options)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := exporter.Close(); err == nil {
			err = closeErr
		}
	}()
	server.Handle("/metrics", "Containers, as cAdvisor shows them", exporter.Handler())
	server.Handle("/metrics/cadvisor", "Containers, as the kubelet shows them", exporter.CAdvisorHandler())
	server.Handle("/metrics/resource", "CPU and memory of the node, pods and containers", exporter.ResourceHandler())
	serve.ReleaseStart()
	return server.Run(ctx)
}
