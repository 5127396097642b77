package query

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/proto"
)

// Federate answers /federate: the newest sample of every series that one of the
// match[] selectors finds, each with its time, for another Prometheus to
// scrape. Native histograms, which the text format cannot carry, are left out.
type Federate struct {
	engine *Engine
	store  storage.Queryable
	ready  func() error
	config func() config.Config
	logger *slog.Logger

	errors, warnings prometheus.Counter
}

// NewFederate makes the handler over a local store.
func NewFederate(e *Engine, q storage.Queryable, ready func() error, conf func() config.Config, logger *slog.Logger, r prometheus.Registerer) *Federate {
	f := &Federate{
		engine: e, store: q, ready: ready, config: conf, logger: logger,
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prometheus_web_federation_errors_total", Help: "Answers of /federate that failed.",
		}),
		warnings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prometheus_web_federation_warnings_total", Help: "Warnings of the storage while it answered /federate.",
		}),
	}
	r.MustRegister(f.errors, f.warnings)
	return f
}

func (f *Federate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f.ready(); err != nil {
		http.Error(w, fmt.Sprintf("Service Unavailable: %v", err), http.StatusServiceUnavailable)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, fmt.Sprintf("error parsing form values: %v", err), http.StatusBadRequest)
		return
	}
	selectors := r.Form["match[]"]
	if _, err := f.engine.parser.ParseMetricSelectors(selectors); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	samples, err := f.newest(r, selectors)
	if err != nil {
		f.errors.Inc()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, mf := range families(samples, f.config().GlobalConfig.ExternalLabels) {
		if err := enc.Encode(mf); err != nil {
			// The status has been sent; the client sees a broken body.
			f.errors.Inc()
			f.logger.Debug("Federation was cut off", "err", err)
			return
		}
	}
}

// newest reads the last sample of each series within the lookback. PromQL would
// give it the time of the evaluation.
func (f *Federate) newest(r *http.Request, selectors []string) (promql.Vector, error) {
	now := time.Now()
	hints := &storage.SelectHints{Start: now.Add(-f.engine.opts.LookbackDelta).UnixMilli(), End: now.UnixMilli()}
	q, err := f.store.Querier(hints.Start, hints.End)
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	var out promql.Vector
	for _, s := range selectors {
		ms, err := f.engine.parser.ParseMetricSelector(s)
		if err != nil {
			return nil, errors.Join(err, q.Close())
		}
		set := q.Select(r.Context(), false, hints, ms...)
		for set.Next() {
			h := set.At().Labels().Hash()
			if sample, ok := last(set.At()); ok && !seen[h] {
				seen[h] = true
				out = append(out, sample)
			}
		}
		f.warnings.Add(float64(len(set.Warnings())))
		if err := set.Err(); err != nil {
			return nil, errors.Join(err, q.Close())
		}
	}
	return out, q.Close()
}

// last is the newest sample of a series if it is a number and not the mark of
// staleness.
func last(s storage.Series) (promql.Sample, bool) {
	it := s.Iterator(nil)
	kind := chunkenc.ValNone
	out := promql.Sample{Metric: s.Labels().Copy()}
	for k := it.Next(); k != chunkenc.ValNone; k = it.Next() {
		if kind = k; k == chunkenc.ValFloat {
			out.T, out.F = it.At()
		}
	}
	return out, it.Err() == nil && kind == chunkenc.ValFloat && !value.IsStaleNaN(out.F)
}

// families groups the samples by name. External labels are added where the
// series has no label of that name, so that the receiver can tell servers
// apart; an empty instance keeps it from setting its own.
func families(samples promql.Vector, external labels.Labels) []*dto.MetricFamily {
	slices.SortFunc(samples, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
	byName := map[string]*dto.MetricFamily{}
	var out []*dto.MetricFamily
	for _, s := range samples {
		name := s.Metric.Get(model.MetricNameLabel)
		if name == "" {
			continue
		}
		mf := byName[name]
		if mf == nil {
			mf = &dto.MetricFamily{Name: proto.String(name), Type: dto.MetricType_UNTYPED.Enum()}
			byName[name] = mf
			out = append(out, mf)
		}
		b := labels.NewBuilder(s.Metric).Del(model.MetricNameLabel)
		external.Range(func(l labels.Label) {
			if !s.Metric.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
		})
		m := &dto.Metric{Untyped: &dto.Untyped{Value: proto.Float64(s.F)}, TimestampMs: proto.Int64(s.T)}
		b.Labels().Range(func(l labels.Label) {
			m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(l.Name), Value: proto.String(l.Value)})
		})
		if !s.Metric.Has(model.InstanceLabel) && !external.Has(model.InstanceLabel) {
			m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(model.InstanceLabel), Value: proto.String("")})
		}
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
		mf.Metric = append(mf.Metric, m)
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}
