// Command strata is the pipeline of Strata: what scrapes, stores, evaluates and
// answers. Each of its commands is one file in this directory and one line in
// commands.
package main

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"k8s.io/klog/v2"

	// Every service discovery, so that any prometheus.yml loads. Their build
	// tags (remove_all_sd, enable_kubernetes_sd, ...) make a slim binary.
	_ "github.com/prometheus/prometheus/plugins"

	"github.com/strata-metrics/strata/internal/serve"
)

func main() {
	if serves(os.Args[1:]) {
		serve.CoarseTimers("strata", os.Stderr)
	}
	os.Exit(serve.Main("strata", os.Args[1:], os.Stderr, run))
}

// A command is one way to run the program.
type command struct {
	name, help string
	// serves says that it runs until it is stopped.
	serves bool
	// setup declares the flags and gives what runs once they are read.
	setup func(*kingpin.CmdClause, *env) func(context.Context) error
}

// commands lists all of them in the order of --help.
func commands() []command {
	return []command{
		upCommand(),
		serverCommand(),
		coreCommand(),
		explainCommand(),
		checkCommand(),
		migrateCommand(),
		probeCommand(),
	}
}

// serves says whether arguments are of a command that serves.
func serves(args []string) bool {
	for _, arg := range args {
		for _, c := range commands() {
			if c.name == arg {
				return c.serves
			}
		}
	}
	return false
}

// env is what the commands share.
type env struct {
	app *kingpin.Application
	log promslog.Config
}

// logger is the log that the flags ask for, on stderr. Its level can be changed
// through env.log.Level.
func (e *env) logger() *slog.Logger { return promslog.New(&e.log) }

func run(ctx context.Context, args []string) error {
	command, e, err := parse(args)
	if err != nil {
		return err
	}
	// client-go, the API server library and gRPC have one logger a process, and it
	// can only be set while none of them runs.
	klog.SetSlogLogger(e.logger().With("component", "k8s_client_runtime"))
	// Of the registry that some libraries share only their own is wanted: what it
	// says of Go and the process is in ours, for less.
	prometheus.Unregister(collectors.NewGoCollector())
	prometheus.Unregister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return command(ctx)
}

// parse gives what runs the command that the arguments name.
func parse(args []string) (func(context.Context) error, *env, error) {
	app := serve.NewApp("strata", "Kubernetes metrics: scrape, store, query, and serve them to autoscalers.")
	e := &env{app: app}
	promslogflag.AddFlags(app, &e.log)
	runs := map[string]func(context.Context) error{}
	for _, c := range commands() {
		runs[c.name] = c.setup(app.Command(c.name, c.help), e)
	}
	name, err := serve.Parse(app, args)
	if err != nil {
		return nil, nil, err
	}
	name, _, _ = strings.Cut(name, " ") // a command may have commands of its own
	return runs[name], e, nil
}
