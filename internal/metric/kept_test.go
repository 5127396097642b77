package metric

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// unpacked undoes the encoding. gzip must be one member, behind which browsers
// read no more.
func unpacked(t require.TestingT, w *httptest.ResponseRecorder) string {
	var r io.Reader = w.Body
	switch encoding := w.Header().Get("Content-Encoding"); encoding {
	case "":
	case gzipped:
		in := bytes.NewReader(w.Body.Bytes())
		zip, err := gzip.NewReader(in)
		require.NoError(t, err)
		zip.Multistream(false)
		text, err := io.ReadAll(zip)
		require.NoError(t, err)
		require.Zero(t, in.Len(), "bytes behind the first member")
		return string(text)
	case zstandard:
		dec, err := zstd.NewReader(w.Body, zstd.WithDecoderConcurrency(1))
		require.NoError(t, err)
		defer dec.Close()
		r = dec
	default:
		require.Empty(t, encoding)
	}
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(text)
}

// host is what a made exporter shows, changed between scrapes.
type host struct {
	families []*Family
	values   [][]float64 // of each family; nil shows it not
	label    string
	seconds  *Family // a histogram of all values
}

func newHost(families, samples int) *host {
	h := &host{label: "v", seconds: mustNew(Spec{Name: "made_histogram_seconds", Type: Histogram, Labels: []string{"device"}})}
	for i := range families {
		h.families = append(h.families, NewGauge(fmt.Sprintf("made_%03d_bytes", i), "A family that was made.", "device", "mode"))
		h.values = append(h.values, make([]float64, samples))
	}
	return h
}

func (h *host) collect(_ context.Context, b *Batch) error {
	for i, f := range h.families {
		for n, v := range h.values[i] {
			b.Add(f, v, h.label, devices[n%len(devices)])
		}
		if n := len(h.values[i]); i == 0 && n > 0 {
			d := Distribution{Bounds: []Bound{{1, h.values[i][n-1]}, {2, float64(n)}}, Count: uint64(n)}
			b.AddDistribution(h.seconds, d, []string{h.label}, nil, nil)
			b.AddDistribution(h.seconds, Distribution{Sum: 1}, []string{"none"}, nil, nil)
		}
	}
	return nil
}

var devices = []string{"sda", "sdb", "eth0", "eth1", "a \"quoted\" one", "/var/lib/kubelet"}

const (
	acceptOpen  = "application/openmetrics-text;version=1.0.0"
	acceptProto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// Whatever changed between the scrapes, in whichever formats they were: an
// answer is what a handler that remembers nothing gives.
func TestKeptAnswersAreFresh(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	made := newHost(60, 40)
	h := Handler(HandlerOptions{Collect: made.collect})
	for range 200 {
		switch i := random.IntN(len(made.families)); random.IntN(12) {
		case 0:
			made.values[i] = nil
		case 1:
			made.values[i] = make([]float64, random.IntN(80))
		case 2:
			made.label = devices[random.IntN(len(devices))]
		case 3, 4:
			if len(made.values[i]) > 0 {
				made.values[i][len(made.values[i])-1]++
			}
		}
		accept := []string{"", acceptOpen, acceptProto}[random.IntN(3)]
		encoding := []string{"", gzipped, gzipped, zstandard}[random.IntN(4)]
		ask := func(h http.Handler, encoding string) string {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept", accept)
			r.Header.Set("Accept-Encoding", encoding)
			h.ServeHTTP(w, r)
			return unpacked(t, w)
		}
		require.Equal(t, ask(Handler(HandlerOptions{Collect: made.collect}), ""), ask(h, encoding))
	}
}

// A family that is as it was is neither rendered nor, once it has been so for
// some scrapes, compressed again.
func TestKeptFamiliesAreNotRenderedAgain(t *testing.T) {
	t.Parallel()
	made := newHost(30, 40)
	k, b := newKept(), NewBatch()
	var c compressor
	compressed := 0
	scrape := func() []part {
		b.Reset()
		require.NoError(t, made.collect(t.Context(), b))
		k.next()
		var parts []part
		for g := range b.written {
			parts = append(parts, k.family(b, g, formatText))
		}
		for i := 0; i < len(parts); {
			n, size := k.steady(parts[i:])
			if size >= runSize {
				k.run(parts[i:i+n], formatText, func(dst *bytes.Buffer, parts []part) {
					compressed++
					c.encodeGzip(newKept(), parts, formatText)
					dst.WriteByte(1)
				})
			}
			i += max(n, 1)
		}
		return parts
	}
	scrape()
	for range 10 {
		made.values[10][0]++
		for i, p := range scrape() {
			require.Equal(t, i == 10, p.from == nil || p.from.bodies[formatText].at > 1, "family %d", i)
		}
	}
	require.Equal(t, 2, compressed, "the families before and behind the one that changes")
	f := k.families[made.families[10]]
	require.Zero(t, f.bodies, "what changes all the time is not kept")
	for range 2 {
		for i, p := range scrape() {
			require.NotNil(t, p.from, "family %d is as it was", i)
		}
	}
}

// The families of files come and go.
func TestKeptForgets(t *testing.T) {
	t.Parallel()
	k := newKept()
	for range 2 * maxGroups {
		b := NewBatch()
		b.Add(NewGauge("g", ""), 1)
		k.next()
		for g := range b.written {
			require.Equal(t, "# HELP g \n# TYPE g gauge\ng 1\n", string(k.family(b, g, formatText).text))
		}
	}
	require.LessOrEqual(t, len(k.families), maxGroups+1)
}

func TestKeptConcurrentScrapes(t *testing.T) {
	t.Parallel()
	made := newHost(20, 30)
	h := Handler(HandlerOptions{Collect: made.collect})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("", ""))
	want := w.Body.String()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 20 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("", gzipped))
				if got := unpacked(t, w); got != want {
					t.Errorf("another answer: %s", got)
				}
			}
		})
	}
	wait.Wait()
}

func request(accept, encoding string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	return r
}

// nowhere is a client that takes everything.
type nowhere struct {
	header http.Header
	bytes  int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(b []byte) (int, error) { n.bytes += len(b); return len(b), nil }

// In the steady state nothing is allocated for a sample, in any format or
// encoding, also when every value changes.
func TestAnswersDoNotAllocateBySample(t *testing.T) {
	for _, accept := range []string{"", acceptOpen, acceptProto} {
		for _, encoding := range []string{"", gzipped, zstandard} {
			allocs := func(samples int) float64 {
				made := newHost(50, samples)
				at := time.Now().UnixMilli()
				h := Handler(HandlerOptions{Collect: made.collect})
				r, w := request(accept, encoding), &nowhere{header: http.Header{}}
				return testing.AllocsPerRun(5, func() {
					at++
					for _, values := range made.values {
						for i := range values {
							values[i] = float64(at)
						}
					}
					clear(w.header)
					h.ServeHTTP(w, r)
				})
			}
			spare := 10.0
			if encoding == gzipped {
				spare = 50 // the race detector empties pools now and then, the compressor's among them
			}
			require.InDelta(t, allocs(1), allocs(200), spare, "%q %q", accept, encoding)
		}
	}
}
