package serve

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseProcess(t *testing.T) {
	t.Parallel()
	s, err := parseProcessStat([]byte("12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 400 8192 3 99\n"))
	require.NoError(t, err)
	require.Equal(t, processStat{cpu: 2, start: 4, virtual: 8192, resident: 3}, s)
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x 50 0 0 20 0 7 0 400 8192 3"} {
		_, err = parseProcessStat([]byte(bad))
		require.Error(t, err, bad)
	}
	in, out, ok := parseOctets([]byte("TcpExt: A\nTcpExt: 1\nIpExt: InNo InOctets OutOctets\nIpExt: 1 20 30\n"))
	require.True(t, ok)
	require.Equal(t, []float64{20, 30}, []float64{in, out})
	for _, bad := range []string{"", "\nIpExt: InOctets\n", "\nIpExt: InOctets OutOctets\nIpExt: 1\n", "\nIpExt: InOctets OutOctets\nIpExt: 1 x\n"} {
		_, _, ok = parseOctets([]byte(bad))
		require.False(t, ok, bad)
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add([]byte("12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 400 8192 3 99\n"))
	f.Add([]byte("\nIpExt: InOctets OutOctets\nIpExt: 1 2\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = parseProcessStat(data)
		_, _, _ = parseOctets(data)
	})
}
