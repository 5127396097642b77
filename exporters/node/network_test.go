package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// Files of the network that are wrong cost their collector and no other.
func TestBrokenNetworkFiles(t *testing.T) {
	t.Parallel()
	const head = "IP address HW type Flags HW address Mask Device\n"
	const stats = "a\nb\n"
	for _, c := range []struct{ file, content, want, failing string }{
		{"proc/net/arp", "", ":1: unexpected content: the file is empty", "arp"},
		{"proc/net/arp", head + "10.0.0.1 0x1 0x2 02:00:00:00:00:01 eth0\n", ":2: unexpected content: 5 columns, 6 are expected", "arp"},
		{"proc/net/arp", head + noise, ":2: ", "arp"},
		{"proc/net/netstat", noise, ":1: ", "netstat"},
		{"proc/net/netstat", "", ":1: unexpected content: the file is empty", "netstat"},
		{"proc/net/netstat", "TcpExt: A\n", `:1: unexpected content: the file ends without the values of "TcpExt"`, "netstat"},
		{"proc/net/netstat", "TcpExt: A\nIpExt: 1\n", `:2: unexpected content: "IpExt: 1" are not the values of "TcpExt"`, "netstat"},
		{"proc/net/snmp", "Tcp: A B\nTcp: 1\n", ":2: unexpected content: 1 values for 2 columns", "netstat"},
		{"proc/net/snmp", "Tcp: InSegs\nTcp: x\n", `:2: unexpected content: "x" is not a number`, "netstat"},
		{"proc/net/snmp6", "Ip6InOctets x\n", `:1: unexpected content: "Ip6InOctets": "x" is not a number`, "netstat"},
		{"proc/net/sockstat", noise, ":1: ", "sockstat"},
		{"proc/net/sockstat", "TCP: inuse 1\nUDP: inuse\n", `:2: unexpected content: "inuse": "" is not a number`, "sockstat"},
		{"proc/net/sockstat6", "TCP6:\n", `:1: unexpected content: "TCP6" has no values`, "sockstat"},
		{"proc/net/softnet_stat", noise, ":1: ", "softnet"},
		{"proc/net/softnet_stat", "00 00\n", ":1: unexpected content: 2 columns, at least 9 are expected", "softnet"},
		{"proc/net/udp", "head\n 1: A B 07 x:y 00\n", `:2: unexpected content: "x:y" are not two hexadecimal numbers`, "udp_queues"},
		{"proc/net/udp6", "head\n 1: A\n", ":2: unexpected content: column 5 of", "udp_queues"},
		{"proc/net/rpc/nfs", "net 1 2 3\n", ":1: unexpected content: net has 3 values, at least 4 are expected", "nfs"},
		{"proc/net/rpc/nfs", "proc4 3 1 2\n", ":1: unexpected content: proc4 has 2 values, 3 are announced", "nfs"},
		{"proc/net/rpc/nfsd", "rc 1 x 3\n", `:1: unexpected content: rc: "x" is not a number`, "nfsd"},
		{"proc/net/rpc/nfsd", noise, ":2: ", "nfsd"},
		{"proc/net/ip_vs_stats", stats, ":2: unexpected content: the file ends within its head lines", "ipvs"},
		{"proc/net/ip_vs_stats", stats + "1 2 3 4\n", `:3: unexpected content: "" is not a hexadecimal number`, "ipvs"},
		{"proc/net/ip_vs", "TCP  0A0001:0050 rr\n", `:1: unexpected content: "0A0001" is not an address`, "ipvs"},
		{"proc/net/ip_vs", "TCP  0A000001:0050 rr\n -> 0A000002:0050 Masq 1 x 0\n", `:2: unexpected content: "x" is not a number`, "ipvs"},
		{"proc/net/ip_vs", "TCP  0A000001:0050 rr\n -> 0A000002:0050 Masq\n", ":2: unexpected content: 3 columns of a backend", "ipvs"},
		{"proc/net/stat/arp_cache", "entries\nxyz\n", `:2: unexpected content: "xyz" is not a hexadecimal number`, "lnstat"},
		{"proc/net/xfrm_stat", "XfrmInError\n", `:1: unexpected content: "XfrmInError": "" is not a number`, "xfrm"},
		{"sys/class/net/eth0/mtu", "many\n", `:1: unexpected content: "many" is not a number`, "netclass"},
		{"sys/class/infiniband/mlx5_0/ports/1/rate", "fast\n", `:1: unexpected content: "fast" is not a rate`, "infiniband"},
		{"sys/class/infiniband/mlx5_0/ports/1/state", "ACTIVE\n", `:1: unexpected content: "ACTIVE" is not a state`, "infiniband"},
		{"sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data", "-1\n", `:1: unexpected content: "-1" is not a number`, "infiniband"},
	} {
		broken(t, c.file, c.content, c.want, c.failing)
	}
}

// What is right beside something wrong is served.
func TestPartialNetworkData(t *testing.T) {
	t.Parallel()
	f := func(collector, file, content string, want ...string) {
		t.Helper()
		o, _ := otherHost(t, file, content)
		text := scrape(t, newExporter(t, only(o, collector)))
		require.Contains(t, text, `node_scrape_collector_success{collector="`+collector+`"} 0`)
		for _, s := range want {
			require.Contains(t, text, s)
		}
	}
	f("netclass", "sys/class/net/eth0/mtu", "many\n", `node_network_mtu_bytes{device="veth12"} 1400`, `node_network_flags{device="eth0"}`)
	f("bonding", "sys/class/net/bonding_masters", "bond9 bond0\n", `node_bonding_slaves{master="bond0"} 2`)
	f("infiniband", "sys/class/infiniband/mlx5_0/ports/1/rate", "fast\n", `node_infiniband_state_id{device="mlx5_0",port="1"} 4`, `device="irdma0"`)
	f("netstat", "proc/net/netstat", "bad\n", "node_netstat_Tcp_InSegs 13", "node_netstat_Ip6_InOctets 7000")
	f("nfs", "proc/net/rpc/nfs", "net 1 2 3 4\nrpc x 1 1\n", `node_nfs_packets_total{protocol="tcp"} 3`)
	f("lnstat", "proc/net/stat/bad", "entries\nx\n", `node_lnstat_entries_total{subsystem="arp_cache",cpu="0"} 16`)
}

// A host without the subsystem: no data, which is no error.
func TestMissingNetworkSubsystems(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Procfs, o.Sysfs = t.TempDir(), t.TempDir()
	for _, name := range []string{"bonding", "infiniband", "ipvs", "netclass", "nfs", "nfsd", "udp_queues"} {
		e := newExporter(t, only(o, name))
		err := e.entries[0].Collector.Collect(t.Context(), metric.NewBatch())
		require.ErrorContains(t, err, "no data", name)
	}
	for _, name := range []string{"lnstat", "sockstat"} {
		e := newExporter(t, only(o, name))
		require.NoError(t, e.entries[0].Collector.Collect(t.Context(), metric.NewBatch()), name)
	}
}

func TestIPVSLabels(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	flags, err := parseFlags("--collector.ipvs.backend-labels=proto,local_address")
	require.NoError(t, err)
	o.IPVS = flags.IPVS
	require.Equal(t, []string{"local_address", "proto"}, o.IPVS.BackendLabels)
	text := scrape(t, newExporter(t, only(o, "ipvs")))
	require.Contains(t, text, `node_ipvs_backend_connections_active{local_address="10.0.0.1",proto="TCP"} 8`, "summed up")
	require.Contains(t, text, `node_ipvs_backend_weight{local_address="",proto="FWM"} 7`)
	_, err = parseFlags("--collector.ipvs.backend-labels=proto,colour")
	require.EqualError(t, err, `--collector.ipvs.backend-labels="proto,colour": "colour" is none of `+
		`local_address, local_port, remote_address, remote_port, proto, local_mark`)
}

func TestNetclassFlags(t *testing.T) {
	t.Parallel()
	o, err := parseFlags("--collector.netclass.netlink", "--collector.netclass_rtnl.with-stats")
	require.NoError(t, err)
	_, err = New(o)
	require.ErrorContains(t, err, "give --no-collector.netdev too")
	o.Enabled["netdev"] = false
	_, err = New(o)
	require.NoError(t, err)
	o = hostOptions(t)
	o.Netclass.IgnoreInvalidSpeed, o.Netclass.Ignored = true, mustPattern("^lo$")
	text := scrape(t, newExporter(t, only(o, "netclass")))
	require.NotContains(t, text, `speed_bytes{device="veth12"}`)
	require.NotContains(t, text, `device="lo"`)
	require.Contains(t, text, `node_network_speed_bytes{device="eth0"} 1250000000`)
}

// neighbourMessage is a neighbour of a device in a state.
func neighbourMessage(index uint32, state uint16) []byte {
	body := make([]byte, unix.SizeofNdMsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint16(body[8:], state)
	return message(unix.RTM_NEWNEIGH, 0, body)
}

func TestARPByNetlink(t *testing.T) {
	t.Parallel()
	c := newARP(&Options{}).(*arp)
	var data []byte
	for _, m := range [][]byte{
		neighbourMessage(2, unix.NUD_REACHABLE), neighbourMessage(3, unix.NUD_STALE), neighbourMessage(2, unix.NUD_FAILED),
		neighbourMessage(2, unix.NUD_NOARP),
	} {
		data = append(data, m...)
	}
	_, err := eachMessage(data, c.addNeighbour)
	require.NoError(t, err)
	require.Equal(t, []neighbours{{2, 2}, {3, 1}}, c.byIndex)
	_, err = eachMessage(message(unix.RTM_NEWNEIGH, 0, []byte{1}), c.addNeighbour)
	require.ErrorIs(t, err, errNetlink)
}

// deviceMessage is a link with all that netclass takes of it.
func deviceMessage(name string, index uint32, flags uint32, attributes ...[]byte) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint16(body[2:], unix.ARPHRD_ETHER)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], flags)
	body = append(body, attribute(unix.IFLA_IFNAME, append([]byte(name), 0))...)
	for _, a := range attributes {
		body = append(body, a...)
	}
	return message(unix.RTM_NEWLINK, 0, body)
}

func numberOf(kind uint16, v uint32) []byte {
	return attribute(kind, binary.NativeEndian.AppendUint32(nil, v))
}

// A link by netlink becomes what the files would say of it.
func TestNetclassLinks(t *testing.T) {
	t.Parallel()
	n := newNetclassLinks()
	mac := []byte{2, 0xfc, 0, 0, 0, 1}
	data := deviceMessage("eth0", 4, unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP|unix.IFF_MULTICAST,
		attribute(unix.IFLA_ADDRESS, mac), attribute(unix.IFLA_BROADCAST, []byte{255, 255}), attribute(unix.IFLA_OPERSTATE, []byte{6}),
		attribute(unix.IFLA_CARRIER, []byte{1}), numberOf(unix.IFLA_MTU, 1400), numberOf(unix.IFLA_LINK, 9), numberOf(unix.IFLA_PROMISCUITY, 1),
		numberOf(unix.IFLA_ALLMULTI, 2), attribute(unix.IFLA_IFALIAS, []byte("up\x00")),
		attribute(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, attribute(unix.IFLA_ALT_IFNAME, []byte("enp1s0\x00"))))
	data = append(data, deviceMessage("off", 5, 0, attribute(unix.IFLA_CARRIER, []byte{0}), attribute(unix.IFLA_OPERSTATE, []byte{2}))...)
	_, err := eachMessage(data, n.addLink)
	require.NoError(t, err)
	require.Len(t, n.links, 2)
	up, off := n.links[0], n.links[1]
	up.likeFiles(&up.device)
	off.likeFiles(&off.device)
	d := up.device
	require.Equal(t, "eth0 02:fc:00:00:00:01 ff:ff up up", fmt.Sprintln(d.name, d.address, d.broadcast, d.operstate, d.ifalias)[:34])
	require.True(t, up.mac)
	require.Equal(t, []string{"enp1s0"}, up.altnames)
	require.EqualValues(t, unix.IFF_UP|unix.IFF_MULTICAST|unix.IFF_PROMISC|unix.IFF_ALLMULTI, d.values[netFlags])
	require.Equal(t, []int64{4, 9, 1400, 1, 0}, []int64{d.values[netIndex], d.values[netLink], d.values[netMTU], d.values[netCarrier], d.values[netDormant]})
	require.True(t, d.has[netCarrier] && d.has[netDormant])
	require.False(t, off.device.has[netCarrier] || off.device.has[netDormant], "a device that is down has neither")
	require.EqualValues(t, 5, off.device.values[netLink], "its own index, when none is told")
}

// Without a device whose address is its own, netlink may speak of another
// network namespace.
func TestNetclassCompare(t *testing.T) {
	t.Parallel()
	n := newNetclassLinks()
	require.False(t, n.same)
	all := newFilterCache(Filter{})
	for range 2 * netclassTries {
		n.compare(t.Context(), []netDevice{{name: "no-such"}}, all)
	}
	require.False(t, n.same)
	require.Equal(t, netclassTries, n.tries, "not at every scrape")
}

// This host: files and netlink say the same of each device, but for what
// changes meanwhile.
func TestNetclassOfThisHost(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	c := newNetclass(&o).(*netclass)
	if err := c.readFiles(); err != nil {
		t.Skipf("no network devices here: %v", err)
	}
	byFiles := c.devices
	c.links.compare(t.Context(), byFiles, c.filter)
	if !c.links.same {
		t.Skip("this host's /sys/class/net has no device with an address of its own, or is of another network namespace")
	}
	byLinks, err := c.links.read(t.Context(), nil, c)
	require.NoError(t, err)
	same := 0
	for _, l := range byLinks {
		for _, f := range byFiles {
			if f.name == l.name && f.values[netCarrierChanges] == l.values[netCarrierChanges] && f.values[netIndex] == l.values[netIndex] {
				require.Equal(t, f, l)
				same++
			}
		}
	}
	require.NotZero(t, same)
}

func FuzzNetworkText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "x", "h\n10.0.0.1 0x1 0x2 m * eth0\n", "TcpExt: A B\nTcpExt: 1 2\n", "Ip6InOctets 5\n", "Tcp: InSegs\nTcp: -1e3\n",
		"sockets: used 3\nTCP: inuse 4 mem 5\n", "0 1 2 3 4 5 6 7 8 9 a b c\n", "0 1 2 3 4 5 6 7 8", "h\n 1: a b 07 00:ff x\n",
		"net 1 2 3 4\nproc4 1 5\nth 8 0 0.0\n", "a\nb\n1 2 3 4 ff\n", "TCP  0A000001:0050 rr\n  -> 0A000002:0050 M 1 2 3\n", "FWM 1\n-> [::1]:1 a 1 2 3\n",
		"entries a\n01 02\n", "XfrmInError 1", "4: ACTIVE", "2.5 Gb/sec",
	} {
		f.Add([]byte(seed))
	}
	o := DefaultOptions()
	f.Fuzz(func(t *testing.T, data []byte) {
		b := metric.NewBatch()
		counts, err := parseARP("f", data, names{}, nil)
		require.True(t, known(err), err)
		for _, c := range counts {
			require.True(t, c.device != "" && c.count > 0)
		}
		c := newNetstat(&o).(*netstat)
		require.True(t, known(c.parse("f", data, b)))
		require.True(t, known(c.parse6("f", data, b)))
		lines, err := parseSockstat("f", data, nil)
		require.True(t, known(err), err)
		s := newSockstat(&o).(*sockstat)
		for i := range lines {
			s.add(b, &lines[i], true)
		}
		_, err = parseSoftnet("f", data, nil)
		require.True(t, known(err), err)
		_, _, err = parseUDP("f", data)
		require.True(t, known(err), err)
		require.True(t, known(newNFSd(&o).(*rpcStats).parse("f", data)))
		_, err = parseIPVSStats("f", data)
		require.True(t, known(err), err)
		backends, err := parseIPVS("f", data)
		require.True(t, known(err), err)
		for _, backend := range backends {
			require.NotEmpty(t, backend.labels[2])
		}
		require.True(t, known(newLnstat(&o).(*lnstat).parse("f", data, "f", b)))
		_, err = parseXfrm("f", data)
		require.True(t, known(err), err)
		for _, rate := range []bool{false, true} {
			v, err := parseInfinibandState("f", data, rate)
			require.True(t, known(err), err)
			require.GreaterOrEqual(t, v, 0.0)
		}
		b.AppendText(nil)
	})
}

func FuzzNetclassNetlink(f *testing.F) {
	f.Add(deviceMessage("eth0", 1, 1, attribute(unix.IFLA_ADDRESS, []byte{1, 2}), numberOf(unix.IFLA_MTU, 5)))
	f.Add(deviceMessage("a", 1, 1, attribute(unix.IFLA_PROP_LIST, attribute(unix.IFLA_ALT_IFNAME, []byte("b")))))
	f.Add(message(30, 0, append([]byte{4, 1, 0, 0}, netlinkAttribute(unix.ETHTOOL_A_LINKMODES_HEADER, numberOf(unix.ETHTOOL_A_HEADER_DEV_INDEX, 3))...)))
	f.Add(neighbourMessage(1, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := newNetclassLinks()
		c := newARP(&Options{}).(*arp)
		for _, each := range []func(uint16, []byte) error{n.addLink, n.addLinkMode, c.addNeighbour} {
			_, err := eachMessage(data, each)
			var errno syscall.Errno
			require.True(t, err == nil || errors.Is(err, errNetlink) || errors.Is(err, errInterrupted) || errors.As(err, &errno), err)
		}
		for _, l := range n.links {
			require.NotEmpty(t, l.device.name)
		}
	})
}
