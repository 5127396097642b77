package container

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// Bounds of what is kept of kills.
const (
	// oomKept is how long a total stays after its container was last there: it
	// may be started again.
	oomKept   = 10 * time.Minute
	maxTotals = 1 << 14
)

// ooms are the processes killed for want of memory, counted for each container
// by its name: the counts of the kernel begin anew with each cgroup, and are gone
// with it.
type ooms struct {
	mu      sync.Mutex
	cgroups map[string]*oomCgroup // by id
	totals  map[key]*oomTotal
	order   []key      // of totals; nil when it has to be made
	log     *kernelLog // nil where it cannot be read
}

// oomCgroup is what was counted of the cgroups of one id, of which there may have
// been several in turn.
type oomCgroup struct {
	id              string    // of the container's cgroup: this, or one above
	name            key       // empty while nobody has said who runs in it
	start           float64   // of the last one, NaN where no pass has read it
	gone            time.Time // when the last one was seen to have gone, or zero
	before, counter float64   // by the counters of the earlier ones and of the last
	logged          float64   // by the kernel's log, of all of them
	counted         float64   // what its total has of them
	seen            time.Time
}

type oomTotal struct {
	kills float64
	seen  time.Time
}

// nameOf gives the name under which a container's kills are counted.
func nameOf(who *Container) key {
	if who == nil || who.Sandbox {
		return key{}
	}
	return key{namespace: who.Namespace, pod: who.Pod, container: cmp.Or(who.Container, who.Name)}
}

// oomKillsFamily declares the family of the totals, which is not cAdvisor's.
func oomKillsFamily() declared {
	return declared{name: "strata_container_oom_kills_total", group: groupOOM, typ: metric.Counter, labels: []string{"container", "namespace", "pod"},
		help: "Processes that the kernel killed for want of memory, of all containers that ran under this name since the exporter first saw it; 0 for those that lost none."}
}

// at finds what is kept of the cgroups of an id.
func (o *ooms) at(id string) *oomCgroup {
	x := o.cgroups[id]
	if x == nil {
		if o.cgroups == nil {
			o.cgroups, o.totals = map[string]*oomCgroup{}, map[key]*oomTotal{}
		}
		x = &oomCgroup{start: math.NaN()}
		if len(o.cgroups) < maxTotals {
			o.cgroups[id] = x
		}
	}
	return x
}

// next notes that another cgroup has the id.
func (x *oomCgroup) next() {
	x.before, x.counter, x.gone = x.before+x.counter, 0, time.Time{}
}

// count brings the total of a cgroup's container up to date.
func (o *ooms) count(x *oomCgroup, now time.Time) {
	if x.name == (key{}) {
		return
	}
	t := o.totals[x.name]
	if t == nil {
		if len(o.totals) >= maxTotals {
			return
		}
		t = &oomTotal{}
		o.totals[x.name], o.order = t, nil
	}
	t.seen = now
	if kills := x.kills(); kills > x.counted {
		t.kills += kills - x.counted
		x.counted = kills
	}
}

func (x *oomCgroup) kills() float64 { return max(x.before+x.counter, x.logged) }

// read takes in the reading of a cgroup that is a container's own or in it.
func (o *ooms) read(c, container *Cgroup, now time.Time) {
	x := o.at(c.ID)
	n := c.values[oomKills]
	if n < x.counter {
		x.next()
	}
	x.id, x.seen = container.ID, now
	if name := nameOf(container.who); name != (key{}) {
		x.name = name
	}
	if n > x.counter { // NaN is not
		x.counter = n
	}
	o.count(x, now)
}

// readLive is read for one that was there.
func (o *ooms) readLive(c, container *Cgroup, now time.Time) {
	x, start := o.at(c.ID), c.values[specStarted]
	if c.At.Before(x.gone) {
		return // it has been counted at its end
	}
	if !x.gone.IsZero() || start > x.start {
		x.next()
	}
	x.start = start
	o.read(c, container, now)
}

// pass takes in a pass and what the kernel's log has to tell. who says what is
// known of a container.
func (o *ooms) pass(all []Cgroup, who func(*Cgroup) *Container, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var above *Cgroup // the container in whose cgroup the next ones may be
	for i := range all {
		c := &all[i]
		switch {
		case c.ended != nil:
		case nameOf(c.who) != (key{}):
			above = c
			o.readLive(c, c, now)
		case above != nil && c.values[oomKills] > 0 && strings.HasPrefix(c.ID, above.ID+"/"):
			o.readLive(c, above, now)
		}
	}
	if o.log != nil {
		o.log.victims(func(cgroup string) { o.victim(cgroup, now) })
	}
	for id, x := range o.cgroups {
		if x.name == (key{}) {
			x.name = nameOf(who(&Cgroup{ID: x.id, place: placeOf(x.id)}))
		}
		if now.Sub(x.seen) >= oomKept {
			delete(o.cgroups, id)
		} else if x.kills() > x.counted {
			o.count(x, now)
		}
	}
	for name, t := range o.totals {
		if now.Sub(t.seen) >= oomKept {
			delete(o.totals, name)
			o.order = nil
		}
	}
}

// victim takes in a line of the log. The process may have been in a cgroup below
// that of its container.
func (o *ooms) victim(id string, now time.Time) {
	for at := id; at != ""; at = parentRel(at) {
		if placeOf(at).containerID != "" {
			x := o.at(id)
			x.id, x.seen = at, now
			x.logged++
			return
		}
	}
}

// ended takes in the last reading of a cgroup that is gone.
func (o *ooms) ended(c *Cgroup, now time.Time) {
	if c.containerID == "" || c.who != nil && c.who.Sandbox {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.at(c.ID)
	if !x.gone.IsZero() {
		x.next() // each ends once
	}
	o.read(c, c, now)
	x.gone = now
}

// addTo shows the totals.
func (o *ooms) addTo(b *metric.Batch, f *metric.Family) {
	if f == nil {
		return // not among the groups
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.order == nil {
		for name := range o.totals {
			o.order = append(o.order, name)
		}
		slices.SortFunc(o.order, func(a, b key) int {
			return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.pod, b.pod), strings.Compare(a.container, b.container))
		})
	}
	for _, name := range o.order {
		b.Add(f, o.totals[name].kills, name.container, name.namespace, name.pod)
	}
}

func (o *ooms) close() {
	if o.log != nil {
		o.log.close()
		o.log = nil
	}
}

// openKernelLog has kills seen that the cgroups do not tell any more. Without it
// all else works.
func (e *Exporter) openKernelLog() {
	if e.cadvisor.oomKills == nil {
		return
	}
	var err error
	if e.ooms.log, err = openKernelLog(e.o.KernelLog); err != nil {
		e.o.Logger.Debug("counting processes killed for want of memory by their cgroups alone", "reason", err)
	}
}

// whoIs gives what is known of a container.
func (e *Exporter) whoIs(c *Cgroup) *Container {
	who, _ := e.directoryOf(c).peek(c)
	return who
}
