package keda

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// User is who asks the adapter for KEDA, as the journal of answers knows it.
const User = "strata:keda"

// Value is one number of an answer.
type Value struct {
	// Value is finite.
	Value float64
	// Time is that of the data behind it.
	Time time.Time
}

// Source answers questions. It is used by many at a time.
type Source interface {
	// Evaluate gives the values of a question, at least one. Its errors have a
	// status of gRPC (package status): NotFound where there is no value,
	// Unavailable where there will be one again, InvalidArgument and
	// PermissionDenied for the question's own faults. The message is for whoever
	// wrote the ScaledObject.
	Evaluate(ctx context.Context, q Question) ([]Value, error)
}

// Queries says which PromQL a trigger may ask.
type Queries string

// What triggers may ask.
const (
	NoQueries        Queries = "off"
	NamespaceQueries Queries = "namespace" // series of the ScaledObject's namespace
	AnyQueries       Queries = "any"
)

// Metrics has external metrics; *adapter.Adapter does.
type Metrics interface {
	GetExternalMetric(ctx context.Context, namespace string, selector klabels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error)
}

// StoreOptions are what a Store works with.
type StoreOptions struct {
	// Metrics answers questions for a metric; nil answers none.
	Metrics Metrics
	// Querier answers questions with a query. It may be an adapter.AgeQuerier,
	// without which limits of age cannot be held. nil answers none.
	Querier adapter.Querier
	// Queries is what may be asked; "" is NamespaceQueries.
	Queries Queries
	// Parser is that of the Querier's PromQL; nil is PromQL without optional parts.
	Parser parser.Parser
	// MaxAge is how old the samples behind a query may be where the trigger does
	// not say; 0 is as old as a query looks back.
	MaxAge time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store is the Source over the adapter's rules and the store of samples.
type Store struct{ o StoreOptions }

// NewStore makes one.
func NewStore(o StoreOptions) *Store {
	if o.Queries == "" {
		o.Queries = NamespaceQueries
	}
	if o.Parser == nil {
		o.Parser = parser.NewParser(parser.Options{})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{o: o}
}

// Evaluate implements Source.
func (s *Store) Evaluate(ctx context.Context, q Question) ([]Value, error) {
	if q.Query != "" {
		return s.query(ctx, q)
	}
	return s.metric(ctx, q)
}

func (s *Store) metric(ctx context.Context, q Question) ([]Value, error) {
	if s.o.Metrics == nil {
		return nil, status.Error(codes.FailedPrecondition, "no external metrics are served: start strata with --adapter.config")
	}
	selector, err := klabels.Parse(q.Selector)
	if err != nil {
		return nil, invalid(keySelector, "%v", err)
	}
	ctx = request.WithUser(ctx, &user.DefaultInfo{Name: User})
	list, err := s.o.Metrics.GetExternalMetric(ctx, q.Namespace, selector, provider.ExternalMetricInfo{Metric: q.Metric})
	if err != nil {
		return nil, fromAPI(q, err)
	}
	out := make([]Value, len(list.Items))
	for i := range list.Items {
		out[i] = Value{list.Items[i].Value.AsApproximateFloat64(), list.Items[i].Timestamp.Time}
	}
	if len(out) == 0 {
		return nil, noValue(q, "no series matches, or its value is NaN or infinite")
	}
	return out, nil
}

func noValue(q Question, why string) error {
	return status.Errorf(codes.NotFound, "%s has no value: %s", q, why)
}

// fromAPI is an error of the API as one of gRPC, with its message.
func fromAPI(q Question, err error) error {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return failed(q, err)
	}
	code := codes.Internal
	switch s.Status().Code {
	case http.StatusNotFound:
		return status.Errorf(codes.NotFound, "%s is not known: no external rule gives it, or none of its series is there", q)
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	case http.StatusGatewayTimeout:
		code = codes.DeadlineExceeded
	}
	return status.Errorf(code, "%s: %s", q, s.Status().Message)
}

// failed is an error of an evaluation.
func failed(q Question, err error) error {
	var timeout promql.ErrQueryTimeout
	var tooMany promql.ErrTooManySamples
	code := codes.Internal
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout):
		code = codes.DeadlineExceeded
	case errors.As(err, &tooMany):
		code = codes.ResourceExhausted
	case errors.Is(err, tsdb.ErrNotReady):
		code = codes.Unavailable
	}
	return status.Errorf(code, "%s: %v", q, err)
}

func (s *Store) query(ctx context.Context, q Question) ([]Value, error) {
	switch {
	case s.o.Queries == NoQueries:
		return nil, status.Error(codes.PermissionDenied, "queries are not allowed (--keda.queries=off): name a metric")
	case s.o.Querier == nil:
		return nil, status.Error(codes.FailedPrecondition, "there is no store to query")
	}
	expr, err := s.expression(q)
	if err != nil {
		return nil, err
	}
	at := s.o.Now()
	vec, ages, err := s.instant(ctx, expr, at)
	if err != nil {
		return nil, failed(q, err)
	}
	limit := q.MaxAge
	if limit == 0 {
		limit = s.o.MaxAge
	}
	var out []Value
	for i, sample := range vec {
		if sample.H != nil || !finite(sample.F) {
			continue
		}
		v := Value{sample.F, at}
		if i < len(ages) && !ages[i].Time.IsZero() {
			v.Time = ages[i].Time
		}
		if age := at.Sub(v.Time); limit > 0 && age > limit {
			return nil, status.Errorf(codes.Unavailable, "%s: its samples are %s old, more than maxAge %s; the oldest are of %s",
				q, model.Duration(age.Truncate(time.Second)), model.Duration(limit), ages[i].Series)
		}
		out = append(out, v)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(vec) > 0:
		return nil, noValue(q, "it is NaN, infinite or a histogram")
	case s.o.Queries == NamespaceQueries:
		return nil, noValue(q, "no series with the label namespace=\""+q.Namespace+"\" matches (--keda.queries=namespace)")
	}
	return nil, noValue(q, "no series matches")
}

func (s *Store) instant(ctx context.Context, expr string, at time.Time) (promql.Vector, []adapter.Age, error) {
	if q, ok := s.o.Querier.(adapter.AgeQuerier); ok {
		var vec promql.Vector
		var ages []adapter.Age
		_, err := q.InstantWithAge(ctx, expr, at, func(s promql.Sample, age adapter.Age) {
			vec, ages = append(vec, s), append(ages, age)
		})
		return vec, ages, err
	}
	vec, _, err := s.o.Querier.Instant(ctx, expr, at)
	return vec, nil, err
}

// expression is the query as it may be asked: where only series of the
// namespace are allowed, every selector gets the matcher, beside those that it
// has.
func (s *Store) expression(q Question) (string, error) {
	expr, err := s.o.Parser.ParseExpr(q.Query)
	if err != nil {
		return "", invalid(keyQuery, "%v", err)
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return "", invalid(keyQuery, "it gives %s, not an instant vector", parser.DocumentedType(t))
	}
	if s.o.Queries != NamespaceQueries {
		return q.Query, nil
	}
	err = nil
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			n.LabelMatchers = append(n.LabelMatchers, labels.MustNewMatcher(labels.MatchEqual, "namespace", q.Namespace))
		case *parser.Call:
			if n.Func.Name == "info" { // it selects series by itself
				err = invalid(keyQuery, "info() is not allowed here, since it reads series of other namespaces")
			}
		}
		return nil
	})
	return expr.String(), err
}

// sum adds the values of an answer, as an HPA does.
func sum(values []Value) (float64, error) {
	total := 0.0
	for _, v := range values {
		total += v.Value
	}
	if len(values) == 0 || !finite(total) {
		return 0, fmt.Errorf("the sum of %d values is not a number", len(values))
	}
	return total, nil
}

func finite(v float64) bool { return v-v == 0 }
