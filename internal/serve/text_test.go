package serve

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgramText(t *testing.T) {
	t.Parallel()
	f := func(line string, from, size uintptr, ok bool) {
		t.Helper()
		a, n, yes := programText(line, "/bin/a b")
		require.Equal(t, ok, yes, line)
		require.Equal(t, [2]uintptr{from, size}, [2]uintptr{a, n}, line)
	}
	f("00400000-00ac0000 r-xp 00000000 fe:00 10931758                           /bin/a b", 0x400000, 0x6c0000, true)
	f("00ac0000-01202000 r--p 006c0000 fe:00 10931758                           /bin/a b", 0xac0000, 0x742000, true)
	f("01202000-01276000 rw-p 00e02000 fe:00 10931758                           /bin/a b", 0, 0, false)
	f("00400000-00ac0000 r-xp 00000000 fe:00 10931758                           /bin/b", 0, 0, false)
	f("01276000-032bb000 rw-p 00000000 00:00 0 ", 0, 0, false)
	f("x-01202000 r--p 006c0000 fe:00 10931758                           /bin/a b", 0, 0, false)
	f("", 0, 0, false)
}

// What was given back is there again when it is touched.
func TestReleaseStart(t *testing.T) {
	t.Parallel()
	ReleaseStart()
	text, err := os.ReadFile("text_test.go")
	require.NoError(t, err)
	require.NotEmpty(t, text)
}
