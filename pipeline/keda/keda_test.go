package keda

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*loggingT).flushDaemon"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

// fakeSource answers with what is set.
type fakeSource struct {
	mu     sync.Mutex // guards the rest
	values []Value
	err    error
	asked  []Question
}

func (f *fakeSource) set(err error, values ...float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.values = err, nil
	for _, v := range values {
		f.values = append(f.values, Value{Value: v})
	}
}

func (f *fakeSource) Evaluate(_ context.Context, q Question) ([]Value, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	return f.values, f.err
}

func (f *fakeSource) questions() []Question {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Question(nil), f.asked...)
}

// serve runs a server and connects to it.
func serve(t testing.TB, o Options) (*Server, *grpc.ClientConn, func()) {
	t.Helper()
	s, err := New(o)
	require.NoError(t, err)
	l := bufconn.Listen(1 << 16)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	conn, err := grpc.NewClient("passthrough:///strata", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(t, err)
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(func() {
		stop()
		require.NoError(t, conn.Close())
	})
	return s, conn, stop
}

func ref(pairs ...string) *pb.ScaledObjectRef {
	r := &pb.ScaledObjectRef{Name: "worker", Namespace: "shop", ScalerMetadata: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		r.ScalerMetadata[pairs[i]] = pairs[i+1]
	}
	return r
}

// Numbers and names on the wire are KEDA's.
func TestProtocol(t *testing.T) {
	t.Parallel()
	f := func(m protoreflect.ProtoMessage, want ...string) {
		t.Helper()
		fields := m.ProtoReflect().Descriptor().Fields()
		require.Equal(t, len(want), fields.Len())
		for i, name := range want {
			field := fields.ByNumber(protoreflect.FieldNumber(i + 1))
			kind := field.Kind().String()
			if field.IsMap() {
				kind = "map"
			} else if field.IsList() {
				kind = "list"
			}
			require.Equal(t, name, string(field.Name())+" "+kind)
		}
	}
	f(&pb.ScaledObjectRef{}, "name string", "namespace string", "scalerMetadata map")
	f(&pb.IsActiveResponse{}, "result bool")
	f(&pb.GetMetricSpecResponse{}, "metricSpecs list")
	f(&pb.MetricSpec{}, "metricName string", "targetSize int64", "targetSizeFloat double")
	f(&pb.GetMetricsRequest{}, "scaledObjectRef message", "metricName string")
	f(&pb.GetMetricsResponse{}, "metricValues list")
	f(&pb.MetricValue{}, "metricName string", "metricValue int64", "metricValueFloat double")
	require.Equal(t, "/externalscaler.ExternalScaler/IsActive", pb.ExternalScaler_IsActive_FullMethodName)
	require.Equal(t, "/externalscaler.ExternalScaler/StreamIsActive", pb.ExternalScaler_StreamIsActive_FullMethodName)
	require.Equal(t, "/externalscaler.ExternalScaler/GetMetricSpec", pb.ExternalScaler_GetMetricSpec_FullMethodName)
	require.Equal(t, "/externalscaler.ExternalScaler/GetMetrics", pb.ExternalScaler_GetMetrics_FullMethodName)
}

func TestCalls(t *testing.T) {
	t.Parallel()
	source := &fakeSource{}
	reg := prometheus.NewRegistry()
	_, conn, _ := serve(t, Options{Source: source, Registry: reg})
	c := pb.NewExternalScalerClient(conn)
	ctx := t.Context()

	spec, err := c.GetMetricSpec(ctx, ref("metric", "lag", "threshold", "0.5", "scalerAddress", "strata:9444"))
	require.NoError(t, err)
	require.Equal(t, []any{"lag", int64(1), 0.5}, []any{spec.MetricSpecs[0].MetricName, spec.MetricSpecs[0].TargetSize, spec.MetricSpecs[0].TargetSizeFloat})
	require.Empty(t, source.questions(), "an HPA can be made before there is a value")

	get := func(want float64, wantWhole int64, active bool, values ...float64) {
		t.Helper()
		source.set(nil, values...)
		r := ref("metric", "lag", "selector", "b=2,a=1", "threshold", "5", "activationThreshold", "1.5")
		got, err := c.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: r, MetricName: "lag"})
		require.NoError(t, err)
		require.Len(t, got.MetricValues, 1)
		require.Equal(t, []any{"lag", wantWhole, want}, []any{got.MetricValues[0].MetricName, got.MetricValues[0].MetricValue, got.MetricValues[0].MetricValueFloat})
		is, err := c.IsActive(ctx, r)
		require.NoError(t, err)
		require.Equal(t, active, is.Result)
	}
	get(0, 0, false, 0)
	get(1.5, 2, false, 1.5)
	get(1.6, 2, true, 1.6)
	get(10.25, 10, true, 10, 0.25)
	get(-3, -3, false, -3)
	get(1e300, 1<<63-1, true, 1e300)
	require.Equal(t, Question{Namespace: "shop", Metric: "lag", Selector: "a=1,b=2"}, source.questions()[0])

	fails := func(code codes.Code, message string, err error) {
		t.Helper()
		require.Equal(t, code, status.Code(err), "%v", err)
		require.ErrorContains(t, err, message)
	}
	_, err = c.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: ref("metric", "lag", "threshold", "5"), MetricName: "other"})
	fails(codes.NotFound, `the trigger has no metric "other", it has "lag"`, err)
	source.set(status.Error(codes.Unavailable, "the store starts"))
	_, err = c.IsActive(ctx, ref("metric", "lag", "threshold", "5"))
	fails(codes.Unavailable, "the store starts", err)
	source.set(nil)
	_, err = c.IsActive(ctx, ref("metric", "lag", "threshold", "5"))
	fails(codes.OutOfRange, "metric lag of namespace shop: the sum of 0 values is not a number", err)
	source.set(nil, 1.7e308, 1.7e308)
	_, err = c.IsActive(ctx, ref("metric", "lag", "threshold", "5"))
	fails(codes.OutOfRange, "the sum of 2 values is not a number", err)
	_, err = c.IsActive(ctx, ref())
	fails(codes.InvalidArgument, "scalerMetadata.metric", err)
	_, err = c.IsActive(ctx, ref("query", strings.Repeat("x", maxMessage), "threshold", "5"))
	fails(codes.ResourceExhausted, "larger than max", err)

	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP strata_keda_requests_total Calls of KEDA that are over, by method and gRPC code.
# TYPE strata_keda_requests_total counter
strata_keda_requests_total{code="InvalidArgument",method="IsActive"} 1
strata_keda_requests_total{code="NotFound",method="GetMetrics"} 1
strata_keda_requests_total{code="OK",method="GetMetricSpec"} 1
strata_keda_requests_total{code="OK",method="GetMetrics"} 6
strata_keda_requests_total{code="OK",method="IsActive"} 6
strata_keda_requests_total{code="OutOfRange",method="IsActive"} 2
strata_keda_requests_total{code="Unavailable",method="IsActive"} 1
`), "strata_keda_requests_total"))
}

// A stream says the activity at once and then when it changes; failures in
// between change nothing; the end of the server is a clean end.
func TestStream(t *testing.T) {
	t.Parallel()
	source := &fakeSource{}
	source.set(nil, 0)
	s, conn, stop := serve(t, Options{Source: source, Interval: time.Millisecond})
	c := pb.NewExternalScalerClient(conn)
	stream, err := c.StreamIsActive(t.Context(), ref("query", "sum(lag)", "threshold", "5"))
	require.NoError(t, err)
	next := func(want bool) {
		t.Helper()
		got, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, want, got.Result)
	}
	next(false)
	source.set(nil, 3)
	next(true)
	source.set(errors.New("away"))
	asked := len(source.questions())
	require.Eventually(t, func() bool { return len(source.questions()) > asked+2 }, 10*time.Second, time.Millisecond)
	source.set(nil, 0)
	next(false) // and no other one before
	require.Equal(t, 1, s.watches.count())

	stop()
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, s.watches.count())
}

// The first failure of a stream is its end.
func TestStreamWithoutAnswer(t *testing.T) {
	t.Parallel()
	source := &fakeSource{}
	source.set(status.Error(codes.NotFound, "no such metric"))
	s, conn, _ := serve(t, Options{Source: source, MaxStreams: 1})
	c := pb.NewExternalScalerClient(conn)
	f := func(code codes.Code, message string, r *pb.ScaledObjectRef) {
		t.Helper()
		stream, err := c.StreamIsActive(t.Context(), r)
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, code, status.Code(err), "%v", err)
		require.ErrorContains(t, err, message)
	}
	f(codes.NotFound, "no such metric", ref("metric", "lag", "threshold", "5"))
	f(codes.InvalidArgument, "scalerMetadata.threshold", ref("metric", "lag"))

	source.set(nil, 1)
	ctx, cancel := context.WithCancel(t.Context())
	one, err := c.StreamIsActive(ctx, ref("metric", "lag", "threshold", "5"))
	require.NoError(t, err)
	_, err = one.Recv()
	require.NoError(t, err)
	f(codes.ResourceExhausted, "1 streams", ref("metric", "lag", "threshold", "5"))
	cancel()
	require.Eventually(t, func() bool { return s.watches.count() == 0 && len(s.streams) == 0 }, 10*time.Second, time.Millisecond)
}

func TestHealthAndReflection(t *testing.T) {
	t.Parallel()
	var ready error
	_, conn, _ := serve(t, Options{Source: &fakeSource{}, Ready: func() error { return ready }})
	h := grpc_health_v1.NewHealthClient(conn)
	got, err := h.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "externalscaler.ExternalScaler"})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, got.Status)
	ready = errors.New("not yet")
	got, err = h.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_NOT_SERVING, got.Status)
	_, err = h.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "other"})
	require.Equal(t, codes.NotFound, status.Code(err))

	r, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}))
	answer, err := r.Recv()
	require.NoError(t, err)
	require.Contains(t, answer.String(), "externalscaler.ExternalScaler")
	require.NoError(t, r.CloseSend())
	_, err = r.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// A source that panics costs its own call.
type panics struct{}

func (panics) Evaluate(context.Context, Question) ([]Value, error) { panic("oops") }

func TestPanic(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	_, conn, _ := serve(t, Options{Source: panics{}, Registry: reg})
	_, err := pb.NewExternalScalerClient(conn).IsActive(t.Context(), ref("metric", "lag", "threshold", "5"))
	require.Equal(t, codes.Internal, status.Code(err))
	require.NotContains(t, err.Error(), "oops")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP strata_keda_panics_total Calls that ended in a panic, which their caller got as Internal.
# TYPE strata_keda_panics_total counter
strata_keda_panics_total 1
`), "strata_keda_panics_total"))
}

func TestNewWithoutSource(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.EqualError(t, err, "keda: Options.Source is missing")
}
