package main

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strata-metrics/strata/pipeline/discover"
)

// fastFlags say how often the pods behind HPAs are scraped.
type fastFlags struct {
	targets  string
	interval model.Duration
	budget   float64
}

func (f *fastFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("scrape.hpa-targets", "fast scrapes the pods behind HPAs with scraped metrics more often than their job says, at --scrape.hpa-interval.").
		Default("normal").EnumVar(&f.targets, "normal", "fast")
	duration(cmd, "scrape.hpa-interval", "How often, with --scrape.hpa-targets=fast, as long as --scrape.hpa-budget allows it.", &f.interval).
		Default(discover.DefaultFastInterval.String())
	cmd.Flag("scrape.hpa-budget", "Most scrapes a second that --scrape.hpa-targets=fast adds; with more pods than that the interval grows.").
		Default(strconv.FormatFloat(discover.DefaultFastBudget, 'f', -1, 64)).Float64Var(&f.budget)
}

// start makes what the flags ask for, nil where they do not. cluster gives the
// connection to the API server.
func (f *fastFlags) start(cluster func() (*rest.Config, error), log *slog.Logger, reg prometheus.Registerer) (*discover.Fast, error) {
	if f.targets != "fast" {
		return nil, nil
	}
	if f.budget <= 0 {
		return nil, usagef("--scrape.hpa-budget must be above 0, not %g", f.budget)
	}
	config, err := cluster()
	if err != nil {
		return nil, fmt.Errorf("--scrape.hpa-targets=fast: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--scrape.hpa-targets=fast: %w", err)
	}
	o := discover.FastOptions{Client: client, Interval: time.Duration(f.interval), Budget: f.budget, Logger: log, Registry: reg}
	fast, err := discover.NewFast(o)
	if err != nil {
		return nil, usagef("--scrape.hpa-interval: %w", err)
	}
	return fast, nil
}
