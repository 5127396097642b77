package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// networkRoute lists the unicast routes of all tables by rtnetlink(7), in the
// network namespace of this process.
type networkRoute struct {
	ask        netlinkAsk
	deviceName func(index uint32) (string, error)
	routes     []route
	info       *metric.Family
	count      *metric.Family
}

// route is a way to a destination; one over several gateways is as many.
type route struct {
	device          uint32 // index, 0 for none
	source, gateway netip.Addr
	destination     netip.Prefix // invalid for the default route
	priority        uint32
	protocol        uint8
	weight          int // 0 for the only gateway
}

func newNetworkRoute(*Options) collect.Collector {
	return &networkRoute{
		ask: (&netlink{protocol: unix.NETLINK_ROUTE}).ask, deviceName: deviceName,
		info: metric.NewGauge("node_network_route_info", "network routing table information",
			"device", "src", "dest", "gw", "priority", "proto", "weight"),
		count: metric.NewGauge("node_network_routes", "network routes by interface", "device"),
	}
}

// Families implements collect.Collector.
func (c *networkRoute) Families() []*metric.Family { return []*metric.Family{c.info, c.count} }

// Collect implements collect.Collector.
func (c *networkRoute) Collect(ctx context.Context, b *metric.Batch) error {
	request := netlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg))
	if err := c.ask(ctx, request, func() { c.routes = c.routes[:0] }, c.add); err != nil {
		return fmt.Errorf("asking for routes by netlink: %w", err)
	}
	return c.emit(ctx, b)
}

// emit adds the routes. Two tables may have the same one, which counts twice
// and is shown once.
func (c *networkRoute) emit(ctx context.Context, b *metric.Batch) error {
	devices := map[uint32]string{0: ""}
	counts := map[string]int{}
	shown := map[route]bool{}
	var errs error
	for _, r := range c.routes {
		name, known := devices[r.device]
		if !known {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			if name, err = c.deviceName(r.device); err != nil && !absent(err) {
				errs = errors.Join(errs, err)
			}
			devices[r.device] = name
		}
		counts[name]++
		if !shown[r] {
			shown[r] = true
			b.Add(c.info, 1, r.labels(name)...)
		}
	}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Add(c.count, float64(counts[name]), name)
	}
	return errs
}

func (r *route) labels(device string) []string {
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	destination, weight := "default", ""
	if r.destination.IsValid() {
		destination = r.destination.String()
	}
	if r.weight > 0 {
		weight = strconv.Itoa(r.weight)
	}
	return []string{
		device, text(r.source), destination, text(r.gateway), strconv.FormatUint(uint64(r.priority), 10), routeProtocol(r.protocol), weight,
	}
}

// add keeps the route of a message, see struct rtmsg in the kernel's
// include/uapi/linux/rtnetlink.h.
func (c *networkRoute) add(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWROUTE {
		return nil
	}
	const bitsAt, protocolAt, typeAt = 1, 5, 7
	a := newNetlinkAttributes(body, unix.SizeofRtMsg)
	if a.err != nil || body[typeAt] != unix.RTN_UNICAST {
		return a.err
	}
	r := route{protocol: body[protocolAt]}
	var hops []byte
	for a.next() {
		switch a.kind {
		case unix.RTA_DST:
			if bits := int(body[bitsAt]); bits > 0 {
				address, _ := netip.AddrFromSlice(a.value)
				r.destination, _ = address.Prefix(bits)
			}
		case unix.RTA_PREFSRC:
			r.source, _ = netip.AddrFromSlice(a.value)
		case unix.RTA_GATEWAY:
			r.gateway, _ = netip.AddrFromSlice(a.value)
		case unix.RTA_OIF:
			r.device = uint32(a.uint())
		case unix.RTA_PRIORITY:
			r.priority = uint32(a.uint())
		case unix.RTA_MULTIPATH:
			hops = a.value
		}
	}
	if a.err != nil || len(hops) == 0 {
		if a.err == nil {
			c.routes = append(c.routes, r)
		}
		return a.err
	}
	return c.addHops(r, hops)
}

// addHops keeps a route for each of its gateways, see struct rtnexthop.
func (c *networkRoute) addHops(r route, hops []byte) error {
	for len(hops) > 0 {
		if len(hops) < unix.SizeofRtNexthop {
			return fmt.Errorf("%w: %d bytes behind the last gateway", errNetlink, len(hops))
		}
		length := int(binary.NativeEndian.Uint16(hops))
		if length < unix.SizeofRtNexthop || length > len(hops) {
			return fmt.Errorf("%w: gateway of length %d in a rest of %d bytes", errNetlink, length, len(hops))
		}
		const hopsAt, deviceAt = 3, 4
		hop := r
		hop.device, hop.weight, hop.gateway = binary.NativeEndian.Uint32(hops[deviceAt:]), int(hops[hopsAt])+1, netip.Addr{}
		a := newNetlinkAttributes(hops[:length], unix.SizeofRtNexthop)
		for a.next() {
			if a.kind == unix.RTA_GATEWAY {
				hop.gateway, _ = netip.AddrFromSlice(a.value)
			}
		}
		if a.err != nil {
			return a.err
		}
		c.routes = append(c.routes, hop)
		hops = hops[min(align(length), len(hops)):]
	}
	return nil
}

// routeProtocol names who made a route, see rtnetlink(7) and the kernel's
// include/uapi/linux/rtnetlink.h.
func routeProtocol(protocol uint8) string {
	names := map[uint8]string{
		0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird",
		13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 42: "babel", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip",
		192: "eigrp",
	}
	if name, ok := names[protocol]; ok {
		return name
	}
	return "unknown"
}
