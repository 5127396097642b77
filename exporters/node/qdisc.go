package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// QdiscOptions of the collector qdisc.
type QdiscOptions struct {
	Devices Filter
	// Fixtures is a directory whose file results.json takes the place of the
	// kernel's answer, for tests. Empty asks the kernel.
	Fixtures string
}

func qdiscFlags(app *kingpin.Application, f *flagSet) {
	f.filter(app, "qdisc.device", "qdisc devices", &f.options.Qdisc.Devices).
		formerly(app, "collector.qdisk.device-include", "collector.qdisk.device-exclude")
	app.Flag("collector.qdisc.fixtures", "Directory with an answer for tests, instead of the kernel's.").
		Hidden().StringVar(&f.options.Qdisc.Fixtures)
}

// qdisc is a queueing discipline and what it counted, as the file of
// QdiscOptions.Fixtures has it.
type qdisc struct {
	Device     string `json:"IfaceName"`
	Kind       string
	Parent     uint32 // 0 for that of the device itself
	Bytes      uint64
	Packets    uint32
	Drops      uint32
	Requeues   uint32
	Overlimits uint32
	Length     uint32 `json:"Qlen"`
	Backlog    uint32 // bytes
}

// qdiscs asks for the queueing disciplines by rtnetlink, see tc(8) and
// include/uapi/linux/pkt_sched.h of the kernel.
type qdiscs struct {
	fixtures   string
	reader     reader
	netlink    netlink
	deviceName func(index uint32) (string, error)
	filter     *filterCache
	names      names
	all        []indexedQdisc

	bytes, packets, drops, requeues, overlimits, length, backlog *metric.Family
}

// indexedQdisc is a qdisc of a device of which only the number is known.
type indexedQdisc struct {
	qdisc
	index uint32
}

func newQdisc(o *Options) collect.Collector {
	counter := func(name, help string) *metric.Family {
		return metric.NewCounter("node_qdisc_"+name, help, "device", "kind")
	}
	return &qdiscs{
		fixtures:   o.Qdisc.Fixtures,
		netlink:    netlink{protocol: unix.NETLINK_ROUTE},
		deviceName: deviceName,
		filter:     newFilterCache(o.Qdisc.Devices),
		names:      names{},
		bytes:      counter("bytes_total", "Number of bytes sent."),
		packets:    counter("packets_total", "Number of packets sent."),
		drops:      counter("drops_total", "Number of packets dropped."),
		requeues:   counter("requeues_total", "Number of packets dequeued, not transmitted, and requeued."),
		overlimits: counter("overlimits_total", "Number of packets held back by a limit."),
		length:     metric.NewGauge("node_qdisc_current_queue_length", "Number of packets waiting to be sent.", "device", "kind"),
		backlog:    metric.NewGauge("node_qdisc_backlog", "Number of bytes waiting to be sent.", "device", "kind"),
	}
}

// Families implements collect.Collector.
func (c *qdiscs) Families() []*metric.Family {
	return []*metric.Family{c.bytes, c.packets, c.drops, c.requeues, c.overlimits, c.length, c.backlog}
}

// Collect implements collect.Collector.
func (c *qdiscs) Collect(ctx context.Context, b *metric.Batch) error {
	if c.fixtures != "" {
		return c.collectFile(b, filepath.Join(c.fixtures, "results.json"))
	}
	body := make([]byte, sizeofTcmsg)
	begin := func() { c.all = c.all[:0] }
	if err := c.netlink.ask(ctx, netlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_DUMP, body), begin, c.addMessage); err != nil {
		return fmt.Errorf("asking for queueing disciplines by netlink: %w", err)
	}
	for i := range c.all {
		q := &c.all[i]
		name, err := c.deviceName(q.index)
		if absent(err) {
			continue // the device was removed this moment
		}
		if err != nil {
			return err
		}
		q.Device = name
		c.add(b, &q.qdisc)
	}
	return nil
}

func (c *qdiscs) collectFile(b *metric.Batch, path string) error {
	data, err := c.reader.read(path)
	if err != nil {
		return err
	}
	var all []qdisc
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("%s: %w: %w", path, errSyntax, err)
	}
	for i := range all {
		c.add(b, &all[i])
	}
	return nil
}

// add adds the discipline of a device itself. Those below it, such as the
// classes of htb or a queue of mq, are part of its numbers.
func (c *qdiscs) add(b *metric.Batch, q *qdisc) {
	if q.Parent != 0 || !c.filter.pass([]byte(q.Device)) {
		return
	}
	b.Add(c.bytes, float64(q.Bytes), q.Device, q.Kind)
	b.Add(c.packets, float64(q.Packets), q.Device, q.Kind)
	b.Add(c.drops, float64(q.Drops), q.Device, q.Kind)
	b.Add(c.requeues, float64(q.Requeues), q.Device, q.Kind)
	b.Add(c.overlimits, float64(q.Overlimits), q.Device, q.Kind)
	b.Add(c.length, float64(q.Length), q.Device, q.Kind)
	b.Add(c.backlog, float64(q.Backlog), q.Device, q.Kind)
}

// Sizes of struct tcmsg, gnet_stats_basic, gnet_stats_queue and tc_stats in the
// kernel's include/uapi/linux, without padding at the end.
const (
	sizeofTcmsg      = 20
	sizeofBasicStats = 12
	sizeofQueueStats = 20
	sizeofTCStats    = 36
)

// Attributes of a queueing discipline, from include/uapi/linux/rtnetlink.h and
// gen_stats.h of the kernel.
const (
	tcaKind       = 1
	tcaStats      = 3 // before Linux 2.6.10, and for programs of that time
	tcaStats2     = 7
	tcaStatsBasic = 1
	tcaStatsQueue = 3
)

// addMessage takes the qdisc of a message, if it is that of a device itself.
func (c *qdiscs) addMessage(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWQDISC {
		return nil
	}
	a := newNetlinkAttributes(body, sizeofTcmsg)
	if a.err != nil {
		return a.err
	}
	const root = 0xffffffff // TC_H_ROOT
	if parent := binary.NativeEndian.Uint32(body[12:]); parent != 0 && parent != root {
		return nil
	}
	q := indexedQdisc{index: binary.NativeEndian.Uint32(body[4:])}
	var stats []byte
	hasStats2 := false
	for a.next() {
		switch {
		case a.kind == tcaKind:
			q.Kind = c.names.text(a.text())
		case a.kind == tcaStats2:
			hasStats2 = true
			if err := q.parseStats2(a.value); err != nil {
				return err
			}
		case a.kind == tcaStats && len(a.value) >= sizeofTCStats:
			stats = a.value
		}
	}
	if !hasStats2 && stats != nil {
		u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(stats[at:]) }
		q.Bytes = binary.NativeEndian.Uint64(stats)
		q.Packets, q.Drops, q.Overlimits, q.Length, q.Backlog = u32(8), u32(12), u32(16), u32(28), u32(32)
	}
	if a.err == nil {
		c.all = append(c.all, q)
	}
	return a.err
}

// parseStats2 reads what is nested in TCA_STATS2.
func (q *qdisc) parseStats2(nested []byte) error {
	a := newNetlinkAttributes(nested, 0)
	for a.next() {
		switch {
		case a.kind == tcaStatsBasic && len(a.value) >= sizeofBasicStats:
			q.Bytes = binary.NativeEndian.Uint64(a.value)
			q.Packets = binary.NativeEndian.Uint32(a.value[8:])
		case a.kind == tcaStatsQueue && len(a.value) >= sizeofQueueStats:
			u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(a.value[at:]) }
			q.Length, q.Backlog, q.Drops, q.Requeues, q.Overlimits = u32(0), u32(4), u32(8), u32(12), u32(16)
		}
	}
	return a.err
}
