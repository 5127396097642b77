package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/strata-metrics/strata/internal/serve"
)

// memoryFlags are Prometheus' for what Go's runtime takes of the machine.
type memoryFlags struct {
	limit   bool
	ratio   float64
	refresh model.Duration
	procs   bool
}

func (f *memoryFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("auto-gomemlimit", "Keep Go's memory below a part of what the container or the machine has, unless the environment has GOMEMLIMIT.").
		Default("true").BoolVar(&f.limit)
	cmd.Flag("auto-gomemlimit.ratio", "That part, above 0 and at most 1.").Default("0.9").Float64Var(&f.ratio)
	duration(cmd, "auto-gomemlimit.refresh-interval", "How often it is looked at again; 0 for once.", &f.refresh).Default("0s")
	cmd.Flag("auto-gomaxprocs", "Use as many processors as the container may, unless the environment has GOMAXPROCS.").
		Default("true").BoolVar(&f.procs)
}

// check gives a usage error.
func (f *memoryFlags) check() error {
	if !(f.ratio > 0 && f.ratio <= 1) {
		return usagef("--auto-gomemlimit.ratio must be above 0 and at most 1, not %g", f.ratio)
	}
	return nil
}

// apply sets the runtime, and goes on with it until the context ends.
func (f *memoryFlags) apply(ctx context.Context, logger *slog.Logger) {
	if !f.procs && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU()) // Go's runtime by itself goes by the quota
	}
	if !f.limit {
		return
	}
	set := func() {
		if err := serve.LimitMemory("/", f.ratio); err != nil {
			logger.Warn("Go's memory has no limit", "err", err)
		}
	}
	set()
	if f.refresh == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(time.Duration(f.refresh))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				set()
			case <-ctx.Done():
				return
			}
		}
	}()
}
