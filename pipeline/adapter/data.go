package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier answers PromQL. While the data is not there to be asked, its errors
// are tsdb.ErrNotReady.
type Querier interface {
	// Instant evaluates expr at one time. A scalar is a vector of one sample
	// without labels. The vector is the caller's.
	Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error)
	// Series lists the series that match all matchers and have samples between
	// start and end.
	Series(ctx context.Context, start, end time.Time, matchers ...*labels.Matcher) ([]labels.Labels, error)
}

// AgeQuerier is a Querier that knows how old what it answers is.
type AgeQuerier interface {
	// InstantWithAge calls yield with each sample that Instant would give and how
	// old the data behind it is. With an error there are none.
	InstantWithAge(ctx context.Context, expr string, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error)
}

// Age says how old the data behind a value is.
type Age struct {
	// Time is, of the series that the value was made of, the oldest of their
	// newest samples. Zero is unknown.
	Time time.Time
	// Series is the one with that sample.
	Series labels.Labels
}

// Index is a Querier that finds series without listing all of them.
type Index interface {
	// Names are the metric names between start and end, perhaps some more. When
	// they are those of known, which an earlier call returned, it is known that
	// comes back: asking again costs no memory.
	Names(ctx context.Context, start, end time.Time, known []string) ([]string, error)
	// Scan calls yield with the labels of each series of one metric name that
	// fits the matchers and has a sample between start and end, until it returns
	// false.
	Scan(ctx context.Context, start, end time.Time, name string, yield func(labels.Labels) bool, matchers ...*labels.Matcher) error
}

// Local is a store in this process: a Querier which is an AgeQuerier and an
// Index too. It is safe for concurrent use.
type Local struct {
	Querier
	store storage.Queryable
	make  func(storage.Queryable) Querier
	quick *quickQueries
}

// NewLocal makes one of a store and of what evaluates PromQL over a store;
// query.NewQuerier with its engine is such a function.
func NewLocal(store storage.Queryable, newQuerier func(storage.Queryable) Querier) *Local {
	return &Local{Querier: newQuerier(store), store: store, make: newQuerier, quick: newQuickQueries()}
}

// InstantWithAge implements AgeQuerier.
func (l *Local) InstantWithAge(ctx context.Context, expr string, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	if notes, ok := l.quick.ask(ctx, l.store, expr, at, yield); ok {
		return notes, nil
	}
	seen := &Ages{Queryable: l.store}
	vec, notes, err := l.make(seen).Instant(ctx, expr, at)
	if err != nil {
		return notes, err
	}
	for i, age := range seen.Of(vec) {
		yield(vec[i], age)
	}
	return notes, nil
}

// Names implements Index.
func (l *Local) Names(ctx context.Context, start, end time.Time, known []string) ([]string, error) {
	q, err := l.store.Querier(start.UnixMilli(), end.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list metric names: %w", err)
	}
	values, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
	names := known
	if !slices.Equal(values, known) {
		names = make([]string, len(values))
		for i, v := range values {
			names[i] = strings.Clone(v) // v may not outlive the querier
		}
	}
	if err := errors.Join(err, q.Close()); err != nil {
		return nil, fmt.Errorf("list metric names: %w", err)
	}
	return names, nil
}

// Scan implements Index.
func (l *Local) Scan(ctx context.Context, start, end time.Time, name string, yield func(labels.Labels) bool, matchers ...*labels.Matcher) error {
	q, err := l.store.Querier(start.UnixMilli(), end.UnixMilli())
	if err != nil {
		return fmt.Errorf("look for series of %s: %w", name, err)
	}
	hints := &storage.SelectHints{Start: start.UnixMilli(), End: end.UnixMilli()}
	set := q.Select(ctx, false, hints, withName(name, matchers)...)
	var it chunkenc.Iterator
	for more := true; more && set.Next(); {
		s := set.At()
		// The index keeps series that ended long ago.
		if it = s.Iterator(it); it.Seek(start.UnixMilli()) != chunkenc.ValNone {
			more = yield(s.Labels())
		}
	}
	if err := errors.Join(set.Err(), q.Close()); err != nil {
		return fmt.Errorf("look for series of %s: %w", name, err)
	}
	return nil
}

func withName(name string, matchers []*labels.Matcher) []*labels.Matcher {
	return append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}, matchers...)
}

// listIndex is the Index of a Querier that is none: it lists all series and
// remembers their names for a short time.
type listIndex struct {
	Querier
	now func() time.Time

	mu    sync.Mutex // held while listing: one lists, the others wait
	names []string
	until time.Time
}

func (l *listIndex) Names(ctx context.Context, start, end time.Time, _ []string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Before(l.until) {
		return l.names, nil
	}
	series, err := l.Series(ctx, start, end, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var names []string
	for _, s := range series {
		if n := s.Get(model.MetricNameLabel); !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	l.names, l.until = names, l.now().Add(listFor)
	return names, nil
}

func (l *listIndex) Scan(ctx context.Context, start, end time.Time, name string, yield func(labels.Labels) bool, matchers ...*labels.Matcher) error {
	series, err := l.Series(ctx, start, end, withName(name, matchers)...)
	if err != nil {
		return err
	}
	for _, s := range series {
		if !yield(s) {
			break
		}
	}
	return nil
}
