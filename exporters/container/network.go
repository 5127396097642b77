package container

import (
	"path/filepath"
	"strconv"
	"time"
)

// readNetworks reads the host's interfaces for the root, and for each sandbox
// those of its pod: all containers of a pod share them.
func (e *Exporter) readNetworks(s *snapshot, want group) (failed int, err error) {
	if want&networkGroups == 0 {
		return 0, nil
	}
	var r reader
	defer r.close()
	for i := range s.cgroups {
		c := &s.cgroups[i]
		switch {
		case c.ended != nil:
		case c.ID == "/":
			r.readNetwork(e.o.Procfs, "1", c, want, e.o.Now)
		case c.who != nil && (c.who.Sandbox || c.who.Network):
			if pid := r.sandboxPID(e.o.Procfs, c); pid > 0 {
				r.readNetwork(e.o.Procfs, strconv.Itoa(pid), c, want, e.o.Now)
			}
		}
	}
	return r.failed, r.err
}

// sandboxPID gives a process in the sandbox. Outside of the host's PID
// namespace the cgroup does not tell; then the runtime's word counts, if the
// process is still in that cgroup.
func (r *reader) sandboxPID(procfs string, c *Cgroup) int {
	pid, _ := parsed(r, c.proc, "cgroup.procs", parsePIDs)
	if pid > 0 || c.who.PID == 0 {
		return pid
	}
	in, _ := parsed(r, filepath.Join(procfs, strconv.Itoa(c.who.PID)), "cgroup", holdsID(c.containerID))
	if !in {
		return 0
	}
	return c.who.PID
}

// readNetwork reads the network namespace of a process.
func (r *reader) readNetwork(procfs, pid string, c *Cgroup, want group, now func() time.Time) {
	dir := filepath.Join(procfs, pid, "net")
	c.networkAt = now()
	if want&groupNetwork != 0 {
		c.network, _ = parsed(r, dir, "dev", parseNetDev)
	}
	add := func(k kind, value float64, label string) {
		c.networkMore = append(c.networkMore, labelledSample(k, value, []string{label}))
	}
	if want&groupTCP != 0 {
		for name, k := range map[string]kind{"tcp": tcpStates, "tcp6": tcp6States} {
			// Without IPv6 there is no tcp6, and no socket of it.
			before := r.failed
			if states, _ := parsed(r, dir, name, parseTCP); r.failed == before {
				for i, label := range tcpStateNames() {
					add(k, float64(states[i]), label)
				}
			}
		}
	}
	if want&groupUDP != 0 {
		for name, k := range map[string]kind{"udp": udpStates, "udp6": udp6States} {
			before := r.failed
			if u, _ := parsed(r, dir, name, parseUDP); r.failed == before {
				add(k, float64(u.sockets), "listen")
				add(k, float64(u.dropped), "dropped")
				add(k, float64(u.received), "rxqueued")
				add(k, float64(u.sent), "txqueued")
			}
		}
	}
	if want&groupAdvTCP != 0 {
		plain, ok := parsed(r, dir, "snmp", parseAdvanced)
		more, ok2 := parsed(r, dir, "netstat", parseAdvanced)
		for _, name := range advancedNames() {
			if ok || ok2 {
				add(tcpAdvanced, plain[name]+more[name], name) // it is in one of them
			}
		}
	}
}
