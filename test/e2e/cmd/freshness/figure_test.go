package main

import (
	"context"
	"errors"
	"math"
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
	half, most, err := rise(curve, 4)
	require.NoError(t, err)
	require.Equal(t, 4*time.Second, half) // half of 4.1 is 2.05 of the way
	require.Equal(t, 5*time.Second, most) // 3.7 is 90 %
	_, _, err = rise(curve[:2], 4)
	require.EqualError(t, err, "only 2 answers during the load")
	_, _, err = rise(make([]point, 8), 4)
	require.ErrorContains(t, err, "does not show")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	get := func(name string) string { return env[name] }
	p, err := planOf(get)
	require.NoError(t, err)
	require.Equal(t, plan{50, []time.Duration{15 * time.Second, 5 * time.Second, time.Second}}, p)
	for name, wrong := range map[string]string{"BURSTS": "0", "INTERVALS": "15"} {
		env = map[string]string{name: wrong}
		_, err := planOf(get)
		require.ErrorContains(t, err, name+" must be")
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for i := range 50 {
		all = append(all, time.Duration(50-i)*time.Second)
	}
	require.InDelta(t, 25, quantile(all, 0.5), 0)
	require.InDelta(t, 50, quantile(all, 0.99), 0)
	require.InDelta(t, 50, quantile(all[:1], 0.5), 0)
	require.True(t, math.IsNaN(quantile(nil, 0.5)))
}

func TestValues(t *testing.T) {
	t.Parallel()
	v, err := cores([]byte(`{"items":[{"metadata":{"name":"a"},"containers":[{"usage":{"cpu":"250m"}},{"usage":{"cpu":"50000000n"}}]}]}`))
	require.NoError(t, err)
	require.InDeltaMapValues(t, map[string]float64{"a": 0.3}, v, 1e-9)
	v, err = rates([]byte(`{"items":[{"describedObject":{"name":"a"},"value":"39500m"},{"describedObject":{"name":"b"},"value":"1"}]}`))
	require.NoError(t, err)
	require.InDeltaMapValues(t, map[string]float64{"a": 39.5, "b": 1}, v, 1e-9)
	_, err = rates([]byte(`no JSON`))
	require.Error(t, err)
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	body := `{"items":[{"describedObject":{"name":"a"},"value":"1"}]}`
	var fails error
	w := watch(source{name: "requests", rest: 2, read: rates, get: func(context.Context) ([]byte, error) { return []byte(body), fails }})
	require.ErrorContains(t, w.rests("a"), "requests does not answer")
	w.ask(t.Context())
	require.NoError(t, w.rests("a"))
	require.EqualError(t, w.rests("b"), "requests does not know b")
	w.begin("a", time.Now())
	body = `{"items":[{"describedObject":{"name":"a"},"value":"3"}]}`
	w.ask(t.Context())
	require.EqualError(t, w.rests("a"), "requests says 3.000 of a")
	fails = errors.New("away")
	w.ask(t.Context())
	points := w.end("a")
	require.Len(t, points, 1)
	require.InDelta(t, 3, points[0].value, 0)
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse(`# HELP container_cpu_usage_seconds_total Cpu.
container_cpu_usage_seconds_total{container="core",namespace="strata",pod="a"} 12.5 1700000000000
container_cpu_usage_seconds_total{container="shop",namespace="freshness",pod="b"} 1 1700000000000
container_cpu_usage_seconds_total{container="strata-app",namespace="freshness",pod="b"} 2 1700000000500
node_cpu_usage_seconds_total 3 1700000000000
`)
	require.NoError(t, err)
	require.Equal(t, map[string]reading{
		`container="core",namespace="strata",pod="a"`:          {12.5, 1700000000000},
		`container="strata-app",namespace="freshness",pod="b"`: {2, 1700000000500},
	}, got)
	_, err = parse(`container_cpu_usage_seconds_total{namespace="strata"} x 1`)
	require.Error(t, err)
}
