package node

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// genericHeader is the size of struct genlmsghdr, see
// Documentation/userspace-api/netlink/intro.rst of the kernel.
const genericHeader = 4

// genericBody is the body of a message of generic netlink.
func genericBody(command, version uint8, attributes []byte) []byte {
	return append([]byte{command, version, 0, 0}, attributes...)
}

// genericFamily asks for the number that a family of generic netlink has since
// the kernel was started. It is unix.ENOENT when there is no such family.
func genericFamily(ctx context.Context, n *netlink, name string) (id uint16, err error) {
	attribute := netlinkAttribute(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(name), 0))
	request := netlinkRequest(unix.GENL_ID_CTRL, unix.NLM_F_ACK, genericBody(unix.CTRL_CMD_GETFAMILY, 1, attribute))
	err = n.ask(ctx, request, func() { id = 0 }, func(_ uint16, body []byte) error {
		a := newNetlinkAttributes(body, genericHeader)
		for a.next() {
			if a.kind == unix.CTRL_ATTR_FAMILY_ID && len(a.value) == 2 {
				id = binary.NativeEndian.Uint16(a.value)
			}
		}
		return a.err
	})
	if err == nil && id == 0 {
		err = fmt.Errorf("%w: the answer has no number of a family", errNetlink)
	}
	if err != nil {
		return 0, fmt.Errorf("asking for the netlink family %s: %w", name, err)
	}
	return id, nil
}
