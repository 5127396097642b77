package container

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What can be taken back is page cache in active use and, where the kernel tells
// of it, slab; never more than the working set, and nothing of what is not known.
func TestReclaimable(t *testing.T) {
	t.Parallel()
	f := func(v2 bool, stat, usage, want string) {
		t.Helper()
		h := newHost(t, v2)
		h.cgroup("/", h.usage(1))
		h.cgroup("/a", h.usage(1))
		if v2 {
			h.cgroup("/a", files{"memory.stat": stat, "memory.current": usage})
		} else {
			h.cgroup("/a", files{"memory.stat": stat, "memory.usage_in_bytes": usage})
		}
		e := h.exporter(nil)
		const series = `strata_container_memory_working_set_reclaimable_bytes{id="/a",image="",name=""} `
		got := text(t, e, e.Collect)
		if want == "" {
			require.NotContains(t, got, series)
			return
		}
		require.Contains(t, got, "\n"+series+want+"\n")
	}
	f(true, "anon 10\ninactive_file 100\nactive_file 40\nslab_reclaimable 7\n", "1000\n", "47")
	f(true, "anon 10\ninactive_file 100\nactive_file 40\n", "1000\n", "40")
	f(true, "anon 10\ninactive_file 100\nactive_file 40\nslab_reclaimable 7\n", "120\n", "20")
	f(true, "anon 10\ninactive_file 100\nslab_reclaimable 7\n", "1000\n", "")
	f(true, "anon 10\nactive_file 40\n", "1000\n", "") // no working set
	f(false, "active_file 1\ntotal_rss 5\ntotal_inactive_file 100\ntotal_active_file 40\n", "1000\n", "40")
}
