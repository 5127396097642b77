// Command strata-container shows the CPU, memory and network use of every
// container of a machine, under the names of cAdvisor and the kubelet.
package main

import (
	"context"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/exporters/container"
	"github.com/strata-metrics/strata/internal/serve"
)

const name = "strata-container"

func main() {
	serve.CoarseTimers(name, os.Stderr)
	os.Exit(serve.Main(name, os.Args[1:], os.Stderr, run))
}

func run(ctx context.Context, args []string) (err error) {
	app := serve.NewApp(name, "CPU, memory and network of every container, as cAdvisor and the kubelet show them, read when scraped.")
	web := serve.NewFlags(app, ":"+port)
	web.Klog(app)
	f := &flags{}
	f.declare(app)
	if _, err := serve.Parse(app, args); err != nil {
		return err
	}
	if err := f.finish(); err != nil {
		return &serve.UsageError{Err: err}
	}
	runtime.GOMAXPROCS(f.procs)
	serve.KeepHeap(serve.SmallHeap)
	logger, registry := web.Logger(), serve.NewRegistry("strata_container")
	f.options.Logger, f.options.Registry, f.options.Gatherer = logger, prometheus.Registerer(registry), registry
	server, err := serve.New(f.serving(web.Options(name, logger, registry)))
	if err != nil {
		return err
	}
	exporter, err := container.New(f.options)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := exporter.Close(); err == nil {
			err = closeErr
		}
	}()
	server.Handle(f.endpoint, "Containers, as cAdvisor shows them", exporter.Handler())
	server.Handle(kubeletPath, "Containers, as the kubelet shows them", exporter.CAdvisorHandler())
	server.Handle(resourcePath, "CPU and memory of the node, pods and containers", exporter.ResourceHandler())
	serve.ReleaseStart()
	return server.Run(ctx)
}
