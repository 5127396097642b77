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
func collectors() []definition {
	return []definition{
		{name: "cpu", enabled: true, flags: cpuFlags, make: newCPU},
		{name: "diskstats", enabled: true, flags: diskstatsFlags, make: newDiskstats},
		{name: "filesystem", enabled: true, flags: filesystemFlags, make: newFilesystem, timeout: filesystemTimeout},
		{name: "loadavg", enabled: true, make: newLoadavg},
		{name: "meminfo", enabled: true, make: newMeminfo},
		{name: "netdev", enabled: true, flags: netdevFlags, make: newNetdev},
		{name: "stat", enabled: true, flags: statFlags, make: newStat},
		{name: "uname", enabled: true, make: newUname},
	}
}
