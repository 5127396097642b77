package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
)

// point is a value that an API answered, and when after the start of the load.
type point struct {
	after time.Duration
	value float64
}

// rise tells when a curve, from about 0 at rest, first showed half, and when
// 90 %, of what it showed at the end of the load: the median of the last quarter,
// which is least or more.
func rise(curve []point, least float64) (half, most time.Duration, err error) {
	if len(curve) < 8 {
		return 0, 0, fmt.Errorf("only %d answers during the load", len(curve))
	}
	var last []float64
	for _, p := range curve[len(curve)*3/4:] {
		last = append(last, p.value)
	}
	slices.Sort(last)
	step := last[len(last)/2]
	if step < least {
		return 0, 0, fmt.Errorf("the load does not show: %g at its end, less than %g", step, least)
	}
	reach := func(share float64) time.Duration {
		i := slices.IndexFunc(curve, func(p point) bool { return p.value >= share*step })
		return curve[i].after // the median itself is there
	}
	return reach(0.5), reach(0.9), nil
}

// times are those of all bursts, by kind.
type times struct{ half, most []time.Duration }

// windowOf is the window of the rule's rate at an interval of scrapes: two of
// them, and for short ones a second more, so that a late sample leaves no gap.
func windowOf(interval time.Duration) time.Duration { return max(2*interval, interval+2*time.Second) }

// figures are those of a source at an interval. Of two readings a rate is made,
// which shows half of a step when the step is in half of the time between them:
// after half an interval to one and a half, by when in it the step comes. So the
// goal of one interval and 1 s is for the median. Within two intervals, or a
// rule's window, and 1 s, 90 % are shown always. The kubelet's own readings are
// as old as they are, and no goal is for what is made of them.
func (t *times) figures(name string, interval time.Duration, peer *times) []figure.Figure {
	prefix := "freshness_" + name + "_" + interval.String()
	if peer == nil {
		peer = &times{}
	}
	halfGoal, mostGoal := interval.Seconds()+1, 2*interval.Seconds()+1
	switch name {
	case "cpu_kubelet":
		halfGoal, mostGoal = 0, 0
	case "requests":
		mostGoal = windowOf(interval).Seconds() + 1
	}
	figures := []figure.Figure{
		{Name: "_half_p50", Ours: quantile(t.half, 0.5), Peer: quantile(peer.half, 0.5), Goal: halfGoal},
		{Name: "_half_p99", Ours: quantile(t.half, 0.99), Peer: quantile(peer.half, 0.99)},
		{Name: "_90_p50", Ours: quantile(t.most, 0.5), Peer: quantile(peer.most, 0.5)},
		{Name: "_90_p99", Ours: quantile(t.most, 0.99), Peer: quantile(peer.most, 0.99), Goal: mostGoal},
	}
	for i := range figures {
		f := &figures[i]
		f.Name, f.Unit = prefix+f.Name, "s"
		if f.Goal > 0 {
			f.Bound = figure.AtMost
		}
	}
	return figures
}

// quantile is the nearest-rank quantile in seconds, NaN of nothing.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1].Seconds()
}
