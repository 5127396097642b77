// Command freshness measures, on a real cluster, how long it takes from a burst
// of load to the first answer of the autoscaling APIs that shows it. It uses the
// cluster of `make cluster` when that runs, or starts and ends one.
//
//	BURSTS=50 INTERVALS=15s,5s,1s SOURCES=exporter,kubelet freshness
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
	"github.com/strata-metrics/strata/test/e2e/setup"
	"github.com/strata-metrics/strata/test/e2e/story"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "freshness:", err)
		stop()
		os.Exit(1)
	}
}

// plan is what the environment asks for.
type plan struct {
	bursts    int
	intervals []time.Duration
	sources   []string
}

func planOf(getenv func(string) string) (plan, error) {
	bursts, err := strconv.Atoi(cmp.Or(getenv("BURSTS"), "50"))
	if err != nil || bursts < 1 {
		return plan{}, fmt.Errorf("BURSTS must be a number above 0, not %q", getenv("BURSTS"))
	}
	p := plan{bursts: bursts, sources: strings.Split(cmp.Or(getenv("SOURCES"), "exporter,kubelet"), ",")}
	for text := range strings.SplitSeq(cmp.Or(getenv("INTERVALS"), "15s,5s,1s"), ",") {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second {
			return plan{}, fmt.Errorf("INTERVALS must be durations of at least 1s, not %q", text)
		}
		p.intervals = append(p.intervals, d)
	}
	for _, s := range p.sources {
		if s != "exporter" && s != "kubelet" {
			return plan{}, fmt.Errorf("SOURCES must be of exporter and kubelet, not %q", s)
		}
	}
	return p, nil
}

func run(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
	p, err := planOf(os.Getenv)
	if err != nil {
		return err
	}
	root, err := repo.Root(".")
	if err != nil {
		return err
	}
	c, err := cluster.Attach(cluster.DefaultStateDir, log)
	if errors.Is(err, cluster.ErrNotRunning) {
		o, optionsErr := setup.Options(ctx, log)
		if optionsErr != nil {
			return optionsErr
		}
		if c, err = cluster.Start(ctx, o); err == nil {
			defer func() { err = errors.Join(err, c.Stop(context.WithoutCancel(ctx))) }()
		}
	}
	if err != nil {
		return err
	}
	if err := story.Install(ctx, c, root, log); err != nil {
		return err
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return err
	}
	var short []string
	for i, source := range p.sources {
		for _, interval := range p.intervals {
			if err := story.Tune(ctx, c, root, story.Tuning{Interval: interval, Window: 2 * interval, MaxAge: story.MaxAge, Source: source}); err != nil {
				return err
			}
			log.Info("measuring", "source", source, "interval", interval, "bursts", p.bursts)
			m, err := b.measure(ctx, interval, source, p.bursts)
			if err != nil {
				return err
			}
			figures := m.figures("cpu_"+source, interval)
			if i == 0 { // requests do not come from core
				figures = append(figures, m.figures("requests", interval)...)
			}
			for _, f := range figures {
				_, _ = fmt.Fprintln(out, f)
				if !f.holds() {
					short = append(short, f.name)
				}
			}
		}
	}
	if len(short) > 0 {
		return fmt.Errorf("short of the goal: %s", strings.Join(short, ", "))
	}
	return nil
}
