package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
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
	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/pipeline/store/recent"
)

// errNotQuick means that the data is nothing for a quick query: the engine has
// to be asked.
var errNotQuick = errors.New("native histograms")

// errNotKnown means that the samples of a series have to be read from the store.
var errNotKnown = errors.New("not all samples are at hand")

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

	last     atomic.Pointer[grouping] // of the last search
	followed atomic.Pointer[followed] // nil while nothing is followed
	refused  atomic.Int64             // when the series were too many to follow, ms
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

// evaluate answers from the samples at hand, or from a store. What is asked for
// the second time will be asked for again: its series are followed.
func (r *quickRun) evaluate(ctx context.Context, store storage.Queryable, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	end := at.UnixMilli()
	start := end - r.q.window // not in the range any more
	r.before = r.q.last.Load()
	f := r.q.followed.Load()
	if f != nil && f.selection.Watch.Calm(end) {
		notes, err := r.atHand(ctx, f, start, end)
		if err == nil {
			r.result(f.groups, end, yield)
		}
		if !errors.Is(err, errNotKnown) {
			return notes, err
		}
		r.groups, r.found = r.groups[:0], r.found[:0]
	} else if follower, ok := store.(Follower); ok && r.before != nil && end-r.q.refused.Load() >= followAgain {
		selection, err := follower.Follow(ctx, r.q.selector.LabelMatchers, time.Duration(r.q.window)*time.Millisecond, at)
		if err != nil {
			return nil, err
		}
		f = r.q.follow(selection, end)
	}
	return r.search(ctx, store, f, start, end, yield)
}

// atHand reads all samples without the store.
func (r *quickRun) atHand(ctx context.Context, f *followed, start, end int64) (annotations.Annotations, error) {
	r.groups = append(r.groups, make([]group, len(f.groups))...)
	for i, l := range f.series {
		r.found = append(r.found, found{labels: l, group: f.group[i], recent: f.selection.Series[i]})
	}
	return r.read(ctx, start, end)
}

// search reads the samples of a store, but for those that are at hand: when pods
// come, the others' are.
func (r *quickRun) search(ctx context.Context, store storage.Queryable, f *followed, start, end int64, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	querier, err := store.Querier(start, end)
	if err != nil {
		return nil, err
	}
	hints := r.q.hints
	hints.Start, hints.End = start+1, end
	set := querier.Select(ctx, false, &hints, r.q.selector.LabelMatchers...)
	if r.before != nil {
		r.groups = append(r.groups, make([]group, len(r.before.groups))...)
	}
	known := walk{of: f}
	for set.Next() {
		s := set.At()
		l := s.Labels()
		r.found = append(r.found, found{series: s, labels: l, group: r.group(len(r.found), l), recent: known.next(l)})
	}
	notes, err := r.read(ctx, start, end)
	notes.Merge(set.Warnings())
	if err := errors.Join(err, set.Err(), querier.Close()); err != nil {
		return notes, err
	}
	groups := []labels.Labels(nil)
	switch {
	case r.own != nil:
		groups = r.own.groups
		if len(r.own.series) <= maxGrouping {
			r.q.last.Store(&r.own.grouping)
		}
	case r.before != nil:
		groups = r.before.groups
	}
	r.result(groups, end, yield)
	return notes, nil
}

// quickRun is one evaluation.
type quickRun struct {
	q     *quickQuery
	share int // series that are worth a goroutine
	quickBuffers

	before *grouping // of the last search, nil for none
	own    *grouper  // of this one, nil while before is right
}

// quickBuffers are what an evaluation leaves for the next.
type quickBuffers struct {
	groups []group
	found  []found
}

// found is a series and what was read of it.
type found struct {
	series storage.Series // nil where the store was not asked
	labels labels.Labels
	recent *recent.Series // may be nil
	group  int
	newest int64 // ms
	any    bool  // there are samples
	value  float64
	valued bool // there is a value, which takes two samples
}

// read reads all series, by several processors where there are many: an
// autoscaler waits for the answer.
func (r *quickRun) read(ctx context.Context, start, end int64) (annotations.Annotations, error) {
	workers := min(max(1, len(r.found)/r.share), runtime.GOMAXPROCS(0))
	readers := make([]quickReader, workers)
	var all errgroup.Group
	for i := range readers {
		part := r.found[len(r.found)*i/workers : len(r.found)*(i+1)/workers]
		rd := &readers[i]
		rd.q, rd.enh.Ts = r.q, end
		if i == workers-1 {
			rd.err = rd.all(ctx, part, start, end) // this goroutine's own part
			break
		}
		all.Go(func() error { return rd.all(ctx, part, start, end) })
	}
	err := all.Wait()
	var notes annotations.Annotations
	for i := range readers {
		err = cmp.Or(err, readers[i].err)
		notes.Merge(readers[i].notes)
	}
	return notes, err
}

func (r *quickRun) result(groups []labels.Labels, end int64, yield func(promql.Sample, Age)) {
	for i := range r.found {
		f := &r.found[i]
		g := &r.groups[f.group]
		if f.any && (g.oldest.IsEmpty() || f.newest < g.newest) {
			g.newest, g.oldest = f.newest, f.labels
		}
		if f.valued {
			g.add(f.value)
		}
	}
	for i := range r.groups {
		if g := &r.groups[i]; g.any {
			yield(promql.Sample{T: end, F: g.sum + g.lost, Metric: groups[i]}, Age{Time: time.UnixMilli(g.newest), Series: g.oldest})
		}
	}
}

// quickReader reads one series after the other, in the same memory.
type quickReader struct {
	q      *quickQuery
	enh    promql.EvalNodeHelper
	it     chunkenc.Iterator
	points []promql.FPoint
	matrix [1]promql.Series
	notes  annotations.Annotations
	err    error
}

// all reads series. A panic, which in a goroutine of its own would end the
// process, is an error: the engine has to find out what it makes of the data.
func (r *quickReader) all(ctx context.Context, found []found, start, end int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read series: panic: %v", p)
		}
	}()
	for i := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.series(&found[i], start, end); err != nil {
			return err
		}
	}
	return nil
}

func (r *quickReader) series(f *found, start, end int64) error {
	known := false
	r.points = r.points[:0]
	if f.recent != nil {
		r.points, known = f.recent.Samples(r.points, start, end)
	}
	if !known {
		if err := r.stored(f, start, end); err != nil {
			return err
		}
	}
	if len(r.points) == 0 {
		return nil
	}
	f.any, f.newest = true, r.points[len(r.points)-1].T
	r.matrix[0] = promql.Series{Metric: f.labels, Floats: r.points}
	out, notes := r.q.function(nil, r.matrix[:], r.q.args, &r.enh)
	r.enh.Out = out[:0] // to be used again
	r.notes.Merge(notes)
	if len(out) > 0 {
		f.valued, f.value = true, out[0].F
	}
	return nil
}

// stored reads the points from the store.
func (r *quickReader) stored(f *found, start, end int64) error {
	if f.series == nil {
		return errNotKnown
	}
	r.it = f.series.Iterator(r.it)
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
	return r.it.Err()
}

// group is that of the series that the store gave as the nth. The series are
// nearly always those of the last time, and their labels the same strings.
func (r *quickRun) group(n int, l labels.Labels) int {
	if r.own == nil && r.before != nil && n < len(r.before.series) && labels.Equal(r.before.series[n], l) {
		return r.before.group[n]
	}
	if r.own == nil {
		r.own, r.groups = r.q.newGrouper(), r.groups[:0]
		for i := range n {
			r.found[i].group = r.add(r.before.series[i])
		}
	}
	return r.add(l)
}

func (r *quickRun) add(l labels.Labels) int {
	i := r.own.add(l)
	if i == len(r.groups) {
		r.groups = append(r.groups, group{})
	}
	return i
}

// maxQuick bounds the text of the queries that are remembered, in bytes: with
// what is made of it, ten times as much memory.
const maxQuick = 1 << 20

// quickQueries remembers what expressions are: nil for those that are not quick.
type quickQueries struct {
	parser  parser.Parser
	share   int       // series that are worth a goroutine
	buffers sync.Pool // of *quickBuffers

	mu    sync.Mutex // guards known and bytes
	known map[string]*quickQuery
	bytes int
}

func newQuickQueries() *quickQueries {
	return &quickQueries{parser: parser.NewParser(parser.Options{}), share: 250, known: map[string]*quickQuery{}}
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
	r := quickRun{q: q, share: qs.share, quickBuffers: *b}
	notes, err := r.evaluate(ctx, store, at, yield)
	clear(r.groups) // or they keep what belongs to the store
	clear(r.found)
	*b = quickBuffers{groups: r.groups[:0], found: r.found[:0]}
	qs.buffers.Put(b)
	return notes, err == nil
}
