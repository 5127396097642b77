package node

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// routeMessage is a unicast route whose destination has so many bits.
func routeMessage(bits, protocol byte, attributes ...[]byte) []byte {
	body := make([]byte, unix.SizeofRtMsg)
	body[1], body[5], body[7] = bits, protocol, unix.RTN_UNICAST
	for _, a := range attributes {
		body = append(body, a...)
	}
	return message(unix.RTM_NEWROUTE, 0, body)
}

func ipOf(kind uint16, address string) []byte {
	ip := net.ParseIP(address)
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return attribute(kind, ip)
}

func nextHop(hops byte, device uint32, attributes ...[]byte) []byte {
	h := make([]byte, unix.SizeofRtNexthop)
	h[3] = hops
	binary.NativeEndian.PutUint32(h[4:], device)
	for _, a := range attributes {
		h = append(h, a...)
	}
	binary.NativeEndian.PutUint16(h, uint16(len(h)))
	return h
}

// feed gives the messages as if the kernel had sent them in one dump.
func feed(messages ...[]byte) netlinkAsk {
	return func(_ context.Context, _ []byte, begin func(), each func(uint16, []byte) error) error {
		begin()
		var data []byte
		for _, m := range messages {
			data = append(data, m...)
		}
		_, err := eachMessage(append(data, message(unix.NLMSG_DONE, 0, make([]byte, 4))...), each)
		return err
	}
}

func madeRoutes(ctx context.Context, request []byte, begin func(), each func(uint16, []byte) error) error {
	local := routeMessage(32, 2, ipOf(unix.RTA_DST, "10.0.0.5"), numberOf(unix.RTA_OIF, 2))
	local[unix.SizeofNlMsghdr+7] = unix.RTN_LOCAL
	again := routeMessage(24, 2, ipOf(unix.RTA_DST, "10.0.0.0"), ipOf(unix.RTA_PREFSRC, "10.0.0.5"), numberOf(unix.RTA_OIF, 2))
	return feed(
		routeMessage(0, 16, ipOf(unix.RTA_GATEWAY, "10.0.0.1"), numberOf(unix.RTA_OIF, 2), numberOf(unix.RTA_PRIORITY, 100)),
		again, again, local,
		routeMessage(64, 9, ipOf(unix.RTA_DST, "2001:db8::"), ipOf(unix.RTA_GATEWAY, "fe80::1"), numberOf(unix.RTA_OIF, 3), numberOf(unix.RTA_PRIORITY, 1024)),
		routeMessage(16, 186, ipOf(unix.RTA_DST, "172.16.0.0"), attribute(unix.RTA_MULTIPATH, append(
			nextHop(0, 2, ipOf(unix.RTA_GATEWAY, "10.0.0.2")), nextHop(9, 3, ipOf(unix.RTA_GATEWAY, "10.1.0.2"))...))),
		routeMessage(8, 77, ipOf(unix.RTA_DST, "198.0.0.0")),
		routeMessage(8, 4, ipOf(unix.RTA_DST, "199.0.0.0"), numberOf(unix.RTA_OIF, 9)),
	)(ctx, request, begin, each)
}

func madeDeviceName(index uint32) (string, error) {
	switch index {
	case 2:
		return "eth0", nil
	case 3:
		return "eth1", nil
	}
	return "", unix.ENODEV // it went meanwhile
}

// socketMessage is a TCP socket in a state, with so many bytes in its queues.
func socketMessage(state byte, received, sent uint32) []byte {
	body := make([]byte, sizeofInetDiagMsg)
	body[1] = state
	binary.NativeEndian.PutUint32(body[56:], received)
	binary.NativeEndian.PutUint32(body[60:], sent)
	return message(sockDiagByFamily, 0, body)
}

func madeSockets(ctx context.Context, request []byte, begin func(), each func(uint16, []byte) error) error {
	if request[unix.SizeofNlMsghdr] == unix.AF_INET6 {
		return feed(socketMessage(10, 0, 128), socketMessage(6, 0, 0))(ctx, request, begin, each)
	}
	return feed(socketMessage(1, 100, 20), socketMessage(1, 0, 5), socketMessage(10, 3, 511), socketMessage(3, 0, 0),
		socketMessage(12, 0, 0), socketMessage(99, 0, 0))(ctx, request, begin, each)
}

// A dump that is begun anew counts each socket once, and those of the family
// before stay.
func TestTCPStatBegunAnew(t *testing.T) {
	t.Parallel()
	c := newTCPStat(&Options{}).(*tcpstat)
	c.tcp6 = "/proc/self/stat"
	c.ask = func(ctx context.Context, request []byte, begin func(), each func(uint16, []byte) error) error {
		require.NoError(t, feed(socketMessage(1, 7, 7))(ctx, request, begin, each))
		return madeSockets(ctx, request, begin, each)
	}
	b := metric.NewBatch()
	require.NoError(t, c.Collect(t.Context(), b))
	text := string(b.AppendText(nil))
	for _, want := range []string{`"established"} 2`, `"listen"} 2`, `"time_wait"} 1`, `"unknown"} 2`, `"rx_queued_bytes"} 103`, `"tx_queued_bytes"} 664`} {
		require.Contains(t, text, "node_tcp_connection_states{state="+want+"\n")
	}
	c.ask = feed(message(sockDiagByFamily, 0, make([]byte, 20)))
	require.ErrorContains(t, c.Collect(t.Context(), metric.NewBatch()), "socket of 20 bytes")
}

// The kernel of this host answers both, where it may be asked.
func TestNetlinkOfThisHost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	o := DefaultOptions()
	b := metric.NewBatch()
	err = newTCPStat(&o).Collect(t.Context(), b)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) {
		t.Skipf("no sock_diag here: %v", err)
	}
	require.NoError(t, err)
	require.Contains(t, string(b.AppendText(nil)), `node_tcp_connection_states{state="listen"} `)
	b.Reset()
	require.NoError(t, newNetworkRoute(&o).Collect(t.Context(), b))
	valid(t, string(b.AppendText(nil)))
}

// Wrong messages are told, whatever is in them, and no route is made up.
func TestBrokenRoutes(t *testing.T) {
	t.Parallel()
	f := func(m []byte, want string) {
		t.Helper()
		c := newNetworkRoute(&Options{}).(*networkRoute)
		c.ask, c.deviceName = feed(m), madeDeviceName
		b := metric.NewBatch()
		err := c.Collect(t.Context(), b)
		require.ErrorContains(t, err, want)
	}
	f(message(unix.RTM_NEWROUTE, 0, make([]byte, 4)), "4 bytes with a header of 12")
	f(routeMessage(8, 1, []byte{200, 0, 3, 0}), "attribute of length 200")
	f(routeMessage(8, 1, attribute(unix.RTA_MULTIPATH, []byte{8, 0, 0})), "3 bytes behind the last gateway")
	f(routeMessage(8, 1, attribute(unix.RTA_MULTIPATH, []byte{80, 0, 0, 0, 0, 0, 0, 0})), "gateway of length 80 in a rest of 8 bytes")
	broken := newNetworkRoute(&Options{}).(*networkRoute)
	broken.ask, broken.deviceName = madeRoutes, func(uint32) (string, error) { return "", unix.EPERM }
	b := metric.NewBatch()
	require.ErrorIs(t, broken.Collect(t.Context(), b), unix.EPERM)
	require.Contains(t, string(b.AppendText(nil)), `dest="198.0.0.0/8"`)
}

func FuzzRoutesAndSockets(f *testing.F) {
	f.Add(routeMessage(24, 2, ipOf(unix.RTA_DST, "10.0.0.0"), numberOf(unix.RTA_OIF, 2)))
	f.Add(routeMessage(200, 2, ipOf(unix.RTA_DST, "10.0.0.0"), attribute(unix.RTA_GATEWAY, []byte{1, 2})))
	f.Add(routeMessage(0, 1, attribute(unix.RTA_MULTIPATH, append(nextHop(1, 1), nextHop(2, 2, ipOf(unix.RTA_GATEWAY, "::1"))...))))
	f.Add(socketMessage(1, 2, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newNetworkRoute(&Options{}).(*networkRoute)
		c.deviceName = madeDeviceName
		s := newTCPStat(&Options{}).(*tcpstat)
		for _, each := range []func(uint16, []byte) error{c.add, s.counts.add} {
			_, err := eachMessage(data, each)
			var errno syscall.Errno
			require.True(t, err == nil || errors.Is(err, errNetlink) || errors.Is(err, errInterrupted) || errors.As(err, &errno), err)
		}
		b := metric.NewBatch()
		require.NoError(t, c.emit(t.Context(), b))
		s.counts.emit(b, s.states)
		text := string(b.AppendText(nil))
		valid(t, text)
		require.Equal(t, len(c.routes) > 0, strings.Contains(text, "node_network_routes"))
	})
}
