package container

import "bytes"

// blind tells that the processes in the cgroups are of another PID namespace: the
// kernel writes 0 for each. On cgroup v1 nothing else tells of their end.
func (s *cgroupSource) blind() bool {
	if s.h.cpuacct.v2 {
		return false
	}
	var r reader
	defer r.close()
	some := false
	pid, ok := parsed(&r, s.h.cpuacct.point, "cgroup.procs", func(data []byte) (int, error) {
		some = len(bytes.TrimSpace(data)) > 0
		return parsePIDs(data)
	})
	return ok && some && pid == 0
}

// warnBlind says once, at the start, that the ends of containers cannot be seen,
// and how to mend it.
func (e *Exporter) warnBlind(s *cgroupSource) {
	if s.blind() {
		e.o.Logger.Warn("the totals of containers that have ended are not known: on cgroup v1 their processes must be seen; run in the host's PID namespace (hostPID: true, agent.hostPID of the chart), or on cgroup v2")
	}
}
