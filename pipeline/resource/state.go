package resource

import (
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// freshAge is the youngest age at which a container that has only one point is
// given one from its start: a rate over less says little.
const freshAge = 10 * time.Second

// series is the last two points of a container or a node: the newest reading,
// and time and cpu of an earlier one.
type series struct {
	last     sample
	prevTime int64
	prevCPU  uint64
	ok       bool // prev is known, earlier, and not above last
}

// follow makes the series of a new reading, given the series before it (nil
// when there was none).
//
//   - A container younger than the resolution counts from its start, where
//     its use was 0.
//   - A start after the point before means that it was restarted: the point
//     before says nothing about it.
//   - A start after the reading itself is of a clock that was put back since, and
//     says nothing.
//   - The same time again, or an earlier one, keeps the point before the
//     last, if that is still earlier.
//   - A counter that fell without a newer start is not trusted: there is no
//     usage until the next reading.
func follow(now sample, before *series, resolution time.Duration) series {
	s := series{last: now}
	if now.start > now.time {
		now.start = 0
	}
	age := time.Duration(now.time - now.start)
	switch {
	case now.start > 0 && age >= freshAge && age < resolution:
		s.prevTime, s.prevCPU = now.start, 0
	case before == nil || now.start >= before.last.time:
		return s
	case now.time > before.last.time:
		s.prevTime, s.prevCPU = before.last.time, before.last.cpu
	case before.ok && before.prevTime < now.time:
		s.prevTime, s.prevCPU = before.prevTime, before.prevCPU
	default:
		return s
	}
	s.ok = now.cpu >= s.prevCPU
	return s
}

func (s *series) window() time.Duration { return time.Duration(s.last.time - s.prevTime) }

// nanocores is the cpu used over the window, cut to a whole number.
func (s *series) nanocores() uint64 {
	return uint64(float64(s.last.cpu-s.prevCPU) / s.window().Seconds())
}

func (s *series) usage() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    quantity(s.nanocores(), resource.DecimalSI, resource.Nano),
		corev1.ResourceMemory: quantity(s.last.memory, resource.BinarySI, 0),
	}
}

// quantity is v at a scale. What an int64 does not hold loses its last digit.
func quantity(v uint64, format resource.Format, scale resource.Scale) resource.Quantity {
	if v > math.MaxInt64 {
		v, scale = v/10, scale+1
	}
	q := *resource.NewScaledQuantity(int64(v), scale)
	q.Format = format
	return q
}

// containerState is one container of a podState.
type containerState struct {
	name string
	series
}

// podState is what a node says about one pod.
type podState struct {
	namespace, name string
	since           int64 // first seen on this node, nanoseconds since 1970
	ok              bool  // usage of every container is known
	containers      []containerState
}

// measured is the series whose time is the pod's: that of the container read
// first, and of those the one that reaches back furthest.
func (p *podState) measured() *series {
	var first *series
	for i := range p.containers {
		s := &p.containers[i].series
		if first == nil || s.last.time < first.last.time || s.last.time == first.last.time && s.prevTime < first.prevTime {
			first = s
		}
	}
	return first
}

// clockJump is how much more time may pass by a node's clock than by ours
// before the clock was put forward: far more than the age of readings varies.
const clockJump = time.Minute

// nodeClock is the newest time that a node gave, by its clock, and when that
// came, by ours. Both are nanoseconds since 1970.
type nodeClock struct {
	newest, seen int64
	back         bool // the last answer was of before newest
}

// follow makes the clock of a new reading and tells whether it was put forward
// since the one before: two points around that would give a window that never
// passed, and a usage near 0. A time that is given again, as of a cache, is
// seen when it came first, and one older answer does not say that the clock was
// put back.
func (c nodeClock) follow(r *Reading, now time.Time) (next nodeClock, jumped bool) {
	next = nodeClock{newest: r.node.time, seen: now.UnixNano()}
	for i := range r.containers {
		next.newest = max(next.newest, r.containers[i].time)
	}
	switch {
	case next.newest == c.newest:
		return c, false
	case next.newest < c.newest && !c.back:
		c.back = true
		return c, false
	}
	return next, c.seen != 0 && next.newest-c.newest > next.seen-c.seen+int64(clockJump)
}

// nodeState is what is known of one node after an answer. It is never changed.
type nodeState struct {
	name    string
	clock   nodeClock
	hasNode bool // the answer had the node's own usage
	node    series
	pods    []podState // sorted by namespace and name
	podsOK  int        // how many of them are ok
	podsTwo int        // how many of them have been read twice, or count from their start
}

// next makes the state after a reading at the time now, which follows the state
// before (nil when there is none, as after a failed reading, and of no use when the
// node's clock was put forward since). A pod of which one container has no cpu or
// no memory is left out.
func next(name string, before *nodeState, r *Reading, now time.Time, resolution time.Duration) *nodeState {
	s := &nodeState{name: name}
	var clock nodeClock
	if before != nil {
		clock = before.clock
	}
	var jumped bool
	if s.clock, jumped = clock.follow(r, now); jumped {
		before = nil
	}
	if r.node.complete() {
		var last *series
		if before != nil && before.hasNode {
			last = &before.node
		}
		s.hasNode, s.node = true, follow(r.node, last, resolution)
	}
	var olds []podState
	if before != nil {
		olds = before.pods
	}
	s.pods = make([]podState, 0, len(olds)+2)
	// One piece of memory for the containers of all pods: a piece for each would be
	// most of what the garbage collection has to look at.
	containers := make([]containerState, len(r.containers))
	for rest := r.containers; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].namespace == rest[0].namespace && rest[n].pod == rest[0].pod {
			n++
		}
		for len(olds) > 0 && comparePod(&olds[0], rest[0].namespace, rest[0].pod) < 0 {
			olds = olds[1:]
		}
		var old *podState
		if len(olds) > 0 && comparePod(&olds[0], rest[0].namespace, rest[0].pod) == 0 {
			old = &olds[0]
		}
		if p, ok := nextPod(old, rest[:n], containers[:n:n], now, resolution); ok {
			s.pods = append(s.pods, p)
			if p.ok {
				s.podsOK++
			}
			if p.ok || old != nil {
				s.podsTwo++
			}
		}
		rest, containers = rest[n:], containers[n:]
	}
	return s
}

// nextPod makes the state of one pod in the memory given, which is as long as rs.
func nextPod(old *podState, rs []containerReading, containers []containerState, now time.Time, resolution time.Duration) (podState, bool) {
	p := podState{namespace: rs[0].namespace, name: rs[0].pod, since: now.UnixNano(), ok: true, containers: containers}
	var olds []containerState
	if old != nil {
		// The strings of before are kept, so that they are not held twice.
		p.namespace, p.name, p.since, olds = old.namespace, old.name, old.since, old.containers
	}
	for i := range rs {
		if !rs[i].complete() {
			return podState{}, false
		}
		for len(olds) > 0 && olds[0].name < rs[i].name {
			olds = olds[1:]
		}
		c := &p.containers[i]
		c.name = rs[i].name
		var last *series
		if len(olds) > 0 && olds[0].name == rs[i].name {
			c.name, last = olds[0].name, &olds[0].series
		}
		c.series = follow(rs[i].sample, last, resolution)
		p.ok = p.ok && c.ok
	}
	return p, true
}
