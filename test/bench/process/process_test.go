package process

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcess(t *testing.T) {
	t.Parallel()
	p, err := Start(t.TempDir(), "sleeper", "sh", "-c", "echo hello; exec sleep 60")
	require.NoError(t, err)
	require.NoError(t, p.Await(t.Context(), 10*time.Second, func(context.Context) error {
		if text, err := os.ReadFile(p.log); err != nil || string(text) != "hello\n" {
			return errors.New("not yet")
		}
		return nil
	}))
	m, err := p.Memory()
	require.NoError(t, err)
	require.Positive(t, m.RSS)
	require.GreaterOrEqual(t, m.Peak, m.RSS)
	_, err = p.CPU()
	require.NoError(t, err)
	running, err := p.Running()
	require.NoError(t, err)
	require.Positive(t, running)
	p.Stop()
	_, err = p.Running()
	require.Error(t, err)
	_, err = p.Memory()
	require.Error(t, err)
}

func TestAwaitTellsWhatWasSaid(t *testing.T) {
	t.Parallel()
	p, err := Start(t.TempDir(), "loser", "sh", "-c", "echo no such flag; exit 3")
	require.NoError(t, err)
	err = p.Await(t.Context(), time.Minute, func(context.Context) error { return errors.New("no") })
	require.ErrorContains(t, err, "no such flag")
	require.ErrorContains(t, err, "exit status 3")
}

func TestParse(t *testing.T) {
	t.Parallel()
	m, err := parseStatus("Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  100 kB\nThreads:\t3\n")
	require.NoError(t, err)
	require.Equal(t, Memory{RSS: 200 << 10, Anonymous: 100 << 10, Peak: 300 << 10}, m)
	_, err = parseStatus("VmRSS:\t 200 kB\n")
	require.Error(t, err)
	d, err := parseStat("12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0")
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, d)
	_, err = parseStat("12 (a) S 1 2")
	require.Error(t, err)
}
