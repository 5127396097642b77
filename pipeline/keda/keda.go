// Package keda answers KEDA's external scaler protocol (gRPC) from the rules
// and the store of Strata, so that a ScaledObject can ask Strata without the
// URL of a Prometheus.
//
// A trigger names an external metric of the adapter or gives PromQL. What has
// no value is an error that says why, never a 0: KEDA then keeps what it has,
// or falls back as the ScaledObject says. Streams of activity of the same
// question share one evaluation.
package keda

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

// Defaults and limits.
const (
	// DefaultInterval is how often the question of a stream is evaluated.
	DefaultInterval = 5 * time.Second
	// DefaultMaxStreams bounds the streams of activity.
	DefaultMaxStreams = 5000

	evaluateTimeout = 10 * time.Second // of one evaluation
	stopTimeout     = 5 * time.Second  // for calls under way at the end
	maxMessage      = 64 << 10         // bytes of a request
	maxCalls        = 1000             // calls at a time beside the streams, of one connection
)

// Options are what a Server works with. Source is required.
type Options struct {
	// Source answers the questions.
	Source Source
	// Interval is DefaultInterval where it is 0.
	Interval time.Duration
	// MaxStreams is DefaultMaxStreams where it is 0.
	MaxStreams int
	// TLS is for the connections; nil serves without.
	TLS *tls.Config
	// Ready is asked by the health service; nil is always ready.
	Ready func() error
	// Logger receives questions that begin to fail and that have recovered; nil
	// discards.
	Logger *slog.Logger
	// Registry receives the metrics strata_keda_*; nil registers none.
	Registry prometheus.Registerer
}

// Server answers KEDA.
type Server struct {
	pb.UnimplementedExternalScalerServer
	o       Options
	log     *slog.Logger
	metrics *selfMetrics
	watches *watches
	grpc    *grpc.Server
	streams chan struct{} // a place for each stream
	stop    chan struct{} // closed at the end
}

// New makes a server.
func New(o Options) (*Server, error) {
	if o.Source == nil {
		return nil, errors.New("keda: Options.Source is missing")
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Logger, streams: make(chan struct{}, o.MaxStreams), stop: make(chan struct{})}
	s.watches = &watches{evaluate: s.evaluate, interval: o.Interval, changed: s.changed, open: map[Question]*watch{}}
	s.metrics = newSelfMetrics(o.Registry, s)
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(uint32(o.MaxStreams + maxCalls)),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	}
	if o.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	s.grpc = grpc.NewServer(options...)
	pb.RegisterExternalScalerServer(s.grpc, s)
	grpc_health_v1.RegisterHealthServer(s.grpc, &health{ready: o.Ready})
	reflection.Register(s.grpc)
	return s, nil
}

// Run serves on a listener, which it closes, until ctx ends. Calls under way
// may end, streams are ended. It must be called once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.grpc.Serve(l) }()
	var err error
	select {
	case err = <-ended:
		ended <- nil
	case <-ctx.Done():
	}
	close(s.stop)
	late := time.AfterFunc(stopTimeout, s.grpc.Stop)
	s.grpc.GracefulStop()
	late.Stop()
	s.watches.wait()
	return errors.Join(err, <-ended)
}

// evaluate is the sum of a question's values.
func (s *Server) evaluate(ctx context.Context, q Question) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	values, err := s.o.Source.Evaluate(ctx, q)
	if err != nil {
		return 0, err
	}
	v, err := sum(values)
	if err != nil {
		return 0, status.Errorf(codes.OutOfRange, "%s: %v", q, err)
	}
	return v, nil
}

// changed logs that a question of a stream has begun to fail or has recovered.
func (s *Server) changed(q Question, err error) {
	if err != nil {
		s.log.Warn("A question of KEDA has no answer; its activity stays as it was told", "question", q.String(), "err", err)
		return
	}
	s.log.Info("A question of KEDA has an answer again", "question", q.String())
}

// IsActive implements the protocol.
func (s *Server) IsActive(ctx context.Context, ref *pb.ScaledObjectRef) (*pb.IsActiveResponse, error) {
	t, err := parseTrigger(ref)
	if err != nil {
		return nil, err
	}
	v, err := s.evaluate(ctx, t.question)
	if err != nil {
		return nil, err
	}
	return &pb.IsActiveResponse{Result: t.active(v)}, nil
}

// GetMetricSpec implements the protocol. It does not ask the store, so that an
// HPA can be made before there is a value.
func (s *Server) GetMetricSpec(_ context.Context, ref *pb.ScaledObjectRef) (*pb.GetMetricSpecResponse, error) {
	t, err := parseTrigger(ref)
	if err != nil {
		return nil, err
	}
	return &pb.GetMetricSpecResponse{MetricSpecs: []*pb.MetricSpec{{
		MetricName:      t.metric(),
		TargetSize:      max(1, whole(t.threshold)),
		TargetSizeFloat: t.threshold,
	}}}, nil
}

// GetMetrics implements the protocol. Several series are added up, as an HPA
// does.
func (s *Server) GetMetrics(ctx context.Context, req *pb.GetMetricsRequest) (*pb.GetMetricsResponse, error) {
	t, err := parseTrigger(req.GetScaledObjectRef())
	if err != nil {
		return nil, err
	}
	if name := req.GetMetricName(); name != "" && name != t.metric() {
		return nil, status.Errorf(codes.NotFound, "metricName: the trigger has no metric %q, it has %q", name, t.metric())
	}
	v, err := s.evaluate(ctx, t.question)
	if err != nil {
		return nil, err
	}
	return &pb.GetMetricsResponse{MetricValues: []*pb.MetricValue{{
		MetricName:       t.metric(),
		MetricValue:      whole(v),
		MetricValueFloat: v,
	}}}, nil
}

// StreamIsActive implements the protocol: the activity at once, and when it
// changes. When the first evaluation fails, the stream ends with its error.
// Later failures leave the activity as it was told; KEDA hears of them when it
// polls.
func (s *Server) StreamIsActive(ref *pb.ScaledObjectRef, stream grpc.ServerStreamingServer[pb.IsActiveResponse]) error {
	t, err := parseTrigger(ref)
	if err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return status.Errorf(codes.ResourceExhausted, "there are %d streams, the most that are served", s.o.MaxStreams)
	}
	answers, leave := s.watches.subscribe(t.question)
	defer leave()
	told, last := false, false
	for {
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-s.stop:
			return nil // KEDA comes back at once after a clean end
		case a := <-answers:
			if a.err != nil {
				if told {
					continue
				}
				return a.err
			}
			now := t.active(a.value)
			if told && now == last {
				continue
			}
			if err := stream.Send(&pb.IsActiveResponse{Result: now}); err != nil {
				return err
			}
			told, last = true, now
		}
	}
}
