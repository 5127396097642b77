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

// writer appends entries. It is used by one goroutine.
type writer struct {
	store storage.Appendable
	known map[string]map[string]*refs // by the labels of an entry and by object
	refs  int
}

// refs are the store's short names of one object's series. 0 is not known yet.
type refs struct {
	value, age   labels.Labels
	valueR, ageR storage.SeriesRef
}

// maxRefs bounds the memory of short names; beyond it they are learnt anew.
const maxRefs = 100_000

func newWriter(store storage.Appendable) *writer {
	return &writer{store: store, known: map[string]map[string]*refs{}}
}

// append appends all of the entries or, with an error, none.
func (w *writer) append(ctx context.Context, entries []*Entry) error {
	if len(entries) == 0 {
		return nil
	}
	app := w.store.Appender(ctx)
	for _, e := range entries {
		// A store that refuses one sample refuses most: the first reason is enough.
		if err := w.entry(app, e); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", &e.Question, err), app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("%d answers: %w", len(entries), err)
	}
	return nil
}

func (w *writer) entry(app storage.Appender, e *Entry) error {
	var refused error
	add := func(ref storage.SeriesRef, l labels.Labels, v float64) storage.SeriesRef {
		ref, err := app.Append(ref, l, e.Time.UnixMilli(), v)
		if err != nil && !tolerable(err) && refused == nil {
			refused = err
		}
		return ref
	}
	failed := 0.0
	if e.Error != "" {
		failed = 1
	}
	b := e.labels()
	add(0, b.Set(model.MetricNameLabel, FailedSeries).Labels(), failed)
	objects := w.objects(b.Labels().String(), len(e.Values))
	for i := range e.Values {
		v := &e.Values[i]
		r := objects[v.Object]
		if r == nil {
			b.Set("object", v.Object)
			r = &refs{
				value: b.Set(model.MetricNameLabel, AnswerSeries).Labels(),
				age:   b.Set(model.MetricNameLabel, AgeSeries).Labels(),
			}
			objects[v.Object] = r
			w.refs++
		}
		if !v.Stale {
			r.valueR = add(r.valueR, r.value, v.Value)
		}
		r.ageR = add(r.ageR, r.age, e.Time.Sub(v.Time).Seconds())
	}
	return refused
}

// objects are the short names of an entry's objects, with room for some more.
func (w *writer) objects(entry string, more int) map[string]*refs {
	if w.refs+more > maxRefs {
		clear(w.known)
		w.refs = 0
	}
	objects := w.known[entry]
	if objects == nil {
		objects = map[string]*refs{}
		w.known[entry] = objects
	}
	return objects
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
