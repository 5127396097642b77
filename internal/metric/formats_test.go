package metric

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
)

// encoded is what client_golang's encoder makes of the batch.
func encoded(t require.TestingT, b *Batch, as expfmt.Format) []byte {
	var out bytes.Buffer
	enc := expfmt.NewEncoder(&out, as)
	for _, f := range b.Messages() {
		require.NoError(t, enc.Encode(f))
	}
	require.NoError(t, enc.(expfmt.Closer).Close())
	return out.Bytes()
}

// entry is what Prometheus reads of one line or message.
type entry struct {
	Kind               textparse.Entry
	Name, Text, Labels string
	Bits               uint64
	Millis             int64
}

// parsed is what Prometheus' own parsers read.
func parsed(t require.TestingT, body []byte, mediaType string) (all []entry) {
	p, err := textparse.New(body, mediaType, labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	for {
		kind, err := p.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, "%s", body)
		e := entry{Kind: kind}
		var name, text []byte
		switch kind {
		case textparse.EntryHelp:
			name, text = p.Help()
		case textparse.EntryUnit:
			name, text = p.Unit()
		case textparse.EntryType:
			var typ model.MetricType
			name, typ = p.Type()
			text = []byte(typ)
		case textparse.EntrySeries:
			var at *int64
			var v float64
			_, at, v = p.Series()
			switch e.Bits = math.Float64bits(v); {
			case v != v:
				e.Bits = math.Float64bits(math.NaN()) // the text formats know only one
			case v == 0:
				e.Bits = 0 // whose sign client_golang leaves out
			}
			if at != nil {
				e.Millis = *at
			}
			var l labels.Labels
			p.Labels(&l)
			e.Labels = l.String()
		}
		e.Name, e.Text = string(name), string(text)
		all = append(all, e)
	}
}

func messages(t require.TestingT, body []byte) (all []*dto.MetricFamily) {
	r := bufio.NewReader(bytes.NewReader(body))
	for {
		f := &dto.MetricFamily{}
		err := protodelim.UnmarshalFrom(r, f)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, f)
	}
}

// requireFormats holds a batch, written in each format, to what client_golang's
// encoders write and Prometheus' parsers read.
func requireFormats(t require.TestingT, b *Batch) {
	require.Equal(t, encoded(t, b, expfmt.FmtProtoDelim), b.AppendProtobuf(nil))
	open := append(b.AppendOpenMetrics(nil), openEnd...)
	require.True(t, utf8.Valid(open))
	for _, as := range []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1} {
		require.Equal(t, parsed(t, encoded(t, b, as), string(as)), parsed(t, open, string(as)), "%s", open)
	}
	text := b.AppendText(nil)
	require.Equal(t, parsed(t, encoded(t, b, expfmt.FmtText), ContentType), parsed(t, text, ContentType), "%s", text)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	read, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	require.Len(t, read, len(b.Messages()))
}

func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	unit := func(name, unit string, typ Type) *Family {
		f, err := New(Spec{Name: name, Help: "H.", Type: typ, Unit: unit})
		require.NoError(t, err)
		return f
	}
	b := NewBatch()
	b.Add(NewCounter("a_total", `Say "a" \ b`+"\n.", "l"), 1, "x\"\n")
	b.Add(NewCounter("b_bytes", ""), 2.5)
	b.Add(NewUntyped("c", "H."), math.Inf(1))
	b.AddAt(NewGauge("d", "H."), 3, time.UnixMilli(1700000000050))
	b.Add(unit("e_seconds_total", "seconds", Counter), 4)
	b.Add(unit("f_seconds", "seconds", Gauge), 5)
	b.Add(unit("g_ratio", "seconds", Gauge), 6)
	histogram := unit("h_seconds", "seconds", Histogram)
	b.AddDistribution(histogram, Distribution{Bounds: []Bound{{0.5, 1}, {2, 3}, {1e6, 3}}, Sum: 7, Count: 4}, nil, []string{"l"}, []string{"x"})
	b.AddDistribution(histogram, Distribution{Bounds: []Bound{{math.Copysign(0, -1), 1}, {math.Inf(1), 2}}, Count: 2}, nil, nil, nil)
	b.AddDistribution(unit("i", "", Summary), Distribution{Bounds: []Bound{{0.5, 1}, {1, math.NaN()}}, Sum: -1.5, Count: 9}, nil, nil, nil)
	b.AddDistribution(unit("j", "", Summary), Distribution{}, nil, []string{"l"}, []string{"x"})
	want := `# HELP a Say \"a\" \\ b\n.
# TYPE a counter
a_total{l="x\"\n"} 1
# HELP b_bytes 
# TYPE b_bytes unknown
b_bytes 2.5
# HELP c H.
# TYPE c unknown
c +Inf
# HELP d H.
# TYPE d gauge
d 3 1700000000.050
# HELP e_seconds H.
# TYPE e_seconds counter
# UNIT e_seconds seconds
e_seconds_total 4
# HELP f_seconds H.
# TYPE f_seconds gauge
# UNIT f_seconds seconds
f_seconds 5
# HELP g_ratio H.
# TYPE g_ratio gauge
g_ratio 6
# HELP h_seconds H.
# TYPE h_seconds histogram
# UNIT h_seconds seconds
h_seconds_bucket{l="x",le="0.5"} 1
h_seconds_bucket{l="x",le="2.0"} 3
h_seconds_bucket{l="x",le="1e+06"} 3
h_seconds_bucket{l="x",le="+Inf"} 4
h_seconds_sum{l="x"} 7
h_seconds_count{l="x"} 4
h_seconds_bucket{le="0.0"} 1
h_seconds_bucket{le="+Inf"} 2
h_seconds_sum 0
h_seconds_count 2
# HELP i H.
# TYPE i summary
i{quantile="0.5"} 1
i{quantile="1.0"} NaN
i_sum -1.5
i_count 9
# HELP j H.
# TYPE j summary
j_sum{l="x"} 0
j_count{l="x"} 0
`
	require.Equal(t, want, string(b.AppendOpenMetrics(nil)))
	requireFormats(t, b)
	require.Equal(t, "a -1.500\n", string(appendSeconds([]byte("a\n"), -1500)))
	require.Equal(t, "seconds", messages(t, b.AppendProtobuf(nil))[4].GetUnit())
	b.Reset()
	b.Add(NewCounter(totalSuffix, ""), 1)
	require.Equal(t, "# HELP _total \n# TYPE _total unknown\n_total 1\n", string(b.AppendOpenMetrics(nil)))
}

// FuzzFormats holds that every format says what client_golang's encoders say
// of the same samples.
func FuzzFormats(f *testing.F) {
	f.Add("node_load1", "help", "s", "device", "sda", "extra", "v", 0.25, int64(0), uint8(0))
	f.Add("a_seconds_total", "line\nbreak \\ \"q\"", "seconds", "l", "\\\n\"", "x", "\xff\xfe", math.Inf(1), int64(1), uint8(1))
	f.Add("b_bytes", "\xc3", "bytes", "_l", "é\xc3", "x", "日本", math.NaN(), int64(-5), uint8(2))
	f.Add("c_bytes", "", "seconds", "m", "", "x", "", math.Copysign(0, -1), int64(1700000000123), uint8(1))
	f.Add("_total", "", "", "m", "", "x", "", 1e300, int64(-1700000000123), uint8(1))
	f.Fuzz(func(t *testing.T, name, help, unit, label, value, extra, extraValue string, v float64, millis int64, typ uint8) {
		family, err := New(Spec{Name: name, Help: help, Type: Type(typ % 3), Unit: unit, Labels: []string{label}})
		if err != nil || !ValidLabelName(extra) || extra == label || !validUnit(unit) || name == totalSuffix {
			t.Skip()
		}
		if label == "le" || label == "quantile" || extra == "le" || extra == "quantile" {
			t.Skip() // Prometheus' parsers write their values anew
		}
		b := NewBatch()
		var at time.Time
		if millis = max(millis%1e13, -(millis % 1e13)); millis != 0 { // Prometheus reads no others
			at = time.UnixMilli(millis)
		}
		b.AddAt(family, v, at, value)
		b.AddExtra(family, v, []string{value}, []string{extra}, []string{extraValue})
		b.Add(NewGauge("z"+name, help), -v)
		requireFormats(t, b)
	})
}

// FuzzDistributions holds the same of histograms and summaries, and that the
// text says what the messages say.
func FuzzDistributions(f *testing.F) {
	f.Add("a_seconds", "seconds", "l", "v", "x", "y", 0.5, 2.0, 1.5, uint64(3), true)
	f.Add("a_total", "", "l", "\n\xff", "m", "", -1.0, math.Inf(1), math.NaN(), uint64(1<<53), true)
	f.Add("a", "", "l", "", "m", "", 0.5, 0.99, math.Inf(-1), uint64(0), false)
	f.Add("a_count", "", "l", "", "m", "", 1e-300, 1e21, 0.0, uint64(math.MaxUint64), false)
	f.Add("a_bucket", "", "l", "", "m", "", 0.0, math.NaN(), 0.1, uint64(200), false)
	f.Fuzz(func(t *testing.T, name, unit, label, value, extra, extraValue string, at, above, total float64, n uint64, histogram bool) {
		typ := Summary
		if histogram {
			typ = Histogram
		}
		family, err := New(Spec{Name: name, Type: typ, Help: "H.", Unit: unit, Labels: []string{label}})
		if err != nil || !ValidLabelName(extra) || extra == label || !validUnit(unit) || !(at < above) {
			t.Skip()
		}
		if label == "le" || label == "quantile" || extra == "le" || extra == "quantile" {
			t.Skip() // an exporter that gives these itself is not understood
		}
		if total != total {
			total = math.NaN() // the text knows only one
		}
		b := NewBatch()
		d := Distribution{Bounds: []Bound{{at, float64(n / 2)}, {above, float64(n)}}, Sum: total, Count: n}
		b.AddDistribution(family, d, []string{value}, nil, nil)
		b.AddDistribution(family, Distribution{Bounds: d.Bounds[:1], Count: 1}, []string{value}, []string{extra}, []string{extraValue})
		b.AddDistribution(family, Distribution{}, []string{value + "."}, nil, nil)
		b.Add(NewGauge("z"+name, ""), 1)
		requireFormats(t, b)

		said := b.Messages()[0]
		said.Unit = nil // the text has none
		parser := expfmt.NewTextParser(model.LegacyValidation)
		read, err := parser.TextToMetricFamilies(bytes.NewReader(b.AppendText(nil)))
		require.NoError(t, err)
		if n >= 1<<53 {
			return // the text says it in other digits, which are the same float
		}
		require.Equal(t, said.String(), read[name].String())
	})
}

// What client_golang counted is the same behind the detour over a batch.
func TestDistributionsOfRegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "h", Help: "H.", Buckets: []float64{0.1, 1, 10, math.Inf(1)}}, []string{"l"})
	s := prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: "s", Help: "H.", Objectives: map[float64]float64{0.5: 0.05, 1: 0}}, []string{"l"})
	registry.MustRegister(h, s)
	for i := range 100 {
		label := string(rune('a' + i%3))
		h.WithLabelValues(label).Observe(float64(i) / 7)
		s.WithLabelValues(label).Observe(float64(i) / 7)
	}
	gathered, err := registry.Gather()
	require.NoError(t, err)
	b := NewBatch()
	for i, typ := range []Type{Histogram, Summary} {
		f, err := New(Spec{Name: gathered[i].GetName(), Help: "H.", Type: typ, Labels: []string{"l"}})
		require.NoError(t, err)
		for _, m := range gathered[i].Metric {
			var d Distribution
			if typ == Histogram {
				m.Histogram.CreatedTimestamp = nil
				d.Sum, d.Count = m.Histogram.GetSampleSum(), m.Histogram.GetSampleCount()
				for _, bucket := range m.Histogram.Bucket {
					d.Bounds = append(d.Bounds, Bound{bucket.GetUpperBound(), float64(bucket.GetCumulativeCount())})
				}
				inf := math.Inf(1) // which client_golang leaves to the encoders
				m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{UpperBound: &inf, CumulativeCount: m.Histogram.SampleCount})
			} else {
				m.Summary.CreatedTimestamp = nil
				d.Sum, d.Count = m.Summary.GetSampleSum(), m.Summary.GetSampleCount()
				for _, q := range m.Summary.Quantile {
					d.Bounds = append(d.Bounds, Bound{q.GetQuantile(), q.GetValue()})
				}
			}
			b.AddDistribution(f, d, []string{m.Label[0].GetValue()}, nil, nil)
		}
	}
	for i, f := range messages(t, b.AppendProtobuf(nil)) {
		require.Equal(t, gathered[i].String(), f.String())
	}
	requireFormats(t, b)
}

// validUnit says what a program may declare as a unit.
func validUnit(s string) bool { return s == "" || ValidName(s) }
