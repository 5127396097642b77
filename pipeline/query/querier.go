package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// ErrNotVector means that an expression gave a string or a range vector, where
// an instant vector (at each step, of a range query) was wanted.
var ErrNotVector = errors.New("expression gives no instant vector")

// Querier asks one store in this process, without HTTP. It is safe for
// concurrent use. While the store is not ready, its errors are
// tsdb.ErrNotReady.
type Querier struct {
	engine *Engine
	store  storage.Queryable
}

// NewQuerier joins an engine and a store.
func NewQuerier(e *Engine, q storage.Queryable) *Querier {
	return &Querier{engine: e, store: q}
}

// Instant evaluates expr at one time. A scalar becomes a vector of one sample
// without labels. Warnings are what remote storage could not answer and what
// PromQL finds odd in the data. The vector is the caller's. The error of a query
// whose context has ended wraps the context's.
func (q *Querier) Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error) {
	query, err := q.engine.NewInstantQuery(ctx, q.store, nil, expr, at)
	if err != nil {
		return nil, nil, fmt.Errorf("query %q: %w", expr, err)
	}
	defer query.Close()
	res := exec(ctx, query)
	if res.Err != nil {
		return nil, res.Warnings, res.Err
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		// Close takes the result's memory back.
		return append(promql.Vector(nil), v...), res.Warnings, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V, Metric: labels.EmptyLabels()}}, res.Warnings, nil
	default:
		return nil, res.Warnings, fmt.Errorf("query %q: %w but a %s", expr, ErrNotVector, v.Type())
	}
}

// Range evaluates expr at each step from start to end. The series are the
// caller's; otherwise it is as Instant.
func (q *Querier) Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error) {
	query, err := q.engine.NewRangeQuery(ctx, q.store, nil, expr, start, end, step)
	if err != nil {
		return nil, nil, fmt.Errorf("query %q: %w", expr, err)
	}
	defer query.Close()
	res := exec(ctx, query)
	if res.Err != nil {
		return nil, res.Warnings, res.Err
	}
	m, ok := res.Value.(promql.Matrix)
	if !ok {
		return nil, res.Warnings, fmt.Errorf("query %q: %w but a %s", expr, ErrNotVector, res.Value.Type())
	}
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		// Close takes the points back.
		out[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats), Histograms: slices.Clone(s.Histograms)}
	}
	return out, res.Warnings, nil
}

// exec evaluates a query. Its error names the expression.
func exec(ctx context.Context, query promql.Query) *promql.Result {
	res := query.Exec(ctx)
	if ended := ctx.Err(); ended != nil && errors.As(res.Err, new(promql.ErrQueryCanceled)) {
		// The engine's error does not say by whom, nor wrap what does.
		res.Err = fmt.Errorf("%w: %w", res.Err, ended)
	}
	if res.Err != nil {
		res.Err = fmt.Errorf("query %q: %w", query.String(), res.Err)
	}
	return res
}

// Series lists the label sets of all series that match and have a sample in
// [start, end], sorted.
func (q *Querier) Series(ctx context.Context, start, end time.Time, matchers ...*labels.Matcher) ([]labels.Labels, error) {
	querier, err := q.store.Querier(start.UnixMilli(), end.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list series: %w", err)
	}
	hints := &storage.SelectHints{Start: start.UnixMilli(), End: end.UnixMilli(), Func: "series"}
	set := querier.Select(ctx, true, hints, matchers...)
	var out []labels.Labels
	for set.Next() {
		out = append(out, set.At().Labels().Copy())
	}
	if err := errors.Join(set.Err(), querier.Close()); err != nil {
		return nil, fmt.Errorf("list series: %w", err)
	}
	return out, nil
}
