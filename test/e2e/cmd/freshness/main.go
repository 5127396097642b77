// Command freshness measures, on a real cluster, how long it takes from a burst
// of load to the first answer of the autoscaling APIs that shows it, and what
// each interval of readings costs. It uses the cluster of `make cluster` when
// that runs, or starts and ends one. metrics-server is measured in the same
// bursts, at the intervals that it takes.
//
//	BURSTS=50 INTERVALS=15s,5s,1s freshness
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

	"github.com/strata-metrics/strata/test/bench/figure"
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
}

func planOf(getenv func(string) string) (plan, error) {
	bursts, err := strconv.Atoi(cmp.Or(getenv("BURSTS"), "50"))
	if err != nil || bursts < 1 {
		return plan{}, fmt.Errorf("BURSTS must be a number above 0, not %q", getenv("BURSTS"))
	}
	p := plan{bursts: bursts}
	for text := range strings.SplitSeq(cmp.Or(getenv("INTERVALS"), "15s,5s,1s"), ",") {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second {
			return plan{}, fmt.Errorf("INTERVALS must be durations of at least 1s, not %q", text)
		}
		p.intervals = append(p.intervals, d)
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
	c, end, err := setup.Cluster(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	if err := story.Install(ctx, c, root, log); err != nil {
		return err
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return err
	}
	r := &runner{bench: b, c: c, root: root, report: figure.NewReporter(out), log: log}
	for _, interval := range p.intervals {
		if err := r.at(ctx, interval, p.bursts); err != nil {
			return err
		}
	}
	return r.report.Err()
}

// runner measures one interval after the other.
type runner struct {
	*bench
	c      *cluster.Cluster
	root   string
	report *figure.Reporter
	log    *slog.Logger
}

// at measures at one interval: bursts first, then what it costs without them,
// first with the servers on this machine and then of the installation alone.
func (r *runner) at(ctx context.Context, interval time.Duration, bursts int) error {
	err := story.Tune(ctx, r.c, r.root, story.Tuning{Interval: interval, Window: windowOf(interval), MaxAge: max(story.MaxAge, 3*interval)})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "freshness-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := servers(ctx, r.c, r.root, dir, interval)
	if err != nil {
		return err
	}
	running := true
	defer func() {
		if running {
			stop(all)
		}
	}()
	sources := []source{{name: "requests", read: rates, rest: restRequests, step: stepRequests, get: func(ctx context.Context) ([]byte, error) {
		return r.c.Raw(ctx, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+namespace+"/pods/*/http_requests_per_second")
	}}}
	for _, s := range all {
		sources = append(sources, s.source())
	}
	r.log.Info("measuring", "interval", interval, "window", windowOf(interval), "bursts", bursts)
	begin := time.Now()
	measured, err := r.measure(ctx, interval, sources, bursts)
	if err != nil {
		return err
	}
	r.log.Info("measured", "interval", interval, "took", time.Since(begin).Round(time.Second))
	for _, name := range []string{"cpu_exporter", "cpu_kubelet", "requests"} {
		peer := measured["cpu_peer"]
		if name == "requests" {
			peer = nil
		}
		r.print(measured[name].figures(name, interval, peer))
	}
	cost, err := serverCosts(ctx, all, interval)
	if err != nil {
		return err
	}
	r.print(cost)
	running = false
	stop(all)
	if cost, err = costs(ctx, r.c, interval); err != nil {
		return err
	}
	r.print(cost)
	return nil
}

func (r *runner) print(figures []figure.Figure) {
	for _, f := range figures {
		r.report.Add(f)
	}
}
