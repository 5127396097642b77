package metric

import (
	dto "github.com/prometheus/client_model/go"
)

// Messages gives the batch as client_golang's objects, for formats that are
// asked for so seldom that they are left to its encoders, and for tests.
func (b *Batch) Messages() []*dto.MetricFamily {
	var all []*dto.MetricFamily
	for g := range b.written {
		all = append(all, b.message(g))
	}
	return all
}

func (b *Batch) message(g *group) *dto.MetricFamily {
	spec := g.family.spec
	name, help := spec.Name, string([]rune(spec.Help))
	number, _ := spec.Type.protoType()
	m := &dto.MetricFamily{Name: &name, Help: &help, Type: &number}
	if unit := spec.exposedUnit(); unit != "" {
		m.Unit = &unit
	}
	for i := g.head; i >= 0; {
		last := b.last(i)
		m.Metric = append(m.Metric, b.metric(g.family, i, last))
		i = b.samples[last].next
	}
	return m
}

// metric gives the metric of the samples from the first to the last.
func (b *Batch) metric(f *Family, first, last int) *dto.Metric {
	m := &dto.Metric{}
	s := &b.samples[last]
	value := s.value
	switch f.spec.Type {
	case Counter:
		m.Counter = &dto.Counter{Value: &value}
	case Gauge:
		m.Gauge = &dto.Gauge{Value: &value}
	case Histogram, Summary:
		b.distribution(m, f, first)
	default:
		m.Untyped = &dto.Untyped{Value: &value}
	}
	if millis := s.millis; millis != 0 {
		m.TimestampMs = &millis
	}
	pair := func(name, value string) {
		m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &value})
	}
	rest := b.arena[s.labels:]
	var name, text []byte
	for _, l := range f.spec.Labels {
		text, rest = next(rest)
		pair(l, string(text))
	}
	for range s.extra {
		name, rest = next(rest)
		text, rest = next(rest)
		pair(string(name), string(text))
	}
	return m
}

// distribution sets the histogram or summary of the samples from the first on.
func (b *Batch) distribution(m *dto.Metric, f *Family, first int) {
	var buckets []*dto.Bucket
	var quantiles []*dto.Quantile
	s := &b.samples[first]
	for ; s.role == bound; s = &b.samples[s.next] {
		at, value, number := b.boundAt(s), s.value, s.counted()
		buckets = append(buckets, &dto.Bucket{UpperBound: &at, CumulativeCount: &number})
		quantiles = append(quantiles, &dto.Quantile{Quantile: &at, Value: &value})
	}
	total, number := s.value, b.samples[s.next].counted()
	if f.spec.Type == Histogram {
		m.Histogram = &dto.Histogram{Bucket: buckets, SampleSum: &total, SampleCount: &number}
	} else {
		m.Summary = &dto.Summary{Quantile: quantiles, SampleSum: &total, SampleCount: &number}
	}
}
