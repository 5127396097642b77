package adapter

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/prometheus/tsdb"
)

// health knows which rules fail, so that a failure is logged when it begins
// and not with each request.
type health struct {
	log     *slog.Logger
	metrics *selfMetrics

	mu      sync.Mutex
	failing map[string]map[string]bool // by rule, by what it fails at
}

func newHealth(log *slog.Logger, m *selfMetrics) *health {
	return &health{log: log, metrics: m, failing: map[string]map[string]bool{}}
}

// blameless tells errors that no rule is to blame for.
func blameless(err error) bool {
	return errors.Is(err, tsdb.ErrNotReady) || errors.Is(err, errNoData) || errors.Is(err, ErrSelector) ||
		errors.Is(err, context.Canceled)
}

// report says how a rule did at something: a resource it was asked for, or a
// step such as "discovery". The nil rule is the listing of all.
func (h *health) report(r *Rule, at string, err error) {
	if blameless(err) {
		return
	}
	id, where := "", "the list of metrics"
	if r != nil {
		id, where = r.ID(), r.String()
	}
	h.mu.Lock()
	was := h.failing[id][at]
	if err == nil && was {
		delete(h.failing[id], at)
	}
	if err != nil && !was {
		if h.failing[id] == nil {
			h.failing[id] = map[string]bool{}
		}
		h.failing[id][at] = true
	}
	n := len(h.failing[id])
	if err != nil {
		h.metrics.ruleFailures.WithLabelValues(id).Inc()
	}
	if (err != nil) != was {
		h.metrics.ruleFailing.WithLabelValues(id).Set(float64(min(n, 1)))
	}
	h.mu.Unlock()
	switch {
	case err != nil && !was:
		h.log.Error("Rule fails; its metrics are not served, the others are", "rule", where, "at", at, "err", err)
	case err == nil && was:
		h.log.Info("Rule works again", "rule", where, "at", at)
	}
}

// replace takes rules in the place of others. The new ones have not failed yet.
func (h *health) replace(before, after []*Rule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range before {
		delete(h.failing, r.ID())
		h.metrics.ruleFailing.DeleteLabelValues(r.ID())
		h.metrics.ruleFailures.DeleteLabelValues(r.ID())
	}
	// A rule that has not failed is a series too, so that a rate sees its first failure.
	for _, r := range after {
		h.metrics.ruleFailing.WithLabelValues(r.ID()).Set(0)
		h.metrics.ruleFailures.WithLabelValues(r.ID())
	}
}
