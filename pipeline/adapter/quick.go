package adapter

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
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

	last atomic.Pointer[grouping] // of the last evaluation
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

// group is one sample of the result while it is made.
type group struct {
	sum    float64
	lost   float64 // the low bits that sum could not hold
	any    bool    // a series has a value
	newest int64   // ms, of the series whose newest sample is the oldest
	oldest labels.Labels
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

// maxGrouping is how many series a grouping is remembered of, at some 50 bytes
// each; their labels are the store's.
const maxGrouping = 20_000

// grouping says which series go into which sample of the result. It is never
// changed: evaluations that run side by side share it.
type grouping struct {
	series []labels.Labels // in the order in which the store gave them
	group  []int           // of each
	groups []labels.Labels // what they have of the labels
}

// evaluate answers from a store.
func (r *quickRun) evaluate(ctx context.Context, store storage.Queryable, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	q := r.q
	end := at.UnixMilli()
	start := end - q.window // not in the range any more
	querier, err := store.Querier(start, end)
	if err != nil {
		return nil, err
	}
	hints := q.hints
	hints.Start, hints.End = start+1, end
	set := querier.Select(ctx, false, &hints, q.selector.LabelMatchers...)
	r.enh.Ts, r.before = end, q.last.Load()
	if r.before != nil {
		r.groups = append(r.groups, make([]group, len(r.before.groups))...)
	}
	for n := 0; err == nil && set.Next(); n++ {
		if err = ctx.Err(); err == nil {
			err = r.series(n, set.At(), start, end)
		}
	}
	notes := r.notes
	notes.Merge(set.Warnings())
	if err := errors.Join(err, set.Err(), querier.Close()); err != nil {
		return notes, err
	}
	if r.own != nil && len(r.own.series) <= maxGrouping {
		q.last.Store(r.own)
	}
	r.result(end, yield)
	return notes, nil
}

// quickRun is one evaluation; its buffers serve all series.
type quickRun struct {
	q      *quickQuery
	enh    promql.EvalNodeHelper
	it     chunkenc.Iterator
	points []promql.FPoint
	matrix [1]promql.Series
	groups []group
	notes  annotations.Annotations

	before *grouping      // of the last evaluation, nil for none
	own    *grouping      // of this one, nil while before is right
	index  map[string]int // of own's groups, by the values of the labels
}

func (r *quickRun) result(end int64, yield func(promql.Sample, Age)) {
	of := r.own
	if of == nil {
		of = r.before
	}
	for i := range r.groups {
		if g := &r.groups[i]; g.any {
			yield(promql.Sample{T: end, F: g.sum + g.lost, Metric: of.groups[i]}, Age{Time: time.UnixMilli(g.newest), Series: g.oldest})
		}
	}
}

func (r *quickRun) series(n int, s storage.Series, start, end int64) error {
	l := s.Labels()
	g := r.group(n, l)
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
	if newest := r.points[len(r.points)-1].T; g.oldest.IsEmpty() || newest < g.newest {
		g.newest, g.oldest = newest, l
	}
	r.matrix[0] = promql.Series{Metric: l, Floats: r.points}
	out, notes := r.q.function(nil, r.matrix[:], r.q.args, &r.enh)
	r.enh.Out = out[:0] // to be used again
	r.notes.Merge(notes)
	for i := range out {
		g.add(out[i].F)
	}
	return nil
}

// group is that of the series that the store gave as the nth. The series are
// nearly always those of the last time, and their labels the same strings.
func (r *quickRun) group(n int, l labels.Labels) *group {
	if r.own == nil && r.before != nil && n < len(r.before.series) && labels.Equal(r.before.series[n], l) {
		return &r.groups[r.before.group[n]]
	}
	if r.own == nil {
		r.begin(n)
	}
	var buf [128]byte
	key := buf[:0]
	for _, name := range r.q.by {
		key = append(append(key, l.Get(name)...), 0xff) // in no UTF-8
	}
	i, ok := r.index[string(key)]
	if !ok {
		i = len(r.own.groups)
		r.index[string(key)] = i
		r.own.groups = append(r.own.groups, r.q.groupLabels(l))
		r.groups = append(r.groups, group{})
	}
	r.own.series, r.own.group = append(r.own.series, l), append(r.own.group, i)
	return &r.groups[i]
}

// begin makes a grouping of the run's own, with the n series that were as
// before.
func (r *quickRun) begin(n int) {
	groups := slices.Clone(r.groups)
	before := r.before
	clear(r.groups)
	r.own, r.index, r.groups = &grouping{}, map[string]int{}, r.groups[:0]
	for i := range n {
		*r.group(i, before.series[i]) = groups[before.group[i]]
	}
}

// groupLabels are what a series has of the labels.
func (q *quickQuery) groupLabels(l labels.Labels) labels.Labels {
	var b labels.ScratchBuilder
	for i, name := range q.by {
		if v := l.Get(name); v != "" && !slices.Contains(q.by[:i], name) {
			b.Add(name, v)
		}
	}
	b.Sort()
	return b.Labels()
}

// maxQuick bounds the text of the queries that are remembered, in bytes: with
// what is made of it, ten times as much memory.
const maxQuick = 1 << 20

// quickQueries remembers what expressions are: nil for those that are not quick.
type quickQueries struct {
	parser  parser.Parser
	buffers sync.Pool // of *quickBuffers

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
func (qs *quickQueries) ask(ctx context.Context, store storage.Queryable, expr string, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, bool) {
	q := qs.get(expr)
	if q == nil {
		return nil, false
	}
	b, _ := qs.buffers.Get().(*quickBuffers)
	if b == nil {
		b = &quickBuffers{}
	}
	r := quickRun{q: q, points: b.points, groups: b.groups}
	notes, err := r.evaluate(ctx, store, at, yield)
	clear(r.groups) // or they keep labels of series that are gone
	b.points, b.groups = r.points[:0], r.groups[:0]
	qs.buffers.Put(b)
	return notes, err == nil
}

// quickBuffers are what an evaluation leaves for the next.
type quickBuffers struct {
	points []promql.FPoint
	groups []group
}
