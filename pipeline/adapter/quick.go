package adapter

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// errNotQuick means that the data is nothing for a quick query: the engine has
// to be asked.
var errNotQuick = errors.New("native histograms")

// quickQuery is sum by (labels) (rate(selector[window])), or with increase: the
// shape of nearly all rules, of which autoscalers ask the same text again and
// again. It reads the samples once, notes their age on the way, and gives them
// to PromQL's own function; what the engine does around it (parsing, printing
// the expression, buffers for ranges) costs more than the answer. A query of
// this kind is not in the engine's query log and metrics.
type quickQuery struct {
	function promql.FunctionCall
	args     parser.Expressions
	selector *parser.VectorSelector
	hints    storage.SelectHints
	by       []string
	window   int64 // ms
}

// newQuick gives nil for an expression of another shape.
func newQuick(expr parser.Expr) *quickQuery {
	sum, ok := bare(expr).(*parser.AggregateExpr)
	if !ok || sum.Op != parser.SUM || sum.Without || len(sum.Grouping) == 0 {
		return nil
	}
	call, ok := bare(sum.Expr).(*parser.Call)
	if !ok || call.Func.Name != "rate" && call.Func.Name != "increase" {
		return nil
	}
	matrix, ok := call.Args[0].(*parser.MatrixSelector)
	if !ok || matrix.RangeExpr != nil {
		return nil
	}
	s, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok || s.Offset != 0 || s.OriginalOffset != 0 || s.OriginalOffsetExpr != nil || s.Timestamp != nil || s.StartOrEnd != 0 ||
		s.Anchored || s.Smoothed {
		return nil
	}
	window := matrix.Range.Milliseconds()
	return &quickQuery{
		function: promql.FunctionCalls[call.Func.Name], args: call.Args, selector: s, by: sum.Grouping, window: window,
		// What is outside of the range is skipped here, for less than it costs to cut it off.
		hints: storage.SelectHints{Func: call.Func.Name, Range: window, Grouping: sum.Grouping, By: true, DisableTrimming: true},
	}
}

func bare(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// group is one sample of the result.
type group struct {
	labels labels.Labels
	sum    float64
	lost   float64 // the low bits that sum could not hold
	any    bool    // a series has a value
	oldest Age
}

func (g *group) add(v float64) {
	g.any = true
	t := g.sum + v
	switch {
	case math.IsInf(t, 0):
		g.lost = 0
	case math.Abs(g.sum) >= math.Abs(v):
		g.lost += (g.sum - t) + v
	default:
		g.lost += (v - t) + g.sum
	}
	g.sum = t
}

// evaluate answers from a store.
func (q *quickQuery) evaluate(ctx context.Context, store storage.Queryable, at time.Time) (promql.Vector, []Age, annotations.Annotations, error) {
	end := at.UnixMilli()
	start := end - q.window // not in the range any more
	querier, err := store.Querier(start, end)
	if err != nil {
		return nil, nil, nil, err
	}
	hints := q.hints
	hints.Start, hints.End = start+1, end
	set := querier.Select(ctx, false, &hints, q.selector.LabelMatchers...)
	r := quickRun{q: q, enh: promql.EvalNodeHelper{Ts: end}, groups: map[string]*group{}}
	for err == nil && set.Next() {
		if err = ctx.Err(); err == nil {
			err = r.series(set.At(), start, end)
		}
	}
	notes := r.notes
	notes.Merge(set.Warnings())
	if err := errors.Join(err, set.Err(), querier.Close()); err != nil {
		return nil, nil, notes, err
	}
	vec, ages := make(promql.Vector, 0, len(r.order)), make([]Age, 0, len(r.order))
	for _, g := range r.order {
		if g.any {
			vec = append(vec, promql.Sample{T: end, F: g.sum + g.lost, Metric: g.labels})
			ages = append(ages, g.oldest)
		}
	}
	return vec, ages, notes, nil
}

// quickRun is one evaluation; its buffers serve all series.
type quickRun struct {
	q       *quickQuery
	enh     promql.EvalNodeHelper
	it      chunkenc.Iterator
	points  []promql.FPoint
	matrix  [1]promql.Series
	key     []byte
	builder labels.ScratchBuilder
	groups  map[string]*group
	order   []*group
	notes   annotations.Annotations
}

func (r *quickRun) series(s storage.Series, start, end int64) error {
	r.it = s.Iterator(r.it)
	r.points = r.points[:0]
	for kind := r.it.Seek(start + 1); kind != chunkenc.ValNone; kind = r.it.Next() {
		if kind != chunkenc.ValFloat {
			return errNotQuick
		}
		t, v := r.it.At()
		if t > end {
			break
		}
		if !value.IsStaleNaN(v) {
			r.points = append(r.points, promql.FPoint{T: t, F: v})
		}
	}
	if err := r.it.Err(); err != nil || len(r.points) == 0 {
		return err
	}
	l := s.Labels()
	g := r.group(l)
	if newest := time.UnixMilli(r.points[len(r.points)-1].T); g.oldest.Time.IsZero() || newest.Before(g.oldest.Time) {
		g.oldest = Age{Time: newest, Series: l}
	}
	r.matrix[0] = promql.Series{Metric: l, Floats: r.points}
	r.enh.Out = r.enh.Out[:0]
	out, notes := r.q.function(nil, r.matrix[:], r.q.args, &r.enh)
	r.notes.Merge(notes)
	for i := range out {
		g.add(out[i].F)
	}
	return nil
}

// group is that of a series: what it has of the labels.
func (r *quickRun) group(l labels.Labels) *group {
	r.key = r.key[:0]
	for _, name := range r.q.by {
		r.key = append(append(r.key, l.Get(name)...), 0xff) // in no UTF-8
	}
	g := r.groups[string(r.key)]
	if g != nil {
		return g
	}
	r.builder.Reset()
	for i, name := range r.q.by {
		v := l.Get(name)
		twice := false
		for _, before := range r.q.by[:i] {
			twice = twice || before == name
		}
		if v != "" && !twice {
			r.builder.Add(name, v)
		}
	}
	r.builder.Sort()
	g = &group{labels: r.builder.Labels()}
	r.groups[string(r.key)] = g
	r.order = append(r.order, g)
	return g
}

// maxQuick bounds the text of the queries that are remembered, in bytes: with
// what is made of it, ten times as much memory.
const maxQuick = 1 << 20

// quickQueries remembers what expressions are: nil for those that are not quick.
type quickQueries struct {
	parser parser.Parser

	mu    sync.Mutex // guards known and bytes
	known map[string]*quickQuery
	bytes int
}

func newQuickQueries() *quickQueries {
	return &quickQueries{parser: parser.NewParser(parser.Options{}), known: map[string]*quickQuery{}}
}

func (qs *quickQueries) get(expr string) *quickQuery {
	qs.mu.Lock()
	q, ok := qs.known[expr]
	qs.mu.Unlock()
	if ok {
		return q
	}
	if e, err := qs.parser.ParseExpr(expr); err == nil {
		q = newQuick(e)
	}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if qs.bytes+len(expr) > maxQuick {
		clear(qs.known)
		qs.bytes = 0
	}
	qs.known[expr] = q
	qs.bytes += len(expr)
	return q
}

// ask evaluates a quick expression. It is false for one that the engine has to
// evaluate, which gives the error too where there is one.
func (qs *quickQueries) ask(ctx context.Context, store storage.Queryable, expr string, at time.Time) (promql.Vector, []Age, annotations.Annotations, bool) {
	q := qs.get(expr)
	if q == nil {
		return nil, nil, nil, false
	}
	vec, ages, notes, err := q.evaluate(ctx, store, at)
	return vec, ages, notes, err == nil
}
