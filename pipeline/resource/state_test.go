package resource

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func at(seconds float64) int64 { return int64(seconds * 1e9) }

func TestFollow(t *testing.T) {
	t.Parallel()
	const resolution = 15 * time.Second
	base := series{last: sample{time: at(1000), start: at(100), cpu: 50e9, memory: 1}, prevTime: at(985), prevCPU: 40e9, ok: true}
	none := func(why string, now sample, before *series) {
		t.Helper()
		require.False(t, new(follow(now, before, resolution)).ok, why)
	}
	rate := func(why string, now sample, before *series, window time.Duration, nanocores uint64) {
		t.Helper()
		s := follow(now, before, resolution)
		require.True(t, s.ok, why)
		require.Equal(t, window, s.window(), why)
		require.Equal(t, nanocores, s.nanocores(), why)
	}
	rate("two points", sample{time: at(1015), start: at(100), cpu: 80e9, memory: 1}, &base, 15*time.Second, 2e9)
	rate("no start time known", sample{time: at(1015), cpu: 80e9, memory: 1}, &base, 15*time.Second, 2e9)
	rate("idle", sample{time: at(1015), start: at(100), cpu: 50e9, memory: 1}, &base, 15*time.Second, 0)
	rate("the same time again", base.last, &base, 15*time.Second, 666666666)
	rate("an earlier time", sample{time: at(990), start: at(100), cpu: 45e9, memory: 1}, &base, 5*time.Second, 1e9)
	none("before both points", sample{time: at(980), start: at(100), cpu: 45e9, memory: 1}, &base)
	none("one point", sample{time: at(1000), start: at(100), cpu: 50e9, memory: 1}, nil)
	none("restarted, young", sample{time: at(1015), start: at(1008), cpu: 1e9, memory: 1}, &base)
	rate("restarted, counts from its start", sample{time: at(1015), start: at(1003), cpu: 3e9, memory: 1}, &base, 12*time.Second, 25e7)
	rate("fresh", sample{time: at(1015), start: at(1003), cpu: 3e9, memory: 1}, nil, 12*time.Second, 25e7)
	none("fell without a newer start", sample{time: at(1015), start: at(100), cpu: 1e9, memory: 1}, &base)
	first := follow(sample{time: at(1000), cpu: 50e9, memory: 1}, nil, resolution)
	none("the same time again, and no point before", sample{time: at(1000), cpu: 50e9, memory: 1}, &first)
}

func TestQuantity(t *testing.T) {
	t.Parallel()
	cpu := func(want string, nanocores uint64) {
		t.Helper()
		q := quantity(nanocores, resource.DecimalSI, resource.Nano)
		require.Equal(t, want, q.String())
	}
	memory := func(want string, bytes uint64) {
		t.Helper()
		q := quantity(bytes, resource.BinarySI, 0)
		require.Equal(t, want, q.String())
	}
	cpu("0", 0)
	cpu("1n", 1)
	cpu("123456789n", 123456789)
	cpu("62500u", 62500000)
	cpu("1501m", 1501000000)
	cpu("100k", 100000e9)
	memory("1k", 1000)
	memory("1Ki", 1024)
	memory("1234567", 1234567)
	memory("4Ei", 1<<62)
	memory("9223372036854775807", math.MaxInt64)
	memory("9223372036854775800", 1<<63)
}

func reading(cs ...containerReading) *Reading { return &Reading{containers: cs} }

func container(pod, name string, seconds float64, cpu, memory uint64) containerReading {
	return containerReading{containerKey{"ns", pod, name}, sample{time: at(seconds), cpu: cpu, memory: memory}}
}

func TestNextNeedsEveryContainer(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	one := next("n", nil, reading(container("a", "x", 1000, 1e9, 1), container("b", "x", 1000, 1e9, 1), container("b", "y", 1000, 1e9, 1)), now, time.Minute)
	require.Zero(t, one.podsOK)
	two := next("n", one, reading(
		container("a", "x", 1010, 2e9, 1), container("a", "z", 1010, 2e9, 1), // a new container: not known yet
		container("b", "x", 1010, 2e9, 1), container("b", "y", 1011, 2e9, 0), // one without memory: the pod is left out
		container("c", "x", 1010, 2e9, 1)), now.Add(10*time.Second), time.Minute)
	require.Zero(t, two.podsOK)
	require.Len(t, two.pods, 2)
	three := next("n", two, reading(container("a", "x", 1020, 4e9, 1), container("a", "z", 1019, 3e9, 1)), now.Add(20*time.Second), time.Minute)
	require.Equal(t, 1, three.podsOK)
	require.Equal(t, now.UnixNano(), three.pods[0].since)
	require.Equal(t, at(1019), three.pods[0].measured().last.time, "the container read first")
	require.Equal(t, corev1.ResourceList{
		corev1.ResourceCPU:    quantity(2e8, resource.DecimalSI, resource.Nano),
		corev1.ResourceMemory: quantity(1, resource.BinarySI, 0),
	}, three.pods[0].containers[0].usage())
}

func TestSnapshotBelievesTheNodeThatNamedAPodFirst(t *testing.T) {
	t.Parallel()
	st := newStore()
	fill := func(node string, from float64, cpu uint64) {
		one := next(node, nil, reading(container("p", "x", from, 1e9, 1)), time.Unix(0, at(from)), time.Minute)
		st.put(next(node, one, reading(container("p", "x", from+10, 1e9+cpu, 1)), time.Unix(0, at(from+10)), time.Minute))
	}
	fill("new", 1005, 50e9)
	fill("old", 1000, 20e9)
	s := st.load()
	require.Equal(t, uint64(2e9), s.pod("ns", "p").containers[0].nanocores())
	require.Nil(t, s.pod("ns", "q"))
	st.drop("old")
	require.Equal(t, uint64(5e9), st.load().pod("ns", "p").containers[0].nanocores())
	require.Equal(t, uint64(2e9), s.pod("ns", "p").containers[0].nanocores(), "a snapshot does not change")
	st.drop("old")
	st.drop("new")
	require.Nil(t, st.load().pod("ns", "p"))
}
