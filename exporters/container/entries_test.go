package container

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestEntries reads a directory that takes several calls, and counts as
// os.ReadDir does.
func TestEntries(t *testing.T) {
	dir := t.TempDir()
	for i := range 600 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file-"+strconv.Itoa(i)), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a directory"), 0o700))
	want, err := os.ReadDir(dir)
	require.NoError(t, err)
	var r reader
	var got []string
	require.NoError(t, r.entries(dir, func(_ int, e entry) {
		got = append(got, string(e.name))
		require.Equal(t, string(e.name) == "a directory", e.dir)
	}))
	slices.Sort(got)
	require.Len(t, got, len(want))
	for i, e := range want {
		require.Equal(t, e.Name(), got[i])
	}
	require.ErrorIs(t, r.entries(dir+"/none", nil), os.ErrNotExist)
	none := testing.AllocsPerRun(10, func() { _ = r.entries(dir, func(int, entry) {}) })
	require.LessOrEqual(t, none, 4.0)
}

// FuzzNextEntry cuts records off whatever the kernel might give.
func FuzzNextEntry(f *testing.F) {
	record := func(kind byte, name string) []byte {
		data := append(make([]byte, 19), name+"\x00"...)
		binary.NativeEndian.PutUint16(data[16:], uint16(len(data)))
		data[18] = kind
		return data
	}
	f.Add(append(record(unix.DT_DIR, "."), record(unix.DT_REG, "cgroup.procs")...))
	f.Add(record(unix.DT_DIR, "kubepods")[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest, ok := data, true; ok; {
			before := len(rest)
			var e entry
			if e, rest, ok = nextEntry(rest); ok {
				require.Less(t, len(rest), before)
				require.NotContains(t, string(e.name), "\x00")
			}
		}
	})
}
