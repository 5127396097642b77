// Package adapter answers custom.metrics.k8s.io and external.metrics.k8s.io
// from a store of samples, by the rules of prometheus-adapter's configuration
// files, by rules of namespaces, and for the rest by the names of the series.
//
// A configuration is compiled into Rules once. A request names a resource and
// a metric; the Index of the store says, at that moment, which rule and which
// series are meant, so that a metric is there with its first sample. Evaluate
// renders the rule's query, asks the Querier, and gives Answers, each with the
// time of the data behind it. Adapter serves them as the providers of
// custom-metrics-apiserver.
//
// A rule that fails costs its own metrics only: it is logged when it begins to
// fail and when it has recovered, and counted.
package adapter

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/strata-metrics/strata/pipeline/journal"
)

// DefaultWindow is how long a series counts as there after its last sample, as
// long as PromQL looks back.
const DefaultWindow = 5 * time.Minute

// Options are what an Adapter works with. Querier is required.
type Options struct {
	// Querier has the data. It may be an AgeQuerier, without which the time of
	// an answer is that of its evaluation, and an Index, without which series
	// are listed to find a name.
	Querier Querier
	// Mapper knows the cluster's resources; nil knows none, which leaves
	// external metrics without a namespace.
	Mapper Mapper
	// Lister names the objects that a label selector selects; nil answers
	// requests for all objects with 503.
	Lister ObjectLister
	// Parser has the optional parts of PromQL that the Querier has; nil is
	// PromQL without them.
	Parser parser.Parser
	// Builtin offers names without rules; nil offers none.
	Builtin *Builtin
	// Window is DefaultWindow where it is 0.
	Window time.Duration
	// MaxAge is how old the samples behind an answer may be where the rule has
	// no limit of its own; 0 is as old as PromQL looks back.
	MaxAge time.Duration

	// Journal keeps what autoscalers are told; nil keeps nothing.
	Journal *journal.Journal

	// Logger receives what goes wrong with rules; nil discards.
	Logger *slog.Logger
	// Registry receives the metrics strata_adapter_*; nil registers none.
	Registry prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Adapter serves the rules of one configuration at a time, those of namespaces,
// and names without rules, in this order of preference. It is safe for
// concurrent use.
type Adapter struct {
	querier   Querier
	index     Index
	lister    ObjectLister
	resources *resources
	parser    parser.Parser
	window    time.Duration
	maxAge    time.Duration
	log       *slog.Logger
	now       func() time.Time

	rules     atomic.Pointer[ruleSet]   // of the configuration
	objects   atomic.Pointer[objectSet] // of namespaces
	builtin   *builtin                  // nil for none
	catalogue catalogue
	journal   *journal.Journal
	health    *health
	metrics   *selfMetrics
	written   sync.Pool // of *custom_metrics.MetricValueList, see Recycle
}

type selfMetrics struct {
	requests     *prometheus.HistogramVec
	rules        *prometheus.GaugeVec
	loadOK       prometheus.Gauge
	loadTime     prometheus.Gauge
	ruleFailures *prometheus.CounterVec
	ruleFailing  *prometheus.GaugeVec
}

func newSelfMetrics(reg prometheus.Registerer) *selfMetrics {
	f := promauto.With(reg)
	return &selfMetrics{
		requests: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strata_adapter_request_duration_seconds", Help: "Time to answer a request for metric values, by API and HTTP status.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"api", "code"}),
		rules:    f.NewGaugeVec(prometheus.GaugeOpts{Name: "strata_adapter_rules", Help: "Rules that are loaded, by list of the configuration."}, []string{"list"}),
		loadOK:   f.NewGauge(prometheus.GaugeOpts{Name: "strata_adapter_config_last_reload_successful", Help: "Whether the configuration was accepted when it was last loaded."}),
		loadTime: f.NewGauge(prometheus.GaugeOpts{Name: "strata_adapter_config_last_reload_success_timestamp_seconds", Help: "When a configuration was last accepted."}),
		ruleFailures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "strata_adapter_rule_failures_total", Help: "Requests and listings that a rule failed."}, []string{"rule"}),
		ruleFailing: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "strata_adapter_rule_failing", Help: "Whether a rule fails for at least one resource."}, []string{"rule"}),
	}
}

// New makes an adapter without rules; Load gives it some.
func New(o Options) (*Adapter, error) {
	if o.Querier == nil {
		return nil, errors.New("adapter: Options.Querier is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Parser == nil {
		o.Parser = parser.NewParser(parser.Options{})
	}
	a := &Adapter{
		querier:   o.Querier,
		lister:    o.Lister,
		resources: newResources(o.Mapper, o.Now),
		parser:    o.Parser,
		window:    o.Window,
		maxAge:    o.MaxAge,
		log:       o.Logger,
		now:       o.Now,
		journal:   o.Journal,
		metrics:   newSelfMetrics(o.Registry),
	}
	a.health = newHealth(o.Logger, a.metrics)
	var ok bool
	if a.index, ok = o.Querier.(Index); !ok {
		a.index = &listIndex{Querier: o.Querier, now: o.Now}
	}
	a.builtin = newBuiltin(o.Builtin, &compiler{conf: &Config{}, resources: a.resources, parser: a.parser})
	a.metrics.loadOK.Set(1) // no configuration is none that is refused
	a.rules.Store(newRuleSet(nil, nil))
	a.objects.Store(newObjectSet(nil))
	return a, nil
}

// LoadFile loads a configuration file, see Load.
func (a *Adapter) LoadFile(path string) error {
	c, err := ReadConfig(path)
	if err != nil {
		a.metrics.loadOK.Set(0)
		return err
	}
	return a.Load(c)
}

// Load compiles a configuration and serves it from then on in the place of the
// one before; rules of other sources stay. When it is refused,
// with a *ConfigError, the one before stays. A rule that is well-formed and
// cannot work is no reason to refuse: it is logged.
func (a *Adapter) Load(c *Config) error {
	comp := &compiler{conf: c, resources: a.resources, parser: a.parser}
	custom, err := comp.compile(kindRules, c.Rules)
	var external []*Rule
	if err == nil {
		external, err = comp.compile(kindExternal, c.ExternalRules)
	}
	if err != nil {
		a.metrics.loadOK.Set(0)
		return err
	}
	all := slices.Concat(custom, external)
	before := a.rules.Swap(newRuleSet(custom, external))
	a.catalogue.version.Add(1)
	a.health.replace(slices.Concat(before.custom, before.external), all)
	a.metrics.loadOK.Set(1)
	a.metrics.loadTime.Set(float64(a.now().Unix()))
	a.metrics.rules.WithLabelValues(kindRules).Set(float64(len(custom)))
	a.metrics.rules.WithLabelValues(kindExternal).Set(float64(len(external)))
	if c.ResourceRules != nil {
		a.log.Warn("resourceRules of the adapter's configuration are not used", "file", c.file)
	}
	if len(all) == 0 {
		a.log.Warn("The adapter's configuration has no rules", "file", c.file)
	}
	for _, r := range all {
		if err := comp.check(r); err != nil {
			a.health.report(r, "load", err)
		}
	}
	return nil
}

// Serves tells which of the two APIs there are rules for.
func (a *Adapter) Serves() (custom, external bool) {
	s := a.rules.Load()
	custom, external = len(s.custom) > 0 || a.builtin != nil, len(s.external) > 0
	for _, r := range a.objects.Load().rules {
		custom, external = custom || r.kind == kindRules, external || r.kind == kindExternal
	}
	return custom, external
}
