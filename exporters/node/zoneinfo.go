package node

import (
	"bytes"
	"context"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// zoneinfo reads /proc/zoneinfo: the pages of each zone of memory and its
// watermarks. The counts of a whole node stand with the first of its zones.
type zoneinfo struct {
	path       string
	reader     reader
	names      names
	zones      []memoryZone
	families   [len(zoneinfoKeys)]*metric.Family
	protection [maxProtection]*metric.Family
}

// maxProtection bounds the zones that memory is kept for; Linux has at most 6.
const maxProtection = 16

// zoneinfoKeys are the lines that are exposed. The families of others, such as
// low, are named low_pages.
var zoneinfoKeys = [...]struct{ key, family, help string }{
	{"min", "min_pages", "Zone watermark pages_min"},
	{"low", "low_pages", "Zone watermark pages_low"},
	{"high", "high_pages", "Zone watermark pages_high"},
	{"scanned", "scanned_pages", "Pages scanned since last reclaim"},
	{"spanned", "spanned_pages", "Total pages spanned by the zone, including holes"},
	{"present", "present_pages", "Physical pages existing within the zone"},
	{"managed", "managed_pages", "Present pages managed by the buddy system"},
	{"nr_free_pages", "nr_free_pages", "Total number of free pages in the zone"},
	{"nr_active_anon", "nr_active_anon_pages", "Number of anonymous pages recently more used"},
	{"nr_inactive_anon", "nr_inactive_anon_pages", "Number of anonymous pages recently less used"},
	{"nr_isolated_anon", "nr_isolated_anon_pages", "Temporary isolated pages from anon lru"},
	{"nr_anon_pages", "nr_anon_pages", "Number of anonymous pages currently used by the system"},
	{"nr_anon_transparent_hugepages", "nr_anon_transparent_hugepages", "Number of anonymous transparent huge pages currently used by the system"},
	{"nr_active_file", "nr_active_file_pages", "Number of active pages with file-backing"},
	{"nr_inactive_file", "nr_inactive_file_pages", "Number of inactive pages with file-backing"},
	{"nr_isolated_file", "nr_isolated_file_pages", "Temporary isolated pages from file lru"},
	{"nr_file_pages", "nr_file_pages", "Number of file pages"},
	{"nr_slab_reclaimable", "nr_slab_reclaimable_pages", "Number of reclaimable slab pages"},
	{"nr_slab_unreclaimable", "nr_slab_unreclaimable_pages", "Number of unreclaimable slab pages"},
	{"nr_mlock_stack", "nr_mlock_stack_pages", "mlock()ed pages found and moved off LRU"},
	{"nr_kernel_stack", "nr_kernel_stacks", "Number of kernel stacks"},
	{"nr_mapped", "nr_mapped_pages", "Number of mapped pages"},
	{"nr_dirty", "nr_dirty_pages", "Number of dirty pages"},
	{"nr_writeback", "nr_writeback_pages", "Number of writeback pages"},
	{"nr_unevictable", "nr_unevictable_pages", "Number of unevictable pages"},
	{"nr_shmem", "nr_shmem_pages", "Number of shmem pages (included tmpfs/GEM pages)"},
	{"nr_dirtied", "nr_dirtied_total", "Page dirtyings since bootup"},
	{"nr_written", "nr_written_total", "Page writings since bootup"},
	{"numa_hit", "numa_hit_total", "Allocated in intended node"},
	{"numa_miss", "numa_miss_total", "Allocated in non intended node"},
	{"numa_foreign", "numa_foreign_total", "Was intended here, hit elsewhere"},
	{"numa_interleave", "numa_interleave_total", "Interleaver preferred this zone"},
	{"numa_local", "numa_local_total", "Allocation from local node"},
	{"numa_other", "numa_other_total", "Allocation from other node"},
}

// memoryZone is a zone with the lines of zoneinfoKeys that it has.
type memoryZone struct {
	node, zone []byte
	values     [len(zoneinfoKeys)]int64
	found      [len(zoneinfoKeys)]bool
	protection [maxProtection]uint64
	protected  int
}

func newZoneinfo(o *Options) collect.Collector {
	c := &zoneinfo{path: o.procPath("zoneinfo"), names: names{}}
	for i, k := range zoneinfoKeys {
		declare := metric.NewGauge
		if bytes.HasSuffix([]byte(k.family), []byte("_total")) {
			declare = metric.NewCounter
		}
		c.families[i] = declare("node_zoneinfo_"+k.family, k.help, "node", "zone")
	}
	for i := range c.protection {
		n := strconv.Itoa(i)
		c.protection[i] = metric.NewGauge("node_zoneinfo_protection_"+n, "Protection array "+n+". field", "node", "zone")
	}
	return c
}

// Families implements collect.Collector.
func (c *zoneinfo) Families() []*metric.Family {
	return append(c.families[:len(c.families):len(c.families)], c.protection[:]...)
}

// Collect implements collect.Collector.
func (c *zoneinfo) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	c.zones, err = parseZoneinfo(c.path, data, c.zones[:0])
	for i := range c.zones {
		z := &c.zones[i]
		node, zone := c.names.text(z.node), c.names.text(z.zone)
		for i, f := range c.families {
			if z.found[i] {
				b.Add(f, float64(z.values[i]), node, zone)
			}
		}
		for i, v := range z.protection[:z.protected] {
			b.Add(c.protection[i], float64(v), node, zone)
		}
	}
	return err
}

// parseZoneinfo appends the zones to dst, up to the first wrong line.
func parseZoneinfo(path string, data []byte, dst []memoryZone) ([]memoryZone, error) {
	l := newOpenLines(path, data)
	for l.next() {
		if hasPrefix(l.line, "Node ") {
			node, zone, _ := nodeZone(l.line)
			if zone == nil {
				return dst, l.errorf("%s does not begin with a node and a zone", quote(l.line))
			}
			dst = append(dst, memoryZone{node: node, zone: zone})
			continue
		}
		if len(dst) == 0 {
			return dst, l.errorf("%s stands before the first zone", quote(l.line))
		}
		if err := dst[len(dst)-1].read(l); err != nil {
			return dst, err
		}
	}
	return dst, l.end()
}

// read takes over a line when it is one of those exposed.
func (z *memoryZone) read(l *lines) error {
	key, rest := field(l.line)
	if string(key) == "protection:" {
		return z.readProtection(l, rest)
	}
	for i := range zoneinfoKeys {
		if string(key) != zoneinfoKeys[i].key {
			continue
		}
		number, _ := field(rest)
		v, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil {
			return l.errorf("%s: %s is not a number", key, quote(number))
		}
		z.values[i], z.found[i] = v, true
		break
	}
	return nil
}

// readProtection reads a list such as (0, 2039, 31932).
func (z *memoryZone) readProtection(l *lines, list []byte) error {
	list = bytes.Trim(list, " ()")
	for z.protected = 0; len(list) > 0 && z.protected < maxProtection; z.protected++ {
		var number []byte
		number, list, _ = bytes.Cut(list, []byte(","))
		number = bytes.TrimSpace(number)
		v, err := parseUint(number)
		if err != nil {
			return l.errorf("protection: %s is not a number", quote(number))
		}
		z.protection[z.protected] = v
	}
	return nil
}
