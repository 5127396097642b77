package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strata-metrics/strata/internal/metric"
)

// field is one number that is read of a cgroup. Unit and meaning are those of
// the family in declared that shows it.
type field int

const (
	cpuUsage field = iota
	cpuUser
	cpuSystem
	cfsPeriods
	cfsThrottledPeriods
	cfsThrottled
	cfsBurstPeriods
	cfsBurst
	memCache
	memRSS
	memKernel
	memMapped
	memSwap
	memFailcnt
	memUsage
	memMaxUsage
	memWorkingSet
	memActiveFile
	memInactiveFile
	memFaults
	memMajorFaults
	memFaultsAll
	memMajorFaultsAll
	memEventsHigh
	memEventsMax
	memDirty
	memWriteback
	memScanned
	memStolen
	memRefaultFile
	memRefaultAnon
	specCreated
	specStarted
	specPeriod
	specQuota
	specShares
	specMemory
	specSwap
	specReservation
	fields
)

// The groups of families that can be switched, by cAdvisor's names.
const (
	groupCPU     = "cpu"
	groupMemory  = "memory"
	groupNetwork = "network"
)

// knownGroups are those of cAdvisor that Strata does not have yet. It is no
// mistake to switch them off.
func knownGroups() []string {
	return []string{"advtcp", "app", "cpuLoad", "cpu_topology", "cpuset", "disk", "diskIO", "hugetlb", "memory_numa",
		"oom_event", "percpu", "perf_event", "pressure", "process", "referenced_memory", "resctrl", "sched", "tcp", "udp"}
}

// ErrGroup is returned for a group of metrics that does not exist.
var ErrGroup = errors.New("no such group of metrics")

// Groups turns the values of --enable_metrics and --disable_metrics, lists with
// commas, into the groups to show. As in cAdvisor only one of the two may be
// given; a group that cannot be shown may be disabled but not enabled.
func Groups(enable, disable string) ([]string, error) {
	all := []string{groupCPU, groupMemory, groupNetwork}
	if enable != "" && disable != "" {
		return nil, fmt.Errorf("%w: --enable_metrics and --disable_metrics exclude each other; give one of them", ErrGroup)
	}
	for _, g := range list(enable) {
		if !slices.Contains(all, g) {
			return nil, fmt.Errorf("%w as %q in --enable_metrics: this version has %s", ErrGroup, g, strings.Join(all, ", "))
		}
	}
	for _, g := range list(disable) {
		if !slices.Contains(all, g) && !slices.Contains(knownGroups(), g) {
			return nil, fmt.Errorf("%w as %q in --disable_metrics: there are %s", ErrGroup, g, strings.Join(slices.Concat(all, knownGroups()), ", "))
		}
	}
	if enable != "" {
		return list(enable), nil
	}
	return slices.DeleteFunc(all, func(g string) bool { return slices.Contains(list(disable), g) }), nil
}

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// declared is a family of a container as the table below says it: cAdvisor's
// name, type, labels and meaning.
type declared struct {
	name   string
	help   string
	typ    metric.Type
	unit   string
	group  string   // empty: always shown
	labels []string // behind those that say which container it is
	field  field
	values []string // of labels
	// untimed samples carry no time on the kubelet's endpoints: they are
	// facts of the container, not readings.
	untimed bool
}

// table lists every family that is made of fields. A family with several
// samples stands in it once for each, in a row.
func table() []declared { return slices.Concat(cpuTable(), memoryTable(), specTable()) }

// maker makes rows of one group.
func maker(prefix, group string) func(name string, t metric.Type, unit string, f field, help string) declared {
	return func(name string, t metric.Type, unit string, f field, help string) declared {
		return declared{name: prefix + name, help: help, typ: t, unit: unit, group: group, field: f}
	}
}

func cpuTable() []declared {
	const counter = metric.Counter
	row := maker("container_cpu_", groupCPU)
	usage := row("usage_seconds_total", counter, "seconds", cpuUsage, "CPU time used.")
	usage.labels, usage.values = []string{"cpu"}, []string{"total"}
	return []declared{
		usage,
		row("user_seconds_total", counter, "seconds", cpuUser, "CPU time used in user mode."),
		row("system_seconds_total", counter, "seconds", cpuSystem, "CPU time used in the kernel."),
		row("cfs_periods_total", counter, "", cfsPeriods, "Periods of the CPU quota in which the container wanted to run."),
		row("cfs_throttled_periods_total", counter, "", cfsThrottledPeriods, "Periods in which the CPU quota ran out."),
		row("cfs_throttled_seconds_total", counter, "seconds", cfsThrottled, "Time for which the CPU quota held the container back."),
		row("cfs_burst_periods_total", counter, "", cfsBurstPeriods, "Periods in which saved CPU quota was used."),
		row("cfs_burst_seconds_total", counter, "seconds", cfsBurst, "CPU time used from saved quota."),
	}
}

func memoryTable() []declared {
	const counter, gauge = metric.Counter, metric.Gauge
	row := maker("container_memory_", groupMemory)
	failures := func(f field, kind, scope string) declared {
		d := row("failures_total", counter, "", f, "Page faults, by whether they needed the disk (pgmajfault), of the cgroup alone and with those below it.")
		d.labels, d.values = []string{"failure_type", "scope"}, []string{kind, scope}
		return d
	}
	return []declared{
		row("cache", gauge, "bytes", memCache, "Page cache, tmpfs included."),
		row("rss", gauge, "bytes", memRSS, "Anonymous memory."),
		row("kernel_usage", gauge, "bytes", memKernel, "Memory of the kernel for the container."),
		row("mapped_file", gauge, "bytes", memMapped, "Files mapped into memory."),
		row("swap", gauge, "bytes", memSwap, "Swap used."),
		row("failcnt", counter, "", memFailcnt, "Times that memory usage met its limit."),
		row("usage_bytes", gauge, "bytes", memUsage, "Memory used, page cache included."),
		row("max_usage_bytes", gauge, "bytes", memMaxUsage, "Greatest memory usage so far."),
		row("working_set_bytes", gauge, "bytes", memWorkingSet, "Memory used without inactive files: what cannot easily be taken back."),
		row("total_active_file_bytes", gauge, "bytes", memActiveFile, "Page cache in active use."),
		row("total_inactive_file_bytes", gauge, "bytes", memInactiveFile, "Page cache not in active use."),
		failures(memFaults, "pgfault", "container"),
		failures(memMajorFaults, "pgmajfault", "container"),
		failures(memFaultsAll, "pgfault", "hierarchy"),
		failures(memMajorFaultsAll, "pgmajfault", "hierarchy"),
		row("events_high_total", counter, "", memEventsHigh, "Times that memory.high slowed the container down (cgroup v2)."),
		row("events_max_total", counter, "", memEventsMax, "Times that memory was about to pass memory.max (cgroup v2)."),
		row("file_dirty_bytes", gauge, "bytes", memDirty, "Page cache changed and not yet on disk."),
		row("file_writeback_bytes", gauge, "bytes", memWriteback, "Page cache on its way to disk."),
		row("pgscan_total", counter, "", memScanned, "Pages looked at to take memory back (cgroup v2)."),
		row("pgsteal_total", counter, "", memStolen, "Pages taken back (cgroup v2)."),
		row("workingset_refault_file_total", counter, "", memRefaultFile, "File pages taken back and needed again."),
		row("workingset_refault_anon_total", counter, "", memRefaultAnon, "Anonymous pages taken back and needed again."),
	}
}

// specTable lists what is fixed for a container, whatever the groups.
func specTable() []declared {
	row := func(name, unit string, f field, help string) declared {
		return declared{name: "container_" + name, help: help, typ: metric.Gauge, unit: unit, field: f, untimed: true}
	}
	return []declared{
		row("creation_time_seconds", "seconds", specCreated, "When the container was made, in Unix time."),
		row("start_time_seconds", "seconds", specStarted, "When the container's cgroup was made, in Unix time."),
		row("spec_cpu_period", "", specPeriod, "Period of the CPU quota in microseconds."),
		row("spec_cpu_quota", "", specQuota, "CPU quota of a period in microseconds."),
		row("spec_cpu_shares", "", specShares, "CPU shares."),
		row("spec_memory_limit_bytes", "bytes", specMemory, "Memory limit, 0 for none."),
		row("spec_memory_swap_limit_bytes", "bytes", specSwap, "Limit of swap (cgroup v2) or of memory and swap (cgroup v1), 0 for none."),
		row("spec_memory_reservation_limit_bytes", "bytes", specReservation, "Memory that is kept for the container, 0 for none."),
	}
}

// networkTable lists the families of interfaces in the order of
// Interface.Counters.
func networkTable() []declared {
	var out []declared
	for _, way := range []struct{ name, past string }{{"receive", "received"}, {"transmit", "transmitted"}} {
		for _, what := range []struct{ name, unit, help string }{
			{"bytes", "bytes", "Bytes " + way.past + "."},
			{"packets", "", "Packets " + way.past + "."},
			{"errors", "", "Errors on packets to be " + way.past + "."},
			{"packets_dropped", "", "Packets dropped instead of " + way.past + "."},
		} {
			out = append(out, declared{
				name: "container_network_" + way.name + "_" + what.name + "_total", help: what.help, typ: metric.Counter,
				unit: what.unit, group: groupNetwork, labels: []string{"interface"},
			})
		}
	}
	return out
}

func lastSeen() declared {
	return declared{name: "container_last_seen", help: "When the container was last seen, in Unix time.", typ: metric.Gauge, unit: "timestamp"}
}

func scrapeError() declared {
	return declared{name: "container_scrape_error", help: "1 if containers or what is known of them could not all be read, 0 otherwise.", typ: metric.Gauge}
}

// shown is a family of one body with the row of the table that fills it.
type shownFamily struct {
	declared
	family *metric.Family
}

// body is the families of one endpoint. They differ between endpoints in the
// labels that say which container it is.
type body struct {
	rows    []shownFamily
	network []shownFamily
	seen    *metric.Family
	failed  *metric.Family
}

// newBody declares the families of the chosen groups, their labels led by base.
func newBody(base, groups []string) (*body, error) {
	b := &body{}
	last := (*metric.Family)(nil)
	declare := func(d declared, base []string) (*metric.Family, error) {
		if last != nil && last.Name() == d.name {
			return last, nil
		}
		f, err := metric.New(metric.Spec{Name: d.name, Help: d.help, Type: d.typ, Unit: d.unit, Labels: slices.Concat(base, d.labels)})
		last = f
		return f, err
	}
	var err error
	add := func(to []shownFamily, from []declared) []shownFamily {
		for _, d := range from {
			if err == nil && (d.group == "" || slices.Contains(groups, d.group)) {
				one := shownFamily{declared: d}
				one.family, err = declare(d, base)
				to = append(to, one)
			}
		}
		return to
	}
	b.rows, b.network = add(nil, table()), add(nil, networkTable())
	if err == nil {
		b.seen, err = declare(lastSeen(), base)
	}
	if err == nil {
		b.failed, err = declare(scrapeError(), nil)
	}
	return b, err
}

// families lists what the body can show.
func (b *body) families() []*metric.Family {
	out := []*metric.Family{b.seen, b.failed}
	for _, row := range slices.Concat(b.rows, b.network) {
		if !slices.Contains(out, row.family) {
			out = append(out, row.family)
		}
	}
	return out
}
