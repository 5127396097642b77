package serve

import (
	"errors"
	"fmt"
	"net"
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
	inodes := listeningInodes(fs, port)
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
// links in /proc/<pid>/fd.
func listeningInodes(fs procfs.FS, port uint64) map[string]bool {
	const stateListen = 10 // TCP_LISTEN of include/net/tcp_states.h
	v4, _ := fs.NetTCP()
	v6, _ := fs.NetTCP6()
	inodes := map[string]bool{}
	for _, line := range append(v4, v6...) {
		if line.LocalPort == port && line.St == stateListen {
			inodes[fmt.Sprintf("socket:[%d]", line.Inode)] = true
		}
	}
	return inodes
}
