package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// ListenOn listens on a TCP address given by the named flag. When the port is
// taken, the error says by which process, as far as this user may see, and
// which flag chooses another.
func ListenOn(address, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use%s; choose another address with %s: %w", address, portHolder(address), flag, err)
	default:
		return nil, fmt.Errorf("cannot listen on %s; choose another address with %s: %w", address, flag, err)
	}
}

// portHolder names the process that listens on the port of an address, such
// as " by prometheus (pid 42)". It is empty when that cannot be told.
func portHolder(address string) string {
	_, text, _ := net.SplitHostPort(address)
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return ""
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return ""
	}
	inodes := listeningInodes(port)
	procs, err := fs.AllProcs()
	if err != nil {
		return ""
	}
	for _, p := range procs {
		targets, err := p.FileDescriptorTargets()
		if err != nil {
			continue // another user's process, or gone
		}
		for _, target := range targets {
			if inodes[target] {
				name, _ := p.Comm()
				return fmt.Sprintf(" by %s (pid %d)", strings.TrimSpace(name), p.PID)
			}
		}
	}
	return ""
}

// listeningInodes gives the sockets that listen on a port, in the form of the
// links in /proc/<pid>/fd. The format is that of Documentation/networking/proc_net_tcp.rst.
func listeningInodes(port uint64) map[string]bool {
	const local, state, inode, listen = 1, 3, 9, "0A" // columns; TCP_LISTEN
	suffix := fmt.Sprintf(":%04X", port)
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > inode && f[state] == listen && strings.HasSuffix(f[local], suffix) {
				inodes["socket:["+f[inode]+"]"] = true
			}
		}
	}
	return inodes
}
