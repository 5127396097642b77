package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// The series that answers become. Each sample stands at the time of the answer,
// so that a graph shows what the autoscaler saw and when.
const (
	// AnswerSeries is a value that was given, of one object.
	AnswerSeries = "strata_autoscaler_answer"
	// AgeSeries is how old the data behind a value was, in seconds; of a stale
	// one too, which was not given.
	AgeSeries = "strata_autoscaler_answer_age_seconds"
	// FailedSeries is 1 for an answer that was an error, else 0.
	FailedSeries = "strata_autoscaler_answer_failed"
)

// refs are the store's short names of one object's series. 0 is not known yet.
type refs struct {
	value, age   labels.Labels
	valueR, ageR storage.SeriesRef
}

// maxRefs bounds the memory of short names; beyond it they are learnt anew.
const maxRefs = 100_000

func (j *Journal) append(ctx context.Context, e *Entry, known map[string]*refs) error {
	if len(known)+len(e.Values) > maxRefs {
		clear(known)
	}
	app := j.o.Store.Appender(ctx)
	at := e.Time.UnixMilli()
	var errs []error
	add := func(ref storage.SeriesRef, l labels.Labels, v float64) storage.SeriesRef {
		ref, err := app.Append(ref, l, at, v)
		if err != nil && !tolerable(err) {
			errs = append(errs, err)
		}
		return ref
	}
	failed := 0.0
	if e.Error != "" {
		failed = 1
	}
	b := e.labels()
	add(0, b.Set(model.MetricNameLabel, FailedSeries).Labels(), failed)
	id := b.Labels().String()
	for i := range e.Values {
		v := &e.Values[i]
		key := v.Object + "\xff" + id
		r := known[key]
		if r == nil {
			b.Set("object", v.Object)
			r = &refs{
				value: b.Set(model.MetricNameLabel, AnswerSeries).Labels(),
				age:   b.Set(model.MetricNameLabel, AgeSeries).Labels(),
			}
			known[key] = r
		}
		if !v.Stale {
			r.valueR = add(r.valueR, r.value, v.Value)
		}
		r.ageR = add(r.ageR, r.age, e.Time.Sub(v.Time).Seconds())
	}
	// A store that refuses one sample refuses most: the first reason is enough.
	if len(errs) > 0 {
		return errors.Join(fmt.Errorf("%s: %w", &e.Question, errs[0]), app.Rollback())
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("%s: %w", &e.Question, err)
	}
	return nil
}

// labels are those that all series of an entry have.
func (e *Entry) labels() *labels.Builder {
	b := labels.NewBuilder(labels.EmptyLabels())
	for name, v := range map[string]string{
		"api": e.API, "namespace": e.Namespace, "resource": e.Resource, "object": e.Object, "metric": e.Metric,
		"selector": e.Selector, "metric_selector": e.MetricSelector, "rule": e.Rule, "requester": e.Requester,
	} {
		b.Set(name, v) // an empty value is no label
	}
	return b
}
