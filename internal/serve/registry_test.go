package serve

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// gather gives families by name.
func gather(t require.TestingT, g prometheus.Gatherer) map[string]*dto.MetricFamily {
	families, err := g.Gather()
	require.NoError(t, err)
	by, last := map[string]*dto.MetricFamily{}, ""
	for _, f := range families {
		require.Less(t, last, f.GetName(), "in order, each once")
		last = f.GetName()
		by[last] = f
	}
	return by
}

// librarys is client_golang's registry of what ours shows.
func librarys() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// The names, types, labels and, where they hold still, values are
// client_golang's.
func TestRegistryIsTheLibrarys(t *testing.T) {
	t.Parallel()
	peer := librarys()
	runtime.GC()
	r := NewRegistry("strata_test")
	ours, theirs := gather(t, r), gather(t, peer)
	for name, want := range theirs {
		got := ours[name]
		require.NotNil(t, got, name)
		require.Equal(t, want.GetType(), got.GetType(), name)
		require.Len(t, got.GetMetric(), 1, name)
		w, g := want.GetMetric()[0], got.GetMetric()[0]
		require.Len(t, g.GetLabel(), len(w.GetLabel()), name)
		for i, l := range w.GetLabel() {
			require.Equal(t, l.GetName()+"="+l.GetValue(), g.GetLabel()[i].GetName()+"="+g.GetLabel()[i].GetValue(), name)
		}
		require.Len(t, g.GetSummary().GetQuantile(), len(w.GetSummary().GetQuantile()), name)
		for i, q := range w.GetSummary().GetQuantile() {
			require.InDelta(t, q.GetQuantile(), g.GetSummary().GetQuantile()[i].GetQuantile(), 0, name)
		}
		switch {
		case strings.HasSuffix(name, "_max_fds"), strings.HasSuffix(name, "_memory_max_bytes"), strings.HasPrefix(name, "go_sched_"),
			strings.HasPrefix(name, "go_gc_go"), name == "process_start_time_seconds":
			require.InEpsilon(t, value(w), value(g), 1e-9, name)
		}
	}
	require.Len(t, ours, len(theirs)+1, "and build_info")
	require.Contains(t, ours, "strata_test_build_info")
	require.Positive(t, value(ours["process_open_fds"].GetMetric()[0]))
}

// What moves is client_golang's too. Between two looks other tests allocate and
// the runtime gives memory back, so that one pair of looks says nothing; but a
// sum of the wrong parts would never come near.
func TestRegistryMovesLikeTheLibrarys(t *testing.T) {
	t.Parallel()
	peer := librarys()
	r := NewRegistry("strata_test")
	near := map[string]bool{}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		ours, theirs := gather(t, r), gather(t, peer)
		for name, want := range theirs {
			if moves := strings.HasPrefix(name, "go_memstats_") || strings.HasSuffix(name, "_memory_bytes"); !moves || near[name] {
				continue
			}
			w, g := value(want.GetMetric()[0]), value(ours[name].GetMetric()[0])
			near[name] = assert.InDelta(t, w, g, 0.1*w, name)
		}
	}, time.Minute, time.Millisecond)
	require.Greater(t, len(near), 20)
}

// value is that of a counter or gauge, 0 of a summary.
func value(m *dto.Metric) float64 { return m.GetGauge().GetValue() + m.GetCounter().GetValue() }

// What goes into a batch and what is gathered beside it are the whole.
func TestRegistryGatherInto(t *testing.T) {
	t.Parallel()
	r := NewRegistry("strata_test")
	var _ metric.BatchGatherer = r
	b := metric.NewBatch()
	rest, err := r.GatherInto(b)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Len(t, b.Messages(), len(gather(t, r))-1)
}

func BenchmarkRegistry(b *testing.B) {
	r, batch := NewRegistry("strata_test"), metric.NewBatch()
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		_, _ = r.GatherInto(batch)
	}
}
