package query

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/route"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/httputil"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Access is what the HTTP API lets others do, and how much of it.
type Access struct {
	// EnableAdmin allows deletion and snapshots.
	EnableAdmin bool
	// EnableRemoteWrite and EnableOTLP accept samples from others.
	EnableRemoteWrite bool
	EnableOTLP        bool
	// WriteMessages are the messages of remote write that are accepted.
	WriteMessages remote.MessageTypes
	// ReadSamples bounds the samples of an answer to remote read that is not
	// streamed, ReadConcurrency the requests at a time; 0 is no bound. ReadFrame is
	// the size of a part of a streamed one, in bytes.
	ReadSamples, ReadConcurrency, ReadFrame int
	// Subscribers is how many may follow /notifications/live at a time.
	Subscribers int
	// Search opens the search API, which answers at most SearchLimit results; 0 is
	// no bound.
	Search      bool
	SearchLimit int
	// DeltaToCumulative and NativeDelta say what becomes of deltas that come by
	// OTLP; else they are refused.
	DeltaToCumulative, NativeDelta bool
	// QueryCost tells in an answer what the query has cost.
	QueryCost bool
	// CORSOrigin matches the origins whose scripts may ask.
	CORSOrigin *regexp.Regexp
}

// DefaultAccess is as Prometheus has it.
func DefaultAccess() Access {
	return Access{
		WriteMessages: remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType},
		ReadSamples:   50_000_000, ReadConcurrency: 10, ReadFrame: 1 << 20,
		SearchLimit: 10_000, Subscribers: 16, CORSOrigin: regexp.MustCompile("^(?:.*)$"),
	}
}

// Registry is client_golang's, or one around it.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// APIOptions are what the HTTP API shows and what it lets a caller do. Every
// interface is required.
type APIOptions struct {
	// Engine evaluates the queries.
	Engine *Engine
	// Store answers queries and takes remote writes.
	Store storage.Storage
	// Exemplars answers /query_exemplars.
	Exemplars storage.ExemplarQueryable
	// Admin is the local TSDB: statistics, snapshots, deletion.
	Admin v1.TSDBAdminStats
	// Dir is the data directory, for snapshots.
	Dir string

	// Pools, Targets, Alertmanagers and Rules answer the lists of the same names.
	Pools         v1.ScrapePoolsRetriever
	Targets       v1.TargetRetriever
	Alertmanagers v1.AlertmanagerRetriever
	Rules         v1.RulesRetriever

	// Config is the running configuration.
	Config func() config.Config
	// Flags are the command line as /status/flags shows it.
	Flags map[string]string
	// Status fills what only the pipeline knows in /status/runtimeinfo: GOGC,
	// the last reload and the retention.
	Status func(*v1.RuntimeInfo)
	// Ready is nil once queries can be answered.
	Ready func() error

	// ExternalURL is how others reach this server; ListenAddress is where it
	// listens. Both serve to show the addresses of targets on this host.
	ExternalURL   *url.URL
	ListenAddress string

	Access
	// TypeAndUnit and AppendMetadata say that what is written has type and unit as
	// labels, and that its metadata is kept.
	TypeAndUnit, AppendMetadata bool

	// Requests measures the routes.
	Requests *Requests

	// Logger receives failed answers; nil discards.
	Logger *slog.Logger
	// Registry is what the API registers with and /status/self_metrics shows.
	Registry Registry
}

// API is the HTTP API v1, all of it from Prometheus' web/api/v1.
type API struct {
	http.Handler
	// Notifications are what /notifications shows.
	Notifications *notifications.Notifications
}

// NewAPI makes the API. The handler answers below /api/v1/.
func NewAPI(o APIOptions) *API {
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	notes := notifications.NewNotifications(o.Subscribers, o.Registry)
	var writes storage.AppendableV2
	if o.EnableRemoteWrite || o.EnableOTLP {
		writes = o.Store
	}
	api := v1.NewAPI(
		o.Engine, o.Store, writes, o.Exemplars,
		func(context.Context) v1.ScrapePoolsRetriever { return o.Pools },
		func(context.Context) v1.TargetRetriever { return o.Targets },
		func(context.Context) v1.AlertmanagerRetriever { return o.Alertmanagers },
		o.Config, o.Flags,
		v1.GlobalURLOptions{ListenAddress: o.ListenAddress, Host: o.ExternalURL.Host, Scheme: o.ExternalURL.Scheme},
		whenReady(o.Ready),
		o.Admin, o.Dir, o.EnableAdmin,
		o.Search, o.SearchLimit,
		o.Logger,
		func(context.Context) v1.RulesRetriever { return o.Rules },
		o.ReadSamples, o.ReadConcurrency, o.ReadFrame,
		false, // not an agent
		o.CORSOrigin,
		runtimeInfo(o.Status, time.Now().UTC()), buildInfo(),
		notes.Get, notes.Sub,
		o.Registry, o.Registry, nil,
		o.EnableRemoteWrite, o.WriteMessages,
		o.EnableOTLP, o.DeltaToCumulative, o.NativeDelta,
		o.Engine.opts.LookbackDelta,
		o.TypeAndUnit, o.AppendMetadata, nil,
		features.NewRegistry(),
		v1.OpenAPIOptions{ExternalURL: o.ExternalURL.String(), Version: version.Version},
		o.Engine.parser, o.QueryCost, o.Engine.opts.Timeout,
	)
	const prefix = "/api/v1"
	r := route.New().WithInstrumentation(func(name string, next http.HandlerFunc) http.HandlerFunc {
		return o.Requests.Measure(prefix+name, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			// The query log shows which endpoint a query came through.
			next(w, req.WithContext(httputil.ContextWithPath(req.Context(), prefix+name)))
		})).ServeHTTP
	})
	api.Register(r)
	return &API{Handler: http.StripPrefix(prefix, r), Notifications: notes}
}

// whenReady answers 503 with the reason while the store cannot answer.
func whenReady(ready func() error) func(http.HandlerFunc) http.HandlerFunc {
	return func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if err := ready(); err != nil {
				http.Error(w, fmt.Sprintf("Service Unavailable: %v", err), http.StatusServiceUnavailable)
				return
			}
			next(w, req)
		}
	}
}

func runtimeInfo(fill func(*v1.RuntimeInfo), birth time.Time) func() (v1.RuntimeInfo, error) {
	return func() (v1.RuntimeInfo, error) {
		host, err := os.Hostname()
		if err != nil {
			return v1.RuntimeInfo{}, fmt.Errorf("read the host's name: %w", err)
		}
		cwd, err := os.Getwd()
		if err != nil {
			return v1.RuntimeInfo{}, fmt.Errorf("read the working directory: %w", err)
		}
		info := v1.RuntimeInfo{
			StartTime:      birth,
			CWD:            cwd,
			Hostname:       host,
			ServerTime:     time.Now().UTC(),
			GoroutineCount: runtime.NumGoroutine(),
			GOMAXPROCS:     runtime.GOMAXPROCS(0),
			GOMEMLIMIT:     debug.SetMemoryLimit(-1),
			GODEBUG:        os.Getenv("GODEBUG"),
		}
		fill(&info)
		return info, nil
	}
}

func buildInfo() *v1.PrometheusVersion {
	return &v1.PrometheusVersion{
		Version:   version.Version,
		Revision:  version.GetRevision(),
		Branch:    version.Branch,
		BuildUser: version.BuildUser,
		BuildDate: version.BuildDate,
		GoVersion: version.GoVersion,
	}
}

// Gate is a readiness that starts closed and can be opened and closed.
type Gate struct{ why atomic.Pointer[error] }

// Close makes Ready answer err.
func (g *Gate) Close(err error) { g.why.Store(&err) }

// Open makes Ready answer nil.
func (g *Gate) Open() { g.why.Store(new(error)) }

// Ready is nil when the gate is open. A gate that was never opened or closed
// answers tsdb.ErrNotReady.
func (g *Gate) Ready() error {
	if p := g.why.Load(); p != nil {
		return *p
	}
	return tsdb.ErrNotReady
}
