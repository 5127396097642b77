package serve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	f := func(want int64, files map[string]string) {
		t.Helper()
		root := t.TempDir()
		for name, content := range files {
			path := filepath.Join(root, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
		got, err := memoryOf(root)
		require.Equal(t, want == 0, err != nil)
		require.Equal(t, want, got)
	}
	machine := map[string]string{"proc/meminfo": "MemTotal:  2 kB\nMemFree: 1 kB\n"}
	with := func(name, content string) map[string]string {
		return map[string]string{"proc/meminfo": machine["proc/meminfo"], name: content}
	}
	f(2048, machine)
	f(100, with("sys/fs/cgroup/memory.max", "100\n"))
	f(2048, with("sys/fs/cgroup/memory.max", "max\n"))
	f(200, with("sys/fs/cgroup/memory/memory.limit_in_bytes", "200\n"))
	f(2048, with("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"))
	f(0, nil)
	f(0, map[string]string{"proc/meminfo": "?"})
}
