package keda

import (
	"context"
	"path"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

type selfMetrics struct {
	requests *prometheus.CounterVec
	panics   prometheus.Counter
}

func newSelfMetrics(reg prometheus.Registerer, s *Server) *selfMetrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "strata_keda_streams", Help: "Streams of activity that KEDA has open."},
		func() float64 { return float64(len(s.streams)) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "strata_keda_questions", Help: "Questions that are evaluated for streams; equal ones count once."},
		func() float64 { return float64(s.watches.count()) })
	m := &selfMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "strata_keda_requests_total", Help: "Calls of KEDA that are over, by method and gRPC code."},
			[]string{"method", "code"}),
		panics: f.NewCounter(prometheus.CounterOpts{Name: "strata_keda_panics_total", Help: "Calls that ended in a panic, which their caller got as Internal."}),
	}
	for _, method := range pb.ExternalScaler_ServiceDesc.Methods {
		m.requests.WithLabelValues(method.MethodName, codes.OK.String())
	}
	return m
}

// unary counts a call, and turns a panic into an error of that call.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer s.over(info.FullMethod, &err)
	return handler(ctx, req)
}

// stream does the same for streams.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer s.over(info.FullMethod, &err)
	return handler(srv, ss)
}

func (s *Server) over(method string, err *error) {
	if p := recover(); p != nil {
		s.metrics.panics.Inc()
		s.log.Error("A call of KEDA ended in a panic", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "an error inside Strata; its log says which")
	}
	s.metrics.requests.WithLabelValues(path.Base(method), status.Code(*err).String()).Inc()
}

// health is the standard health service. It asks each time, and has no Watch,
// which clients take as healthy.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	ready func() error
}

// Check implements the health service.
func (h *health) Check(_ context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if name := req.GetService(); name != "" && name != pb.ExternalScaler_ServiceDesc.ServiceName {
		return nil, status.Errorf(codes.NotFound, "there is no service %q", name)
	}
	if h.ready != nil && h.ready() != nil {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}
