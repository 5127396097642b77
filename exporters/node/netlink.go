package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// netlink asks the kernel for its network devices, in one dump of
// RTM_GETLINK. The format is described in rtnetlink(7) and netlink(7).
type netlink struct {
	buf   []byte // of one datagram
	names []byte // what the names of the links given last are parts of
}

const (
	// netlinkTimeout bounds the wait for a datagram, which the kernel has
	// ready at once.
	netlinkTimeout = 2 * time.Second
	// netlinkBuffer is the largest datagram that the kernel makes for a dump.
	netlinkBuffer = 32 << 10
	// netlinkTries bounds how often a dump is begun anew since devices came
	// or went while it was made.
	netlinkTries = 3
)

// errNetlink is what every error about the content of a datagram is.
var errNetlink = errors.New("unexpected netlink message")

// errInterrupted says that the dump is not of one moment.
var errInterrupted = errors.New("network devices changed during the dump")

// links appends the devices of this process's network namespace to dst. Their
// names are valid until the next call.
func (n *netlink) links(dst []link) ([]link, error) {
	for try := 1; ; try++ {
		n.names = n.names[:0]
		all, err := n.dump(dst)
		if errors.Is(err, errInterrupted) {
			if try < netlinkTries {
				continue
			}
			err = nil // each device is right by itself
		}
		if err != nil {
			err = fmt.Errorf("asking for network devices by netlink (--no-collector.netdev.netlink reads /proc/net/dev instead): %w", err)
		}
		return all, err
	}
}

func (n *netlink) dump(dst []link) ([]link, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return dst, fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	timeout := unix.NsecToTimeval(int64(netlinkTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return dst, fmt.Errorf("setsockopt: %w", err)
	}
	if err := unix.Sendto(fd, linkRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return dst, fmt.Errorf("sendto: %w", err)
	}
	if n.buf == nil {
		n.buf = make([]byte, netlinkBuffer)
	}
	var interrupted error
	for {
		size, err := n.receive(fd)
		if err != nil {
			return dst, err
		}
		var done bool
		dst, done, err = n.parse(n.buf[:size], dst)
		switch {
		case errors.Is(err, errInterrupted):
			interrupted = err
		case err != nil:
			return dst, err
		}
		if done {
			return dst, interrupted
		}
	}
}

// receive takes a datagram into n.buf.
func (n *netlink) receive(fd int) (int, error) {
	size, err := ignoringEINTR(func() (int, error) {
		// With MSG_TRUNC the result is the true length of the datagram.
		size, _, err := unix.Recvfrom(fd, n.buf, unix.MSG_TRUNC)
		return size, err
	})
	if err != nil {
		return 0, fmt.Errorf("recvfrom: %w", err)
	}
	if size > len(n.buf) {
		was := len(n.buf)
		n.buf = make([]byte, size) // for the next scrape
		return 0, fmt.Errorf("%w: of %d bytes, %d are expected at most", errNetlink, size, was)
	}
	return size, nil
}

// linkRequest is the message that asks for all links.
func linkRequest() []byte {
	const size = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	m := make([]byte, size)
	binary.NativeEndian.PutUint32(m, size)
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return m
}

// parse reads the messages of a datagram and appends their links to dst. done
// says that the dump is complete.
func (n *netlink) parse(data []byte, dst []link) (_ []link, done bool, err error) {
	for len(data) >= unix.SizeofNlMsghdr {
		length := binary.NativeEndian.Uint32(data)
		kind := binary.NativeEndian.Uint16(data[4:])
		flags := binary.NativeEndian.Uint16(data[6:])
		if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(data)) {
			return dst, false, fmt.Errorf("%w: length %d in a rest of %d bytes", errNetlink, length, len(data))
		}
		body := data[unix.SizeofNlMsghdr:length]
		data = data[min(align(int(length)), len(data)):]
		if flags&unix.NLM_F_DUMP_INTR != 0 {
			err = errInterrupted
		}
		switch kind {
		case unix.NLMSG_DONE:
			if len(body) >= 4 && int32(binary.NativeEndian.Uint32(body)) < 0 {
				return dst, true, parseNetlinkError(body)
			}
			return dst, true, err
		case unix.NLMSG_ERROR:
			return dst, false, parseNetlinkError(body)
		case unix.RTM_NEWLINK:
			l, ok, linkErr := n.parseLink(body)
			if linkErr != nil {
				return dst, false, linkErr
			}
			if ok {
				dst = append(dst, l)
			}
		}
	}
	if len(data) > 0 {
		return dst, false, fmt.Errorf("%w: %d bytes behind the last", errNetlink, len(data))
	}
	return dst, false, err
}

func parseNetlinkError(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("%w: error of %d bytes", errNetlink, len(body))
	}
	errno := -int32(binary.NativeEndian.Uint32(body))
	if errno <= 0 {
		return fmt.Errorf("%w: error %d", errNetlink, -errno)
	}
	return fmt.Errorf("answer: %w", unix.Errno(errno))
}

// parseLink reads a message about a device. ok is false when it has no name
// or no counters.
func (n *netlink) parseLink(body []byte) (l link, ok bool, err error) {
	if len(body) < unix.SizeofIfInfomsg {
		return l, false, fmt.Errorf("%w: link of %d bytes", errNetlink, len(body))
	}
	counted := false
	for rest := body[unix.SizeofIfInfomsg:]; len(rest) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(rest))
		kind := binary.NativeEndian.Uint16(rest[2:])
		if length < unix.SizeofRtAttr || length > len(rest) {
			return l, false, fmt.Errorf("%w: attribute of length %d in a rest of %d bytes", errNetlink, length, len(rest))
		}
		value := rest[unix.SizeofRtAttr:length]
		rest = rest[min(align(length), len(rest)):]
		switch {
		case kind == unix.IFLA_IFNAME:
			value, _, _ = bytes.Cut(value, []byte{0})
			start := len(n.names)
			n.names = append(n.names, value...)
			l.name = n.names[start:len(n.names):len(n.names)]
		case kind == unix.IFLA_STATS64:
			counted = true
			for i := range min(len(l.stats), len(value)/8) {
				l.stats[i] = binary.NativeEndian.Uint64(value[8*i:])
			}
		case kind == unix.IFLA_STATS && !counted: // before IFLA_STATS64, or alone
			counted = true
			for i := range min(len(l.stats), len(value)/4) {
				l.stats[i] = uint64(binary.NativeEndian.Uint32(value[4*i:]))
			}
		}
	}
	return l, len(l.name) > 0 && counted, nil
}

// align rounds a length up to the next boundary of messages and attributes.
func align(n int) int { return (n + 3) &^ 3 }
