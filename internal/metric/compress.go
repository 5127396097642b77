package metric

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// The encodings that are offered, the one that is preferred first.
const (
	identity  = "identity"
	gzipped   = "gzip"
	zstandard = "zstd"
)

// compressor is the memory of the encodings, made when they are first asked
// for.
type compressor struct {
	deflate *bufio.Writer // see newDeflate
	gzip    *gzipStream
	zstd    *zstd.Encoder
	body    bytes.Buffer
	text    []byte // of the part that is written
}

// stream gives what compresses to w. Closing it does not close w.
func (c *compressor) stream(encoding string, w io.Writer) io.WriteCloser {
	switch encoding {
	case gzipped:
		if c.gzip == nil {
			c.gzip = newGzipStream()
		}
		c.gzip.reset(w)
		return c.gzip
	case zstandard:
		if c.zstd == nil {
			// Without goroutines of its own, and in the window that is enough
			// for lines that are alike. The options are right, so it cannot fail.
			c.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
		}
		c.zstd.Reset(w)
		return c.zstd
	default:
		return plainStream{w}
	}
}

// release lets go of what a stream was written to.
func (c *compressor) release() {
	if c.gzip != nil {
		c.gzip.w.Reset(io.Discard)
	}
	if c.zstd != nil {
		c.zstd.Reset(io.Discard)
	}
}

type plainStream struct{ io.Writer }

// Close implements io.Closer.
func (plainStream) Close() error { return nil }

// encode gives the parts compressed, valid until the next call.
func (c *compressor) encode(encoding string, k *kept, parts []part, as format) []byte {
	if encoding == gzipped {
		return c.encodeGzip(k, parts, as)
	}
	c.body.Reset()
	// A bytes.Buffer takes everything, so these cannot fail.
	out := c.stream(encoding, &c.body)
	for i := range parts {
		_, _ = out.Write(parts[i].in(&c.text))
	}
	_ = out.Close()
	return c.body.Bytes()
}

// encodeGzip writes one member of gzip (RFC 1952), since many programs,
// browsers among them, stop at the end of the first. Its pieces of deflate end
// at a byte (RFC 1951, 3.2.4) and do not refer to each other, so that those of
// families that have not changed are used again.
func (c *compressor) encodeGzip(k *kept, parts []part, as format) []byte {
	if c.deflate == nil {
		c.deflate = newDeflate()
	}
	c.body.Reset()
	c.body.WriteString(gzipHead)
	var all checksum
	fresh := 0 // where the parts begin that are not written yet
	for i := 0; i < len(parts); {
		n, long := k.steady(parts[i:])
		if n == 0 || long < runSize {
			i += max(n, 1)
			continue
		}
		c.piece(&c.body, parts[fresh:i], &all)
		steady := parts[i : i+n]
		c.body.Write(k.run(steady, as, func(dst *bytes.Buffer, parts []part) { c.piece(dst, parts, &checksum{}) }))
		for j := range steady {
			all.add(steady[j].text)
		}
		i += n
		fresh = i
	}
	c.piece(&c.body, parts[fresh:], &all)
	end := all.end()
	c.body.Write(end[:])
	return c.body.Bytes()
}

// newDeflate makes the buffer before a stateless writer of deflate, to which it is
// to be Reset: what is flushed ends at a byte. A flate.Writer needs no buffer, but
// keeps 0.8 MB of tables for as long as it is there, half of the live heap of an
// exporter, where this one borrows them while it compresses. What is flushed
// refers to nothing before it, hence the size.
func newDeflate() *bufio.Writer { return bufio.NewWriterSize(io.Discard, 64<<10) }

// piece appends parts as blocks of deflate, none of which is the last, and adds
// them to the checksum.
func (c *compressor) piece(dst *bytes.Buffer, parts []part, all *checksum) {
	if len(parts) == 0 {
		return
	}
	c.deflate.Reset(flate.NewStatelessWriter(dst))
	for i := range parts {
		text := parts[i].in(&c.text)
		all.add(text)
		_, _ = c.deflate.Write(text)
	}
	_ = c.deflate.Flush()
}

// negotiateEncoding chooses by the header Accept-Encoding as promhttp does: of
// the offers that have the highest weight, the first. A weight of 0 is a no
// (RFC 9110); where nothing is left, the answer is not compressed.
func negotiateEncoding(h http.Header, offers ...string) string {
	best, weight := identity, 0.0
	for _, offer := range offers {
		if q := codingWeight(h, offer); q > weight {
			best, weight = offer, q
		}
	}
	return best
}

// codingWeight is the highest weight that a header gives to a coding. What
// stands behind a mistake is not read.
func codingWeight(h http.Header, offer string) (highest float64) {
	for _, field := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(field, ",") {
			coding, params, weighted := strings.Cut(item, ";")
			q := 1.0
			if weighted {
				text, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
				var err error
				if q, err = strconv.ParseFloat(text, 64); !ok || err != nil || !(q >= 0 && q <= 1) {
					break
				}
			}
			if coding = strings.TrimSpace(coding); coding == "*" || strings.EqualFold(coding, offer) {
				highest = max(highest, q)
			}
		}
	}
	return highest
}
