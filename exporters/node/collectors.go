package node

import (
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
)

// definition is a collector's line in the list.
type definition struct {
	name    string
	enabled bool // unless switched by Options
	// flags declares the collector's own flags; nil when it has none.
	flags func(*kingpin.Application, *flagSet)
	make  func(*Options) collect.Collector
	// timeout of the collector; nil means that of the Options.
	timeout func(*Options) time.Duration
}

// collectors are all there are, by name.
func collectors() []definition { return append(collectorsToM(), collectorsFromN()...) }

// collectorsToM are the first half of the collectors.
func collectorsToM() []definition {
	return []definition{
		{name: "arp", enabled: true, flags: arpFlags, make: newARP},
		{name: "bcache", enabled: true, flags: bcacheFlags, make: newBcache},
		{name: "bcachefs", enabled: true, make: newBcachefs},
		{name: "bonding", enabled: true, make: newBonding},
		{name: "btrfs", enabled: true, make: newBtrfs},
		{name: "buddyinfo", make: newBuddyinfo},
		{name: "cgroups", make: newCgroups},
		{name: "conntrack", enabled: true, make: newConntrack},
		{name: "cpu", enabled: true, flags: cpuFlags, make: newCPU},
		{name: "cpu_vulnerabilities", make: newCPUVulnerabilities},
		{name: "cpufreq", enabled: true, make: newCpufreq},
		{name: "diskstats", enabled: true, flags: diskstatsFlags, make: newDiskstats},
		{name: "dmi", enabled: true, make: newDMI},
		{name: "dmmultipath", enabled: true, make: newDMMultipath},
		{name: "drbd", make: newDRBD},
		{name: "drm", make: newDRM},
		{name: "edac", enabled: true, make: newEDAC},
		{name: "entropy", enabled: true, make: newEntropy},
		{name: "ethtool", flags: ethtoolFlags, make: newEthtool},
		{name: "fibrechannel", enabled: true, make: newFibreChannel},
		{name: "filefd", enabled: true, make: newFilefd},
		{name: "filesystem", enabled: true, flags: filesystemFlags, make: newFilesystem, timeout: filesystemTimeout},
		{name: "hwmon", enabled: true, flags: hwmonFlags, make: newHwmon},
		{name: "infiniband", enabled: true, flags: infinibandFlags, make: newInfiniband},
		{name: "interrupts", flags: interruptsFlags, make: newInterrupts},
		{name: "ipvs", enabled: true, flags: ipvsFlags, make: newIPVS},
		{name: "kernel_hung", enabled: true, make: newKernelHung},
		{name: "ksmd", make: newKsmd},
		{name: "lnstat", make: newLnstat},
		{name: "loadavg", enabled: true, make: newLoadavg},
		{name: "logind", make: newLogind},
		{name: "mdadm", enabled: true, make: newMdadm},
		{name: "meminfo", enabled: true, make: newMeminfo},
		{name: "meminfo_numa", make: newMeminfoNuma},
		{name: "mountstats", make: newMountstats},
	}
}

// collectorsFromN are the second half of the collectors.
func collectorsFromN() []definition {
	return []definition{
		{name: "netclass", enabled: true, flags: netclassFlags, make: newNetclass},
		{name: "netdev", enabled: true, flags: netdevFlags, make: newNetdev},
		{name: "netstat", enabled: true, flags: netstatFlags, make: newNetstat},
		{name: "network_route", make: newNetworkRoute},
		{name: "nfs", enabled: true, make: newNFS},
		{name: "nfsd", enabled: true, make: newNFSd},
		{name: "ntp", flags: ntpFlags, make: newNTP},
		{name: "nvme", enabled: true, make: newNVMe},
		{name: "nvmesubsystem", make: newNVMeSubsystem},
		{name: "os", enabled: true, make: newOS},
		{name: "pcidevice", flags: pcideviceFlags, make: newPCIDevice},
		{name: "perf", flags: perfFlags, make: newPerf},
		{name: "powersupplyclass", enabled: true, flags: powersupplyFlags, make: newPowersupply},
		{name: "pressure", enabled: true, make: newPressure},
		{name: "processes", make: newProcesses, flags: processesFlags},
		{name: "qdisc", flags: qdiscFlags, make: newQdisc},
		{name: "rapl", enabled: true, flags: raplFlags, make: newRapl},
		{name: "runit", flags: runitFlags, make: newRunit},
		{name: "schedstat", enabled: true, make: newSchedstat},
		{name: "selinux", enabled: true, make: newSELinux},
		{name: "slabinfo", flags: slabinfoFlags, make: newSlabinfo},
		{name: "sockstat", enabled: true, make: newSockstat},
		{name: "softirqs", make: newSoftirqs},
		{name: "softnet", enabled: true, make: newSoftnet},
		{name: "stat", enabled: true, flags: statFlags, make: newStat},
		{name: "supervisord", flags: supervisordFlags, make: newSupervisord},
		{name: "swap", make: newSwap},
		{name: "sysctl", flags: sysctlFlags, make: newSysctl},
		{name: "systemd", flags: systemdFlags, make: newSystemd},
		{name: "tapestats", enabled: true, flags: tapestatsFlags, make: newTapestats},
		{name: "tcpstat", make: newTCPStat},
		{name: "textfile", enabled: true, flags: textfileFlags, make: newTextfile},
		{name: "thermal_zone", enabled: true, make: newThermalZone},
		{name: "time", enabled: true, make: newTime},
		{name: "timex", enabled: true, make: newTimex},
		{name: "udp_queues", enabled: true, make: newUDPQueues},
		{name: "uname", enabled: true, make: newUname},
		{name: "vmstat", enabled: true, flags: vmstatFlags, make: newVmstat},
		{name: "watchdog", enabled: true, make: newWatchdog},
		{name: "wifi", flags: wifiFlags, make: newWifi},
		{name: "xfrm", make: newXfrm},
		{name: "xfs", enabled: true, make: newXFS},
		{name: "zfs", enabled: true, make: newZFS},
		{name: "zoneinfo", make: newZoneinfo},
	}
}
