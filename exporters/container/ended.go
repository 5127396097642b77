package container

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// ending is a cgroup that is gone: what it had used at its end, and which
// endpoints have shown it.
type ending struct {
	cgroup   Cgroup // its last reading; NaN is what is not known
	complete bool   // read after its last process ended
	run      float64
	added    time.Time
	exit     atomic.Pointer[exit] // nil until the runtime has told

	shown map[group]time.Time // by the groups of the endpoint: when first
}

// What bounds the endings that wait for their readers.
const (
	// endedFor is how long an ending waits for an endpoint that is read.
	endedFor = 5 * time.Minute
	// endedMore is how long it stays after it was shown, for the second of
	// two readers of one endpoint.
	endedMore = 30 * time.Second
	// maxEnded is how many may wait.
	maxEnded = 4096
)

// endings keeps what has ended until it was shown.
type endings struct {
	mu  sync.Mutex
	all []*ending
	own *ownMetrics
	// codes are the exits that were told before the cgroup was gone, by the
	// container's id.
	codes map[string]exit
}

// add takes an ending in. Of two by one name the newer counts.
func (es *endings) add(e *ending) {
	es.mu.Lock()
	defer es.mu.Unlock()
	es.own.ended.Inc()
	es.takeExit(e)
	if !e.complete {
		es.own.endedIncomplete.Inc()
	}
	for i, old := range es.all {
		if old.cgroup.ID == e.cgroup.ID {
			es.drop(old)
			es.all[i] = e
			return
		}
	}
	if len(es.all) >= maxEnded {
		es.drop(es.all[0])
		es.all = es.all[1:]
	}
	es.all = append(es.all, e)
}

// drop counts an ending that goes without having been shown.
func (es *endings) drop(e *ending) {
	if len(e.shown) == 0 {
		es.own.endedLost.Inc()
	}
}

// into adds to a pass what has ended and was not yet shown by each endpoint
// that is read, those in readers.
func (es *endings) into(pass []Cgroup, readers []group, now time.Time) []Cgroup {
	es.mu.Lock()
	defer es.mu.Unlock()
	kept := es.all[:0]
	for _, e := range es.all {
		if e.done(readers, now) {
			es.drop(e)
		} else {
			kept = append(kept, e)
		}
	}
	clear(es.all[len(kept):])
	es.all = kept
	if len(kept) == 0 {
		return pass
	}
	live := make(map[string]bool, len(pass))
	for i := range pass {
		live[pass[i].ID] = true
	}
	for _, e := range kept {
		if !live[e.cgroup.ID] { // else another has its name, and the series
			pass = append(pass, e.cgroup)
			pass[len(pass)-1].ended = e
		}
	}
	return pass
}

// done tells whether an ending need not be shown any more.
func (e *ending) done(readers []group, now time.Time) bool {
	if now.Sub(e.added) > endedFor {
		return true
	}
	for _, endpoint := range readers {
		if at, ok := e.shown[endpoint]; !ok || now.Sub(at) <= endedMore {
			return false
		}
	}
	return len(e.shown) > 0
}

// served notes that an endpoint shows the endings of a pass.
func (es *endings) served(s *snapshot, endpoint group, now time.Time) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for i := range s.cgroups {
		e := s.cgroups[i].ended
		if e == nil {
			continue
		}
		if _, ok := e.shown[endpoint]; !ok {
			e.shown[endpoint] = now
		}
	}
}

// lasting tells whether a family is still true of a cgroup that is gone: what
// it used and what it was, but not what it holds.
func (d *declared) lasting() bool {
	return d.typ == metric.Counter || d.field == memMaxUsage || d.field == specStarted || d.field == specCreated
}

// endedTable declares the families about what has ended, of which none is
// cAdvisor's.
func endedTable() []declared {
	row := func(name, unit, help string) declared {
		return declared{name: "strata_container_ended_" + name, help: help, typ: metric.Gauge, unit: unit}
	}
	return []declared{
		row("cpu_seconds", "seconds", "CPU time that a container which has ended had used."),
		row("memory_peak_bytes", "bytes", "Greatest memory usage of a container that has ended."),
		row("oom_kills", "", "Processes of a container that has ended which the kernel killed for want of memory."),
		row("run_seconds", "seconds", "Time for which a container that has ended had run."),
		row("exit_code", "", "Exit code of a container that has ended, as the container runtime tells it: 128 and the signal's number where a signal ended it."),
		row("incomplete", "", "1 if a container that has ended was gone before it could be read at its end, so that its totals lack something, 0 otherwise."),
	}
}

// totals are the values of the families of endedTable.
func (e *ending) totals() [6]float64 {
	v, code := &e.cgroup.values, math.NaN()
	if x := e.exit.Load(); x != nil {
		code = float64(x.code)
	}
	return [6]float64{v[cpuUsage], v[memMaxUsage], v[oomKills], e.run, code, number(!e.complete)}
}

// eachTotal hands over the totals that are known of a cgroup that has ended.
func (b *body) eachTotal(c *Cgroup, add func(f *metric.Family, v float64)) {
	if c.ended == nil {
		return
	}
	for i, v := range c.ended.totals() {
		if !math.IsNaN(v) {
			add(b.ended[i].family, v)
		}
	}
}
