package discover

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
)

// Job names that the public dashboards and alerts of the field select by.
const (
	JobNode        = "node-exporter"
	JobKubeState   = "kube-state-metrics"
	JobKubelet     = "kubelet"
	JobAPIServer   = "apiserver"
	JobScheduler   = "kube-scheduler"
	JobControllers = "kube-controller-manager"
	JobProxy       = "kube-proxy"
	JobCoreDNS     = "coredns"
	JobApp         = "app"
	JobSelf        = "strata"
)

// DefaultInterval is how often a built-in job is scraped: fast enough for an
// autoscaler to follow, and what the public rules are written for.
const DefaultInterval = 15 * time.Second

// Limits on what one target of a built-in job may give. They are far above
// what these exporters give on large hosts, and keep a broken one from filling
// the store.
const (
	builtinBodySize    = 256 * units.MiB // kube-state-metrics of 10,000 pods gives 90 MB
	builtinSamples     = 1_000_000
	builtinLabels      = 64
	builtinLabelName   = 256
	builtinLabelValue  = 4096
	builtinTargetLimit = 10_000
)

// ErrJob means that a built-in job cannot be made from what was given.
var ErrJob = errors.New("invalid built-in job")

// Exporter is one endpoint to scrape without a configuration file.
type Exporter struct {
	// Job becomes the label job; several exporters may share one.
	Job string
	// Address is host:port.
	Address string
	// MetricsPath is where the metrics are; "" means /metrics.
	MetricsPath string
	// Labels are added to every series of this endpoint.
	Labels map[string]string
	// HonorLabels keeps labels of the exporter that collide with ours, as an
	// exporter about other objects than itself needs (kube-state-metrics).
	HonorLabels bool
	// OwnTimestamps says that samples carry the time when they were taken
	// (/metrics/cadvisor, /metrics/resource). They are kept, and a series that
	// is gone is marked stale at once all the same.
	OwnTimestamps bool
	// Interval overrides the interval of Builtin; 0 keeps it.
	Interval time.Duration
}

// path is MetricsPath or its default.
func (e Exporter) path() string {
	if e.MetricsPath == "" {
		return "/metrics"
	}
	return e.MetricsPath
}

// Builtin makes the configuration of a host that has none: one static job for
// each exporter. interval 0 means DefaultInterval. The label metrics_path is
// set as the kubelet's dashboards select by it. The jobs have limits on body
// size, samples and labels.
func Builtin(interval time.Duration, d Defaults, exporters ...Exporter) (*config.Config, error) {
	if interval == 0 {
		interval = DefaultInterval
	}
	conf, err := Parse("built-in configuration", nil, d)
	if err != nil {
		return nil, err
	}
	conf.GlobalConfig.ScrapeInterval = model.Duration(interval)
	conf.GlobalConfig.ScrapeTimeout = model.Duration(min(interval, 10*time.Second))
	conf.GlobalConfig.EvaluationInterval = model.Duration(interval)
	return conf, Add(conf, exporters...)
}

// Add appends a job for each exporter to a configuration that Load, Parse or
// Builtin gave. A job of the same name in it is an error, for it is the user's
// and is not to be changed.
func Add(conf *config.Config, exporters ...Exporter) error {
	taken := map[string]bool{}
	for _, sc := range conf.ScrapeConfigs {
		taken[sc.JobName] = true
	}
	for _, e := range exporters {
		sc, err := e.scrapeConfig(taken)
		if err != nil {
			return err
		}
		if err := sc.Validate(conf.GlobalConfig); err != nil {
			return fmt.Errorf("%w %q: %w", ErrJob, e.Job, err)
		}
		taken[sc.JobName] = true
		conf.ScrapeConfigs = append(conf.ScrapeConfigs, sc)
	}
	return nil
}

// scrapeConfig makes one job. Prometheus wants the names of jobs to be unique,
// so a second endpoint of a job gets a longer one, and its label is set to the
// short one.
func (e Exporter) scrapeConfig(taken map[string]bool) (*config.ScrapeConfig, error) {
	if e.Job == "" {
		return nil, fmt.Errorf("%w: it has no name", ErrJob)
	}
	if _, _, err := net.SplitHostPort(e.Address); err != nil {
		return nil, fmt.Errorf("%w %q: address %q: %w", ErrJob, e.Job, e.Address, err)
	}
	if !strings.HasPrefix(e.path(), "/") {
		return nil, fmt.Errorf("%w %q: metrics path %q does not start with /", ErrJob, e.Job, e.MetricsPath)
	}
	name := e.Job
	if taken[name] {
		name = e.Job + " " + e.Address + e.path()
	}
	if taken[name] {
		return nil, fmt.Errorf("%w %q: %s%s is there twice", ErrJob, e.Job, e.Address, e.path())
	}
	set := model.LabelSet{"metrics_path": model.LabelValue(e.path()), model.JobLabel: model.LabelValue(e.Job)}
	for n, v := range e.Labels {
		if !model.UTF8Validation.IsValidLabelName(n) {
			return nil, fmt.Errorf("%w %q: label name %q", ErrJob, e.Job, n)
		}
		set[model.LabelName(n)] = model.LabelValue(v)
	}
	sc := config.DefaultScrapeConfig
	sc.JobName = name
	sc.MetricsPath = e.path()
	sc.HonorLabels = e.HonorLabels
	sc.HonorTimestamps = e.OwnTimestamps
	sc.TrackTimestampsStaleness = e.OwnTimestamps
	sc.ScrapeInterval = model.Duration(e.Interval)
	sc.BodySizeLimit = units.Base2Bytes(builtinBodySize)
	sc.SampleLimit = builtinSamples
	sc.TargetLimit = builtinTargetLimit
	sc.LabelLimit = builtinLabels
	sc.LabelNameLengthLimit = builtinLabelName
	sc.LabelValueLengthLimit = builtinLabelValue
	sc.ServiceDiscoveryConfigs = discovery.Configs{discovery.StaticConfig{{
		Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(e.Address)}},
		Labels:  set,
		Source:  "0",
	}}}
	return &sc, nil
}
