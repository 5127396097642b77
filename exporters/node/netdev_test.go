package node

import (
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// netdevLines is what the collector says of a device of the made host.
func netdevLines(t *testing.T, change func(*NetdevOptions), device string) string {
	t.Helper()
	o := only(hostOptions(t), "netdev")
	change(&o.Netdev)
	var lines []string
	for line := range strings.Lines(scrape(t, newExporter(t, o))) {
		if strings.Contains(line, `device="`+device+`"`) {
			lines = append(lines, strings.TrimPrefix(line, "node_network_"))
		}
	}
	return strings.Join(lines, "")
}

// The names that node_exporter has for the columns of /proc/net/dev.
func TestNetdevDetailed(t *testing.T) {
	t.Parallel()
	require.Equal(t, `receive_bytes_total{device="eth0"} 1.8446744073709552e+19
receive_compressed_total{device="eth0"} 5
receive_dropped_total{device="eth0"} 2
receive_errors_total{device="eth0"} 1
receive_fifo_total{device="eth0"} 3
receive_frame_total{device="eth0"} 4
receive_multicast_total{device="eth0"} 6
receive_packets_total{device="eth0"} 3000
transmit_bytes_total{device="eth0"} 7000000
transmit_carrier_total{device="eth0"} 13
transmit_colls_total{device="eth0"} 12
transmit_compressed_total{device="eth0"} 14
transmit_dropped_total{device="eth0"} 10
transmit_errors_total{device="eth0"} 9
transmit_fifo_total{device="eth0"} 11
transmit_packets_total{device="eth0"} 8000
`, netdevLines(t, func(o *NetdevOptions) { o.Detailed = true }, "eth0"))
	o := hostOptions(t)
	o.Netdev.Detailed, o.Netdev.Netlink = true, true
	var names []string
	for _, f := range newNetdev(&o).Families() {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f.Name(), "node_network_"), "_total"))
	}
	require.Equal(t, "receive_packets transmit_packets receive_bytes transmit_bytes receive_errors transmit_errors receive_dropped transmit_dropped "+
		"multicast collisions receive_length_errors receive_over_errors receive_crc_errors receive_frame_errors receive_fifo_errors "+
		"receive_missed_errors transmit_aborted_errors transmit_carrier_errors transmit_fifo_errors transmit_heartbeat_errors "+
		"transmit_window_errors receive_compressed transmit_compressed receive_nohandler", strings.Join(names, " "))
}

func TestNetdevAlias(t *testing.T) {
	t.Parallel()
	withAlias := func(o *NetdevOptions) { o.LabelIfAlias = true }
	require.Contains(t, netdevLines(t, withAlias, "eth0"), `receive_packets_total{device="eth0",ifalias="uplink \"A\""} 3000`)
	require.Contains(t, netdevLines(t, withAlias, "lo"), `receive_packets_total{device="lo",ifalias=""} 200`)

	r := &linkReader{}
	counters := netlinkAttribute(unix.IFLA_STATS64, make([]byte, 8*len(linkStats{})))
	_, err := eachMessage(deviceMessage("eth0", 3, 1, attribute(unix.IFLA_IFALIAS, []byte("uplink\x00")), counters), r.add)
	require.NoError(t, err)
	require.Equal(t, "eth0 uplink 3", fmt.Sprintf("%s %s %d", r.links[0].name, r.links[0].alias, r.links[0].index))
}

// addressMessage is an answer about an address, with the prefix in bits.
func addressMessage(index uint32, bits byte, attributes ...[]byte) []byte {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[1] = bits
	binary.NativeEndian.PutUint32(body[4:], index)
	for _, a := range attributes {
		body = append(body, a...)
	}
	return message(unix.RTM_NEWADDR, 0, body)
}

func ipAttribute(kind uint16, ip string) []byte {
	value := net.ParseIP(ip)
	if four := value.To4(); four != nil {
		value = four
	}
	return netlinkAttribute(kind, value)
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	f := func(ip, scope string) {
		t.Helper()
		r := newAddressReader()
		_, err := eachMessage(addressMessage(2, 24, ipAttribute(unix.IFA_ADDRESS, ip)), r.add)
		require.NoError(t, err)
		require.Len(t, r.addresses, 1)
		require.Equal(t, ip, r.addresses[0].ip.String())
		require.Equal(t, 24, r.addresses[0].bits)
		require.Equal(t, scope, addressScope(r.addresses[0].ip))
	}
	f("127.0.0.1", "link-local")
	f("169.254.1.1", "link-local")
	f("fe80::1", "link-local")
	f("ff02::1", "link-local")
	f("ff01::1", "interface-local")
	f("10.1.2.3", "global")
	f("2001:db8::1", "global")
	f("ff05::1", "")

	r := newAddressReader()
	for _, m := range [][]byte{
		addressMessage(2, 32, ipAttribute(unix.IFA_ADDRESS, "10.0.0.9"), ipAttribute(unix.IFA_LOCAL, "10.0.0.1")),
		addressMessage(2, 32, ipAttribute(unix.IFA_LOCAL, "10.0.0.2"), ipAttribute(unix.IFA_ADDRESS, "10.0.0.9")),
		addressMessage(2, 32),
		addressMessage(2, 32, netlinkAttribute(unix.IFA_ADDRESS, []byte{1, 2, 3})),
	} {
		_, err := eachMessage(m, r.add)
		require.NoError(t, err)
	}
	require.Len(t, r.addresses, 2)
	require.Equal(t, "10.0.0.1 10.0.0.2", fmt.Sprint(r.addresses[0].ip, " ", r.addresses[1].ip), "ours, not the other end's")
}

// hostAddresses are those that Go's library knows. An interface may go while
// it is asked.
func hostAddresses(t *testing.T) (all []string) {
	t.Helper()
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			network := a.(*net.IPNet)
			ones, _ := network.Mask.Size()
			all = append(all, fmt.Sprintf(`device="%s",address="%s",netmask="%d"`, i.Name, network.IP, ones))
		}
	}
	return all
}

// The addresses of this host; without netlink for the counters the devices are
// found by their index.
func TestAddressesOfThisHost(t *testing.T) {
	t.Parallel()
	shown := regexp.MustCompile(`node_network_address_info{(.*),scope=`)
	for _, byNetlink := range []bool{true, false} {
		o := only(DefaultOptions(), "netdev")
		o.Netdev.AddressInfo, o.Netdev.Netlink = true, byNetlink
		e, err := New(o)
		require.NoError(t, err)
		for {
			want := hostAddresses(t)
			b := metric.NewBatch()
			require.NoError(t, e.Collect(t.Context(), b))
			if !slices.Equal(want, hostAddresses(t)) {
				continue // something changed meanwhile
			}
			var got []string
			for _, m := range shown.FindAllStringSubmatch(string(b.AppendText(nil)), -1) {
				got = append(got, m[1])
			}
			require.ElementsMatch(t, want, got)
			break
		}
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add(addressMessage(2, 24, ipAttribute(unix.IFA_ADDRESS, "10.0.0.1")))
	f.Add(addressMessage(2, 128, ipAttribute(unix.IFA_LOCAL, "::1"), ipAttribute(unix.IFA_ADDRESS, "fe80::1")))
	f.Add(deviceMessage("eth0", 3, 1, attribute(unix.IFLA_IFALIAS, []byte("a"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, l := newAddressReader(), &linkReader{}
		_, _ = eachMessage(data, a.add)
		_, _ = eachMessage(data, l.add)
		for _, address := range a.addresses {
			require.True(t, address.ip.IsValid())
		}
	})
}
