package metric

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ContentType is that of the text format written by Batch.AppendText.
const ContentType = string(expfmt.FmtText)

// AppendText appends the batch in the text format: families sorted by name,
// samples in the order in which they were added.
func (b *Batch) AppendText(dst []byte) []byte { return b.appendAll(dst, formatText) }

// appendAll appends every family.
func (b *Batch) appendAll(dst []byte, as format) []byte {
	for g := range b.written {
		dst = b.appendFamily(dst, g, as)
	}
	return dst
}

// appendFamily appends one family in a format.
func (b *Batch) appendFamily(dst []byte, g *group, as format) []byte {
	switch as {
	case formatProtobuf:
		return b.appendProtobuf(dst, g)
	case formatOpenMetrics:
		dst = append(dst, g.family.openHead...)
	default:
		dst = append(dst, g.family.head...)
	}
	for i := g.head; i >= 0; i = b.samples[i].next {
		dst = b.appendSample(dst, g.family, &b.samples[i], as)
	}
	return dst
}

func (b *Batch) appendSample(dst []byte, f *Family, s *sample, as format) []byte {
	dst = append(dst, f.spec.Name...)
	dst = append(dst, f.suffix(s.role)...)
	rest := b.arena[s.labels:]
	var value []byte
	sep := byte('{')
	for _, name := range f.spec.Labels {
		value, rest = next(rest)
		dst = appendLabel(dst, sep, name, value)
		sep = ','
	}
	for range s.extra {
		var name []byte
		name, rest = next(rest)
		value, rest = next(rest)
		dst = appendLabel(dst, sep, name, value)
		sep = ','
	}
	if s.role == bound {
		dst = append(append(dst, sep), f.boundLabel()...)
		dst = append(appendBound(append(dst, '=', '"'), b.boundAt(s), as), '"')
		sep = ','
	}
	if s.millis != 0 && as == formatOpenMetrics {
		dst = appendValue(dst, sep == ',', s.value, 0)
		return appendSeconds(dst, s.millis)
	}
	return appendValue(dst, sep == ',', s.value, s.millis)
}

// suffix is what stands behind the family's name in a line.
func (f *Family) suffix(r role) string {
	switch {
	case r == sum:
		return "_sum"
	case r == count:
		return "_count"
	case r == bound && f.spec.Type == Histogram:
		return "_bucket"
	default:
		return ""
	}
}

// boundLabel names the label of a bucket or quantile.
func (f *Family) boundLabel() string {
	if f.spec.Type == Histogram {
		return model.BucketLabel
	}
	return model.QuantileLabel
}

// appendBound writes a bound as client_golang does: part of a series' name, it
// must not depend on the program. OpenMetrics wants it to look like a float.
func appendBound(dst []byte, at float64, as format) []byte {
	if math.IsInf(at, 1) {
		return append(dst, "+Inf"...)
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, at, 'g', -1, 64)
	if as == formatOpenMetrics && !bytes.ContainsAny(dst[n:], ".eIN") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// next takes one length-prefixed text off the arena.
func next(arena []byte) (text, rest []byte) {
	n, w := binary.Uvarint(arena)
	end := w + int(n)
	return arena[w:end], arena[end:]
}

// AppendSample appends one line of the text format, for those who keep
// rendered lines of their own instead of a batch. The rules are those of
// Batch.AddExtra.
func (f *Family) AppendSample(dst []byte, value float64, labels, names, values []string) []byte {
	dst = append(dst, f.spec.Name...)
	sep := byte('{')
	for i, name := range f.spec.Labels {
		dst = appendLabel(dst, sep, name, labels[i])
		sep = ','
	}
	for i, name := range names {
		dst = appendLabel(dst, sep, name, values[i])
		sep = ','
	}
	return appendValue(dst, sep == ',', value, 0)
}

func appendLabel[N, V []byte | string](dst []byte, sep byte, name N, value V) []byte {
	dst = append(dst, sep)
	dst = append(dst, name...)
	dst = append(dst, '=', '"')
	dst = appendEscaped(dst, value, true)
	return append(dst, '"')
}

func appendValue(dst []byte, labelled bool, value float64, millis int64) []byte {
	if labelled {
		dst = append(dst, '}')
	}
	dst = append(dst, ' ')
	dst = appendFloat(dst, value)
	if millis != 0 {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, millis, 10)
	}
	return append(dst, '\n')
}

// appendFloat writes whole numbers as integers, which are shorter and quicker
// than the exponent form and the same value to every parser as long as a
// float64 holds them exactly.
func appendFloat(dst []byte, v float64) []byte {
	const exact = 1 << 53
	switch {
	case v == math.Trunc(v) && math.Abs(v) < exact && (v != 0 || !math.Signbit(v)):
		return strconv.AppendInt(dst, int64(v), 10)
	case math.IsInf(v, 1):
		return append(dst, "+Inf"...)
	default: // NaN and -Inf come out as the format wants them
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	}
}

// appendEscaped escapes as the text format asks: backslash and newline, and
// the quote inside label values. Invalid UTF-8 becomes U+FFFD.
func appendEscaped[S []byte | string](dst []byte, s S, quote bool) []byte {
	if isPlain(s) { // as nearly all are
		return append(dst, s...)
	}
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c == '\\' || c == '\n' || c == '"' && quote {
				dst = append(dst, s[plain:i]...)
				if c == '\n' {
					c = 'n'
				}
				dst = append(dst, '\\', c)
				plain = i + 1
			}
			i++
			continue
		}
		// A rune is at most four bytes: the conversion stays on the stack.
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[plain:i]...)
			dst = utf8.AppendRune(dst, utf8.RuneError)
			plain = i + 1
		}
		i += n
	}
	return append(dst, s[plain:]...)
}

// isPlain says that a text is ASCII without anything that is escaped.
func isPlain[S []byte | string](s S) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c == '\\' || c == '\n' || c == '"' {
			return false
		}
	}
	return true
}
