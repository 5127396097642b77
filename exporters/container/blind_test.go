package container

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where the ends of containers cannot be seen that is said, with the cure.
func TestBlind(t *testing.T) {
	t.Parallel()
	f := func(v2 bool, procs string, want int) {
		t.Helper()
		h := newHost(t, v2)
		h.cgroup("/", h.usage(1))
		at := "sys/fs/cgroup/cpuacct/cgroup.procs"
		if v2 {
			at = "sys/fs/cgroup/cgroup.procs"
		}
		h.write(at, procs)
		var log bytes.Buffer
		e := h.exporter(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		require.NotContains(t, log.String(), "hostPID", "these are not real cgroups, of which no end is waited for")
		e.warnBlind(e.o.Source.(*cgroupSource))
		require.Equal(t, want, strings.Count(log.String(), "hostPID: true"), log.String())
	}
	f(false, "0\n0\n0\n", 1)
	f(false, "0\n71\n", 0)
	f(false, "1\n2\n", 0)
	f(false, "", 0)
	f(false, "x\n", 0)
	f(true, "0\n0\n", 0)
}
