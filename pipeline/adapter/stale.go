package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// ErrStale means that the samples behind an answer are older than its rule's
// maxAge.
var ErrStale = errors.New("samples are too old")

// Historian is a Querier that knows what became of a series.
type Historian interface {
	// Fate says in a few words why a series has no newer sample than that of
	// age, "" when that is not known.
	Fate(ctx context.Context, age Age, at time.Time) (string, error)
}

// limit is how old the samples behind an answer of a rule may be; 0 is no limit.
func (a *Adapter) limit(r *Rule) time.Duration {
	if r.maxAge > 0 {
		return r.maxAge
	}
	return a.maxAge
}

// fresh parts answers into those within the limit of their rule's age and the
// others. Both share the memory of all.
func fresh(all []Answer) (fresh, stale []Answer) {
	n := 0
	for i := range all {
		if !all[i].Stale() {
			all[n], all[i] = all[i], all[n]
			n++
		}
	}
	return all[:n], all[n:]
}

// staleError says how old the data is and why, for the person who reads
// kubectl describe hpa.
func (a *Adapter) staleError(ctx context.Context, what string, ans *Answer) error {
	why := ""
	if h, ok := a.querier.(Historian); ok && !ans.oldest.IsEmpty() {
		fate, err := h.Fate(ctx, Age{Time: ans.Time, Series: ans.oldest}, a.now())
		if err != nil {
			a.log.Debug("What became of a series is not known", "series", ans.oldest, "err", err)
		} else if fate != "" {
			why = ": " + fate
		}
	}
	return fmt.Errorf("%s: %w: %s old, more than maxAge %s%s", what, ErrStale,
		shortDuration(ans.Age), shortDuration(ans.limit), why)
}

// shortDuration is d to the second, or as it is where that would show nothing.
func shortDuration(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	return d.String()
}

// fateReach is how far back Fate looks for the beginning of what is wrong.
const fateReach = time.Hour

// Fate implements Historian. The target of a series says of itself, in the
// series up, whether it was scraped.
func (l *Local) Fate(ctx context.Context, age Age, at time.Time) (string, error) {
	ended := "the series ended at " + clock(age.Time)
	job, instance := age.Series.Get(model.JobLabel), age.Series.Get(model.InstanceLabel)
	if job == "" || instance == "" {
		return ended, nil
	}
	seen, err := l.up(ctx, job, instance, at)
	if err != nil {
		return "", fmt.Errorf("look for up of %s %s: %w", job, instance, err)
	}
	target := "target " + instance + " of job " + job
	switch {
	case seen.last.IsZero():
		return ended, nil
	case seen.gone:
		return target + " is no longer scraped since " + clock(seen.last), nil
	case !seen.up && seen.downSince.IsZero():
		return target + " is down for more than " + fateReach.String(), nil
	case !seen.up:
		return target + " is down since " + clock(seen.downSince), nil
	}
	return target + " is up, but " + ended, nil
}

// clock is a time of day as messages show it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// upHistory is what the series up tells of a target.
type upHistory struct {
	last      time.Time // of the newest sample, zero for none
	up        bool
	gone      bool      // the newest is the marker of an end, or the oldest that is too long ago
	downSince time.Time // first sample of those that say down; zero for always
}

func (l *Local) up(ctx context.Context, job, instance string, at time.Time) (upHistory, error) {
	start := at.Add(-fateReach)
	q, err := l.store.Querier(start.UnixMilli(), at.UnixMilli())
	if err != nil {
		return upHistory{}, err
	}
	set := q.Select(ctx, false, &storage.SelectHints{Start: start.UnixMilli(), End: at.UnixMilli()},
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"),
		labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, job),
		labels.MustNewMatcher(labels.MatchEqual, model.InstanceLabel, instance))
	var h upHistory
	for set.Next() {
		h.read(set.At().Iterator(nil))
	}
	// Without a marker, as after a restart, silence tells it.
	h.gone = h.gone || at.Sub(h.last) > DefaultWindow
	return h, errors.Join(set.Err(), q.Close())
}

// read takes over the samples of one series up. Of several the newest counts.
func (h *upHistory) read(it chunkenc.Iterator) {
	var own upHistory
	everUp := false
	for it.Next() == chunkenc.ValFloat {
		t, v := it.At()
		at := time.UnixMilli(t)
		switch own.gone = value.IsStaleNaN(v); {
		case own.gone:
		case v == 1:
			own.up, everUp, own.downSince = true, true, time.Time{}
		default:
			if own.up || own.downSince.IsZero() && everUp {
				own.downSince = at
			}
			own.up = false
		}
		own.last = at
	}
	if own.last.After(h.last) {
		*h = own
	}
}
