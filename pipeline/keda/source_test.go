package keda

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/adapter"
	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
	"github.com/strata-metrics/strata/pipeline/query"
)

const rules = `
externalRules:
- seriesQuery: 'lag{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
- seriesQuery: up
  resources: {namespaced: false}
  name: {matches: ^up$, as: ratio}
  metricsQuery: 'sum(lag) / sum(nothing * 0)'
- seriesQuery: up
  resources: {namespaced: false}
  name: {matches: ^up$, as: old}
  maxAge: 1m
  metricsQuery: 'max(backup)'
- seriesQuery: up
  resources: {namespaced: false}
  name: {matches: ^up$, as: nan}
  metricsQuery: '0/0 * sum(up)'
`

// testTime is when everything happens.
func testTime() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// store is a store with samples, the adapter with rules over it, and a querier.
func store(t testing.TB) (*adapter.Adapter, *adapter.Local) {
	t.Helper()
	st := teststorage.New(t)
	app := st.Appender(context.Background())
	add := func(v float64, age time.Duration, pairs ...string) {
		_, err := app.Append(0, labels.FromStrings(pairs...), testTime().Add(-age).UnixMilli(), v)
		require.NoError(t, err)
	}
	add(1, time.Second, "__name__", "up")
	add(7.5, 3*time.Second, "__name__", "lag", "namespace", "shop", "queue", "orders")
	add(2, 3*time.Second, "__name__", "lag", "namespace", "shop", "queue", "mails")
	add(99, 3*time.Second, "__name__", "lag", "namespace", "bank", "queue", "orders")
	add(1, 4*time.Minute, "__name__", "backup", "namespace", "shop")
	require.NoError(t, app.Commit())

	engine := query.NewEngine(query.Options{})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	local := adapter.NewLocal(st, func(q storage.Queryable) adapter.Querier { return query.NewQuerier(engine, q) })
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, meta.RESTScopeRoot)
	a, err := adapter.New(adapter.Options{Querier: local, Mapper: mapper, Now: testTime})
	require.NoError(t, err)
	c, err := adapter.ParseConfig("rules.yaml", []byte(rules))
	require.NoError(t, err)
	require.NoError(t, a.Load(c))
	return a, local
}

// Through the wire, from the real adapter and a real store.
func TestStore(t *testing.T) {
	t.Parallel()
	a, local := store(t)
	_, conn, _ := serve(t, Options{Source: NewStore(StoreOptions{Metrics: a, Querier: local, Now: testTime})})
	c := pb.NewExternalScalerClient(conn)
	gives := func(want float64, pairs ...string) {
		t.Helper()
		got, err := c.GetMetrics(t.Context(), &pb.GetMetricsRequest{ScaledObjectRef: ref(append(pairs, "threshold", "5")...)})
		require.NoError(t, err)
		require.InDelta(t, want, got.MetricValues[0].MetricValueFloat, 1e-9)
	}
	fails := func(code codes.Code, message string, pairs ...string) {
		t.Helper()
		_, err := c.GetMetrics(t.Context(), &pb.GetMetricsRequest{ScaledObjectRef: ref(append(pairs, "threshold", "5")...)})
		require.Equal(t, code, status.Code(err), "%v", err)
		require.ErrorContains(t, err, message)
	}
	gives(9.5, "metric", "lag") // of the ScaledObject's namespace alone
	gives(7.5, "metric", "lag", "selector", "queue=orders")
	fails(codes.NotFound, "metric lag{queue=none} of namespace shop has no value", "metric", "lag", "selector", "queue=none")
	fails(codes.NotFound, "metric gone of namespace shop is not known", "metric", "gone")
	fails(codes.NotFound, "no series matches, or its value is NaN", "metric", "ratio")
	fails(codes.NotFound, "no series matches, or its value is NaN", "metric", "nan")
	fails(codes.Unavailable, "4m0s old, more than maxAge 1m0s", "metric", "old")

	gives(9.5, "query", "sum(lag)")
	gives(9.5, "query", "lag") // added up, as an HPA does
	gives(1, "query", "count(lag{queue='orders'})")
	gives(3, "query", "3")
	gives(1, "query", "max(backup)")
	gives(0, "query", `sum(lag{queue="none"}) or vector(0)`)
	fails(codes.NotFound, `no series with the label namespace="shop" matches`, "query", `sum(lag{namespace="bank"})`)
	fails(codes.NotFound, `no series with the label namespace="shop" matches`, "query", "sum(up)")
	fails(codes.NotFound, "it is NaN", "query", "0/0 * sum(lag)")
	fails(codes.Unavailable, "its samples are 4m old, more than maxAge 2m; the oldest are of", "query", "max(backup)", "maxAge", "2m")
	fails(codes.InvalidArgument, "scalerMetadata.query: 1:5", "query", "sum(")
	fails(codes.InvalidArgument, "scalerMetadata.query: it gives range vector", "query", "lag[1m]")
	fails(codes.InvalidArgument, "scalerMetadata.query: it gives string", "query", `"a"`)
}

func TestStoreOptions(t *testing.T) {
	t.Parallel()
	a, local := store(t)
	f := func(o StoreOptions, q Question, want float64, code codes.Code) {
		t.Helper()
		o.Now, q.Namespace = testTime, "shop"
		got, err := NewStore(o).Evaluate(t.Context(), q)
		require.Equal(t, code, status.Code(err), "%v", err)
		if code != codes.OK {
			return
		}
		v, err := sum(got)
		require.NoError(t, err)
		require.Equal(t, want, v)
		for _, x := range got {
			require.Equal(t, testTime().Add(-3*time.Second), x.Time.UTC())
		}
	}
	f(StoreOptions{Querier: local, Queries: AnyQueries}, Question{Query: "sum(lag)"}, 108.5, codes.OK)
	f(StoreOptions{Querier: local, Queries: NamespaceQueries}, Question{Query: "sum(lag)"}, 9.5, codes.OK)
	f(StoreOptions{Querier: local, Queries: NoQueries}, Question{Query: "sum(lag)"}, 0, codes.PermissionDenied)
	f(StoreOptions{Metrics: a}, Question{Query: "sum(lag)"}, 0, codes.FailedPrecondition)
	f(StoreOptions{Metrics: a}, Question{Metric: "lag"}, 9.5, codes.OK)
	f(StoreOptions{Querier: local}, Question{Metric: "lag"}, 0, codes.FailedPrecondition)
	f(StoreOptions{Querier: local, MaxAge: time.Minute}, Question{Query: "max(backup)"}, 0, codes.Unavailable)
	f(StoreOptions{Querier: local, Parser: parser.NewParser(parser.Options{EnableExperimentalFunctions: true})}, Question{Query: "info(lag)"}, 0, codes.InvalidArgument)
}

// failing is a Querier whose every query fails.
type failing struct{ err error }

func (f failing) Instant(context.Context, string, time.Time) (promql.Vector, annotations.Annotations, error) {
	return nil, nil, f.err
}

func (f failing) Series(context.Context, time.Time, time.Time, ...*labels.Matcher) ([]labels.Labels, error) {
	return nil, f.err
}

// An error keeps its meaning.
func TestCodes(t *testing.T) {
	t.Parallel()
	f := func(code codes.Code, err error) {
		t.Helper()
		_, got := NewStore(StoreOptions{Querier: failing{err}}).Evaluate(t.Context(), Question{Namespace: "shop", Query: "x"})
		require.Equal(t, code, status.Code(got), "%v", got)
		require.ErrorContains(t, got, `query "x" of namespace shop: `)
		a, newErr := adapter.New(adapter.Options{Querier: failing{err}})
		require.NoError(t, newErr)
		_, got = NewStore(StoreOptions{Metrics: a}).Evaluate(t.Context(), Question{Namespace: "shop", Metric: "m"})
		require.Error(t, got)
		require.NotEqual(t, codes.OK, status.Code(got))
		require.NotEqual(t, codes.Unknown, status.Code(got))
	}
	f(codes.Unavailable, tsdb.ErrNotReady)
	f(codes.DeadlineExceeded, promql.ErrQueryTimeout("x"))
	f(codes.DeadlineExceeded, context.DeadlineExceeded)
	f(codes.Canceled, context.Canceled)
	f(codes.ResourceExhausted, promql.ErrTooManySamples("x"))
	f(codes.Internal, errors.New("x"))
}

// Whatever the query, each selector of what is asked has the namespace.
func FuzzExpression(f *testing.F) {
	for _, q := range []string{"sum(rate(x[1m]))", `{__name__=~"a|b",namespace="other"} offset 1m`, "x or vector(0)", "max_over_time(sum(y)[5m:1m])",
		`label_replace(x{namespace=""}, "a", "$1", "b", "(.*)")`, "x @ end()", "absent(z)", "time()", `{"utf.8"}`, "-x ^ on(a) group_left y"} {
		f.Add(q, "shop")
	}
	s := NewStore(StoreOptions{})
	p := parser.NewParser(parser.Options{})
	f.Fuzz(func(t *testing.T, text, namespace string) {
		got, err := s.expression(Question{Query: text, Namespace: namespace})
		if err != nil {
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			return
		}
		e, err := p.ParseExpr(got)
		if err != nil {
			return // asked, it would be refused
		}
		parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			for _, m := range v.LabelMatchers {
				if m.Name == "namespace" && m.Type == labels.MatchEqual && m.Value == namespace {
					return nil
				}
			}
			t.Errorf("%s has a selector without the namespace: %s", got, v)
			return nil
		})
	})
}

func TestWhole(t *testing.T) {
	t.Parallel()
	require.Equal(t, int64(math.MaxInt64), whole(1e300))
	require.Equal(t, int64(math.MinInt64), whole(-1e300))
	require.Equal(t, int64(3), whole(2.5))
	require.Equal(t, int64(0), whole(0.4))
}
