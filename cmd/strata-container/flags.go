package main

import (
	"cmp"
	"fmt"
	"net"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/internal/serve"
)

// port is where the exporter serves by default.
const port = "9101"

// What the kubelet serves is at its paths.
const (
	kubeletPath  = "/metrics/cadvisor"
	resourcePath = "/metrics/resource"
)

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
	env         [3]string // the flag and its older names
	storeLabels bool
	labels      string
	prefixes    string
	ip, port    string
	endpoint    string
	profiling   bool
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
		Default("true").BoolVar(&f.storeLabels)
	app.Flag("whitelisted_container_labels", "With --store_container_labels=false: labels to show all the same, separated by commas.").
		Default("").StringVar(&f.labels)
	app.Flag("env_metadata_whitelist", "Beginnings of the names of environment variables to show of containers of Docker and podman at /metrics, as container_env_NAME, separated by commas.").
		Default("").StringVar(&f.env[0])
	for i, older := range []string{"docker_env_metadata_whitelist", "containerd_env_metadata_whitelist"} {
		app.Flag(older, "The same, by an older name.").Default("").StringVar(&f.env[1+i])
	}
	app.Flag("enable_metrics", "Groups of metrics to show and no others, separated by commas. If set, --disable_metrics does not count.").
		Default("").StringVar(&f.enable)
	app.Flag("disable_metrics", "Groups of metrics not to show, separated by commas. It takes the place of the default list.").
		Default(container.DisabledGroups()).StringVar(&f.disable)
	app.Flag("docker_only", "Leave out of /metrics the cgroups that are of no container, but for the root: with Docker or another runtime.").
		BoolVar(&f.options.Raw.Hide)
	app.Flag("raw_cgroup_prefix_whitelist", "Beginnings of the paths of such cgroups to show and no others, separated by commas.").
		Default("").StringVar(&f.prefixes)
	app.Flag("disable_root_cgroup_stats", "Leave the root of the cgroups out of /metrics.").
		BoolVar(&f.options.Raw.HideRoot)
	app.Flag("max_procs", "How many processors Go may run on at once (GOMAXPROCS). Less than 1 means all.").
		Envar("GOMAXPROCS").Default("1").IntVar(&f.procs)
	f.declareServing(app)
}

// declareServing declares how cAdvisor is told to serve, and what it is told of
// work that is not done here.
func (f *flags) declareServing(app *kingpin.Application) {
	app.Flag("port", "Port to serve on, by cAdvisor's name, in the place of --web.listen-address.").StringVar(&f.port)
	app.Flag("listen_ip", "Address to serve on, by cAdvisor's name.").StringVar(&f.ip)
	app.Flag("prometheus_endpoint", "Path of the metrics as cAdvisor shows them.").Default("/metrics").StringVar(&f.endpoint)
	app.Flag("profiling", "The same as --web.enable-pprof, by cAdvisor's name.").BoolVar(&f.profiling)
	const why = "Taken for compatibility: containers are read when they are scraped, and nothing is stored."
	for _, name := range []string{
		"housekeeping_interval", "max_housekeeping_interval", "global_housekeeping_interval", "update_machine_info_interval",
		"storage_duration", "event_storage_age_limit", "event_storage_event_limit", "application_metrics_count_limit",
		"initial_splay_factor", "jitter_factor", "boot_id_file", "machine_id_file", "container_hints", "docker_root", "containerd-namespace", "crio_client_timeout",
	} {
		app.Flag(name, why).Hidden().String()
	}
	for _, name := range []string{"allow_dynamic_housekeeping", "enable_load_reader", "log_cadvisor_usage"} {
		app.Flag(name, why).Hidden().Bool()
	}
}

// serving puts what cAdvisor's flags say of the server over its options.
func (f *flags) serving(o serve.Options) serve.Options {
	if f.port != "" || f.ip != "" {
		o.Listen, o.ListenFlag = []string{net.JoinHostPort(f.ip, cmp.Or(f.port, port))}, "--port"
	}
	o.PProf = o.PProf || f.profiling
	return o
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
	f.options.Raw.Prefixes = listOf(f.prefixes)
	f.options.NoContainerLabels = !f.storeLabels
	f.options.ContainerLabels, f.options.Env = listOf(f.labels), listOf(strings.Join(f.env[:], ","))
	return serve.MetricsPath("prometheus_endpoint", f.endpoint, kubeletPath, resourcePath)
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
