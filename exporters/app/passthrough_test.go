package app

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestPassthrough(t *testing.T) {
	t.Parallel()
	p := newPassthrough(isOwn)
	f := func(in, want string, broken, clashes int) {
		t.Helper()
		require.Equal(t, want, string(p.copy(nil, []byte(in))), "%q", in)
		require.Equal(t, [2]int{broken, clashes}, [2]int{p.broken, p.clashes}, "%q: broken, clashes", in)
	}
	same := func(in string) { t.Helper(); f(in, in, 0, 0) }
	drop := func(in string) { t.Helper(); f(in, "", 1, 0) }

	same("")
	same("a 1\n")
	same("# HELP a Some \\\\ help \\n \\\" text.\n# TYPE a counter\na{b=\"c\",d=\"\\\\ \\n \\\"\"} 1e9 1700000000000\na -0.5\n")
	same("a NaN\na +Inf\na -Inf\na{} 1\na{b=\"c\",} 1\na{ b = \"ü\" , c=\"}\" }1\nns:a:b{le=\"x\"} 1\n")
	same("# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum -3.5\nh_count 2\n")
	same("# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 2\n")

	f("\n  a 1 \t\r\n\n# a remark\n#\n# EOF\n", "a 1\n", 0, 0)
	f("# HELP a\na 1\n", "a 1\n", 0, 0)
	f("#TYPE a gauge\n#  HELP   a   x y\n", "# TYPE a gauge\n# HELP a x y\n", 0, 0)

	drop("a 1") // cut off
	drop("<html>\n")
	drop("1a 1\n")
	drop("a\n")
	drop("a one\n")
	drop("a 0x1p4\n")
	drop("a 1_000\n")
	drop("a 1 2 3\n")
	drop("a 1 -5\n")
	drop("a 1 1.5\n")
	drop("a 1 99999999999999999999\n")
	drop("a 1 # {x=\"y\"} 1\n") // an exemplar of OpenMetrics
	drop("a{b=\"c\n")
	drop("a{b=\"c\"\n")
	drop("a{b} 1\n")
	drop("a{b=c} 1\n")
	drop("a{b=\"\\x\"} 1\n")
	drop("a{b=\"c\" d=\"e\"} 1\n")
	drop("a{,} 1\n")
	drop("a{b:c=\"d\"} 1\n")
	drop("a{b=\"c\",b=\"d\"} 1\n")
	drop("a{__name__=\"c\"} 1\n")
	drop("{\"a.b\"} 1\n")
	drop("a{b=\"\xff\"} 1\n")
	drop("a{b=\"\x00\"} 1\n")
	drop("# TYPE a meter\n")
	drop("# TYPE a\n")
	drop("# TYPE 1a gauge\n")
	drop("# HELP a bad \\escape\n")
	drop("# HELP a bad \\\n")

	// One of a kind, in order.
	f("a 1\n# TYPE a gauge\na 2\n", "a 1\na 2\n", 1, 0)
	f("# TYPE a gauge\n# TYPE a gauge\n# HELP a x\n# HELP a y\na 1\n", "# TYPE a gauge\n# HELP a x\na 1\n", 2, 0)
	f("# TYPE h histogram\n# TYPE h_count counter\nh_count 1\n", "# TYPE h histogram\nh_count 1\n", 1, 0)
	f("# TYPE s summary\n# TYPE s_bucket counter\ns_bucket 1\n", "# TYPE s summary\n# TYPE s_bucket counter\ns_bucket 1\n", 0, 0)
	f("# TYPE h histogram\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"1\"} -1\nh_count -1\nh_sum 1\n", "# TYPE h histogram\nh_sum 1\n", 3, 0)
	f("# TYPE s summary\ns{quantile=\"x\"} 1\ns_sum 1\n", "# TYPE s summary\ns_sum 1\n", 1, 0)

	// Ours.
	f("# HELP http_requests_total x\n# TYPE http_requests_total counter\nhttp_requests_total{a=\"b\"} 1\nb 1\n", "b 1\n", 0, 3)
	f("http_request_duration_seconds_bucket 1\nhttp_request_duration_seconds_sum 1\nhttp_request_duration_seconds 1\n", "", 0, 3)
	f("strata_app_anything 1\nhttp_requests_in_flight 1\n", "", 0, 2)
	same("http_requests 1\nhttp_request_duration_seconds_max 1\nhttp_request_size 1\n")

	many := "a{l0=\"\"" + strings.Repeat(",x=\"\"", 2) + "} 1\n"
	drop(many)
	var wide strings.Builder
	for i := range maxLabels + 1 {
		fmt.Fprintf(&wide, "l%d=\"\",", i)
	}
	drop("a{" + wide.String() + "} 1\n")
}

// What a client library writes comes out as it went in.
func TestPassthroughOfClientGolang(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "took_seconds", Help: "A \\ \"help\"\nof two lines."}, []string{"path"})
	s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "size_bytes", Help: "Size.", Objectives: map[float64]float64{0.5: 0.1}})
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "hits_total", Help: "Hits."})
	registry.MustRegister(h, s, c, collectors.NewGoCollector())
	h.WithLabelValues("a\\b\"c\nd").Observe(0.3)
	s.Observe(3)
	families, err := registry.Gather()
	require.NoError(t, err)
	var text bytes.Buffer
	enc := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		require.NoError(t, enc.Encode(f))
	}
	p := newPassthrough(isOwn)
	got := p.copy(nil, text.Bytes())
	require.Zero(t, p.broken)
	require.Equal(t, text.String(), string(got))
}

// Whatever an app sends, what comes out is an exposition, and comes out of a
// second pass as it is.
func FuzzPassthrough(f *testing.F) {
	for _, seed := range []string{
		"", "a 1\n", "# HELP a b\\n\n# TYPE a counter\na{b=\"c\",d=\"\\\"\"} 1 2\n", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\nh_sum -1\n",
		"h_count 1\n# TYPE h histogram\nh_count -2\nh -2\n", "# TYPE s summary\ns{quantile=\"0.1\"} 1\ns_bucket 1\n# TYPE s_count gauge\n",
		"# TYPE http_requests_total counter\nhttp_requests_total 1\n", "\x00\xff\n<html>\n", "a{b=\"c\"} 1 # {} 1\n", "# HELP a \\x\n", "#\n# \n#a\n",
		"a_count 1\n# TYPE a summary\na_count 2\na_sum 1\n# HELP a_sum x\n", "# TYPE :_count histogram\n:_count_bucket{le=\"-1\"} 1\n", "a\t{ b=\"\"\t}\t1\t2\t\n",
		"# TYPE a histogram\na_bucket{le=\"1\",le=\"2\"} -1\n", "# TYPE a histogram\na{le=\"1\"} -1\na -1\n", "a 1e400\na Infinity\na .5\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := newPassthrough(isOwn)
		out := p.copy(nil, in)
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(out))
		require.NoError(t, err, "%q of %q", out, in)
		for name := range families {
			require.False(t, isOwn([]byte(name)), name)
		}
		samples := p.samples
		require.Equal(t, string(out), string(p.copy(nil, out)))
		require.Zero(t, p.broken+p.clashes)
		require.Equal(t, samples, p.samples)
	})
}

// exposition10k is an app's with 10,000 samples.
func exposition10k() []byte {
	var b bytes.Buffer
	for f := range 100 {
		fmt.Fprintf(&b, "# HELP app_family_%d_total Something that the app counts.\n# TYPE app_family_%d_total counter\n", f, f)
		for s := range 100 {
			fmt.Fprintf(&b, "app_family_%d_total{tenant=\"tenant-%d\",operation=\"read\",zone=\"eu-1\"} %d.5\n", f, s, f*s)
		}
	}
	return b.Bytes()
}

func BenchmarkPassthrough10k(b *testing.B) {
	in := exposition10k()
	p := newPassthrough(isOwn)
	var out []byte
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		out = p.copy(out[:0], in)
	}
	require.Equal(b, 10_000, p.samples)
}
