// Package container shows what every container uses: CPU, memory and network,
// with cAdvisor's names, types, labels and meaning.
//
// The way of a number: Source reads the cgroups in one pass when a scraper
// asks (tree.go walks, read.go reads, parse.go parses), Identity tells which
// container or pod a cgroup belongs to (identity.go keeps what cri.go asked),
// and body.go says it in three ways: as cAdvisor does, and as the kubelet does
// at /metrics/cadvisor and /metrics/resource. There is no loop in the
// background: each value was read for the scrape that shows it, or for another
// one less than a second before.
package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/internal/metric"
)

// Options of an Exporter. The zero value is a host that is read as it is, with
// the runtime that is found on it.
type Options struct {
	// Rootfs is where the host's root is mounted; empty means /. The paths
	// below are under it when they are empty.
	Rootfs string
	// Procfs is where the host's proc is mounted, empty means <Rootfs>/proc.
	Procfs string
	// Cgroupfs is where the cgroup file systems are mounted, empty means
	// <Rootfs>/sys/fs/cgroup.
	Cgroupfs string
	// RuntimeEndpoint is the socket of a runtime with CRI, as
	// unix:///run/containerd/containerd.sock. Empty means the first of the
	// well-known ones under Rootfs, and none when there is none.
	RuntimeEndpoint string
	// DockerEndpoint and PodmanEndpoint are the sockets of Docker and podman, as
	// unix:///run/docker.sock, or NoEndpoint. Empty means the well-known one
	// under Rootfs, if it is there.
	DockerEndpoint, PodmanEndpoint string
	// RuntimeTimeout bounds one listing of the runtime; 0 means 10 s. A
	// scrape waits for it no longer than 2 s.
	RuntimeTimeout time.Duration
	// KernelLog is the device of the kernel's log, empty means <Rootfs>/dev/kmsg.
	KernelLog string
	// Sysfs is where the host's sys is mounted, empty means <Rootfs>/sys.
	Sysfs string
	// Groups are the groups of families to show, see SelectGroups.
	Groups Selection
	// Raw chooses the cgroups that are of no container, for /metrics.
	Raw RawCgroups
	// NoContainerLabels leaves the containers' own labels out of /metrics but
	// for those in ContainerLabels.
	NoContainerLabels bool
	ContainerLabels   []string
	// Env are the beginnings of the names of environment variables that are
	// shown of containers of Docker and podman, unless NoContainerLabels.
	Env []string
	// Registry gets metrics of the exporter itself. nil means none.
	Registry prometheus.Registerer
	// Gatherer is written behind /metrics. nil means nothing.
	Gatherer prometheus.Gatherer
	// Logger, nil means none.
	Logger *slog.Logger
	// Source and Identity replace the cgroups and the runtime of the machine,
	// for tests. nil means those.
	Source   Source
	Identity Identity
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// shareFor is how old a pass may be to be shown to another reader: a second,
// less what one that comes each second may be early.
const shareFor = 900 * time.Millisecond

// askedFor is how long a pass has the groups of a reader that does not come
// back.
const askedFor = 2 * time.Minute

// runtimeWait bounds how long a scrape waits for the runtime.
const runtimeWait = 2 * time.Second

// maxScrapes bounds the scrapes of one endpoint served at once.
const maxScrapes = 8

// Exporter reads and shows containers. It is safe for concurrent use; Close
// ends it.
type Exporter struct {
	o         Options
	directory *directory
	own       ownMetrics
	cadvisor  *body // /metrics
	kubelet   *body // /metrics/cadvisor
	resource  resourceBody
	endings   endings
	exits     *exitAsker
	runtimes  *runtimes
	answers   answers
	ooms      ooms
	unfollow  func() // ends the following of the runtime

	// turn is held by the one who makes a pass; a channel, since those who
	// wait for it may lose patience.
	turn chan struct{}
	last *snapshot // under turn
	// asked is when each set of groups was wanted last, under turn. At the
	// start all are taken to have been: who reads what is not known yet.
	asked map[group]time.Time
	// hardware is what the machine has, under turn.
	hardware *machine

	trouble bool // under turn: the last pass had errors, which was logged
}

// snapshot is a pass with the identities of its cgroups. It is not changed once
// it is made.
type snapshot struct {
	taken    time.Time
	cgroups  []Cgroup
	kubepods bool // the kubelet has a tree here
	failed   bool
	groups   group // that were read
}

// New makes an Exporter. It fails when no cgroup file system is mounted or the
// endpoint is not of the right form; a runtime that does not answer is not an
// error yet.
func New(o Options) (*Exporter, error) {
	o = withDefaults(o)
	e := &Exporter{o: o, turn: make(chan struct{}, 1)}
	var err error
	if e.cadvisor, err = newBody([]string{"id", "image", "name"}, o.Groups.of(defaultGroups, allGroups)); err != nil {
		return nil, err
	}
	if e.kubelet, err = newBody([]string{"container", "id", "image", "name", "namespace", "pod"}, o.kubeletGroups()); err != nil {
		return nil, err
	}
	e.resource = newResourceBody()
	now := o.Now()
	e.asked = map[group]time.Time{e.cadvisor.groups: now, e.kubelet.groups: now, resourceGroups: now}
	if e.own, err = newOwnMetrics(o.Registry); err != nil {
		return nil, fmt.Errorf("registering the metrics of the container exporter: %w", err)
	}
	if o.Source == nil {
		if e.o.Source, err = newCgroupSource(o); err != nil {
			return nil, err
		}
	}
	if o.Identity == nil {
		if e.o.Identity, err = newCRI(o.RuntimeEndpoint, o.Rootfs); err != nil {
			return nil, err
		}
	}
	if e.runtimes, err = e.newRuntimes(); err != nil {
		return nil, err
	}
	e.directory = newDirectory(e.o.Identity, o.RuntimeTimeout, runtimeWait, o.Now, func(err error) { e.answered("", err) })
	e.endings.own = &e.own
	e.openKernelLog()
	e.exits = newExitAsker(e)
	e.follow()
	if s, ok := e.o.Source.(*cgroupSource); ok {
		e.watch(s)
	}
	return e, nil
}

// watch has the ends of containers seen from now on. Without it all else works.
func (e *Exporter) watch(s *cgroupSource) {
	var err error
	s.watcher, err = startWatcher(s, hooks{
		exited: func(c *Cgroup) {
			if c.containerID != "" {
				e.directoryOf(c).learn(c.containerID) // while the runtime still knows it
			}
		},
		ended: func(one *ending) {
			d := e.directoryOf(&one.cgroup)
			one.cgroup.who, one.cgroup.pod = d.peek(&one.cgroup)
			if d != e.directory {
				d.forget(one.cgroup.containerID)
			}
			e.ooms.ended(&one.cgroup, e.o.Now())
			e.endings.add(one)
			e.exits.start(one)
		},
		unwatched: e.own.unwatched.Inc,
	})
	switch {
	case err == nil:
		e.warnBlind(s)
	case !errors.Is(err, errNotReal):
		e.o.Logger.Warn("the totals of containers that have ended are not shown", "err", err)
	}
}

func withDefaults(o Options) Options {
	o.Rootfs = firstOf(o.Rootfs, "/")
	o.Procfs = firstOf(o.Procfs, filepath.Join(o.Rootfs, "proc"))
	o.Sysfs = firstOf(o.Sysfs, filepath.Join(o.Rootfs, "sys"))
	o.KernelLog = firstOf(o.KernelLog, filepath.Join(o.Rootfs, "dev/kmsg"))
	o.Cgroupfs = firstOf(o.Cgroupfs, filepath.Join(o.Rootfs, "sys/fs/cgroup"))
	if o.RuntimeTimeout == 0 {
		o.RuntimeTimeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Close ends the connections to the runtimes and what is under way on them, and
// closes the files of cgroups. No scrape may be served afterwards.
func (e *Exporter) Close() error {
	var err error
	if c, ok := e.o.Source.(io.Closer); ok {
		err = c.Close()
	}
	e.exits.close()
	e.unfollow()
	e.ooms.close()
	return errors.Join(err, e.directory.close(), e.runtimes.close())
}

// Handler serves /metrics as cAdvisor does, without times, so that Prometheus
// marks what is gone as stale.
func (e *Exporter) Handler() http.Handler { return e.handler(e.Collect, e.o.Gatherer) }

// CAdvisorHandler serves what the kubelet serves at /metrics/cadvisor: exactly
// its labels, and the time of each reading. Of the exporter itself it has what
// tells whether the rest is whole, since a cluster reads nothing else.
func (e *Exporter) CAdvisorHandler() http.Handler { return e.handler(e.CollectCAdvisor, e.own.all) }

// ResourceHandler serves what the kubelet serves at /metrics/resource, the
// source of metrics.k8s.io.
func (e *Exporter) ResourceHandler() http.Handler { return e.handler(e.CollectResource, nil) }

func (e *Exporter) handler(collect func(context.Context, *metric.Batch) error, g prometheus.Gatherer) http.Handler {
	return metric.Handler(metric.HandlerOptions{Collect: collect, Registry: g, Logger: e.o.Logger, MaxInFlight: maxScrapes})
}

// Families lists what /metrics can show.
func (e *Exporter) Families() []*metric.Family {
	all := e.cadvisor.families()
	for _, row := range e.cadvisor.ended {
		all = append(all, row.family)
	}
	return append(all, e.cadvisor.ownFamilies()...)
}

// lock waits for the turn.
func (e *Exporter) lock(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for another reading of the cgroups: %w", ctx.Err())
	}
}

func (e *Exporter) unlock() { <-e.turn }

// snapshot gives a pass that is at most shareFor old and has the groups that
// are wanted. A pass has those of all who read of late, so that they share it.
func (e *Exporter) snapshot(ctx context.Context, want group) (*snapshot, error) {
	if err := e.lock(ctx); err != nil {
		return nil, err
	}
	defer e.unlock()
	now := e.o.Now()
	e.asked[want] = now
	if age := now.Sub(e.lastTaken()); e.last != nil && age >= 0 && age < shareFor && want&^e.last.groups == 0 {
		return e.last, nil
	}
	var readers []group
	for groups, at := range e.asked {
		if now.Sub(at) < askedFor {
			want |= groups
			if groups != resourceGroups {
				readers = append(readers, groups)
			}
		}
	}
	s, err := e.take(ctx, want, readers)
	if err != nil {
		return nil, err
	}
	e.last = s
	return s, nil
}

func (e *Exporter) lastTaken() time.Time {
	if e.last == nil {
		return time.Time{}
	}
	return e.last.taken
}

// take makes a pass. readers are the endpoints that show what has ended.
func (e *Exporter) take(ctx context.Context, want group, readers []group) (*snapshot, error) {
	begin := e.o.Now()
	pass, err := e.o.Source.Read(ctx, want)
	if err != nil {
		return nil, err
	}
	e.own.readErrors.Add(float64(pass.Failed))
	s := &snapshot{cgroups: e.endings.into(pass.Cgroups, readers, begin), failed: pass.Failed > 0, groups: want}
	for i := range s.cgroups {
		s.kubepods = s.kubepods || s.cgroups[i].kubepods
	}
	who := e.lookup(ctx, s.cgroups)
	whoFailed := who.anyFailed()
	s.failed = s.failed || whoFailed != nil
	unknown := s.identify(&who)
	e.own.unidentified.Set(float64(unknown))
	if want&groupOOM != 0 {
		e.ooms.pass(s.cgroups, e.whoIs, begin)
	}
	if want&groupDisk != 0 {
		e.addLayers(s.cgroups, begin)
	}
	failed, err := e.readNetworks(s, want)
	s.failed = s.failed || failed > 0
	e.own.readErrors.Add(float64(failed))
	e.logTrouble(errors.Join(whoFailed, pass.Err, err), pass.Failed+failed)
	s.taken = e.o.Now()
	e.own.duration.Set(s.taken.Sub(begin).Seconds())
	return s, nil
}

// identify tells each cgroup who runs in it, and leaves out those of which the
// runtime must know but that it has not told of yet: a container is shown under
// its full name from the first or not at all.
func (s *snapshot) identify(who *views) (unknown int) {
	kept := s.cgroups[:0]
	for i := range s.cgroups {
		c := &s.cgroups[i]
		of, waits := who.viewOf(c)
		if c.ended == nil || c.who == nil && c.pod == nil {
			c.who, c.pod = of.byID[c.containerID], of.pods[c.podUID]
		}
		if c.who != nil && c.who.Created.After(time.Unix(0, 0)) {
			c.values[specCreated] = float64(c.who.Created.Unix())
		}
		switch {
		case of.absent, c.who != nil, c.pod != nil:
		case c.podUID != "", c.containerID != "" && (c.kubepods || waits):
			unknown++
			continue
		}
		kept = append(kept, *c)
	}
	s.cgroups = kept
	return unknown
}

// logTrouble logs the first of several passes with errors, not each.
func (e *Exporter) logTrouble(err error, files int) {
	if err != nil && !e.trouble {
		e.o.Logger.Warn("not all of the containers could be read", "err", err, "files", files)
	}
	e.trouble = err != nil
}

// ownMetrics are about the exporter itself.
type ownMetrics struct {
	all *prometheus.Registry

	readErrors, runtimeErrors         prometheus.Counter
	unidentified, duration, runtimeUp prometheus.Gauge

	ended, endedIncomplete, endedLost, unwatched prometheus.Counter
}

func newOwnMetrics(r prometheus.Registerer) (ownMetrics, error) {
	m := ownMetrics{
		readErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "strata_container_read_errors_total",
			Help: "Files and directories of cgroups and processes that could not be read or made no sense."}),
		runtimeErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "strata_container_runtime_errors_total",
			Help: "Listings of container runtimes that failed."}),
		unidentified: prometheus.NewGauge(prometheus.GaugeOpts{Name: "strata_container_unidentified",
			Help: "Cgroups of pods and containers that are not shown, since the container runtime has not told whose they are."}),
		duration: prometheus.NewGauge(prometheus.GaugeOpts{Name: "strata_container_pass_duration_seconds",
			Help: "Time that the last pass over the cgroups took."}),
		runtimeUp: prometheus.NewGauge(prometheus.GaugeOpts{Name: "strata_container_runtime_up",
			Help: "1 if each container runtime that is there answered the last time it was asked, 0 otherwise."}),
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "strata_container_" + name, Help: help})
	}
	m.ended = counter("ended_total", "Cgroups that were removed after processes had run in them.")
	m.endedIncomplete = counter("ended_incomplete_total", "Those of them that were removed before they could be read after their last process.")
	m.endedLost = counter("ended_lost_total", "Those of them that no scrape showed: nobody came for five minutes, or there were too many, or another of the same name ended.")
	m.unwatched = counter("unwatched_total", "Cgroups of which the end is not seen, since there are too many.")
	m.all = prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{m.readErrors, m.runtimeErrors, m.unidentified, m.duration, m.runtimeUp,
		m.ended, m.endedIncomplete, m.endedLost, m.unwatched} {
		if err := m.all.Register(c); err != nil {
			return m, err
		}
	}
	if r == nil {
		return m, nil
	}
	return m, r.Register(m.all)
}
