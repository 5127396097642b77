package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/exporters/kubestate"
)

// flags are those that only this program has, by kube-state-metrics' names.
// Those that hold lists may be given more than once.
type flags struct {
	apiserver, kubeconfig                   string
	host, port, telemetryHost, telemetry    string
	webConfig, tlsConfig                    string
	pprof, gzip                             bool
	node, pod, podNamespace                 string
	shard                                   int32
	totalShards                             int
	unscheduled, cached, authFilter         bool
	config, custom, customFile              string
	continueWithout, continueWithoutCustom  bool
	customOnly, memLimit, sparse, workloads bool
	memRatio                                float64
	readTimeout                             time.Duration
	objectLimit                             int64
	resources, namespaces, denied           []string
	allow, deny, optIn, labels, annotations []string
	join, workloadLabels                    []string
	counterSeries                           int
	byObject, exits                         bool
	budgetFamily, budgetNamespace           int
}

func (f *flags) declare(app *kingpin.Application) {
	app.Flag("apiserver", "Address of the API server, in the place of the one in --kubeconfig.").StringVar(&f.apiserver)
	app.Flag("kubeconfig", "Path of a kubeconfig file. With neither this nor --apiserver: the service account of the pod that this runs in.").StringVar(&f.kubeconfig)
	app.Flag("host", "Address to serve the metrics of the cluster on. Empty means all.").StringVar(&f.host)
	app.Flag("port", "Port to serve the metrics of the cluster on.").Default("9103").StringVar(&f.port)
	app.Flag("telemetry-host", "Address to serve the metrics of this program on. Empty means all.").StringVar(&f.telemetryHost)
	app.Flag("telemetry-port", "Port to serve the metrics of this program on.").Default("8081").StringVar(&f.telemetry)
	app.Flag("web.config.file", "File with TLS and basic authentication for both ports, in the format of exporter-toolkit.").StringVar(&f.webConfig)
	app.Flag("tls-config", "The same as --web.config.file, by kube-state-metrics' name.").StringVar(&f.tlsConfig)
	app.Flag("web.enable-pprof", "Serve Go's profiles at /debug/pprof/ of the telemetry port.").BoolVar(&f.pprof)
	app.Flag("enable-gzip-encoding", "Compress for those who accept gzip.").Default("true").BoolVar(&f.gzip)
	f.declareSelection(app)
	f.declareLoad(app)
	f.declareService(app)
	f.declareCustom(app)
	f.declareMore(app)
}

// declareMore declares what kube-state-metrics does not have.
func (f *flags) declareMore(app *kingpin.Application) {
	app.Flag("sparse-states", "Show of sets of states, such as kube_pod_status_phase, only the states that are: no series of 0. docs/compatibility.md says which queries need a change.").BoolVar(&f.sparse)
	app.Flag("lines-by-object", "Write the lines of an object behind each other, not those of a family: less memory, time and bytes. Prometheus and Strata read it; the text format wants families as groups. docs/kubestate.md says more.").BoolVar(&f.byObject)
	app.Flag("pod-workloads", "Show kube_pod_workload: the Deployment, CronJob or other workload that a pod belongs to, past its ReplicaSet or Job.").BoolVar(&f.workloads)
	app.Flag("pod-workload-labels", "Families of pods to put the labels workload and workload_type on as well, such as kube_pod_info.").PlaceHolder("NAME,...").StringsVar(&f.workloadLabels)
	app.Flag("metric-join-labels", "Labels of a pod's node and namespace to show in kube_pod_joined_labels, in the form of --metric-labels-allowlist.").
		PlaceHolder("nodes=[topology.kubernetes.io/zone],namespaces=[team]").StringsVar(&f.join)
	app.Flag("container-exits", "Count the ends of containers by workload, reason and exit in kube_workload_container_exits_total, which stays when pods go.").BoolVar(&f.exits)
	app.Flag("series-budget-family", "How many series each family has at most. Objects beyond it are left out of the family. 0 is no bound.").Default("0").IntVar(&f.budgetFamily)
	app.Flag("series-budget-namespace", "How many series each namespace has at most, over all kinds. Objects beyond it are left out. 0 is no bound.").Default("0").IntVar(&f.budgetNamespace)
	app.Flag("counter-series-limit", "How many series a family has at most that counts what happens to objects, such as kube_event_occurrences_total of --resources=events.").Default("10000").IntVar(&f.counterSeries)
}

func (f *flags) declareCustom(app *kingpin.Application) {
	app.Flag("custom-resource-state-config", "What to show of custom resources: YAML in kube-state-metrics' format. It goes before the file.").StringVar(&f.custom)
	app.Flag("custom-resource-state-config-file", "File with the same. A change of it is taken at once; a wrong one is told and not taken.").StringVar(&f.customFile)
	app.Flag("continue-without-custom-resource-state-config-file", "Go on when that file is not there, and take it when it comes.").BoolVar(&f.continueWithoutCustom)
	app.Flag("custom-resource-state-only", "Show custom resources and nothing else.").BoolVar(&f.customOnly)
}

// declareService declares what is not about the objects.
func (f *flags) declareService(app *kingpin.Application) {
	app.Flag("config", "YAML file with options by kube-state-metrics' keys, which go before flags. A change of it is taken at once.").StringVar(&f.config)
	app.Flag("continue-without-config", "Go on when the file of --config is not there, and take it when it comes.").BoolVar(&f.continueWithout)
	app.Flag("auth-filter", "Serve metrics only to those whom the API server allows it, by their bearer tokens.").BoolVar(&f.authFilter)
	app.Flag("auto-gomemlimit", "Keep Go's memory below a part of what the container or the machine has, unless the environment has GOMEMLIMIT.").BoolVar(&f.memLimit)
	app.Flag("auto-gomemlimit-ratio", "That part.").Default("0.9").Float64Var(&f.memRatio)
	app.Flag("server-read-timeout", "How long a request may take to be read, and a connection be idle. 5m by default.").DurationVar(&f.readTimeout)
	var unused time.Duration
	for _, name := range []string{"write", "idle", "read-header"} {
		app.Flag("server-"+name+"-timeout", "Taken for compatibility; the server has limits of its own.").Hidden().DurationVar(&unused)
	}
}

// declareLoad declares what splits or spares work.
func (f *flags) declareLoad(app *kingpin.Application) {
	app.Flag("shard", "Which part of the objects to show, counted from 0.").Default("0").Int32Var(&f.shard)
	app.Flag("total-shards", "How many parts the objects are split into, by their UIDs.").Default("1").IntVar(&f.totalShards)
	app.Flag("pod", "Name of the pod that this runs in, as one of a StatefulSet: --shard and --total-shards are then found from it. Needs --pod-namespace.").StringVar(&f.pod)
	app.Flag("pod-namespace", "Namespace of --pod.").StringVar(&f.podNamespace)
	app.Flag("use-apiserver-cache", "List what the API server has at hand, which may be old, and spare etcd.").BoolVar(&f.cached)
	app.Flag("object-limit", "How many objects of a resource a list takes. 0 means all.").Default("0").Int64Var(&f.objectLimit)
}

func (f *flags) declareSelection(app *kingpin.Application) {
	list := func(flag, help string, to *[]string) {
		app.Flag(flag, help).PlaceHolder("NAME,...").StringsVar(to)
	}
	list("resources", "Kinds of objects to show: "+strings.Join(kubestate.Resources(), ", ")+". By default those that kube-state-metrics follows by default: "+strings.Join(kubestate.DefaultResources(), ", ")+".", &f.resources)
	list("namespaces", "Namespaces to show. All by default. Kinds without a namespace are shown in any case.", &f.namespaces)
	list("namespaces-denylist", "Namespaces not to show.", &f.denied)
	list("metric-allowlist", "Families to show and no others: regular expressions that match anywhere in the name. Not together with --metric-denylist.", &f.allow)
	list("metric-denylist", "Families not to show: regular expressions that match anywhere in the name.", &f.deny)
	list("metric-opt-in-list", "Families to show that are not by default, such as kube_pod_nodeselectors: regular expressions.", &f.optIn)
	app.Flag("metric-labels-allowlist", "Kubernetes labels to show as labels of kube_KIND_labels, by resource. A name may hold one *; the resource * stands for all.").
		PlaceHolder("pods=[app,example.org/*],nodes=[*]").StringsVar(&f.labels)
	app.Flag("metric-annotations-allowlist", "Kubernetes annotations to show as labels of kube_KIND_annotations, by resource, as above.").
		PlaceHolder("pods=[example.org/*]").StringsVar(&f.annotations)
	app.Flag("track-unscheduled-pods", "Show only the pods that have no node yet; needs --resources=pods, and --node does not count.").BoolVar(&f.unscheduled)
	app.Flag("node", "Show only the pods of this node; needs --resources=pods.").StringVar(&f.node)
}

// options makes the exporter's options of the flags.
func (f *flags) options() (kubestate.Options, error) {
	o := kubestate.Options{
		Resources:          split(f.resources),
		Namespaces:         split(f.namespaces),
		NamespacesDenylist: split(f.denied),
		Node:               f.node,

		TrackUnscheduledPods: f.unscheduled,
		Shard:                kubestate.Shard{Ordinal: f.shard, Total: f.totalShards},
		Pod:                  f.pod,
		PodNamespace:         f.podNamespace,
		UseAPIServerCache:    f.cached,
		ObjectLimit:          f.objectLimit,
		CustomResourcesOnly:  f.customOnly,

		MetricAllowlist: split(f.allow),
		MetricDenylist:  split(f.deny),
		MetricOptIn:     split(f.optIn),
		SparseStates:    f.sparse,
		LinesByObject:   f.byObject,
		PodWorkloads:    f.workloads,

		PodWorkloadLabels: split(f.workloadLabels),

		ContainerExits: f.exits,

		SeriesBudgetFamily:    f.budgetFamily,
		SeriesBudgetNamespace: f.budgetNamespace,

		CounterSeriesLimit: f.counterSeries,
	}
	if f.memRatio <= 0 || f.memRatio > 1 {
		return o, fmt.Errorf("--auto-gomemlimit-ratio is %v; it is above 0 and at most 1", f.memRatio)
	}
	if f.authFilter && f.pprof {
		return o, errors.New("--web.enable-pprof serves everybody; leave it or --auth-filter out")
	}
	if f.totalShards < 1 {
		return o, fmt.Errorf("--total-shards is %d; there is at least one", f.totalShards)
	}
	var err error
	if o.LabelsAllowlist, err = allowlist("--metric-labels-allowlist", f.labels); err != nil {
		return o, err
	}
	if o.AnnotationsAllowlist, err = allowlist("--metric-annotations-allowlist", f.annotations); err != nil {
		return o, err
	}
	if o.JoinLabels, err = allowlist("--metric-join-labels", f.join); err != nil {
		return o, err
	}
	if f.tlsConfig != "" {
		if f.webConfig != "" && f.webConfig != f.tlsConfig {
			return o, fmt.Errorf("--tls-config %s and --web.config.file %s are not the same; give one of them", f.tlsConfig, f.webConfig)
		}
		f.webConfig = f.tlsConfig
	}
	return o, o.Validate()
}

// split takes lists with commas apart.
func split(lists []string) []string {
	var all []string
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

func allowlist(flag string, values []string) (kubestate.Allowlist, error) {
	all := kubestate.Allowlist{}
	for _, value := range values {
		list, err := kubestate.ParseAllowlist(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		all.Merge(list)
	}
	return all, nil
}
