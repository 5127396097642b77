package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// addressReader asks the kernel for the addresses of all devices in one dump of
// RTM_GETADDR, see rtnetlink(7). They are those of the network namespace of
// this process.
type addressReader struct {
	netlink   netlink
	addresses []address
	devices   map[uint32]string // by index, of the links given last
	info      *metric.Family
	// name finds a device that the links do not have.
	name func(index uint32) (string, error)
}

// address of a device, and how many bits of it are the network's.
type address struct {
	index uint32
	ip    netip.Addr
	bits  int
}

func newAddressReader() *addressReader {
	return &addressReader{
		netlink: netlink{protocol: unix.NETLINK_ROUTE},
		devices: map[uint32]string{},
		name:    deviceName,
		info: metric.NewGauge("node_network_address_info", "node network address by device",
			"device", "address", "netmask", "scope"),
	}
}

// collect adds the addresses of the devices that pass. Those of a device that
// is gone meanwhile are left out.
func (r *addressReader) collect(ctx context.Context, b *metric.Batch, links []link, filter *filterCache) error {
	request := netlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err := r.netlink.ask(ctx, request, func() { r.addresses = r.addresses[:0] }, r.add); err != nil {
		return fmt.Errorf("asking for the addresses of network devices by netlink: %w", err)
	}
	clear(r.devices)
	for i := range links {
		if links[i].index != 0 { // which /proc/net/dev does not know
			r.devices[links[i].index] = string(links[i].name)
		}
	}
	for _, a := range r.addresses {
		device, known := r.devices[a.index]
		if !known {
			var err error
			if device, err = r.name(a.index); errors.Is(err, unix.ENODEV) {
				continue
			} else if err != nil {
				return err
			}
			r.devices[a.index] = device
		}
		if filter.pass([]byte(device)) {
			b.Add(r.info, 1, device, a.ip.String(), strconv.Itoa(a.bits), addressScope(a.ip))
		}
	}
	return nil
}

// add takes a message about an address. Between two points IFA_ADDRESS is the
// other one's, and IFA_LOCAL is ours.
func (r *addressReader) add(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWADDR {
		return nil
	}
	attributes := newNetlinkAttributes(body, unix.SizeofIfAddrmsg)
	var ip netip.Addr
	local := false
	for attributes.next() {
		switch {
		case attributes.kind == unix.IFA_LOCAL:
			ip, local = addressOf(attributes.value), true
		case attributes.kind == unix.IFA_ADDRESS && !local:
			ip = addressOf(attributes.value)
		}
	}
	if attributes.err == nil && ip.IsValid() {
		r.addresses = append(r.addresses, address{index: binary.NativeEndian.Uint32(body[4:]), ip: ip, bits: int(body[1])})
	}
	return attributes.err
}

// addressOf is an address of IPv4 or IPv6; any other length gives none.
func addressOf(value []byte) netip.Addr {
	ip, _ := netip.AddrFromSlice(value)
	return ip
}

// addressScope says how far an address reaches, in node_exporter's words.
func addressScope(ip netip.Addr) string {
	switch {
	case ip.IsLoopback(), ip.IsLinkLocalUnicast(), ip.IsLinkLocalMulticast():
		return "link-local"
	case ip.IsInterfaceLocalMulticast():
		return "interface-local"
	case ip.IsGlobalUnicast():
		return "global"
	default:
		return ""
	}
}
