package node

import (
	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// newKsmd reads /sys/kernel/mm/ksm, the merging of equal pages, see
// Documentation/admin-guide/mm/ksm.rst of the kernel.
func newKsmd(o *Options) collect.Collector {
	dir := o.sysPath("kernel", "mm", "ksm") + "/"
	c := &attributes{list: []attributeFamily{
		{path: dir + "full_scans", family: metric.NewCounter("node_ksmd_full_scans_total", "ksmd 'full_scans' file.")},
		{path: dir + "sleep_millisecs", family: metric.NewGauge("node_ksmd_sleep_seconds", "ksmd 'sleep_millisecs' file."), divisor: 1000},
		{path: dir + "general_profit", family: metric.NewGauge("node_ksmd_general_profit_bytes", "ksmd 'general_profit' file."), optional: true},
	}}
	for _, name := range []string{"merge_across_nodes", "pages_shared", "pages_sharing", "pages_to_scan", "pages_unshared", "pages_volatile", "run"} {
		c.list = append(c.list, attributeFamily{path: dir + name, family: metric.NewGauge("node_ksmd_"+name, "ksmd '"+name+"' file.")})
	}
	return c
}
