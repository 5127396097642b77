package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// tcpstat counts the TCP sockets by state, asking the kernel by sock_diag(7).
type tcpstat struct {
	tcp6   string // is there when the kernel has IPv6
	ask    netlinkAsk
	counts tcpCounts
	states *metric.Family
}

// tcpStates names the states by their number, see include/net/tcp_states.h of
// the kernel.
func tcpStates() [tcpOther]string {
	return [tcpOther]string{
		1: "established", 2: "syn_sent", 3: "syn_recv", 4: "fin_wait1", 5: "fin_wait2", 6: "time_wait", 7: "close",
		8: "close_wait", 9: "last_ack", 10: "listen", 11: "closing",
	}
}

// tcpOther counts the states that have no name.
const tcpOther = 12

// tcpCounts are sockets by state, and the bytes in their queues.
type tcpCounts struct {
	states         [tcpOther + 1]int
	received, sent uint64
	begun          tcpBegun
}

// tcpBegun is what was counted when an answer began, which may begin anew.
type tcpBegun struct {
	states         [tcpOther + 1]int
	received, sent uint64
}

func newTCPStat(o *Options) collect.Collector {
	return &tcpstat{
		tcp6: o.procPath("net", "tcp6"), ask: (&netlink{protocol: unix.NETLINK_INET_DIAG}).ask,
		states: metric.NewGauge("node_tcp_connection_states", "Number of connection states.", "state"),
	}
}

// Families implements collect.Collector.
func (c *tcpstat) Families() []*metric.Family { return []*metric.Family{c.states} }

// Collect implements collect.Collector.
func (c *tcpstat) Collect(ctx context.Context, b *metric.Batch) error {
	c.counts = tcpCounts{}
	if err := c.count(ctx, unix.AF_INET); err != nil {
		return fmt.Errorf("asking for the TCP sockets of IPv4: %w", err)
	}
	if _, err := os.Stat(c.tcp6); err == nil {
		if err := c.count(ctx, unix.AF_INET6); err != nil {
			return fmt.Errorf("asking for the TCP sockets of IPv6: %w", err)
		}
	}
	c.counts.emit(b, c.states)
	return nil
}

const (
	// sizeofInetDiagReq and sizeofInetDiagMsg are those of struct
	// inet_diag_req_v2 and inet_diag_msg, see include/uapi/linux/inet_diag.h.
	sizeofInetDiagReq = 56
	sizeofInetDiagMsg = 72
	sockDiagByFamily  = 20
)

func (c *tcpstat) count(ctx context.Context, family byte) error {
	body := make([]byte, sizeofInetDiagReq)
	body[0], body[1] = family, unix.IPPROTO_TCP
	const allStates, statesAt = 0xfff, 4
	binary.NativeEndian.PutUint32(body[statesAt:], allStates)
	return c.ask(ctx, netlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP, body), c.counts.mark(), c.counts.add)
}

// mark gives the function that goes back to what is counted now.
func (c *tcpCounts) mark() func() {
	c.begun = tcpBegun{c.states, c.received, c.sent}
	return func() { c.states, c.received, c.sent = c.begun.states, c.begun.received, c.begun.sent }
}

// add counts the socket of a message.
func (c *tcpCounts) add(kind uint16, body []byte) error {
	if kind != sockDiagByFamily {
		return nil
	}
	if len(body) < sizeofInetDiagMsg {
		return fmt.Errorf("%w: socket of %d bytes", errNetlink, len(body))
	}
	const stateAt, receivedAt, sentAt = 1, 56, 60
	state := int(body[stateAt])
	if state == 0 || state >= tcpOther {
		state = tcpOther
	}
	c.states[state]++
	c.received += uint64(binary.NativeEndian.Uint32(body[receivedAt:]))
	c.sent += uint64(binary.NativeEndian.Uint32(body[sentAt:]))
	return nil
}

// emit adds the states that sockets are in; nothing when there are none.
func (c *tcpCounts) emit(b *metric.Batch, f *metric.Family) {
	total := 0
	names := tcpStates()
	for state, n := range c.states {
		if total += n; n == 0 {
			continue
		}
		name := "unknown"
		if state < tcpOther {
			name = names[state]
		}
		b.Add(f, float64(n), name)
	}
	if total > 0 {
		b.Add(f, float64(c.received), "rx_queued_bytes")
		b.Add(f, float64(c.sent), "tx_queued_bytes")
	}
}
