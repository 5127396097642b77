package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// point is a value that an API answered, and when after the start of the load.
type point struct {
	after time.Duration
	value float64
}

// rise tells when a curve, from about 0 at rest, first showed half, and when
// 90 %, of what it showed at the end of the load: the median of the last quarter.
func rise(curve []point) (half, most time.Duration, err error) {
	if len(curve) < 8 {
		return 0, 0, fmt.Errorf("only %d answers during the load", len(curve))
	}
	var last []float64
	for _, p := range curve[len(curve)*3/4:] {
		last = append(last, p.value)
	}
	slices.Sort(last)
	step := last[len(last)/2]
	if step <= 0 {
		return 0, 0, fmt.Errorf("the load does not show: %g at its end", step)
	}
	reach := func(share float64) time.Duration {
		i := slices.IndexFunc(curve, func(p point) bool { return p.value >= share*step })
		return curve[i].after // the median itself is there
	}
	return reach(0.5), reach(0.9), nil
}

// times are those of all bursts, by kind.
type times struct{ half, most []time.Duration }

// figure is one measured time in seconds beside the peer's, 0 for none, and
// how much it may be, 0 for as much as it is.
type figure struct {
	name             string
	ours, peer, goal float64
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
	return fmt.Sprintf("figure %s ours=%.4g peer=%s ratio=%s goal=%s unit=s", f.name, f.ours, peer, ratio, goal)
}

// What metrics-server 0.9 needs at 15 s on the kubelet, in 12 bursts measured
// before: to the first sight of a burst of cpu, and to 90 % of it, p50.
const (
	peerSight = 11.9
	peerMost  = 23.1
)

// figures are those of one kind at an interval. The goals are for the median:
// half of the step within one interval and 1 s, 90 % within two, which are the
// rule's window too, and 1 s.
func (m measured) figures(kind string, interval time.Duration) []figure {
	t := m.cpu
	if kind == "requests" {
		t = m.requests
	}
	prefix := "freshness_" + kind + "_" + strings.TrimSuffix(interval.String(), "m0s")
	peerHalf, peerNinety := 0.0, 0.0
	if kind != "requests" && interval == 15*time.Second {
		peerHalf, peerNinety = peerSight, peerMost
	}
	half, most := sorted(t.half), sorted(t.most)
	one := interval.Seconds() + 1
	return []figure{
		{prefix + "_half_p50", half[len(half)/2], peerHalf, one},
		{prefix + "_half_max", half[len(half)-1], 0, 0},
		{prefix + "_90_p50", most[len(most)/2], peerNinety, one + interval.Seconds()},
		{prefix + "_90_max", most[len(most)-1], 0, 0},
	}
}

func sorted(all []time.Duration) []float64 {
	var out []float64
	for _, d := range slices.Sorted(slices.Values(all)) {
		out = append(out, d.Seconds())
	}
	return out
}
