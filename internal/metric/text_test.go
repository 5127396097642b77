package metric

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestAppendText(t *testing.T) {
	t.Parallel()
	cpu := NewCounter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", "cpu", "mode")
	load := NewGauge("node_load1", "1m \\ load\naverage \"x\".")
	unknown := NewUntyped("node_memory_New_bytes", "")
	pod := NewGauge("kube_pod_labels", "Labels.", "namespace", "pod")
	b := NewBatch()
	b.Add(unknown, math.NaN())
	b.Add(cpu, 1.5, "0", "idle")
	b.Add(load, math.Inf(-1))
	b.Add(cpu, 3e9, "0", "user")
	b.AddAt(cpu, 1e300, time.UnixMilli(1700000000123), "1", "a\\b\n\"c\"")
	b.AddAt(load, math.Copysign(0, -1), time.Time{})
	b.AddExtra(pod, 1, []string{"ns", "p"}, []string{"label_app", "label_b"}, []string{"x", "y\xffz"})
	b.Add(load, math.Inf(1))
	want := `# HELP kube_pod_labels Labels.
# TYPE kube_pod_labels gauge
kube_pod_labels{namespace="ns",pod="p",label_app="x",label_b="y` + "\uFFFD" + `z"} 1
# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 1.5
node_cpu_seconds_total{cpu="0",mode="user"} 3000000000
node_cpu_seconds_total{cpu="1",mode="a\\b\n\"c\""} 1e+300 1700000000123
# HELP node_load1 1m \\ load\naverage "x".
# TYPE node_load1 gauge
node_load1 -Inf
node_load1 -0
node_load1 +Inf
# HELP node_memory_New_bytes 
# TYPE node_memory_New_bytes untyped
node_memory_New_bytes NaN
`
	require.Equal(t, want, string(b.AppendText(nil)))
	require.Equal(t, `kube_pod_labels{namespace="a",pod="b",x="\""} 7`+"\n",
		string(pod.AppendSample(nil, 7, []string{"a", "b"}, []string{"x"}, []string{`"`})))

	merged := NewBatch()
	merged.Add(load, 1)
	merged.Merge(b)
	require.Equal(t, strings.Replace(want, "node_load1 -Inf", "node_load1 1\nnode_load1 -Inf", 1), string(merged.AppendText(nil)))

	b.Reset()
	require.Empty(t, b.AppendText(nil))
	b.Add(load, 2)
	require.True(t, strings.HasSuffix(string(b.AppendText(nil)), "gauge\nnode_load1 2\n"))
}

func TestLimit(t *testing.T) {
	t.Parallel()
	g := NewGauge("g", "", "n")
	b := NewBatch()
	b.SetLimit(2)
	for _, n := range []string{"1", "2", "3", "4"} {
		b.Add(g, 1, n)
	}
	require.Equal(t, 2, b.Len())
	require.Equal(t, 2, b.Dropped())
	b.Reset()
	require.Zero(t, b.Dropped())
}

// fill writes as many samples as a small host has.
func fill(b *Batch, cpu, load *Family) {
	for range 300 {
		b.Add(cpu, 12345.678, "7", "iowait")
		b.Add(load, 0.25)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	cpu, load := NewCounter("cpu", "", "cpu", "mode"), NewGauge("load", "")
	b := NewBatch()
	var text []byte
	allocs := testing.AllocsPerRun(10, func() {
		b.Reset()
		fill(b, cpu, load)
		text = b.AppendText(text[:0])
	})
	require.Zero(t, allocs)
}

func BenchmarkAppendText(b *testing.B) {
	cpu, load := NewCounter("cpu", "", "cpu", "mode"), NewGauge("load", "")
	batch := NewBatch()
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		fill(batch, cpu, load)
		text = batch.AppendText(text[:0])
	}
	b.SetBytes(int64(len(text)))
}

// FuzzAppendText holds that whatever is declared and added is read back as it
// was by the parser of the field.
func FuzzAppendText(f *testing.F) {
	f.Add("node_load1", "help", "device", "sda", "extra", "v", 0.25, int64(0))
	f.Add("a:b", "line\nbreak \\ \"q\"", "l", "\\\n\"", "x", "\xff\xfe", math.Inf(1), int64(1))
	f.Add("1", "", "__name__", "é\xc3", "x", "日本", math.NaN(), int64(-5))
	f.Fuzz(func(t *testing.T, name, help, label, value, extra, extraValue string, v float64, millis int64) {
		family, err := New(Spec{Name: name, Help: help, Type: Gauge, Labels: []string{label}})
		if err != nil || !ValidLabelName(extra) || extra == label {
			t.Skip()
		}
		b := NewBatch()
		var at time.Time
		if millis = millis % 1e15; millis != 0 {
			at = time.UnixMilli(millis)
		}
		b.AddAt(family, v, at, value)
		b.AddExtra(family, v, []string{value}, []string{extra}, []string{extraValue})
		text := b.AppendText(nil)
		require.True(t, utf8.Valid(text))

		parser := expfmt.NewTextParser(model.LegacyValidation)
		got, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		require.NoError(t, err, string(text))
		require.Len(t, got[name].Metric, 2)
		first, second := got[name].Metric[0], got[name].Metric[1]
		require.Equal(t, millis, first.GetTimestampMs())
		if !math.IsNaN(v) || !math.IsNaN(first.Gauge.GetValue()) {
			require.Equal(t, math.Float64bits(v), math.Float64bits(first.Gauge.GetValue()), "%s", text)
		}
		require.Equal(t, fixed(value), first.Label[0].GetValue())
		labels := map[string]string{}
		for _, l := range second.Label {
			labels[l.GetName()] = l.GetValue()
		}
		require.Equal(t, map[string]string{label: fixed(value), extra: fixed(extraValue)}, labels)
	})
}

// fixed replaces each wrong byte by U+FFFD, one by one.
func fixed(s string) string { return string([]rune(s)) }

// Families named outside: a name is written once, and the program's own goes
// first whichever came first.
func TestForeignFamilies(t *testing.T) {
	t.Parallel()
	own := NewGauge("a", "own")
	foreign, err := New(Spec{Name: "a", Help: "theirs", Type: Counter, Foreign: true})
	require.NoError(t, err)
	other, err := New(Spec{Name: "b", Help: "h", Type: Histogram, Foreign: true})
	require.NoError(t, err)
	b := NewBatch()
	fill := func(withOwn bool) string {
		b.Reset()
		b.Add(foreign, 1)
		b.AddDistribution(other, Distribution{Sum: 1.5, Count: 3}, nil, []string{"x"}, []string{"y"})
		if withOwn {
			b.Add(own, 2)
		}
		return string(b.AppendText(nil))
	}
	const theirs, histogram = "# HELP a theirs\n# TYPE a counter\na 1\n",
		"# HELP b h\n# TYPE b histogram\nb_bucket{x=\"y\",le=\"+Inf\"} 3\nb_sum{x=\"y\"} 1.5\nb_count{x=\"y\"} 3\n"
	require.Equal(t, theirs+histogram, fill(false))
	require.Equal(t, "# HELP a own\n# TYPE a gauge\na 2\n"+histogram, fill(true))
	require.Equal(t, theirs+histogram, fill(false))
	require.True(t, b.giveWay("b"))
	require.True(t, b.giveWay("c"))
	require.Equal(t, theirs, string(b.AppendText(nil)))
	fill(true)
	require.False(t, b.giveWay("a"))
	require.Equal(t, "# HELP a own\n# TYPE a gauge\na 2\n"+histogram, string(b.AppendText(nil)))
}

// Names that come and go do not fill the memory.
func TestBatchForgets(t *testing.T) {
	t.Parallel()
	b := NewBatch()
	for range maxGroups + 1 {
		b.Add(NewGauge("g", ""), 1)
	}
	b.Reset()
	require.Empty(t, b.groups)
	b.Add(NewGauge("g", ""), 2)
	require.Equal(t, "# HELP g \n# TYPE g gauge\ng 2\n", string(b.AppendText(nil)))
}
