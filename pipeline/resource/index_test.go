package resource

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzPodIndex: whatever nodes name and cease to name, a snapshot finds the
// pods that a look at all nodes finds, and snapshots taken before stay as they were.
func FuzzPodIndex(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(7), uint64(0))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		random := rand.New(rand.NewPCG(a, b))
		st := newStore()
		first := st.load()
		for range 30 {
			node := fmt.Sprintf("node-%d", random.IntN(4))
			if random.IntN(5) == 0 {
				st.drop(node)
			} else {
				st.put(randomNode(random, node))
			}
			requireFindsAll(t, st.load())
		}
		requireFindsAll(t, first)
	})
}

func podNames() (names []string) {
	for i := range 6 {
		names = append(names, fmt.Sprintf("pod-%d", i))
	}
	return names
}

func randomNode(random *rand.Rand, name string) *nodeState {
	n := &nodeState{name: name}
	for _, pod := range podNames() {
		if random.IntN(2) == 0 {
			n.pods = append(n.pods, podState{namespace: "ns", name: pod, since: int64(random.IntN(1000)), ok: random.IntN(4) > 0})
		}
	}
	return n
}

func requireFindsAll(t *testing.T, s *Snapshot) {
	t.Helper()
	places := 0
	for _, shard := range s.index.shards {
		places += len(shard)
		require.True(t, slices.IsSortedFunc(shard, func(a, b podPlace) int { return cmp.Compare(a.hash, b.hash) }))
	}
	named := 0
	for _, pod := range podNames() {
		var want *podState
		for _, n := range s.nodes {
			for i := range n.pods {
				if n.pods[i].name == pod && prefer(&n.pods[i], want) {
					want = &n.pods[i]
				}
			}
		}
		if want != nil && !want.ok {
			want = nil
		}
		require.Same(t, want, s.pod("ns", pod))
		require.Nil(t, s.pod("other", pod))
	}
	for _, n := range s.nodes {
		named += len(n.pods)
	}
	require.Equal(t, named, places, "nothing is left of what is named no more")
}

// A reading of the same pods changes nothing of the index, and copies nothing.
func TestPodIndexIsShared(t *testing.T) {
	t.Parallel()
	st := newStore()
	at := time.Unix(1000, 0)
	one := next("n", nil, reading(container("p", "x", 1000, 1e9, 1)), at, time.Minute)
	st.put(one)
	before := st.load().index
	two := next("n", one, reading(container("p", "x", 1010, 2e9, 1)), at.Add(10*time.Second), time.Minute)
	st.put(two)
	require.Same(t, before, st.load().index)
	st.put(next("n", two, reading(container("p", "x", 1020, 2e9, 1), container("q", "x", 1020, 2e9, 1)), at.Add(20*time.Second), time.Minute))
	require.NotSame(t, before, st.load().index)
}
