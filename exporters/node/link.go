package node

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// linkReader asks the kernel for its network devices with their counters, in
// one dump of RTM_GETLINK, see rtnetlink(7).
type linkReader struct {
	netlink netlink
	text    []byte // what the names and aliases of the links given last are parts of
	links   []link
}

// read gives the devices of this process's network namespace. They are valid
// until the next call.
func (r *linkReader) read(ctx context.Context) ([]link, error) {
	begin := func() { r.text, r.links = r.text[:0], r.links[:0] }
	if err := r.netlink.ask(ctx, linkRequest(0), begin, r.add); err != nil {
		return r.links, fmt.Errorf("asking for network devices by netlink (--no-collector.netdev.netlink reads /proc/net/dev instead): %w", err)
	}
	return r.links, nil
}

// linkRequest is the message that asks for all links. The mask can leave out
// parts of the answer.
func linkRequest(mask uint32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	if mask != 0 {
		body = append(body, netlinkAttribute(unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, mask))...)
	}
	return netlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP, body)
}

// add takes a message about a device, unless it has no name or no counters.
func (r *linkReader) add(kind uint16, body []byte) error {
	if kind != unix.RTM_NEWLINK {
		return nil
	}
	var l link
	counted := false
	a := newNetlinkAttributes(body, unix.SizeofIfInfomsg)
	for a.next() {
		switch {
		case a.kind == unix.IFLA_IFNAME:
			l.name = r.keep(a.text())
		case a.kind == unix.IFLA_IFALIAS:
			l.alias = r.keep(a.text())
		case a.kind == unix.IFLA_STATS64:
			counted = true
			for i := range min(len(l.stats), len(a.value)/8) {
				l.stats[i] = binary.NativeEndian.Uint64(a.value[8*i:])
			}
		case a.kind == unix.IFLA_STATS && !counted: // before IFLA_STATS64, or alone
			counted = true
			for i := range min(len(l.stats), len(a.value)/4) {
				l.stats[i] = uint64(binary.NativeEndian.Uint32(a.value[4*i:]))
			}
		}
	}
	if a.err == nil && len(l.name) > 0 && counted {
		l.index = binary.NativeEndian.Uint32(body[4:]) // ifi_index of struct ifinfomsg
		r.links = append(r.links, l)
	}
	return a.err
}

func (r *linkReader) keep(text []byte) []byte {
	start := len(r.text)
	r.text = append(r.text, text...)
	return r.text[start:len(r.text):len(r.text)]
}

// deviceName asks for the name of the device that has the index now. It is
// unix.ENODEV when there is none.
func deviceName(index uint32) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	request.SetUint32(index)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request); err != nil {
		return "", fmt.Errorf("asking for the name of network device %d: %w", index, err)
	}
	return request.Name(), nil
}
