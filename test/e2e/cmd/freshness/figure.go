package main

import (
	"fmt"
	"math"
	"slices"
	"time"
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

// figure is a measured value beside the peer's, 0 for none, and how much it may
// be, 0 for as much as it is.
type figure struct {
	name             string
	ours, peer, goal float64
	unit             string
}

func (f figure) holds() bool { return f.goal == 0 || f.ours <= f.goal }

// String is a line in the form of all benchmarks.
func (f figure) String() string {
	peer, ratio, goal := "-", "-", "-"
	if f.peer > 0 {
		peer, ratio = fmt.Sprintf("%.4g", f.peer), fmt.Sprintf("%.4g", f.ours/f.peer)
	}
	if f.goal > 0 {
		goal = fmt.Sprintf("<=%.4g", f.goal)
	}
	return fmt.Sprintf("figure %s ours=%.4g peer=%s ratio=%s goal=%s unit=%s", f.name, f.ours, peer, ratio, goal, f.unit)
}

// windowOf is the window of the rule's rate at an interval of scrapes: two of
// them, and for short ones a second more, so that a late sample leaves no gap.
func windowOf(interval time.Duration) time.Duration { return max(2*interval, interval+2*time.Second) }

// figures are those of a source at an interval. Of two readings a rate is made,
// which shows half of a step when the step is in half of the time between them:
// after half an interval to one and a half, by when in it the step comes. So the
// goal of one interval and 1 s is for the median. Within two intervals, or a
// rule's window, and 1 s, 90 % are shown always. The kubelet's own readings are
// as old as they are, and no goal is for what is made of them.
func (t *times) figures(name string, interval time.Duration, peer *times) []figure {
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
	return []figure{
		{prefix + "_half_p50", quantile(t.half, 0.5), quantile(peer.half, 0.5), halfGoal, "s"},
		{prefix + "_half_p99", quantile(t.half, 0.99), quantile(peer.half, 0.99), 0, "s"},
		{prefix + "_90_p50", quantile(t.most, 0.5), quantile(peer.most, 0.5), 0, "s"},
		{prefix + "_90_p99", quantile(t.most, 0.99), quantile(peer.most, 0.99), mostGoal, "s"},
	}
}

// quantile is the nearest-rank quantile in seconds, 0 of nothing.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1].Seconds()
}
