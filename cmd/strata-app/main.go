// Command strata-app is a sidecar that measures the requests to one
// application and passes the application's own metrics through. See the
// package exporters/app.
package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/strata-metrics/strata/exporters/app"
	"github.com/strata-metrics/strata/internal/serve"
)

const program = "strata-app"

func main() {
	serve.CoarseTimers(program, os.Stderr)
	os.Exit(serve.Main(program, os.Args[1:], os.Stderr, run))
}

func run(ctx context.Context, args []string) error {
	line := serve.NewApp(program, "Measures the requests to one app, as a proxy beside it, and passes its metrics through.")
	web := serve.NewFlags(line, ":9102")
	flags := app.NewFlags(line)
	if _, err := serve.Parse(line, args); err != nil {
		return err
	}
	logger := web.Logger()
	options := flags.Options()
	options.Logger = logger
	if options.App == "" {
		return &serve.UsageError{Err: errors.New("--app.address is empty; give the app's host:port")}
	}
	sidecar, err := app.New(options)
	if err != nil {
		return &serve.UsageError{Err: err}
	}
	registry := serve.NewRegistry("strata_app")
	server, err := serve.New(web.Options(program, logger, registry))
	if err != nil {
		return err
	}
	server.Handle("/metrics", "Metrics of the app and its traffic", sidecar.Handler())
	server.Handle("/metrics/sidecar", "Metrics of this process", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if err := sidecar.Listen(); err != nil {
		return err
	}
	return together(ctx, sidecar.Run, server.Run)
}

// together runs the traffic and the metrics. The metrics are served until the
// last request has ended, so that the last scrape sees it; when either fails,
// both end.
func together(ctx context.Context, traffic, metrics func(context.Context) error) error {
	ctx, endTraffic := context.WithCancel(ctx)
	defer endTraffic()
	metricsCtx, endMetrics := context.WithCancel(context.WithoutCancel(ctx))
	defer endMetrics()
	var wait sync.WaitGroup
	var trafficErr, metricsErr error
	wait.Go(func() {
		defer endMetrics()
		trafficErr = traffic(ctx)
	})
	wait.Go(func() {
		defer endTraffic()
		metricsErr = metrics(metricsCtx)
	})
	wait.Wait()
	return errors.Join(trafficErr, metricsErr)
}
