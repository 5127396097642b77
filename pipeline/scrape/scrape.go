// Package scrape fetches the metrics of every target at its interval and hands
// the samples to the store. The work is Prometheus' scrape manager's; this
// package wires it and explains its errors.
package scrape

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"
)

// ErrBodySize is what the error of a target matches whose body was larger than
// the job allows.
var ErrBodySize = errors.New("body is larger than the limit")

// Options are what scraping needs.
type Options struct {
	// Store takes the samples; required.
	Store storage.AppendableV2
	// DiscoveryInterval bounds how often changes of targets are taken up; 0
	// means 5 s, as Prometheus has it. The first targets are taken up at once.
	DiscoveryInterval time.Duration
	// Experiments are what Prometheus calls features.
	Experiments
	// DefaultBodySizeLimit is the limit, in bytes, that jobs without their own
	// were given, so that errors can name the flag.
	DefaultBodySizeLimit units.Base2Bytes

	// Logger receives what goes wrong; nil discards.
	Logger *slog.Logger
	// Registerer receives the scrape manager's metrics; nil registers none.
	Registerer prometheus.Registerer
}

// Experiments of Prometheus' scrape manager; none is on by default.
type Experiments struct {
	AppendMetadata  bool // what targets say of their metrics goes to the store
	TypeAndUnit     bool // type and unit are labels
	OpenMetrics2    bool // OpenMetrics 2.0 is asked for
	Zstd            bool // and bodies in zstd
	StartTimestamps bool // counters get the time of their start from their first sample
}

// Scraper scrapes the targets of one pipeline.
type Scraper struct {
	*promscrape.Manager
	defaultLimit units.Base2Bytes
	types        types
}

// New makes a scraper; it scrapes between Run and Stop.
func New(o Options) (*Scraper, error) {
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	m, err := promscrape.NewManager(&promscrape.Options{
		DiscoveryReloadInterval:  model.Duration(o.DiscoveryInterval),
		DiscoveryReloadOnStartup: true,
		AppendMetadata:           o.AppendMetadata,
		EnableTypeAndUnitLabels:  o.TypeAndUnit,
		EnableOpenMetrics2:       o.OpenMetrics2,
		EnableZstdScrape:         o.Zstd,
		SynthesizeST:             o.StartTimestamps,
	}, o.Logger.With("component", "scrape manager"), logging.NewJSONFileLogger, nil, o.Store, o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("make the scrape manager: %w", err)
	}
	return &Scraper{Manager: m, defaultLimit: o.DefaultBodySizeLimit}, nil
}

// Get implements remote.ReadyScrapeManager.
func (s *Scraper) Get() (*promscrape.Manager, error) { return s.Manager, nil }

// Run scrapes the targets that come through the channel until Stop.
func (s *Scraper) Run(targets <-chan map[string][]*targetgroup.Group) error {
	if err := s.Manager.Run(targets); err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	return nil
}

// TargetsActive lists the targets by job, as the HTTP API shows them. The error
// of one whose body was too large says what the limit is and who set it.
func (s *Scraper) TargetsActive() map[string][]*promscrape.Target {
	all := s.Manager.TargetsActive()
	for job, targets := range all {
		for _, t := range targets {
			s.explain(job, t)
		}
	}
	return all
}

// bodySizeMessage is the text of Prometheus' error, which it does not export.
const bodySizeMessage = "body size limit exceeded"

func (s *Scraper) explain(job string, t *promscrape.Target) {
	err, at := t.LastError(), t.LastScrape()
	if err == nil || err.Error() != bodySizeMessage {
		return
	}
	conf, cerr := s.ScrapePoolConfig(job)
	if cerr != nil {
		return // the job has just been removed
	}
	// A scrape that has ended meanwhile has the say.
	if t.LastScrape().Equal(at) {
		t.Report(at, t.LastScrapeDuration(), s.bodySizeError(conf))
	}
}

func (s *Scraper) bodySizeError(conf *config.ScrapeConfig) error {
	if conf.BodySizeLimit == s.defaultLimit {
		return fmt.Errorf("%w of %s, the default of --scrape.body-size-limit-default; set body_size_limit in the job to allow more",
			ErrBodySize, conf.BodySizeLimit)
	}
	return fmt.Errorf("%w of %s, the job's body_size_limit", ErrBodySize, conf.BodySizeLimit)
}
