package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"golang.org/x/sync/errgroup"
)

// Manager runs the discoveries of all jobs and of all Alertmanagers.
type Manager struct {
	targets       *discovery.Manager
	alertmanagers *discovery.Manager
	cancel        context.CancelFunc
	ctx           context.Context
}

// New makes a manager; nothing is discovered before Run and ApplyConfig. A nil
// registerer registers nothing, a nil logger discards.
func New(logger *slog.Logger, reg prometheus.Registerer) (*Manager, error) {
	if logger == nil {
		logger = promslog.NewNopLogger()
	}
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	metrics, err := discovery.CreateAndRegisterSDMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register service discovery metrics: %w", err)
	}
	// discovery.Manager takes its context when it is made.
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		targets:       discovery.NewManager(ctx, logger.With("component", "discovery manager scrape"), reg, metrics, discovery.Name("scrape")),
		alertmanagers: discovery.NewManager(ctx, logger.With("component", "discovery manager notify"), reg, metrics, discovery.Name("notify")),
		ctx:           ctx,
		cancel:        cancel,
	}
	if m.targets == nil || m.alertmanagers == nil {
		cancel()
		return nil, errors.New("register service discovery metrics: a manager could not be made; see the log")
	}
	return m, nil
}

// Targets gives the groups of targets of all jobs whenever one changes.
func (m *Manager) Targets() <-chan map[string][]*targetgroup.Group { return m.targets.SyncCh() }

// Alertmanagers gives the same of the Alertmanagers.
func (m *Manager) Alertmanagers() <-chan map[string][]*targetgroup.Group {
	return m.alertmanagers.SyncCh()
}

// ApplyConfig starts the discoveries that are new in conf and stops those that
// are gone. Whoever receives the groups must have been given conf before.
func (m *Manager) ApplyConfig(conf *config.Config) error {
	jobs, err := conf.GetScrapeConfigs()
	if err != nil {
		return locateOther(err)
	}
	targets := make(map[string]discovery.Configs, len(jobs))
	for _, j := range jobs {
		targets[j.JobName] = j.ServiceDiscoveryConfigs
	}
	ams := map[string]discovery.Configs{}
	for name, am := range conf.AlertingConfig.AlertmanagerConfigs.ToMap() {
		ams[name] = am.ServiceDiscoveryConfigs
	}
	return errors.Join(m.targets.ApplyConfig(targets), m.alertmanagers.ApplyConfig(ams))
}

// Run discovers until Stop.
func (m *Manager) Run() error {
	var g errgroup.Group
	for _, mgr := range []*discovery.Manager{m.targets, m.alertmanagers} {
		g.Go(func() error {
			if err := mgr.Run(); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// Stop ends Run and every discovery.
func (m *Manager) Stop() { m.cancel() }
