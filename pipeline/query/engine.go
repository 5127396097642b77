// Package query asks the store: a PromQL engine with its limits, an in-process
// Querier for what answers inside this process (the adapter, the page), and
// the HTTP API v1, which is Prometheus' own.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/logging"
)

// Limits of what Options leaves at zero, as Prometheus has them.
const (
	DefaultMaxSamples     = 50_000_000
	DefaultMaxConcurrency = 20
	DefaultTimeout        = 2 * time.Minute
	DefaultLookback       = 5 * time.Minute
)

// Options are the limits and the optional parts of PromQL.
type Options struct {
	// MaxSamples is how many samples one query may hold in memory.
	MaxSamples int
	// MaxConcurrency is how many queries run at a time; others wait.
	MaxConcurrency int
	// Timeout ends a query.
	Timeout time.Duration
	// LookbackDelta is how far back an instant query looks for a sample.
	LookbackDelta time.Duration
	// Parser has the optional parts of the language.
	Parser parser.Options
	// PerStepStats counts samples per step when stats=all is asked for.
	PerStepStats bool
	// DelayedNameRemoval keeps __name__ until the end of the evaluation.
	DelayedNameRemoval bool

	// Logger receives what goes wrong inside the engine; nil discards.
	Logger *slog.Logger
	// Registerer receives the engine's metrics; nil registers none.
	Registerer prometheus.Registerer
}

func (o *Options) setDefaults() {
	if o.MaxSamples == 0 {
		o.MaxSamples = DefaultMaxSamples
	}
	if o.MaxConcurrency == 0 {
		o.MaxConcurrency = DefaultMaxConcurrency
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.LookbackDelta == 0 {
		o.LookbackDelta = DefaultLookback
	}
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
}

// Engine evaluates PromQL. It has no storage of its own: each query names one.
type Engine struct {
	*promql.Engine

	opts     Options
	parser   parser.Parser
	tracker  *tracker
	interval atomic.Int64 // milliseconds; the step of a subquery that has none
}

// NewEngine makes an engine that may be used at once.
func NewEngine(o Options) *Engine {
	o.setDefaults()
	e := &Engine{opts: o, parser: parser.NewParser(o.Parser), tracker: newTracker(o.MaxConcurrency)}
	e.interval.Store(time.Duration(config.DefaultGlobalConfig.EvaluationInterval).Milliseconds())
	e.Engine = promql.NewEngine(promql.EngineOpts{
		Logger:                   o.Logger,
		Reg:                      o.Registerer,
		MaxSamples:               o.MaxSamples,
		Timeout:                  o.Timeout,
		ActiveQueryTracker:       e.tracker,
		LookbackDelta:            o.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return e.interval.Load() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       o.PerStepStats,
		EnableDelayedNameRemoval: o.DelayedNameRemoval,
		Parser:                   e.parser,
	})
	return e
}

// Parser is the parser of the language that this engine evaluates.
func (e *Engine) Parser() parser.Parser { return e.parser }

// Track writes the running queries to a file in dir, and logs those that an
// earlier process was running when it died. It must be called once the
// directory is locked; without it queries are only counted. A failure leaves
// the engine usable.
func (e *Engine) Track(dir string) error {
	t, err := promql.NewActiveQueryTracker(dir, e.opts.MaxConcurrency, e.opts.Logger)
	if err != nil {
		return fmt.Errorf("track running queries in %s: %w", dir, err)
	}
	e.tracker.inner.Store(t)
	return nil
}

// ApplyConfig sets what the configuration may change at run time: the query
// log and the default step of subqueries.
func (e *Engine) ApplyConfig(conf *config.Config) error {
	e.interval.Store(time.Duration(conf.GlobalConfig.EvaluationInterval).Milliseconds())
	if conf.GlobalConfig.QueryLogFile == "" {
		e.SetQueryLogger(nil)
		return nil
	}
	l, err := logging.NewJSONFileLogger(conf.GlobalConfig.QueryLogFile)
	if err != nil {
		return fmt.Errorf("open global.query_log_file: %w", err)
	}
	e.SetQueryLogger(l)
	return nil
}

// Close ends the tracking and closes the query log. No query may run.
func (e *Engine) Close() error {
	e.SetQueryLogger(nil)
	return e.Engine.Close()
}

// tracker bounds how many queries run. Prometheus' own tracker does so with a
// file that it needs in the data directory, which is not ours before it is
// locked and cannot be made when the disk is full; until there is one, a
// semaphore bounds them.
type tracker struct {
	slots chan struct{}
	inner atomic.Pointer[promql.ActiveQueryTracker]
}

// untracked is the index of a query that holds a slot of the semaphore.
const untracked = -1

func newTracker(n int) *tracker { return &tracker{slots: make(chan struct{}, n)} }

func (t *tracker) GetMaxConcurrent() int { return cap(t.slots) }

func (t *tracker) Insert(ctx context.Context, query string) (int, error) {
	if in := t.inner.Load(); in != nil {
		return in.Insert(ctx, query)
	}
	select {
	case t.slots <- struct{}{}:
		return untracked, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (t *tracker) Delete(i int) {
	if i == untracked {
		<-t.slots
		return
	}
	if in := t.inner.Load(); in != nil {
		in.Delete(i)
	}
}

func (t *tracker) Close() error {
	in := t.inner.Swap(nil)
	if in == nil {
		return nil
	}
	if err := in.Close(); err != nil {
		return errors.Join(errors.New("close the file of running queries"), err)
	}
	return nil
}
