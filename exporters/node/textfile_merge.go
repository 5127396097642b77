package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/strata-metrics/strata/internal/metric"
)

// textFamily is what a family of files is declared by.
type textFamily struct {
	name, help string
	kind       metric.Type
}

// textMerge puts the families of several files together such that one
// exposition can hold them: one type and help for a name, each series once.
type textMerge struct {
	reserved map[string]bool
	families map[string]*textMerged
	owners   map[string]string // the family whose samples have a name
}

// textMerged is a family of one or more files.
type textMerged struct {
	kind    metric.Type
	help    string
	hasHelp bool
	files   []string
	series  map[string]bool
	samples []textSample
}

// textSample is a metric with its labels, sorted by name.
type textSample struct {
	names, values []string
	metric        *dto.Metric
}

func newTextMerge(reserved map[string]bool) *textMerge {
	return &textMerge{reserved: reserved, families: map[string]*textMerged{}, owners: map[string]string{}}
}

// add takes the families of a file, and says which it cannot take, or not as a
// whole. The file that came first stays.
func (m *textMerge) add(path string, families []*dto.MetricFamily) error {
	var errs error
	for _, f := range families {
		if err := m.addFamily(path, f); err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %s: %w", path, f.GetName(), err))
		}
	}
	return errs
}

func (m *textMerge) addFamily(path string, f *dto.MetricFamily) error {
	kind, ok := textKind(f.GetType())
	if !ok {
		return fmt.Errorf("type %s is not served", strings.ToLower(f.GetType().String()))
	}
	for _, metric := range f.Metric {
		if err := validLabels(metric); err != nil {
			return err
		}
	}
	merged := m.families[f.GetName()]
	if merged == nil {
		if err := m.claim(f.GetName(), kind); err != nil {
			return err
		}
		merged = &textMerged{kind: kind, series: map[string]bool{}}
		m.families[f.GetName()] = merged
	}
	switch {
	case merged.kind != kind:
		return fmt.Errorf("has the type %s, and %s in %s", kind, merged.kind, merged.files[0])
	case f.Help != nil && merged.hasHelp && merged.help != f.GetHelp():
		return fmt.Errorf("has the help text %q, and %q in %s", f.GetHelp(), merged.help, merged.files[0])
	case f.Help != nil:
		merged.help, merged.hasHelp = f.GetHelp(), true
	}
	merged.files = append(merged.files, path)
	return merged.addSamples(f.Metric)
}

// claim makes sure that no other family writes samples of the same names.
func (m *textMerge) claim(name string, kind metric.Type) error {
	names := []string{name}
	switch kind {
	case metric.Histogram:
		names = append(names, name+"_bucket", name+"_sum", name+"_count")
	case metric.Summary:
		names = append(names, name+"_sum", name+"_count")
	}
	for _, n := range names {
		if m.reserved[n] {
			return fmt.Errorf("%s is a name of the exporter's own; choose another", n)
		}
		if owner, ok := m.owners[n]; ok {
			return fmt.Errorf("%s is taken by the family %s; choose another name", n, owner)
		}
	}
	for _, n := range names {
		m.owners[n] = name
	}
	return nil
}

func textKind(t dto.MetricType) (metric.Type, bool) {
	switch t {
	case dto.MetricType_COUNTER:
		return metric.Counter, true
	case dto.MetricType_GAUGE:
		return metric.Gauge, true
	case dto.MetricType_UNTYPED:
		return metric.Untyped, true
	case dto.MetricType_HISTOGRAM:
		return metric.Histogram, true
	case dto.MetricType_SUMMARY:
		return metric.Summary, true
	default:
		return 0, false
	}
}

func validLabels(m *dto.Metric) error {
	for _, l := range m.GetLabel() {
		if !metric.ValidLabelName(l.GetName()) {
			return fmt.Errorf("%q is no name for a label", l.GetName())
		}
	}
	return nil
}

// addSamples takes the metrics of one file. As node_exporter it gives all of
// them the labels of each, empty where they have none.
func (m *textMerged) addSamples(metrics []*dto.Metric) error {
	all := map[string]bool{}
	for _, metric := range metrics {
		for _, l := range metric.GetLabel() {
			all[l.GetName()] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	twice := 0
	for _, metric := range metrics {
		s := textSample{names: names, values: make([]string, len(names)), metric: metric}
		for _, l := range metric.GetLabel() {
			s.values[slices.Index(names, l.GetName())] = l.GetValue()
		}
		key := s.key()
		if m.series[key] {
			twice++
			continue
		}
		m.series[key] = true
		m.samples = append(m.samples, s)
	}
	if twice > 0 {
		return fmt.Errorf("%d of its series are there already, from %s; the first is served", twice, strings.Join(m.files, ", "))
	}
	return nil
}

// key identifies a series; an empty label is none.
func (s *textSample) key() string {
	var key strings.Builder
	for i, v := range s.values {
		if v != "" {
			// Bytes that are not UTF-8 all look the same in the end.
			key.WriteString(strconv.Quote(strings.ToValidUTF8(v, "\uFFFD")) + s.names[i])
		}
	}
	return key.String()
}

// emit adds all families to the batch.
func (c *textfile) emit(b *metric.Batch, m *textMerge) {
	for _, name := range slices.Sorted(maps.Keys(m.families)) {
		merged := m.families[name]
		if len(merged.samples) == 0 {
			continue
		}
		if !merged.hasHelp {
			merged.help = "Metric read from " + strings.Join(merged.files, ", ")
		}
		f := c.family(textFamily{name, merged.help, merged.kind})
		slices.SortStableFunc(merged.samples, func(a, b textSample) int { return slices.Compare(a.values, b.values) })
		for i := range merged.samples {
			merged.samples[i].emit(b, f)
		}
	}
}

// family declares a family once and for all scrapes.
func (c *textfile) family(key textFamily) *metric.Family {
	if f, ok := c.families[key]; ok {
		return f
	}
	if len(c.families) >= maxKnown {
		clear(c.families)
	}
	f, err := metric.New(metric.Spec{Name: key.name, Help: key.help, Type: key.kind, Foreign: true})
	if err != nil {
		panic(err) // the parser refuses such a name
	}
	c.families[key] = f
	return f
}

// emit adds a metric.
func (s *textSample) emit(b *metric.Batch, f *metric.Family) {
	m := s.metric
	switch f.Spec().Type {
	case metric.Counter:
		b.AddExtra(f, m.GetCounter().GetValue(), nil, s.names, s.values)
	case metric.Gauge:
		b.AddExtra(f, m.GetGauge().GetValue(), nil, s.names, s.values)
	case metric.Histogram:
		var bounds []metric.Bound
		for _, bucket := range m.GetHistogram().GetBucket() {
			bounds = append(bounds, metric.Bound{At: bucket.GetUpperBound(), Value: float64(bucket.GetCumulativeCount())})
		}
		b.AddDistribution(f, distribution(bounds, m.GetHistogram()), nil, s.names, s.values)
	case metric.Summary:
		var bounds []metric.Bound
		for _, q := range m.GetSummary().GetQuantile() {
			bounds = append(bounds, metric.Bound{At: q.GetQuantile(), Value: q.GetValue()})
		}
		b.AddDistribution(f, distribution(bounds, m.GetSummary()), nil, s.names, s.values)
	default:
		b.AddExtra(f, m.GetUntyped().GetValue(), nil, s.names, s.values)
	}
}

// distribution sorts the bounds, and keeps the first of those that are alike.
func distribution(bounds []metric.Bound, of interface {
	GetSampleSum() float64
	GetSampleCount() uint64
}) metric.Distribution {
	order := func(a, b metric.Bound) int { return cmp.Compare(a.At, b.At) }
	slices.SortStableFunc(bounds, order)
	bounds = slices.CompactFunc(bounds, func(a, b metric.Bound) bool { return order(a, b) == 0 })
	return metric.Distribution{Bounds: bounds, Sum: of.GetSampleSum(), Count: of.GetSampleCount()}
}
