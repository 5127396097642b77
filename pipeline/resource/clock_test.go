package resource

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// skewed answers for a node whose clock differs from ours by skew, which may
// change. Its container began an hour before the first reading, by that clock,
// and uses one core.
func skewed(source *fakeSource, node string, skew *atomic.Int64) {
	began := time.Now().Add(time.Duration(skew.Load()) - time.Hour).UnixNano()
	var cpuBegan = time.Now().Add(-time.Hour).UnixNano()
	source.set(node, func(context.Context) (*Reading, error) {
		now := time.Now().UnixNano()
		one := sample{time: now + skew.Load(), start: began, cpu: uint64(now - cpuBegan), memory: 1 << 20}
		own := one
		own.start = 0 // a node says none
		return &Reading{node: own, containers: []containerReading{{containerKey{"shop", "web-" + node, "app"}, one}}}, nil
	})
}

// TestClocks holds that only a node's own clock says how long its window is:
// one that is an hour off changes nothing, and one that jumps gives no wrong
// usage and costs two readings at most.
func TestClocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after time.Duration }{
		"right":          {0, 0},
		"ahead":          {time.Hour, time.Hour},
		"behind":         {-time.Hour, -time.Hour},
		"jumps ahead":    {0, time.Hour},
		"jumps back":     {0, -30 * time.Minute},
		"jumps far back": {0, -2 * time.Hour},
		"is mended":      {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, source := newObjects("a"), newFakeSource()
			collect(t, o, source, func(col *Collector, _ *bytes.Buffer) {
				var skew atomic.Int64
				right := func(known bool) {
					t.Helper()
					node, pod := col.Snapshot().node("a"), col.Snapshot().pod("shop", "web-a")
					if known {
						require.NotNil(t, node)
						require.NotNil(t, pod)
					}
					if node != nil {
						require.InDelta(t, 1e9, float64(node.nanocores()), 1e6, "window %s", node.window())
					}
					if pod != nil {
						require.InDelta(t, 1e9, float64(pod.containers[0].nanocores()), 1e6, "window %s", pod.containers[0].window())
					}
				}
				skew.Store(int64(c.before))
				skewed(source, "a", &skew)
				wait(21 * time.Second)
				right(true)
				skew.Store(int64(c.after))
				wait(10 * time.Second)
				right(false)
				wait(10 * time.Second)
				right(true)
				age := time.Since(time.Unix(0, col.Snapshot().node("a").last.time))
				require.Equal(t, time.Second-c.after, age.Round(time.Second), "the reading's own time is given")
			})
		})
	}
}
