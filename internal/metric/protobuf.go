package metric

import (
	"math"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields in metrics.proto of client_model.
const (
	familyName   protowire.Number = 1
	familyHelp   protowire.Number = 2
	familyType   protowire.Number = 3
	familyMetric protowire.Number = 4
	familyUnit   protowire.Number = 5

	metricLabel     protowire.Number = 1
	metricGauge     protowire.Number = 2
	metricCounter   protowire.Number = 3
	metricSummary   protowire.Number = 4
	metricUntyped   protowire.Number = 5
	metricMillis    protowire.Number = 6
	metricHistogram protowire.Number = 7

	pairName  protowire.Number = 1
	pairValue protowire.Number = 2

	valueValue protowire.Number = 1

	distributionCount protowire.Number = 1
	distributionSum   protowire.Number = 2
	distributionBound protowire.Number = 3

	bucketCount   protowire.Number = 1
	bucketAt      protowire.Number = 2
	quantileAt    protowire.Number = 1
	quantileValue protowire.Number = 2
)

// doubleSize is that of a field with a float64: a tag and eight bytes.
const doubleSize = 9

// AppendProtobuf appends the batch as messages of the type
// io.prometheus.client.MetricFamily, each behind its length.
func (b *Batch) AppendProtobuf(dst []byte) []byte { return b.appendAll(dst, formatProtobuf) }

// protoType gives the type's number and the field that holds the value.
func (t Type) protoType() (dto.MetricType, protowire.Number) {
	switch t {
	case Counter:
		return dto.MetricType_COUNTER, metricCounter
	case Gauge:
		return dto.MetricType_GAUGE, metricGauge
	case Histogram:
		return dto.MetricType_HISTOGRAM, metricHistogram
	case Summary:
		return dto.MetricType_SUMMARY, metricSummary
	default:
		return dto.MetricType_UNTYPED, metricUntyped
	}
}

func appendProtoHead(dst []byte, s Spec) []byte {
	number, _ := s.Type.protoType()
	dst = appendText(dst, familyName, s.Name)
	dst = appendText(dst, familyHelp, string([]rune(s.Help))) // wrong bytes become U+FFFD
	return appendVarint(dst, familyType, uint64(number))
}

func appendText[S []byte | string](dst []byte, field protowire.Number, text S) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// appendProtobuf appends a family. The length of a message stands before it,
// so the samples are gone over twice; that is cheaper than to move them.
func (b *Batch) appendProtobuf(dst []byte, g *group) []byte {
	f := g.family
	unit := f.spec.exposedUnit()
	size := len(f.protoHead)
	for i := g.head; i >= 0; {
		last := b.last(i)
		size += fieldSize(b.metricSize(f, i, last))
		i = b.samples[last].next
	}
	if unit != "" {
		size += fieldSize(len(unit))
	}
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = append(dst, f.protoHead...)
	for i := g.head; i >= 0; {
		last := b.last(i)
		dst = b.appendMetric(dst, f, i, last)
		i = b.samples[last].next
	}
	if unit != "" {
		dst = appendText(dst, familyUnit, unit)
	}
	return dst
}

// fieldSize is that of a field with one of the small numbers above that holds
// a text or message of a size: tag, length and content.
func fieldSize(content int) int { return 1 + protowire.SizeBytes(content) }

// metricSize is that of the metric of the samples from the first to the last.
func (b *Batch) metricSize(f *Family, first, last int) int {
	s, size := &b.samples[last], fieldSize(b.valueSize(f, first, last))
	rest := b.arena[s.labels:]
	var name, value []byte
	for _, l := range f.spec.Labels {
		value, rest = next(rest)
		size += fieldSize(pairSize(len(l), len(value)))
	}
	for range s.extra {
		name, rest = next(rest)
		value, rest = next(rest)
		size += fieldSize(pairSize(len(name), len(value)))
	}
	if s.millis != 0 {
		size += varintSize(uint64(s.millis))
	}
	return size
}

func pairSize(name, value int) int { return fieldSize(name) + fieldSize(value) }

func (b *Batch) appendMetric(dst []byte, f *Family, first, last int) []byte {
	s := &b.samples[last]
	dst = protowire.AppendTag(dst, familyMetric, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(b.metricSize(f, first, last)))
	rest := b.arena[s.labels:]
	var name, value []byte
	for _, l := range f.spec.Labels {
		value, rest = next(rest)
		dst = appendPair(dst, l, value)
	}
	for range s.extra {
		name, rest = next(rest)
		value, rest = next(rest)
		dst = appendPair(dst, name, value)
	}
	_, field := f.spec.Type.protoType()
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(b.valueSize(f, first, last)))
	if first == last {
		dst = appendDouble(dst, valueValue, s.value)
	} else {
		dst = b.appendDistribution(dst, f, first, last)
	}
	if s.millis != 0 {
		dst = appendVarint(dst, metricMillis, uint64(s.millis))
	}
	return dst
}

func appendPair[N []byte | string](dst []byte, name N, value []byte) []byte {
	dst = protowire.AppendTag(dst, metricLabel, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(pairSize(len(name), len(value))))
	dst = appendText(dst, pairName, name)
	return appendText(dst, pairValue, value)
}

// valueSize is that of the message that holds a metric's value.
func (b *Batch) valueSize(f *Family, first, last int) int {
	if first == last {
		return doubleSize
	}
	size := varintSize(b.samples[last].counted()) + doubleSize
	for s := &b.samples[first]; s.role == bound; s = &b.samples[s.next] {
		size += fieldSize(boundSize(f, s))
	}
	return size
}

func boundSize(f *Family, s *sample) int {
	if f.spec.Type == Summary {
		return 2 * doubleSize
	}
	return varintSize(s.counted()) + doubleSize
}

// appendDistribution appends the fields of a Histogram or Summary.
func (b *Batch) appendDistribution(dst []byte, f *Family, first, last int) []byte {
	dst = appendVarint(dst, distributionCount, b.samples[last].counted())
	s := &b.samples[first]
	for s.role == bound {
		s = &b.samples[s.next]
	}
	dst = appendDouble(dst, distributionSum, s.value)
	for s = &b.samples[first]; s.role == bound; s = &b.samples[s.next] {
		dst = protowire.AppendTag(dst, distributionBound, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(boundSize(f, s)))
		if f.spec.Type == Summary {
			dst = appendDouble(dst, quantileAt, b.boundAt(s))
			dst = appendDouble(dst, quantileValue, s.value)
		} else {
			dst = appendVarint(dst, bucketCount, s.counted())
			dst = appendDouble(dst, bucketAt, b.boundAt(s))
		}
	}
	return dst
}

func varintSize(v uint64) int { return 1 + protowire.SizeVarint(v) }

func appendVarint(dst []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendDouble(dst []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), math.Float64bits(v))
}
