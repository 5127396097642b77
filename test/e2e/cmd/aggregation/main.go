// Command aggregation measures what an autoscaler sees of custom and resource
// metrics through the aggregation layer of a real API server, which passes each
// request on to Strata: how long answers take at a fixed rate, and how many
// there are. It uses the cluster of `make cluster` when that runs, or starts and
// ends one.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/load"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
	"github.com/strata-metrics/strata/test/e2e/setup"
	"github.com/strata-metrics/strata/test/e2e/story"
)

const (
	namespace   = "aggregation"
	podCount    = 12
	rate        = 50 // requests a second
	latencyTime = 20 * time.Second
	closedTime  = 10 * time.Second
	readyWithin = 2 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "aggregation:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
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
	if _, err := story.Shops(ctx, c, namespace, podCount); err != nil {
		return err
	}
	report := figure.NewReporter(out)
	for _, api := range []struct{ name, path string }{
		{"custom", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/http_requests_per_second"},
		{"resource", "/apis/metrics.k8s.io/v1beta1/namespaces/" + namespace + "/pods"},
	} {
		if err := measure(ctx, c, report, api.name, api.path); err != nil {
			return fmt.Errorf("%s: %w", api.name, err)
		}
	}
	return report.Err()
}

// measure asks one API for all pods, as a controller does: over one connection,
// and for the rate over two.
func measure(ctx context.Context, c *cluster.Cluster, report *figure.Reporter, name, path string) error {
	conf, err := rest.TLSConfigFor(c.RESTConfig())
	if err != nil {
		return err
	}
	clients := make([]*load.Client, 2)
	for i := range clients {
		if clients[i], err = load.NewClient(conf, complete, c.RESTConfig().Host+path); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	if err := ready(ctx, clients[0]); err != nil {
		return err
	}
	fixed, err := load.Fixed(ctx, clients[0], rate, latencyTime)
	if err != nil {
		return err
	}
	closed, err := load.Closed(ctx, clients, 8, closedTime)
	if err != nil {
		return err
	}
	for _, r := range []*load.Result{fixed, closed} {
		if r.Failed > 0 {
			return fmt.Errorf("%d of %d answers failed: %w", r.Failed, r.Sent, r.Err)
		}
	}
	report.Note("%s of %d pods through the aggregation layer, all on this machine; %d a second, then 16 open requests", name, podCount, rate)
	for _, f := range []figure.Figure{
		{Name: "p50", Ours: fixed.Quantile(0.5), Unit: "ms"},
		{Name: "p99", Ours: fixed.Quantile(0.99), Unit: "ms"},
		{Name: "rate", Ours: closed.Rate(), Unit: "1/s"},
	} {
		f.Name, f.Peer = "aggregated_"+name+"_"+f.Name, figure.Unknown()
		report.Add(f)
	}
	return nil
}

// complete holds an answer to all pods.
func complete(status int, body []byte) error {
	if status != http.StatusOK {
		return fmt.Errorf("status %d", status)
	}
	if n := bytes.Count(body, []byte(`"timestamp"`)); n != podCount {
		return fmt.Errorf("%d of %d pods", n, podCount)
	}
	return nil
}

// ready waits for a complete answer.
func ready(ctx context.Context, c *load.Client) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		_, err := c.Get(ctx, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", readyWithin, err)
		case <-time.After(time.Second):
		}
	}
}
