// Package node measures the host: processors, memory, disks, file systems and
// network devices, read from /proc, /sys and netlink at each scrape. Families,
// labels, values and flags are those of Prometheus' node_exporter 1.12, so
// that its dashboards and alerts work unchanged.
//
// A collector is one file of this package and one line in the function
// collectors: its parser is a function of bytes, apart from what it emits, and
// names file and line in its errors.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// Options of an Exporter. DefaultOptions gives node_exporter's defaults; the
// zero value of a filter lets everything pass.
type Options struct {
	// Procfs, Sysfs, Rootfs and UdevData are where /proc, /sys, / and
	// /run/udev/data of the measured host are found.
	Procfs, Sysfs, Rootfs, UdevData string
	// Enabled switches collectors by name; those not named have their default.
	Enabled map[string]bool
	// DisableDefaults switches off all collectors that Enabled does not name.
	DisableDefaults bool
	// Timeout is what each collector has for a scrape. 0 means 5 s.
	Timeout time.Duration
	// MaxRequests bounds the scrapes served at once. 0 means no bound.
	MaxRequests int
	// Registry is the exporter's own metrics, served behind the host's. nil
	// means none.
	Registry prometheus.Gatherer
	// Registerer gets the metrics of the handler of scrapes itself. nil means
	// they are not kept.
	Registerer prometheus.Registerer
	// Logger, nil means slog.Default().
	Logger *slog.Logger

	ARP         ARPOptions
	Bcache      BcacheOptions
	CPU         CPUOptions
	Diskstats   DiskstatsOptions
	Ethtool     EthtoolOptions
	Filesystem  FilesystemOptions
	Hwmon       HwmonOptions
	Infiniband  InfinibandOptions
	Interrupts  InterruptsOptions
	IPVS        IPVSOptions
	Netclass    NetclassOptions
	Netdev      NetdevOptions
	Netstat     NetstatOptions
	NTP         NTPOptions
	Perf        PerfOptions
	PCIDevice   PCIDeviceOptions
	Powersupply PowersupplyOptions
	Processes   ProcessesOptions
	Qdisc       QdiscOptions
	Rapl        RaplOptions
	Runit       RunitOptions
	Slabinfo    SlabinfoOptions
	Stat        StatOptions
	Supervisord SupervisordOptions
	Sysctl      SysctlOptions
	Systemd     SystemdOptions
	Tapestats   TapestatsOptions
	Textfile    TextfileOptions
	Vmstat      VmstatOptions
	Wifi        WifiOptions

	// cpuFrequency is shared by the collectors cpu and cpufreq.
	cpuFrequency *metric.Family
	// statText goes from the collector cpu to the collector stat.
	statText *statText
	// systemBus is the address of D-Bus; empty means the usual one.
	systemBus string
}

// DefaultOptions are those of a strata-node without flags.
func DefaultOptions() Options {
	return Options{
		Procfs: "/proc", Sysfs: "/sys", Rootfs: "/", UdevData: "/run/udev/data",
		MaxRequests: 40,
		ARP:         ARPOptions{Netlink: true},
		CPU:         CPUOptions{Guest: true},
		Diskstats:   DiskstatsOptions{Devices: Filter{Exclude: mustPattern(defaultDisksExcluded)}},
		Ethtool:     EthtoolOptions{Metrics: mustPattern(".*")},
		Filesystem: FilesystemOptions{
			MountPoints:  Filter{Exclude: mustPattern(defaultMountPointsExcluded)},
			Types:        Filter{Exclude: mustPattern(defaultTypesExcluded)},
			MountTimeout: defaultMountTimeout,
			StatWorkers:  defaultStatWorkers,
		},
		Interrupts:  InterruptsOptions{Zeros: true},
		IPVS:        IPVSOptions{BackendLabels: IPVSBackendLabels()},
		Netclass:    NetclassOptions{Ignored: mustPattern("^$")},
		Netdev:      NetdevOptions{Netlink: true},
		Netstat:     NetstatOptions{Fields: mustPattern(defaultNetstatFields)},
		NTP:         defaultNTP(),
		Powersupply: PowersupplyOptions{Ignored: mustPattern(nothingIgnored)},
		Processes:   ProcessesOptions{TopBy: TopByName},
		Runit:       RunitOptions{ServiceDir: "/etc/service"},
		Slabinfo:    SlabinfoOptions{Slabs: Filter{Include: mustPattern(".*")}},
		Supervisord: SupervisordOptions{URL: "http://localhost:9001/RPC2"},
		Systemd:     SystemdOptions{Units: Filter{Include: mustWholeName(defaultUnits), Exclude: mustWholeName(defaultUnitsExcluded)}},
		Tapestats:   TapestatsOptions{Ignored: mustPattern(nothingIgnored)},
		Vmstat:      VmstatOptions{Fields: mustPattern(defaultVmstat)},
	}
}

// Exporter measures one host. It is safe for concurrent use, and several may
// run in one process.
type Exporter struct {
	options Options
	entries []collect.Entry
	all     *collect.Runner

	mu       sync.Mutex
	filtered map[string]*collect.Runner // guarded by mu, by names joined with commas
}

// maxFiltered bounds the sets of collectors whose runner is kept between
// scrapes. Each scrape job with a filter of its own needs one.
const maxFiltered = 64

// New makes an exporter. It fails when Enabled names a collector that does not
// exist. Nothing is read before the first scrape.
func New(o Options) (*Exporter, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.cpuFrequency = newCPUFrequency()
	if o.on("cpu") && o.on("stat") {
		o.statText = &statText{}
	}
	e := &Exporter{options: o, filtered: map[string]*collect.Runner{}}
	list := collectors()
	for name := range o.Enabled {
		if !slices.ContainsFunc(list, func(d definition) bool { return d.name == name }) {
			return nil, fmt.Errorf("no collector is named %s", name)
		}
	}
	if o.Netclass.Netlink && o.Netclass.WithStats && o.on("netclass") && o.on("netdev") {
		return nil, errors.New("--collector.netclass_rtnl.with-stats has the families of the collector netdev; give --no-collector.netdev too")
	}
	if o.on("ntp") {
		if err := o.NTP.check(); err != nil {
			return nil, err
		}
	}
	for _, d := range list {
		if !o.enabled(d) {
			continue
		}
		entry := collect.Entry{Name: d.name, Collector: newExclusive(d.make(&e.options))}
		if d.timeout != nil {
			entry.Timeout = d.timeout(&o)
		}
		e.entries = append(e.entries, entry)
	}
	var err error
	if e.all, err = e.newRunner(e.entries); err != nil {
		return nil, err
	}
	for _, entry := range e.entries {
		if c, ok := entry.Collector.(*exclusive).Collector.(*textfile); ok {
			c.reserve(e.all.Families())
		}
	}
	return e, nil
}

func (o *Options) enabled(d definition) bool {
	if on, ok := o.Enabled[d.name]; ok {
		return on
	}
	return d.enabled && !o.DisableDefaults
}

// on tells whether the collector of this name runs.
func (o *Options) on(name string) bool {
	return slices.ContainsFunc(collectors(), func(d definition) bool { return d.name == name && o.enabled(d) })
}

func (o *Options) procPath(elem ...string) string {
	return filepath.Join(o.Procfs, filepath.Join(elem...))
}

func (o *Options) sysPath(elem ...string) string {
	return filepath.Join(o.Sysfs, filepath.Join(elem...))
}

func (e *Exporter) newRunner(entries []collect.Entry) (*collect.Runner, error) {
	return collect.New(collect.Options{Prefix: "node", Timeout: e.options.Timeout, Logger: e.options.Logger}, entries...)
}

// Collectors are the names of the collectors that are on, sorted.
func (e *Exporter) Collectors() []string {
	names := make([]string, len(e.entries))
	for i, entry := range e.entries {
		names[i] = entry.Name
	}
	return names
}

// Families lists the declared families. Those of /proc/meminfo are named by
// the kernel and not among them.
func (e *Exporter) Families() []*metric.Family { return e.all.Families() }

// Collect adds the samples of all collectors that are on. It never fails: each
// collector's failure is in its own samples.
func (e *Exporter) Collect(ctx context.Context, b *metric.Batch) error {
	return e.all.Collect(ctx, b)
}

// runnerKey is the context key of the runner that a request chose.
type runnerKey struct{}

// Handler serves /metrics. As node_exporter it takes the parameters collect[]
// and exclude[], each repeatable, to run only some of the collectors.
func (e *Exporter) Handler() http.Handler {
	metrics := metric.Handler(metric.HandlerOptions{
		Registry:    e.options.Registry,
		Registerer:  e.options.Registerer,
		Logger:      e.options.Logger,
		MaxInFlight: e.options.MaxRequests,
		Collect: func(ctx context.Context, b *metric.Batch) error {
			if r, ok := ctx.Value(runnerKey{}).(*collect.Runner); ok {
				return r.Collect(ctx, b)
			}
			return e.all.Collect(ctx, b)
		},
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			metrics.ServeHTTP(w, r)
			return
		}
		query := r.URL.Query()
		runner, err := e.choose(query["collect[]"], query["exclude[]"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		metrics.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), runnerKey{}, runner)))
	})
}

// choose gives the runner of the collectors that a request asks for.
func (e *Exporter) choose(include, exclude []string) (*collect.Runner, error) {
	switch {
	case len(include) > 0 && len(exclude) > 0:
		return nil, errors.New("collect[] and exclude[] cannot be combined")
	case len(include) == 0 && len(exclude) == 0:
		return e.all, nil
	}
	for _, name := range include {
		if err := e.check(name); err != nil {
			return nil, err
		}
	}
	var key strings.Builder
	var entries []collect.Entry
	for _, entry := range e.entries {
		if slices.Contains(include, entry.Name) || len(include) == 0 && !slices.Contains(exclude, entry.Name) {
			entries = append(entries, entry)
			key.WriteString(entry.Name + ",")
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.filtered[key.String()]; ok {
		return r, nil
	}
	r, err := e.newRunner(entries)
	if err == nil && len(e.filtered) < maxFiltered {
		e.filtered[key.String()] = r
	}
	return r, err
}

// check tells a collector that is off from one that does not exist.
func (e *Exporter) check(name string) error {
	if slices.Contains(e.Collectors(), name) {
		return nil
	}
	if slices.ContainsFunc(collectors(), func(d definition) bool { return d.name == name }) {
		return fmt.Errorf("collector %s is switched off; --collector.%s switches it on", name, name)
	}
	return fmt.Errorf("no collector is named %q", name)
}

// exclusive keeps the promise of collect.Collector, that it is not called
// before it has returned, also between runners that share the collector.
type exclusive struct {
	collect.Collector
	token chan struct{}
}

func newExclusive(c collect.Collector) *exclusive {
	return &exclusive{Collector: c, token: make(chan struct{}, 1)}
}

// Collect waits for its turn no longer than the context allows.
func (e *exclusive) Collect(ctx context.Context, b *metric.Batch) error {
	select {
	case e.token <- struct{}{}: // at once, without a timer for the context
	default:
		select {
		case e.token <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("still at work for another scrape: %w", ctx.Err())
		}
	}
	defer func() { <-e.token }()
	return e.Collector.Collect(ctx, b)
}
