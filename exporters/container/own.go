package container

import (
	"math"
	"slices"

	"github.com/strata-metrics/strata/internal/metric"
)

// ownTable declares the families that are not cAdvisor's, beside those of what
// has ended.
func ownTable() []declared { return []declared{oomKillsFamily(), reclaimableFamily()} }

// ownFamilies lists those of them that are shown.
func (b *body) ownFamilies() []*metric.Family {
	return slices.DeleteFunc([]*metric.Family{b.oomKills, b.reclaimable}, func(f *metric.Family) bool { return f == nil })
}

// eachOwn hands over the numbers of a cgroup that are not cAdvisor's.
func (b *body) eachOwn(c *Cgroup, add func(f *metric.Family, v float64)) {
	if v := c.reclaimable(); b.reclaimable != nil && !math.IsNaN(v) {
		add(b.reclaimable, v)
	}
	b.eachTotal(c, add)
}

func reclaimableFamily() declared {
	return declared{name: "strata_container_memory_working_set_reclaimable_bytes", group: groupMemory, typ: metric.Gauge, unit: "bytes",
		help: "What the kernel could take back of the working set when memory is short: page cache in active use and, on cgroup v2, the kernel's own caches of files and names."}
}

// reclaimable is what the kernel could take back of the working set, NaN where it
// is not known. The working set is without inactive files already, of which
// cAdvisor's families tell.
func (c *Cgroup) reclaimable() float64 {
	if c.ended != nil {
		return math.NaN()
	}
	v := &c.values
	most := v[memActiveFile]
	if !math.IsNaN(v[memSlab]) {
		most += v[memSlab]
	}
	return min(most, v[memWorkingSet]) // read one after the other, they may not fit
}
