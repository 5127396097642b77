package adapter

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	klabels "k8s.io/apimachinery/pkg/labels"
)

// errScalar means that a rule of custom metrics gives a number that belongs to
// no object.
var errScalar = errors.New("metricsQuery gives a scalar, which names no object")

// Answer is one value that a rule gave.
type Answer struct {
	// Object is the name of the object; "" for an external metric.
	Object string
	// Labels are those of the result; nil where it was a scalar.
	Labels map[string]string
	// Value is finite: what has no finite value is no answer.
	Value float64
	// Time is how old the data is: of the series behind the value, the time of
	// the oldest of their newest samples. Where the Querier does not know, it is
	// the time of evaluation.
	Time time.Time
	// Age is how old that was when the value was asked for.
	Age time.Duration
	// Rule gave the value.
	Rule *Rule

	limit  time.Duration // of Age; 0 for none
	oldest labels.Labels // the series that Time is of
}

// Stale tells whether the answer is older than its rule's maxAge: a number
// that nobody may scale on.
func (a *Answer) Stale() bool { return a.limit > 0 && a.Age > a.limit }

// Evaluate asks a rule for values: for custom metrics at most one of each
// object, in no order and for the objects that have one, for an external
// metric one of each series of the result. Stale ones are among them. An error
// is of the rule unless it is ErrSelector, of the context, or tsdb.ErrNotReady.
func (a *Adapter) Evaluate(ctx context.Context, r *Rule, o Objects, selector klabels.Selector) ([]Answer, error) {
	expr, label, err := o.expression(r, selector)
	if err != nil {
		return nil, err
	}
	e := evaluation{rule: r, label: label, limit: a.limit(r), at: a.now(), answers: make([]Answer, 0, len(o.Names.Names()))}
	notes, err := a.instant(ctx, expr, e.at, e.add)
	if err != nil {
		return nil, err
	}
	if len(notes) > 0 {
		a.log.Debug("Query of a rule has remarks", "rule", r.String(), "query", expr, "remarks", notes.AsErrors())
	}
	if e.samples == 1 && e.bare && a.isScalar(expr) {
		if label != "" {
			return nil, errScalar
		}
		for i := range e.answers {
			e.answers[i].Labels = nil
		}
	}
	return e.answers, nil
}

// evaluation makes answers of samples.
type evaluation struct {
	rule    *Rule
	label   string // that names the object; "" for an external metric
	limit   time.Duration
	at      time.Time
	answers []Answer

	samples int
	bare    bool           // the last sample has no labels, as a scalar has none
	objects map[string]int // answers by object; nil while no object can have two
}

func (e *evaluation) add(s promql.Sample, age Age) {
	e.samples++
	e.bare = s.Metric.IsEmpty()
	if s.H != nil || math.IsNaN(s.F) || math.IsInf(s.F, 0) {
		return
	}
	ans := Answer{Value: s.F, Time: e.at, Rule: e.rule, limit: e.limit}
	if !age.Time.IsZero() {
		ans.Time, ans.Age, ans.oldest = age.Time, e.at.Sub(age.Time), age.Series
	}
	if e.label == "" {
		ans.Labels = s.Metric.Map()
		e.answers = append(e.answers, ans)
		return
	}
	if ans.Object = s.Metric.Get(e.label); ans.Object == "" {
		return
	}
	// An expression that does not aggregate can give several values of one
	// object. The last counts, as in prometheus-adapter.
	if s.Metric.Len() > 1 && e.objects == nil {
		e.objects = make(map[string]int)
		for i := range e.answers {
			e.objects[e.answers[i].Object] = i
		}
	}
	if j, ok := e.objects[ans.Object]; ok {
		e.answers[j] = ans
		return
	}
	if e.objects != nil {
		e.objects[ans.Object] = len(e.answers)
	}
	e.answers = append(e.answers, ans)
}

func (a *Adapter) instant(ctx context.Context, expr string, at time.Time, yield func(promql.Sample, Age)) (annotations.Annotations, error) {
	if q, ok := a.querier.(AgeQuerier); ok {
		return q.InstantWithAge(ctx, expr, at, yield)
	}
	vec, notes, err := a.querier.Instant(ctx, expr, at)
	if err == nil {
		for _, s := range vec {
			yield(s, Age{})
		}
	}
	return notes, err
}

// isScalar tells a scalar from a vector of one sample without labels, which
// look the same in the answer.
func (a *Adapter) isScalar(expr string) bool {
	e, err := a.parser.ParseExpr(expr)
	return err == nil && e.Type() == parser.ValueTypeScalar
}

// quantity is a value to the thousandth, rounded. Beyond what fits into an
// int64 of thousandths it is the largest that does: whoever scales on it asks
// for MilliValue, which is 0 for more.
func quantity(v float64) apiresource.Quantity {
	milli := math.Round(v * 1000)
	switch {
	case milli >= math.MaxInt64:
		return *apiresource.NewMilliQuantity(math.MaxInt64, apiresource.DecimalSI)
	case milli <= -math.MaxInt64:
		return *apiresource.NewMilliQuantity(-math.MaxInt64, apiresource.DecimalSI)
	}
	return *apiresource.NewMilliQuantity(int64(milli), apiresource.DecimalSI)
}
