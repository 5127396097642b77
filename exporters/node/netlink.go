package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// netlink asks the kernel by messages, over a socket that is kept as long as the
// answers are whole: they are about the network namespace of this process. The
// format is described in netlink(7) and in Documentation/userspace-api/netlink of the
// kernel.
type netlink struct {
	protocol int // such as unix.NETLINK_ROUTE
	socket   *descriptor
	buf      []byte
}

// netlinkAsk is netlink.ask, or what stands for it.
type netlinkAsk func(ctx context.Context, request []byte, begin func(), each func(kind uint16, body []byte) error) error

const (
	// netlinkTimeout bounds the wait for a datagram where the context has no
	// deadline. The kernel has it ready at once.
	netlinkTimeout = 2 * time.Second
	// netlinkBuffer is the largest datagram that the kernel makes for a dump.
	netlinkBuffer = 32 << 10
	// netlinkTries bounds how often a dump is begun anew since objects came
	// or went while it was made.
	netlinkTries = 3
)

// errNetlink is what every error about the content of a datagram is.
var errNetlink = errors.New("unexpected netlink message")

// errInterrupted says that the dump is not of one moment.
var errInterrupted = errors.New("the kernel's list changed during the dump")

// ask sends a request and gives every message of the answer to each. It calls
// begin first, and again when the answer is begun anew. The body is valid until
// each returns. A wait for the kernel ends with the context's deadline.
func (n *netlink) ask(ctx context.Context, request []byte, begin func(), each func(kind uint16, body []byte) error) error {
	for try := 1; ; try++ {
		begin()
		err := n.askOnce(ctx, request, each)
		if !errors.Is(err, errInterrupted) {
			return err
		}
		if try == netlinkTries {
			return nil // each object is right by itself
		}
	}
}

// open gives the socket.
func (n *netlink) open() (fd int, err error) {
	if n.socket != nil {
		return n.socket.fd, nil
	}
	if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, n.protocol); err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	n.socket = newDescriptor(fd)
	return fd, nil
}

func (n *netlink) askOnce(ctx context.Context, request []byte, each func(kind uint16, body []byte) error) error {
	fd, err := n.open()
	if err != nil {
		return err
	}
	err = n.exchange(ctx, fd, request, each)
	if err != nil && !errors.Is(err, errInterrupted) {
		// There may be more of this answer, which is not one to the next request.
		n.socket.close()
		n.socket = nil
	}
	return err
}

// exchange sends the request and reads its answer to the end.
func (n *netlink) exchange(ctx context.Context, fd int, request []byte, each func(kind uint16, body []byte) error) error {
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	if n.buf == nil {
		n.buf = make([]byte, netlinkBuffer)
	}
	var interrupted error
	for {
		size, err := n.receive(ctx, fd)
		if err != nil {
			return err
		}
		done, err := eachMessage(n.buf[:size], each)
		switch {
		case errors.Is(err, errInterrupted):
			interrupted = err
		case err != nil:
			return err
		}
		if done {
			return interrupted
		}
	}
}

// receive takes a datagram into n.buf.
func (n *netlink) receive(ctx context.Context, fd int) (int, error) {
	take := func() (int, error) {
		// With MSG_TRUNC the result is the true length of the datagram.
		size, _, err := unix.Recvfrom(fd, n.buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		return size, err
	}
	size, err := ignoringEINTR(take)
	if errors.Is(err, unix.EAGAIN) { // which is seldom, so no call bounds the others
		if err = awaitDatagram(ctx, fd); err == nil {
			size, err = ignoringEINTR(take)
		}
	}
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

// awaitDatagram waits until a socket can be read. It fails with
// context.DeadlineExceeded when that takes too long.
func awaitDatagram(ctx context.Context, fd int) error {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(netlinkTimeout)
	}
	for {
		left := time.Until(end)
		if left <= 0 {
			return context.DeadlineExceeded
		}
		timeout := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &timeout, nil)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// netlinkRequest is a message to the kernel.
func netlinkRequest(kind, flags uint16, body []byte) []byte {
	m := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(m, uint32(cap(m)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	return append(m, body...)
}

// netlinkAttribute is an attribute of a request, padded.
func netlinkAttribute(kind uint16, value []byte) []byte {
	a := make([]byte, unix.SizeofRtAttr, align(unix.SizeofRtAttr+len(value)))
	binary.NativeEndian.PutUint16(a, uint16(unix.SizeofRtAttr+len(value)))
	binary.NativeEndian.PutUint16(a[2:], kind)
	return append(a, value...)[:cap(a)]
}

// eachMessage reads the messages of a datagram and gives them to each. done
// says that the answer is complete.
func eachMessage(data []byte, each func(kind uint16, body []byte) error) (done bool, err error) {
	for len(data) >= unix.SizeofNlMsghdr {
		length := binary.NativeEndian.Uint32(data)
		kind := binary.NativeEndian.Uint16(data[4:])
		flags := binary.NativeEndian.Uint16(data[6:])
		if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(data)) {
			return false, fmt.Errorf("%w: length %d in a rest of %d bytes", errNetlink, length, len(data))
		}
		body := data[unix.SizeofNlMsghdr:length]
		data = data[min(align(int(length)), len(data)):]
		if flags&unix.NLM_F_DUMP_INTR != 0 {
			err = errInterrupted
		}
		switch kind {
		case unix.NLMSG_DONE:
			if len(body) >= 4 && int32(binary.NativeEndian.Uint32(body)) < 0 {
				return true, parseNetlinkError(body)
			}
			return true, err
		case unix.NLMSG_ERROR:
			if len(body) >= 4 && binary.NativeEndian.Uint32(body) == 0 {
				return true, err // the acknowledgement that was asked for
			}
			return false, parseNetlinkError(body)
		case unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
		default:
			if eachErr := each(kind, body); eachErr != nil {
				return false, eachErr
			}
		}
	}
	if len(data) > 0 {
		return false, fmt.Errorf("%w: %d bytes behind the last", errNetlink, len(data))
	}
	return false, err
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

// netlinkAttributes walks over the attributes of a message, or over those nested in
// the value of another.
type netlinkAttributes struct {
	rest  []byte
	kind  uint16 // without the flags that say how it is encoded
	value []byte
	err   error
}

// newNetlinkAttributes starts behind a header of the size in a message's body.
func newNetlinkAttributes(body []byte, header int) netlinkAttributes {
	if len(body) < header {
		return netlinkAttributes{err: fmt.Errorf("%w: %d bytes with a header of %d", errNetlink, len(body), header)}
	}
	return netlinkAttributes{rest: body[header:]}
}

// next goes to the next attribute. After it said no, err tells what was wrong.
func (a *netlinkAttributes) next() bool {
	if a.err != nil || len(a.rest) < unix.SizeofRtAttr {
		return false
	}
	const kindMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	length := int(binary.NativeEndian.Uint16(a.rest))
	if length < unix.SizeofRtAttr || length > len(a.rest) {
		a.err = fmt.Errorf("%w: attribute of length %d in a rest of %d bytes", errNetlink, length, len(a.rest))
		return false
	}
	a.kind = binary.NativeEndian.Uint16(a.rest[2:]) & kindMask
	a.value = a.rest[unix.SizeofRtAttr:length]
	a.rest = a.rest[min(align(length), len(a.rest)):]
	return true
}

// uint is a value of 1, 2, 4 or 8 bytes; any other is 0.
func (a *netlinkAttributes) uint() uint64 {
	switch len(a.value) {
	case 1:
		return uint64(a.value[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(a.value))
	case 4:
		return uint64(binary.NativeEndian.Uint32(a.value))
	case 8:
		return binary.NativeEndian.Uint64(a.value)
	}
	return 0
}

// text is a value that ends at its first zero byte, if there is one.
func (a *netlinkAttributes) text() []byte {
	text, _, _ := bytes.Cut(a.value, []byte{0})
	return text
}

// align rounds a length up to the next boundary of messages and attributes.
func align(n int) int { return (n + 3) &^ 3 }
