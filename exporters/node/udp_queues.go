package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// udpQueues sums up the queues of all UDP sockets.
type udpQueues struct {
	paths  [2]string // of IPv4 and IPv6
	reader reader
	queues *metric.Family
}

func newUDPQueues(o *Options) collect.Collector {
	return &udpQueues{
		paths: [2]string{o.procPath("net", "udp"), o.procPath("net", "udp6")},
		queues: metric.NewGauge("node_udp_queues",
			"Number of allocated memory in the kernel for UDP datagrams in bytes.", "queue", "ip"),
	}
}

// Families implements collect.Collector.
func (c *udpQueues) Families() []*metric.Family { return []*metric.Family{c.queues} }

// longestUDP bounds a line of /proc/net/udp and udp6, in bytes: they have 128 and
// about 170.
const longestUDP = 512

// Collect implements collect.Collector.
func (c *udpQueues) Collect(_ context.Context, b *metric.Batch) error {
	var errs []error
	missing := 0
	for i, ip := range [...]string{"v4", "v6"} {
		data, err := c.reader.keep(c.paths[i], longestUDP)
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		var tx, rx uint64
		if err == nil {
			tx, rx, err = parseUDP(c.paths[i], data)
		}
		if err != nil { // a sum of some sockets would be wrong
			errs = append(errs, err)
			continue
		}
		b.Add(c.queues, float64(tx), "tx", ip)
		b.Add(c.queues, float64(rx), "rx", ip)
	}
	if missing == len(c.paths) {
		return fmt.Errorf("neither %s nor %s: %w", c.paths[0], c.paths[1], collect.ErrNoData)
	}
	return errors.Join(errs...)
}

// parseUDP sums up the column tx_queue:rx_queue of /proc/net/udp.
func parseUDP(path string, data []byte) (tx, rx uint64, err error) {
	const column = 5
	l := newLines(path, data)
	for l.next() {
		if l.n == 1 {
			continue // the names of the columns
		}
		var f []byte
		rest := l.line
		for range column {
			f, rest = field(rest)
		}
		out, in, ok := bytes.Cut(f, []byte(":"))
		if !ok {
			return 0, 0, l.errorf("column %d of %s is not a pair of queues", column, quote(l.line))
		}
		t, err1 := strconv.ParseUint(string(out), 16, 64)
		r, err2 := strconv.ParseUint(string(in), 16, 64)
		if err1 != nil || err2 != nil {
			return 0, 0, l.errorf("%s are not two hexadecimal numbers", quote(f))
		}
		tx += t
		rx += r
	}
	return tx, rx, l.end()
}
