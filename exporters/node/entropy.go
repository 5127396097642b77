package node

import (
	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// newEntropy reads what the kernel's random number generator says of its pool.
func newEntropy(o *Options) collect.Collector {
	dir := o.procPath("sys", "kernel", "random")
	return &attributes{list: []attributeFamily{
		{path: dir + "/entropy_avail", family: metric.NewGauge("node_entropy_available_bits", "Bits of available entropy.")},
		{path: dir + "/poolsize", family: metric.NewGauge("node_entropy_pool_size_bits", "Bits of entropy pool.")},
	}}
}
