package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/notifications"

	"github.com/strata-metrics/strata/pipeline/rule"
	"github.com/strata-metrics/strata/pipeline/scrape"
)

// reloads keeps the running configuration and how the last attempt to replace
// it ended.
type reloads struct {
	apply sync.Mutex // held while a configuration is loaded and applied

	mu   sync.Mutex // guards the fields below
	conf *config.Config
	ok   bool
	at   time.Time // of the last that was applied

	success prometheus.Gauge
	time    prometheus.Gauge
}

func newReloads(conf *config.Config, reg prometheus.Registerer) *reloads {
	r := &reloads{conf: conf,
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prometheus_config_last_reload_successful",
			Help: "Whether the last configuration reload attempt was successful.",
		}),
		time: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prometheus_config_last_reload_success_timestamp_seconds",
			Help: "Timestamp of the last successful configuration reload.",
		}),
	}
	reg.MustRegister(r.success, r.time)
	// It has been checked, and replaying a long log before it is applied must
	// not look like a broken configuration.
	r.done(nil)
	return r
}

func (r *reloads) current() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conf
}

func (r *reloads) last() (bool, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ok, r.at
}

func (r *reloads) set(conf *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conf = conf
}

func (r *reloads) done(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ok = err == nil
	if err != nil {
		r.success.Set(0)
		return
	}
	r.at = time.Now().UTC()
	r.success.Set(1)
	r.time.SetToCurrentTime()
}

// load gets a configuration and checks everything that can be checked without
// applying it.
func (p *Pipeline) load() (*config.Config, error) {
	conf, err := p.opts.Load()
	if err != nil {
		return nil, err
	}
	if r := conf.StorageConfig.TSDBConfig.Retention; *r == (config.TSDBRetentionConfig{}) {
		*r = p.opts.Storage.Retention
	}
	if n := p.opts.Storage.Exemplars; n > 0 && conf.StorageConfig.ExemplarsConfig == nil {
		conf.StorageConfig.ExemplarsConfig = &config.ExemplarsConfig{MaxExemplars: n} // the TSDB wants one
	}
	if err := rule.Check(conf, p.engine.Parser()); err != nil {
		return nil, err
	}
	return conf, nil
}

// Reload loads the configuration again and applies it. When anything is wrong
// with it, the one before goes on in every stage, and the error says what in
// one line. Before Run is ready it answers ErrStarting.
func (p *Pipeline) Reload(ctx context.Context) error {
	p.reloads.apply.Lock()
	defer p.reloads.apply.Unlock()
	if err := p.Ready(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	err := p.replace()
	p.reloads.done(err)
	if err != nil {
		p.api.Notifications.AddNotification(notifications.ConfigurationUnsuccessful)
		p.logger.Error("The new configuration is not used; the one before goes on", "err", err)
		return err
	}
	p.api.Notifications.DeleteNotification(notifications.ConfigurationUnsuccessful)
	p.logger.Info("Configuration reloaded")
	return nil
}

func (p *Pipeline) replace() error {
	old := p.reloads.current()
	conf, err := p.load()
	if err != nil {
		return err
	}
	if err := p.apply(conf); err != nil {
		// Some stages have the new one already.
		if back := p.apply(old); back != nil {
			return errors.Join(err, fmt.Errorf("and going back failed: %w", back))
		}
		return err
	}
	return nil
}

// apply gives a configuration to every stage: those that receive targets before
// the one that sends them.
func (p *Pipeline) apply(conf *config.Config) error {
	p.reloads.set(conf)
	for _, stage := range []struct {
		name  string
		apply func(*config.Config) error
	}{
		{"store", p.store.ApplyConfig},
		{"query", p.engine.ApplyConfig},
		{"scrape", p.scrape.ApplyConfig},
		{"rule", p.rules.ApplyConfig},
		{"discover", p.discover.ApplyConfig},
		{"tracing", p.trace},
	} {
		if err := stage.apply(conf); err != nil {
			return fmt.Errorf("apply configuration to %s: %w", stage.name, err)
		}
	}
	if p.opts.OnApply != nil {
		p.opts.OnApply(conf)
	}
	return nil
}

// trace sends traces of scrapes and queries where the configuration says. The
// provider is the process' own, so it is left alone until one is asked for.
func (p *Pipeline) trace(conf *config.Config) error {
	if conf.TracingConfig.Endpoint != "" {
		p.once.trace.Do(func() { go p.tracing.Run() })
	}
	return p.tracing.ApplyConfig(conf)
}

// lateScraper gives remote write the scraper, which is made after the store.
type lateScraper struct {
	mu sync.Mutex
	s  *scrape.Scraper
}

func (l *lateScraper) set(s *scrape.Scraper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s = s
}

// Get implements remote.ReadyScrapeManager.
func (l *lateScraper) Get() (*promscrape.Manager, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s == nil {
		return nil, ErrStarting
	}
	return l.s.Get()
}
