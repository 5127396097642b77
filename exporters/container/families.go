package container

import (
	"slices"

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
	memSlab // reclaimable; NaN on cgroup v1
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
	schedRun
	schedQueue
	schedPeriods
	procCount
	procFiles
	procSockets
	procThreads
	procThreadsMax
	procMaxFiles
	memMigrate
	memReferenced
	oomKills
	psiCPUFull
	psiCPUSome
	psiMemFull
	psiMemSome
	psiIOFull
	psiIOSome
	health
	nothing // 0 of every cgroup
	fields
)

// declared is a family of a container as the table below says it: cAdvisor's
// name, type, labels and meaning.
type declared struct {
	name   string
	help   string
	typ    metric.Type
	unit   string
	group  group    // 0: always shown
	labels []string // behind those that say which container it is
	field  field
	values []string // of labels
	// untimed samples carry no time on the kubelet's endpoints: they are
	// facts of the container, not readings.
	untimed bool
}

// table lists every family that is made of fields. A family with several
// samples stands in it once for each, in a row.
func table() []declared {
	return slices.Concat(cpuTable(), memoryTable(), specTable(), processTable(), pressureTable())
}

// maker makes rows of one group.
func maker(prefix string, group group) func(name string, t metric.Type, unit string, f field, help string) declared {
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
		d := row("failures_total", counter, "", f, "Page faults, by whether they needed the disk (pgmajfault), of the cgroup alone on v1, with those below it on v2.")
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
		row("file_dirty_bytes", gauge, "bytes", memDirty, "Page cache changed and not yet on disk (cgroup v2)."),
		row("file_writeback_bytes", gauge, "bytes", memWriteback, "Page cache on its way to disk (cgroup v2)."),
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
