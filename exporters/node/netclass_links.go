package node

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// netclassLinks takes what /sys/class/net says in 23 files a device, some of
// which wait for a lock of the whole network stack, from two dumps of netlink:
// the links, and speed and duplex by ethtool.
//
// It is right only when /sys was mounted in the network namespace of this
// process. That is found out by comparing what both say; as neither can change
// while the process runs, once is enough.
type netclassLinks struct {
	route, generic netlink
	ethtool        uint16 // the family's number, 0 when not known yet
	links          []netclassLink
	modes          []linkMode
	fixed          map[string]*fixedAttributes
	names          names
	same           bool
	tries          int
}

// netclassLink is what a dump of links says of a device.
type netclassLink struct {
	device   netDevice
	flags    uint32 // as in the message
	mac      bool   // whether the address is one of its own
	allmulti bool   // whether the dump tells IFF_ALLMULTI
	altnames []string
	stats    linkStats
	counted  bool
}

// linkMode is what a device is capable of at the moment.
type linkMode struct {
	index  uint32
	name   string
	speed  int32 // in Mbit/s, -1 when not known
	duplex uint8
}

// fixedAttributes are those that only files tell, and that change only
// together with what is kept beside them.
type fixedAttributes struct {
	index   int64
	address string
	values  [netclassValues]int64
	has     [netclassValues]bool
}

const (
	// netclassTries bounds how often both are compared without success: a
	// device may come between the two.
	netclassTries = 3
	// skipStats in IFLA_EXT_MASK leaves out the counters of the links, which
	// are most of the answer.
	skipStats = 1 << 3
)

func newNetclassLinks() netclassLinks {
	return netclassLinks{
		route:   netlink{protocol: unix.NETLINK_ROUTE},
		generic: netlink{protocol: unix.NETLINK_GENERIC},
		fixed:   map[string]*fixedAttributes{},
		names:   names{},
	}
}

// compare finds out whether netlink speaks of the devices that were read from
// files. One with an address of its own must be among them, since every
// namespace has lo.
func (n *netclassLinks) compare(ctx context.Context, devices []netDevice, filter *filterCache) {
	if n.tries == netclassTries {
		return
	}
	n.tries++
	if err := n.dump(ctx, linkRequest(skipStats)); err != nil {
		return
	}
	links := slices.DeleteFunc(slices.Clone(n.links), func(l netclassLink) bool { return !filter.pass([]byte(l.device.name)) })
	if len(links) != len(devices) {
		return
	}
	mac := false
	for i := range links {
		l := &links[i].device
		j := slices.IndexFunc(devices, func(d netDevice) bool { return d.name == l.name })
		if j < 0 || devices[j].values[netIndex] != l.values[netIndex] || devices[j].address != l.address ||
			devices[j].values[netType] != l.values[netType] {
			return
		}
		mac = mac || links[i].mac
	}
	n.same = mac
}

// read appends the devices to dst.
func (n *netclassLinks) read(ctx context.Context, dst []netDevice, c *netclass) ([]netDevice, error) {
	if err := n.dump(ctx, linkRequest(skipStats)); err != nil {
		return dst, err
	}
	modesErr := n.linkModes(ctx)
	if len(n.fixed) > 2*len(n.links)+16 {
		clear(n.fixed) // most are of devices that are gone
	}
	for i := range n.links {
		l := &n.links[i]
		if !c.filter.pass([]byte(l.device.name)) {
			continue
		}
		d := l.device
		l.likeFiles(&d)
		dir := filepath.Join(c.dir, d.name)
		if err := n.addFixed(&d, dir, c); err != nil {
			return dst, err
		}
		if !l.allmulti {
			var err error
			if d.values[netFlags], d.has[netFlags], err = c.readNumber(dir, netFlags); err != nil {
				return dst, err
			}
		}
		if l.flags&unix.IFF_UP != 0 { // else the files have no value
			if err := n.addMode(&d, dir, c, modesErr); err != nil {
				return dst, err
			}
		}
		dst = append(dst, d)
	}
	return dst, nil
}

// likeFiles makes of a link what the files say. A device that is down has
// neither carrier nor dormant; and the flags are those that were set, not what
// the kernel tells of the state with the same bits.
func (l *netclassLink) likeFiles(d *netDevice) {
	const state = unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_DORMANT
	d.values[netFlags] |= int64(l.flags &^ state)
	if l.flags&unix.IFF_UP == 0 {
		d.values[netCarrier], d.has[netCarrier] = 0, false
		return
	}
	d.has[netDormant] = true
	d.values[netDormant] = 0
	if l.flags&unix.IFF_DORMANT != 0 {
		d.values[netDormant] = 1
	}
}

// addFixed adds the attributes that only files tell.
func (n *netclassLinks) addFixed(d *netDevice, dir string, c *netclass) error {
	places := [...]int{netAddressAssignType, netDeviceID, netNameAssignType}
	f := n.fixed[d.name]
	if f == nil || f.index != d.values[netIndex] || f.address != d.address {
		f = &fixedAttributes{index: d.values[netIndex], address: d.address}
		for _, place := range places {
			var err error
			if f.values[place], f.has[place], err = c.readNumber(dir, place); err != nil {
				return err
			}
		}
		n.fixed[d.name] = f
	}
	for _, place := range places {
		d.values[place], d.has[place] = f.values[place], f.has[place]
	}
	return nil
}

// addMode adds speed and duplex, from files when the dump failed.
func (n *netclassLinks) addMode(d *netDevice, dir string, c *netclass, dumpErr error) error {
	if dumpErr != nil {
		text, err := c.reader.text(filepath.Join(dir, "duplex"))
		if err == nil {
			d.duplex = n.names.text(text)
		} else if !valueless(err) {
			return err
		}
		d.values[netSpeed], d.has[netSpeed], err = c.readNumber(dir, netSpeed)
		return err
	}
	for i := range n.modes {
		if m := &n.modes[i]; int64(m.index) == d.values[netIndex] {
			d.values[netSpeed], d.has[netSpeed] = int64(m.speed), true
			d.duplex = duplexName(m.duplex)
			return nil
		}
	}
	return nil
}

func duplexName(duplex uint8) string {
	switch duplex {
	case 0: // DUPLEX_HALF of include/uapi/linux/ethtool.h
		return "half"
	case 1: // DUPLEX_FULL
		return "full"
	}
	return "unknown"
}

// dump fills n.links.
func (n *netclassLinks) dump(ctx context.Context, request []byte) error {
	return n.route.ask(ctx, request, func() { n.links = n.links[:0] }, n.addLink)
}

func (n *netclassLinks) addLink(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWLINK {
		return nil
	}
	l, err := n.parseLink(body)
	if err == nil && l.device.name != "" {
		n.links = append(n.links, l)
	}
	return err
}

// netclassPlaces are the attributes of a link that are numbers of a device.
var netclassPlaces = map[uint16]int{
	unix.IFLA_CARRIER: netCarrier, unix.IFLA_CARRIER_CHANGES: netCarrierChanges,
	unix.IFLA_CARRIER_UP_COUNT: netCarrierUpChanges, unix.IFLA_CARRIER_DOWN_COUNT: netCarrierDownChanges,
	unix.IFLA_LINK: netLink, unix.IFLA_LINKMODE: netLinkMode, unix.IFLA_MTU: netMTU, unix.IFLA_GROUP: netGroup,
	unix.IFLA_TXQLEN: netTransmitQueue,
}

// parseLink reads a message about a device, see struct ifinfomsg in
// rtnetlink(7).
func (n *netclassLinks) parseLink(body []byte) (l netclassLink, err error) {
	a := newNetlinkAttributes(body, unix.SizeofIfInfomsg)
	if a.err != nil {
		return l, a.err
	}
	d := &l.device
	d.set(netType, int64(binary.NativeEndian.Uint16(body[2:])))
	d.set(netIndex, int64(binary.NativeEndian.Uint32(body[4:])))
	d.set(netLink, d.values[netIndex]) // unless it is told
	d.set(netFlags, 0)
	l.flags = binary.NativeEndian.Uint32(body[8:])
	d.operstate = operState(0)
	for a.next() {
		if place, ok := netclassPlaces[a.kind]; ok {
			d.set(place, int64(a.uint()))
			continue
		}
		switch a.kind {
		case unix.IFLA_IFNAME:
			d.name = n.names.text(a.text())
		case unix.IFLA_IFALIAS:
			d.ifalias = n.names.text(a.text())
		case unix.IFLA_ADDRESS:
			d.address = n.hardwareAddress(a.value)
			l.mac = slices.Max(append(a.value, 0)) > 0
		case unix.IFLA_BROADCAST:
			d.broadcast = n.hardwareAddress(a.value)
		case unix.IFLA_OPERSTATE:
			d.operstate = operState(a.uint())
		case unix.IFLA_PROMISCUITY:
			if a.uint() > 0 {
				d.values[netFlags] |= unix.IFF_PROMISC
			}
		case unix.IFLA_ALLMULTI:
			l.allmulti = true
			if a.uint() > 0 {
				d.values[netFlags] |= unix.IFF_ALLMULTI
			}
		case unix.IFLA_STATS64:
			l.counted = true
			for i := range min(len(l.stats), len(a.value)/8) {
				l.stats[i] = binary.NativeEndian.Uint64(a.value[8*i:])
			}
		case unix.IFLA_PROP_LIST:
			l.altnames = append(l.altnames, altNames(a.value)...)
		}
	}
	return l, a.err
}

func (d *netDevice) set(place int, v int64) { d.values[place], d.has[place] = v, true }

// altNames reads the further names of a device.
func altNames(list []byte) (all []string) {
	for a := newNetlinkAttributes(list, 0); a.next(); {
		if name := a.text(); a.kind == unix.IFLA_ALT_IFNAME && len(name) > 0 {
			all = append(all, string(name))
		}
	}
	return all
}

// hardwareAddress writes bytes as 02:fc:00:00:00:01.
func (n *netclassLinks) hardwareAddress(raw []byte) string {
	const digits = "0123456789abcdef"
	var room [64]byte
	text := room[:0]
	for i, v := range raw {
		if i > 0 {
			text = append(text, ':')
		}
		text = append(text, digits[v>>4], digits[v&15])
	}
	return n.names.text(text)
}

// operState names the state of RFC 2863, as in the kernel's
// net/core/net-sysfs.c.
func operState(state uint64) string {
	states := [...]string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}
	if state < uint64(len(states)) {
		return states[state]
	}
	return states[0]
}

// errNoEthtool says that this kernel, before Linux 5.6, has no netlink for
// ethtool.
var errNoEthtool = errors.New("no netlink family for ethtool")

// linkModes fills n.modes, see
// Documentation/networking/ethtool-netlink.rst of the kernel.
func (n *netclassLinks) linkModes(ctx context.Context) (err error) {
	if n.ethtool == 0 {
		if n.ethtool, err = genericFamily(ctx, &n.generic, unix.ETHTOOL_GENL_NAME); errors.Is(err, unix.ENOENT) {
			return errNoEthtool
		}
		if err != nil {
			return err
		}
	}
	const compactBitsets = 1
	flags := netlinkAttribute(unix.ETHTOOL_A_HEADER_FLAGS, binary.NativeEndian.AppendUint32(nil, compactBitsets))
	header := netlinkAttribute(unix.ETHTOOL_A_LINKMODES_HEADER|unix.NLA_F_NESTED, flags)
	request := netlinkRequest(n.ethtool, unix.NLM_F_DUMP, genericBody(unix.ETHTOOL_MSG_LINKMODES_GET, 1, header))
	return n.generic.ask(ctx, request, func() { n.modes = n.modes[:0] }, n.addLinkMode)
}

func (n *netclassLinks) addLinkMode(_ uint16, body []byte) error {
	m := linkMode{speed: -1, duplex: 0xff}
	a := newNetlinkAttributes(body, genericHeader)
	for a.next() {
		switch a.kind {
		case unix.ETHTOOL_A_LINKMODES_HEADER:
			for h := newNetlinkAttributes(a.value, 0); h.next(); {
				switch h.kind {
				case unix.ETHTOOL_A_HEADER_DEV_INDEX:
					m.index = uint32(h.uint())
				case unix.ETHTOOL_A_HEADER_DEV_NAME:
					m.name = n.names.text(h.text())
				}
			}
		case unix.ETHTOOL_A_LINKMODES_SPEED:
			m.speed = int32(uint32(a.uint()))
		case unix.ETHTOOL_A_LINKMODES_DUPLEX:
			m.duplex = uint8(a.uint())
		}
	}
	if a.err == nil && m.index != 0 {
		n.modes = append(n.modes, m)
	}
	return a.err
}
