package resource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

var testNow = time.UnixMilli(1_700_000_000_000)

const kubeletBody = `# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web-0"} 12.5 1700000001000
container_cpu_usage_seconds_total{container="proxy",namespace="shop",pod="web-0"} 1.25 1700000001000
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="app",namespace="shop",pod="web-0"} 1.048576e+06 1700000001125
container_memory_working_set_bytes{container="proxy",namespace="shop",pod="web-0"} 4096 1700000001125
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",namespace="shop",pod="web-0"} 1.6999999995e+09
node_cpu_usage_seconds_total 100 1700000001250
node_memory_working_set_bytes 2.147483648e+09 1700000001250
pod_cpu_usage_seconds_total{namespace="shop",pod="web-0"} 13.75 1700000001000
scrape_error 0
`

func TestParse(t *testing.T) {
	t.Parallel()
	r, err := Parse(iotest.OneByteReader(strings.NewReader(kubeletBody)), testNow, DefaultBodyLimit)
	require.NoError(t, err)
	require.Equal(t, sample{time: 1700000001250e6, cpu: 100e9, memory: 2 << 30}, r.node)
	require.Equal(t, []containerReading{
		{containerKey{"shop", "web-0", "app"}, sample{time: 1700000001125e6, start: 1699999999500e6, cpu: 12.5e9, memory: 1 << 20}},
		{containerKey{"shop", "web-0", "proxy"}, sample{time: 1700000001125e6, cpu: 1.25e9, memory: 4096}},
	}, r.containers)
}

func TestParseLine(t *testing.T) {
	t.Parallel()
	mem := func(ns, pod, name string, v uint64) []containerReading {
		return []containerReading{{containerKey{ns, pod, name}, sample{time: testNow.UnixNano(), memory: v}}}
	}
	ok := func(line string, want []containerReading) {
		t.Helper()
		r, err := Parse(strings.NewReader(line+"\n"), testNow, DefaultBodyLimit)
		require.NoError(t, err, line)
		require.Equal(t, want, r.containers, line)
	}
	const m = "container_memory_working_set_bytes"
	ok(m+`{namespace="a",pod="b",container="c"} 1`, mem("a", "b", "c", 1))
	ok(m+`{ namespace = "a" , pod="b",container="c", }	1.9  `, mem("a", "b", "c", 1))
	ok(m+`{namespace="a",pod="b",container=""} 1`, mem("a", "b", "", 1))
	ok(m+`{namespace="a",pod="b",container="c",id="x}\"\\"} 1`, mem("a", "b", "c", 1))
	ok(m+`{namespace="a\\",pod="b\n",container="\"c\""} 1`, mem(`a\`, "b\n", `"c"`, 1))
	ok(m+`{"namespace"="a",pod="b",container="c"} 1`, mem("a", "b", "c", 1))
	ok(m+`{namespace="a",pod="b",container="c"} 1e19`, mem("a", "b", "c", 1e19))
	for _, none := range []string{"NaN", "+Inf", "-4096", "1e30", "0", "0.5"} { // no size: as if not said
		ok(m+`{namespace="a",pod="b",container="c"} `+none, mem("a", "b", "c", 0))
	}
	for _, other := range []string{
		"", " \t", "# anything", "#", m + " 1", m + `{} 1`, m + `{pod="b",container="c"} 1`, m + `{namespace="a",pod="b"} 1`,
		m + `_total{namespace="a",pod="b",container="c"} 1`, `{"` + m + `",namespace="a",pod="b",container="c"} 1`,
	} {
		ok(other, nil)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	bad := func(body, message string) {
		t.Helper()
		_, err := Parse(strings.NewReader(body), testNow, DefaultBodyLimit)
		require.ErrorIs(t, err, ErrSyntax, body)
		require.ErrorContains(t, err, message)
	}
	bad("this is not { metrics at all\n", `line 1: not the Prometheus text format: "is" is not a number`)
	bad("up 1\n<html><body>hello</body></html>\n", "line 2: ")
	bad("up\n", "no value")
	bad("{} 1\n", "no metric name")
	bad("up 1 -5\n", "not a time stamp")
	bad("up{\"down\"} 1\n", "second metric name")
	bad("up 1 2 3\n", "after the time stamp")
	bad("up 1 2.5\n", "not a time stamp")
	bad("up 0x1p3\n", "not a number")
	bad("up 1_0\n", "not a number")
	bad("up{a=\"b} 1\n", "no end")
	bad("up{a=\"b\" c=\"d\"} 1\n", "expected , or }")
	bad("up{a} 1\n", "expected =")
	bad("up{1=\"a\"} 1\n", "label name")
	bad("up{a=\"\xff\"} 1\n", "UTF-8")
	bad("oops{ 1\n", "label name")
	bad("up 1\nup 2", "line 2: not the Prometheus text format: it has no end")
	bad("up{a=\""+strings.Repeat("x", lineLimit)+"\"} 1\n", "longer than")
}

func TestParseGivesTheErrorOfTheConnection(t *testing.T) {
	t.Parallel()
	_, err := Parse(io.MultiReader(strings.NewReader("up 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), testNow, DefaultBodyLimit)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// endless gives the same line for ever, and counts what was taken.
type endless struct {
	line  string
	taken int64
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.line[e.taken%int64(len(e.line))]
		e.taken++
	}
	return len(p), nil
}

func TestParseStopsAt100MB(t *testing.T) {
	t.Parallel()
	body := &endless{line: "some_other_metric_total{code=\"200\"} 12345.678\n"}
	_, err := Parse(body, testNow, DefaultBodyLimit)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Less(t, body.taken, int64(DefaultBodyLimit+2*lineLimit))

	_, err = Parse(strings.NewReader("up 1\n"), testNow, 5)
	require.NoError(t, err, "as many bytes as allowed")
	_, err = Parse(strings.NewReader("up 1\n"), testNow, 4)
	require.ErrorIs(t, err, ErrTooLarge)
}

// FuzzParse compares with Prometheus' parser: what we accept, it accepts, with
// the same samples of our families.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		kubeletBody, "", "\n", "up 1", "a{b=\"c\"} NaN 5\n", "{\"a b\",c=\"d\"} 1\n", "a{b=\"\\\\\\n\\\"\"} +Inf\n", "# TYPE a counter\na 1e5 -7\n",
		"container_memory_working_set_bytes{namespace=\"a\",pod=\"b\",container=\"c\"} 0x10 3\n", "a{} 1\n", "a{b=\"c\",} 1\n", "a 1 +5\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Parse(bytes.NewReader(body), testNow, 1<<20)
		if err != nil {
			require.Nil(t, r)
			return
		}
		for i := range r.containers {
			require.True(t, i == 0 || r.containers[i-1].compare(r.containers[i].containerKey) < 0, "sorted, each once")
		}
		if bytes.IndexByte(body, 0) >= 0 {
			return // there, a NUL is the end
		}
		want, err := textparseRead(body)
		if err != nil {
			if comments(body) {
				return // comments are not ours to judge
			}
			require.NoError(t, err)
		}
		require.Equal(t, want, memories(r))
	})
}

func comments(body []byte) bool { return bytes.ContainsRune(body, '#') }

func memories(r *Reading) map[string]uint64 {
	m := map[string]uint64{}
	for _, c := range r.containers {
		if c.memory > 0 {
			m[fmt.Sprintf("%q", c.containerKey)] = c.memory
		}
	}
	return m
}

// textparseRead gives the working sets of a body in the eyes of Prometheus.
func textparseRead(body []byte) (map[string]uint64, error) {
	p := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	m := map[string]uint64{}
	for {
		e, err := p.Next()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, err
		}
		if e != textparse.EntrySeries {
			continue
		}
		_, _, v := p.Series()
		var l labels.Labels
		p.Labels(&l)
		key := fmt.Sprintf("%q", containerKey{l.Get("namespace"), l.Get("pod"), l.Get("container")})
		if l.Get("__name__") != "container_memory_working_set_bytes" || l.Get("namespace") == "" || l.Get("pod") == "" || !l.Has("container") || math.IsNaN(v) {
			continue
		}
		delete(m, key) // the last one counts
		if u := toUint(v); u > 0 {
			m[key] = u
		}
	}
}
