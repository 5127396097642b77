package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRise(t *testing.T) {
	t.Parallel()
	var curve []point
	for i, v := range []float64{0, 0, 1, 2, 3, 3.7, 3.9, 4, 4.1, 4.1, 4.1, 4.1} {
		curve = append(curve, point{time.Duration(i) * time.Second, v})
	}
	half, most, err := rise(curve)
	require.NoError(t, err)
	require.Equal(t, 4*time.Second, half) // half of 4.1 is 2.05 of the way
	require.Equal(t, 5*time.Second, most) // 3.7 is 90 %
	_, _, err = rise(curve[:2])
	require.EqualError(t, err, "only 2 answers during the load")
	_, _, err = rise(make([]point, 8))
	require.ErrorContains(t, err, "does not show")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	get := func(name string) string { return env[name] }
	p, err := planOf(get)
	require.NoError(t, err)
	require.Equal(t, plan{50, []time.Duration{15 * time.Second, 5 * time.Second, time.Second}, []string{"exporter", "kubelet"}}, p)
	for name, wrong := range map[string]string{"BURSTS": "0", "INTERVALS": "15", "SOURCES": "cadvisor"} {
		env = map[string]string{name: wrong}
		_, err := planOf(get)
		require.ErrorContains(t, err, name+" must be")
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	require.Equal(t, "figure f ours=6 peer=12 ratio=0.5 goal=<=5 unit=s", figure{"f", 6, 12, 5}.String())
	require.Equal(t, "figure f ours=6 peer=- ratio=- goal=- unit=s", figure{"f", 6, 0, 0}.String())
	require.False(t, figure{"f", 6, 0, 5}.holds())
	require.True(t, figure{"f", 6, 0, 0}.holds())
}

func TestValues(t *testing.T) {
	t.Parallel()
	v, err := cores([]byte(`{"containers":[{"usage":{"cpu":"250m"}},{"usage":{"cpu":"50000000n"}}]}`))
	require.NoError(t, err)
	require.InDelta(t, 0.3, v, 1e-9)
	v, err = rate([]byte(`{"items":[{"value":"39500m"}]}`))
	require.NoError(t, err)
	require.InDelta(t, 39.5, v, 1e-9)
	_, err = rate([]byte(`{"items":[]}`))
	require.ErrorIs(t, err, errNoItem)
	_, err = cores([]byte(`{}`))
	require.ErrorIs(t, err, errNoItem)
}
