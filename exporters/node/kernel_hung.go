package node

import (
	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// newKernelHung reads the count of hung tasks, which Linux 6.13 and newer
// keep where they were built to detect them.
func newKernelHung(o *Options) collect.Collector {
	return &attributes{noData: true, list: []attributeFamily{{
		path: o.procPath("sys", "kernel", "hung_task_detect_count"),
		family: metric.NewCounter("node_kernel_hung_tasks_total",
			"Total number of tasks that have been detected as hung since the system booted."),
	}}}
}
