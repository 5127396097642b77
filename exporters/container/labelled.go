package container

import (
	"strings"

	"github.com/strata-metrics/strata/internal/metric"
)

// processTable lists what is read of the processes of a cgroup.
func processTable() []declared {
	const counter, gauge = metric.Counter, metric.Gauge
	sched, process, load := maker("container_cpu_schedstat_", groupSched), maker("container_", groupProcess), maker("container_", groupCPULoad)
	out := []declared{
		sched("run_seconds_total", counter, "seconds", schedRun, "Time that processes ran, those of cgroups below included."),
		sched("runqueue_seconds_total", counter, "seconds", schedQueue, "Time that processes waited for a processor though they could run."),
		sched("run_periods_total", counter, "", schedPeriods, "Times that processes were put on a processor."),
		process("processes", gauge, "", procCount, "Processes in the cgroup itself."),
		process("file_descriptors", gauge, "", procFiles, "Open file descriptors of these processes."),
		process("sockets", gauge, "", procSockets, "Open sockets of these processes."),
		process("threads", gauge, "", procThreads, "Threads, those of cgroups below included."),
		process("threads_max", gauge, "", procThreadsMax, "Threads that there may be, 0 for any number."),
		process("ulimits_soft", gauge, "", procMaxFiles, "Soft limit of the container's first process, -1 for none."),
		maker("container_", groupCPUSet)("memory_migrate", gauge, "", memMigrate, "1 if memory moves when cpuset.mems changes (cgroup v1), 0 otherwise."),
		maker("container_", groupReferenced)("referenced_bytes", gauge, "bytes", memReferenced, "Memory of the processes that was touched since it was last marked."),
		maker("container_", groupOOM)("oom_events_total", counter, "", oomKills, "Processes of the cgroup that the kernel killed for want of memory."),
		maker("container_", 0)("health_state", gauge, "", health, "1 if the container's own check says that it is well, 0 if not, -1 without a check."),
		load("cpu_load_average_10s", gauge, "", nothing, "Always 0, as in cAdvisor unless it is told to read the load."),
		load("cpu_load_d_average_10s", gauge, "", nothing, "Always 0, as in cAdvisor unless it is told to read the load."),
	}
	for i := range out {
		if out[i].field == procMaxFiles {
			out[i].labels, out[i].values = []string{"ulimit"}, []string{"max_open_files"}
		}
	}
	for _, state := range []string{"sleeping", "running", "stopped", "uninterruptible", "iowaiting"} {
		d := load("tasks_state", gauge, "", nothing, "Always 0, as in cAdvisor unless it is told to read the load.")
		d.labels, d.values = []string{"state"}, []string{state}
		out = append(out, d)
	}
	return out
}

func pressureTable() []declared {
	row := maker("container_pressure_", groupPressure)
	var out []declared
	for _, one := range []struct {
		name       string
		full, some field
	}{{"cpu", psiCPUFull, psiCPUSome}, {"memory", psiMemFull, psiMemSome}, {"io", psiIOFull, psiIOSome}} {
		out = append(out,
			row(one.name+"_stalled_seconds_total", metric.Counter, "seconds", one.full, "Time for which no task could go on for want of "+one.name+" (cgroup v2)."),
			row(one.name+"_waiting_seconds_total", metric.Counter, "seconds", one.some, "Time for which some task waited for "+one.name+" (cgroup v2)."))
	}
	return out
}

// kind is a family whose samples differ in labels that are read with them: of
// a device, a node, a state. It counts the rows of labelledTable.
type kind int

const (
	perCPU kind = iota
	numaPages
	hugeFailcnt
	hugeUsage
	hugeMaxUsage
	fsInodesFree
	fsInodes
	fsLimit
	fsUsage
	ioReadBytes
	ioReads
	ioSectorReads
	ioReadsMerged
	ioReadSeconds
	ioWriteBytes
	ioWrites
	ioSectorWrites
	ioWritesMerged
	ioWriteSeconds
	ioCurrent
	ioSeconds
	ioWeighted
	ioCostUsage
	ioCostWait
	ioCostIndebt
	ioCostIndelay
	ioDevice
	tcpStates
	tcp6States
	tcpAdvanced
	udpStates
	udp6States
	kinds
)

// maxLabels is the most labels that a kind has behind the container's own.
const maxLabels = 4

// labelled is a sample of a kind.
type labelled struct {
	kind   kind
	value  float64
	labels [maxLabels]string
}

// labelledTable declares the kinds in their order.
func labelledTable() []declared {
	const counter, gauge = metric.Counter, metric.Gauge
	row := func(g group, name string, t metric.Type, unit, help string, labels ...string) declared {
		return declared{name: "container_" + name, help: help, typ: t, unit: unit, group: g, labels: labels}
	}
	huge := func(name string, t metric.Type, unit, help string) declared {
		return row(groupHugetlb, "hugetlb_"+name, t, unit, help, "pagesize")
	}
	disk := func(name, unit, help string) declared { return row(groupDisk, "fs_"+name, gauge, unit, help, "device") }
	io := func(name, unit, help string) declared {
		return row(groupDiskIO, "fs_"+name, counter, unit, help, "device")
	}
	current := io("io_current", "", "Input and output under way.")
	current.typ = gauge
	return []declared{
		row(groupPerCPU, "cpu_usage_seconds_total", counter, "seconds", "CPU time used.", "cpu"),
		row(groupNuma, "memory_numa_pages", gauge, "", "Pages used on each NUMA node (cgroup v1).", "type", "scope", "node"),
		huge("failcnt", counter, "", "Times that the use of huge pages met its limit."),
		huge("usage_bytes", gauge, "bytes", "Huge pages used."),
		huge("max_usage_bytes", gauge, "bytes", "Greatest use of huge pages so far; cgroup v2 does not tell, 0."),
		disk("inodes_free", "", "Inodes that are free."),
		disk("inodes_total", "", "Inodes that there are."),
		disk("limit_bytes", "bytes", "Size of the file system."),
		disk("usage_bytes", "bytes", "Bytes used on the file system."),
		io("reads_bytes_total", "bytes", "Bytes read."),
		io("reads_total", "", "Reads completed."),
		io("sector_reads_total", "", "Sectors read."),
		io("reads_merged_total", "", "Reads merged with others."),
		io("read_seconds_total", "seconds", "Time that reads took."),
		io("writes_bytes_total", "bytes", "Bytes written."),
		io("writes_total", "", "Writes completed."),
		io("sector_writes_total", "", "Sectors written."),
		io("writes_merged_total", "", "Writes merged with others."),
		io("write_seconds_total", "seconds", "Time that writes took."),
		current,
		io("io_time_seconds_total", "seconds", "Time for which there was input or output."),
		io("io_time_weighted_seconds_total", "seconds", "The same, counted once for each that was under way."),
		io("io_cost_usage_seconds_total", "seconds", "Time of the device used, by the kernel's cost model (cgroup v2)."),
		io("io_cost_wait_seconds_total", "seconds", "Time waited for it (cgroup v2)."),
		io("io_cost_indebt_seconds_total", "seconds", "Time in debt of it (cgroup v2)."),
		io("io_cost_indelay_seconds_total", "seconds", "Time held back for the debt (cgroup v2)."),
		row(groupDiskIO, "blkio_device_usage_total", counter, "bytes", "Bytes of each kind of operation.", "device", "major", "minor", "operation"),
		row(groupTCP, "network_tcp_usage_total", gauge, "", "TCP sockets in each state.", "tcp_state"),
		row(groupTCP, "network_tcp6_usage_total", gauge, "", "TCP sockets of IPv6 in each state.", "tcp_state"),
		row(groupAdvTCP, "network_advance_tcp_stats_total", gauge, "", "The kernel's counts about TCP.", "tcp_state"),
		row(groupUDP, "network_udp_usage_total", gauge, "", "UDP sockets, what they dropped, and bytes in their queues.", "udp_state"),
		row(groupUDP, "network_udp6_usage_total", gauge, "", "UDP sockets of IPv6, what they dropped, and bytes in their queues.", "udp_state"),
	}
}

// tcpStateNames are the labels of the states 01 to 0B in /proc/net/tcp.
func tcpStateNames() []string {
	return []string{"established", "synsent", "synrecv", "finwait1", "finwait2", "timewait", "close", "closewait", "lastack", "listen", "closing"}
}

// advancedNames are the counters of Tcp and TcpExt that are shown, in lower
// case. One that the kernel does not have is 0.
func advancedNames() []string {
	return strings.Fields(`rtoalgorithm rtomin rtomax maxconn activeopens passiveopens attemptfails estabresets currestab
insegs outsegs retranssegs inerrs outrsts incsumerrors embryonicrsts syncookiessent syncookiesrecv syncookiesfailed
prunecalled rcvpruned ofopruned outofwindowicmps lockdroppedicmps tw twrecycled twkilled tcptimewaitoverflow tcptimeouts
tcpspuriousrtos tcplossprobes tcplossproberecovery tcprenorecoveryfail tcpsackrecoveryfail tcprenofailures tcpsackfailures
tcplossfailures delayedacks delayedacklocked delayedacklost listenoverflows listendrops tcphphits tcppureacks tcphpacks
tcprenorecovery tcpsackrecovery tcpsackreneging tcpfackreorder tcpsackreorder tcprenoreorder tcptsreorder tcpfullundo
tcppartialundo tcpdsackundo tcplossundo tcpfastretrans tcpslowstartretrans tcplostretransmit tcpretransfail
tcprcvcollapsed tcpdsackoldsent tcpdsackofosent tcpdsackrecv tcpdsackoforecv tcpabortondata tcpabortonclose
tcpabortonmemory tcpabortontimeout tcpabortonlinger tcpabortfailed tcpmemorypressures tcpmemorypressureschrono
tcpsackdiscard tcpdsackignoredold tcpdsackignorednoundo tcpmd5notfound tcpmd5unexpected tcpmd5failure tcpsackshifted
tcpsackmerged tcpsackshiftfallback tcpbacklogdrop pfmemallocdrop tcpminttldrop tcpdeferacceptdrop ipreversepathfilter
tcpreqqfulldocookies tcpreqqfulldrop tcpfastopenactive tcpfastopenactivefail tcpfastopenpassive tcpfastopenpassivefail
tcpfastopenlistenoverflow tcpfastopencookiereqd tcpsynretrans tcporigdatasent pawsactive pawsestab`)
}

// Impossible are the families of cAdvisor that Strata does not show, and why.
func Impossible() map[string]string {
	const perf = "needs events of the processor that somebody chooses, and a descriptor for each event, processor and cgroup: cAdvisor shows none either without its --perf_events_config"
	const resctrl = "needs a monitoring group of resctrl made for each container, and Strata only reads"
	return map[string]string{
		"container_perf_events_total":                perf,
		"container_perf_events_scaling_ratio":        perf,
		"container_perf_uncore_events_total":         perf,
		"container_perf_uncore_events_scaling_ratio": perf,
		"container_llc_occupancy_bytes":              resctrl,
		"container_memory_bandwidth_bytes":           resctrl,
		"container_memory_bandwidth_local_bytes":     resctrl,
	}
}
