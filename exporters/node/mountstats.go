package node

import (
	"context"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// mountstats reads what the NFS client counts of each mount, see
// proc_pid_mountstats(5) and nfsiostat(8). The format is that of
// fs/nfs/super.c, fs/nfs/iostat.h and net/sunrpc/stats.c of the kernel.
type mountstats struct {
	statsPath, infoPath string
	reader              reader
	mounts              []mount

	age, mountPoint *metric.Family
	bytes           [nfsBytes]*metric.Family
	events          [nfsEvents]*metric.Family // nil for those not exposed
	transport       [nfsTransportValues]*metric.Family
	operations      [nfsOperationValues]*metric.Family
}

// nfsSeries are the labels that all series of a mount have. Mounts of one
// export share their counters in the kernel, so of those that do not differ in
// these the first is exposed.
type nfsSeries struct{ export, protocol, address string }

func newMountstats(o *Options) collect.Collector {
	const prefix = "node_mountstats_nfs_"
	c := &mountstats{
		statsPath: o.procPath("self", "mountstats"),
		infoPath:  o.procPath("self", "mountinfo"),
		age:       metric.NewCounter(prefix+"age_seconds_total", "Seconds since the NFS mount was made.", "export", "protocol", "mountaddr"),
		mountPoint: metric.NewGauge(prefix+"mountpoint_info", "Where an NFS export is mounted, value is always 1.",
			"export", "protocol", "mountaddr", "mountpoint"),
	}
	for i, f := range nfsByteFamilies() {
		c.bytes[i] = metric.NewCounter(prefix+f.name, f.help, "export", "protocol", "mountaddr")
	}
	for i, f := range nfsEventFamilies() {
		if f.name != "" {
			c.events[i] = metric.NewCounter(prefix+"event_"+f.name+"_total", f.help, "export", "protocol", "mountaddr")
		}
	}
	for i, f := range nfsTransportFamilies() {
		declare := metric.NewCounter
		if i == nfsIdle || i == nfsSlots {
			declare = metric.NewGauge
		}
		c.transport[i] = declare(prefix+"transport_"+f.name, f.help, "export", "protocol", "mountaddr", "transport")
	}
	for i, f := range nfsOperationFamilies() {
		c.operations[i] = metric.NewCounter(prefix+"operations_"+f.name+"_total", f.help, "export", "protocol", "mountaddr", "operation")
	}
	return c
}

// Families implements collect.Collector.
func (c *mountstats) Families() []*metric.Family {
	all := append([]*metric.Family{c.age, c.mountPoint}, c.bytes[:]...)
	for _, f := range c.events {
		if f != nil {
			all = append(all, f)
		}
	}
	return append(append(all, c.transport[:]...), c.operations[:]...)
}

// Collect implements collect.Collector.
func (c *mountstats) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.infoPath)
	if err != nil {
		return err
	}
	if c.mounts, err = parseMountinfo(c.infoPath, data, c.mounts[:0]); err != nil {
		return err
	}
	if data, err = c.reader.read(c.statsPath); err != nil {
		return err
	}
	all, err := parseMountstats(c.statsPath, data)
	seen := map[nfsSeries]bool{}
	points := map[[4]string]bool{}
	rest := c.mounts
	for i := range all {
		m := &all[i]
		var address string
		address, rest = nfsAddress(m, rest)
		for _, t := range m.transports {
			s := nfsSeries{m.export, t.protocol, address}
			if point := [4]string{s.export, s.protocol, s.address, m.point}; !points[point] {
				points[point] = true
				b.Add(c.mountPoint, 1, point[:]...)
			}
			if !seen[s] {
				seen[s] = true
				c.add(b, m, s)
			}
		}
	}
	return err
}

// nfsAddress finds the address of the server in the list of mounts, which has
// the order of the statistics, and gives what is left of it. Something may have
// been mounted between the reading of the two files.
func nfsAddress(m *nfsMount, mounts []mount) (string, []mount) {
	point := unescape([]byte(m.point))
	for i := range mounts {
		if of := &mounts[i]; of.point == point && of.device == m.export && of.fsType == m.fsType {
			return of.address, mounts[i+1:]
		}
	}
	return "", mounts
}

func (c *mountstats) add(b *metric.Batch, m *nfsMount, s nfsSeries) {
	b.Add(c.age, float64(m.age), s.export, s.protocol, s.address)
	for i, v := range m.bytes {
		b.Add(c.bytes[i], float64(v), s.export, s.protocol, s.address)
	}
	for i, v := range m.events {
		if c.events[i] != nil {
			b.Add(c.events[i], float64(v), s.export, s.protocol, s.address)
		}
	}
	for n, t := range m.transports {
		for i, v := range t.values {
			b.Add(c.transport[i], float64(v), s.export, s.protocol, s.address, strconv.Itoa(n))
		}
	}
	for _, op := range m.operations {
		for i, v := range op.values {
			value := float64(v)
			if i >= nfsQueueTime {
				value /= 1000 // milliseconds
			}
			b.Add(c.operations[i], value, s.export, s.protocol, s.address, op.name)
		}
	}
}
