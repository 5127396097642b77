// Package rule evaluates recording and alerting rules over the store and sends
// alerts to the Alertmanagers. The work is Prometheus' rule manager's and
// notifier's; this package wires them, and checks rule files before anything
// that runs is changed, with errors that name a file and a line.
package rule

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// Limits of what Options leaves at zero, as Prometheus has them.
const (
	DefaultOutageTolerance = time.Hour
	DefaultGracePeriod     = 10 * time.Minute
	DefaultResendDelay     = time.Minute
	DefaultQueueCapacity   = 10_000
	DefaultBatchSize       = notifier.DefaultMaxBatchSize
	DefaultConcurrency     = 4
)

// Options are what rules and alerts need.
type Options struct {
	// Engine evaluates the expressions over Store, to which the results go.
	Engine promql.QueryEngine
	Parser parser.Parser
	Store  storage.Storage
	// Local is where the state of alerts is restored from.
	Local storage.Queryable
	// ExternalURL is what alerts link to.
	ExternalURL *url.URL
	// Builtin holds rule files (*.yaml) that are evaluated beside those of the
	// configuration; nil for none.
	Builtin fs.FS

	// OutageTolerance is how long a pause may be for the state of `for` to
	// survive it.
	OutageTolerance time.Duration
	// GracePeriod is the least `for` whose state is restored.
	GracePeriod time.Duration
	// ResendDelay is the least time between two sendings of an alert.
	ResendDelay time.Duration
	// Concurrent evaluates independent rules of a group side by side, at most
	// Concurrency of all groups.
	Concurrent  bool
	Concurrency int
	// QueueCapacity is how many alerts wait for an Alertmanager at most, and
	// BatchSize how many are sent to it at once.
	QueueCapacity int
	BatchSize     int
	// NoDrain lets the alerts go that wait when the end comes.
	NoDrain bool

	// Logger receives failed evaluations and notifications; nil discards.
	Logger *slog.Logger
	// Registerer receives the metrics of both managers; nil registers none.
	Registerer prometheus.Registerer
}

// Manager evaluates rules and sends alerts.
type Manager struct {
	rules    *rules.Manager
	notifier *notifier.Manager
	loader   loader
	url      *url.URL
	offset   atomic.Int64
}

// New makes a manager. Rules are evaluated between Run and Stop.
func New(o Options) *Manager {
	o.setDefaults()
	m := &Manager{loader: loader{o.Builtin, o.Parser, o.Logger}, url: o.ExternalURL}
	m.notifier = notifier.NewManager(&notifier.Options{
		QueueCapacity:   o.QueueCapacity,
		MaxBatchSize:    o.BatchSize,
		DrainOnShutdown: !o.NoDrain,
		Registerer:      o.Registerer,
	}, config.DefaultGlobalConfig.MetricNameValidationScheme, o.Logger.With("component", "notifier"))
	m.rules = rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme:   config.DefaultGlobalConfig.MetricNameValidationScheme,
		AppendableV2:           o.Store,
		Queryable:              o.Local,
		QueryFunc:              rules.EngineQueryFunc(o.Engine, o.Store),
		NotifyFunc:             rules.SendAlerts(m.notifier, o.ExternalURL.String()),
		Context:                context.Background(), // Stop waits for evaluations
		ExternalURL:            o.ExternalURL,
		Registerer:             o.Registerer,
		Logger:                 o.Logger.With("component", "rule manager"),
		OutageTolerance:        o.OutageTolerance,
		ForGracePeriod:         o.GracePeriod,
		ResendDelay:            o.ResendDelay,
		MaxConcurrentEvals:     int64(o.Concurrency),
		ConcurrentEvalsEnabled: o.Concurrent,
		DefaultRuleQueryOffset: func() time.Duration { return time.Duration(m.offset.Load()) },
		Parser:                 o.Parser,
		GroupLoader:            m.loader,
	})
	return m
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	o.OutageTolerance = cmp.Or(o.OutageTolerance, DefaultOutageTolerance)
	o.GracePeriod = cmp.Or(o.GracePeriod, DefaultGracePeriod)
	o.ResendDelay = cmp.Or(o.ResendDelay, DefaultResendDelay)
	o.QueueCapacity = cmp.Or(o.QueueCapacity, DefaultQueueCapacity)
	o.BatchSize = cmp.Or(o.BatchSize, DefaultBatchSize)
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
}

// RuleGroups and AlertingRules are what the HTTP API shows.
func (m *Manager) RuleGroups() []*rules.Group { return m.rules.RuleGroups() }

// AlertingRules lists the rules that may fire.
func (m *Manager) AlertingRules() []*rules.AlertingRule { return m.rules.AlertingRules() }

// Alertmanagers lists those that alerts are sent to.
func (m *Manager) Alertmanagers() []*url.URL { return m.notifier.Alertmanagers() }

// DroppedAlertmanagers lists those that relabelling removed.
func (m *Manager) DroppedAlertmanagers() []*url.URL { return m.notifier.DroppedAlertmanagers() }

// ApplyConfig loads the rule files and the Alertmanagers of conf. On an error
// the rules that were loaded before go on.
func (m *Manager) ApplyConfig(conf *config.Config) error {
	files, _, err := Files(conf)
	if err != nil {
		return err
	}
	builtin, err := m.loader.builtinFiles()
	if err != nil {
		return err
	}
	m.offset.Store(int64(conf.GlobalConfig.RuleQueryOffset))
	if err := m.notifier.ApplyConfig(conf); err != nil {
		return fmt.Errorf("apply alerting configuration: %w", err)
	}
	g := conf.GlobalConfig
	if err := m.rules.Update(time.Duration(g.EvaluationInterval), append(builtin, files...), g.ExternalLabels, m.url.String(), nil); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	return nil
}

// Run evaluates rules until Stop.
func (m *Manager) Run() { m.rules.Run() }

// Stop waits for evaluations under way and ends Run. Run must have been called,
// or be called after.
func (m *Manager) Stop() { m.rules.Stop() }

// RunNotifier sends alerts until StopNotifier, to the Alertmanagers that come
// through the channel.
func (m *Manager) RunNotifier(ams <-chan map[string][]*targetgroup.Group) { m.notifier.Run(ams) }

// StopNotifier sends what waits and ends RunNotifier. It must follow Stop.
func (m *Manager) StopNotifier() { m.notifier.Stop() }

// Files lists the rule files of a configuration, each once, and the patterns of
// rule_files that match none.
func Files(conf *config.Config) (found, unmatched []string, err error) {
	seen := map[string]bool{}
	for _, pattern := range conf.RuleFiles {
		fs, err := filepath.Glob(pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("rule_files: %q: %w", pattern, err)
		}
		if len(fs) == 0 {
			unmatched = append(unmatched, pattern)
		}
		for _, f := range fs {
			if !seen[f] {
				seen[f] = true
				found = append(found, f)
			}
		}
	}
	return found, unmatched, nil
}
