// Command strata-node serves the metrics of a host: node_exporter's names,
// labels and flags. See the package exporters/node.
package main

import (
	"context"
	"os"
	"runtime"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/strata-metrics/strata/exporters/node"
	"github.com/strata-metrics/strata/internal/serve"
)

const program = "strata-node"

func main() {
	serve.CoarseTimers(program, os.Stderr)
	os.Exit(serve.Main(program, os.Args[1:], os.Stderr, run))
}

// flags are the command line.
type flags struct {
	app        *kingpin.Application
	web        *serve.Flags
	collectors *node.Flags
	path       *string
	noSelf     *bool
	requests   *int
	procs      *int
}

func newFlags() flags {
	app := serve.NewApp(program, "Metrics of this host: processors, memory, disks, file systems, network.")
	return flags{
		app:        app,
		web:        serve.NewFlags(app, ":9100"),
		collectors: node.NewFlags(app),
		path:       app.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").String(),
		noSelf:     app.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (promhttp_*, process_*, go_*, strata_*).").Bool(),
		requests:   app.Flag("web.max-requests", "Maximum number of parallel scrape requests. Use 0 to disable.").Default("40").Int(),
		procs: app.Flag("runtime.gomaxprocs", "The target number of CPUs Go will run on (GOMAXPROCS).").
			Envar("GOMAXPROCS").Default("1").Int(),
	}
}

func run(ctx context.Context, args []string) error {
	f := newFlags()
	if _, err := serve.Parse(f.app, args); err != nil {
		return err
	}
	if err := serve.MetricsPath("web.telemetry-path", *f.path); err != nil {
		return err
	}
	options, err := f.collectors.Options()
	if err != nil {
		return &serve.UsageError{Err: err}
	}
	runtime.GOMAXPROCS(*f.procs)
	serve.KeepHeap(serve.SmallHeap)
	logger := f.web.Logger()

	// Dashboards ask for node_exporter_build_info.
	build := versioncollector.NewCollector("node_exporter")
	options.Logger, options.MaxRequests = logger, *f.requests
	var own prometheus.Registerer
	if *f.noSelf {
		registry := prometheus.NewRegistry()
		registry.MustRegister(build)
		options.Registry = registry
	} else {
		registry := serve.NewRegistry(strings.ReplaceAll(program, "-", "_"))
		registry.MustRegister(build)
		options.Registry, own = registry, registry
	}
	options.Registerer = own
	exporter, err := node.New(options)
	if err != nil {
		return &serve.UsageError{Err: err}
	}
	server, err := serve.New(f.web.Options(program, logger, own))
	if err != nil {
		return err
	}
	server.Handle(*f.path, "Metrics", exporter.Handler())
	logger.Info("measuring this host", "collectors", strings.Join(exporter.Collectors(), ","))
	serve.ReleaseStart()
	return server.Run(ctx)
}
