package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// probeCommand is `strata probe`, which `helm test` runs in the cluster, where
// an image has no shell.
func probeCommand() command {
	return command{name: "probe", help: "Wait until servers are ready and queries have results; fail naming what has not come true.",
		setup: func(cmd *kingpin.CmdClause, _ *env) func(context.Context) error {
			p := &probe{out: os.Stdout}
			cmd.Flag("ready", "URL that must answer with a status from 200 to 299; may be repeated.").PlaceHolder("<url>").StringsVar(&p.ready)
			cmd.Flag("server", "Prometheus-compatible server that is asked the queries.").PlaceHolder("<url>").StringVar(&p.server)
			cmd.Flag("query", "PromQL that must give at least one series; may be repeated.").PlaceHolder("<promql>").StringsVar(&p.queries)
			duration(cmd, "timeout", "Longest wait for all of it.", &p.timeout).Default("1m")
			duration(cmd, "interval", "Time between two tries.", &p.interval).Default("1s")
			return p.run
		}}
}

// probe is one run of the command.
type probe struct {
	ready    []string
	server   string
	queries  []string
	timeout  model.Duration
	interval model.Duration
	out      io.Writer
}

var errEmpty = errors.New("no series")

func (p *probe) run(ctx context.Context) error {
	if len(p.ready)+len(p.queries) == 0 {
		return usagef("nothing to probe: give --ready or --query")
	}
	if len(p.queries) > 0 && p.server == "" {
		return usagef("--query needs --server, the URL of the server to ask")
	}
	if p.interval <= 0 {
		return usagef("--interval must be above 0, not %s", p.interval)
	}
	for _, u := range append([]string{p.server}, p.ready...) {
		if parsed, err := url.Parse(u); err != nil || u != "" && parsed.Host == "" {
			return usagef("%q is not a URL; write http://host:port/path", u)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.timeout))
	defer cancel()
	client := &http.Client{Timeout: 10 * time.Second}
	for _, u := range p.ready {
		if err := p.await(ctx, u, func() error { return ready(ctx, client, u) }); err != nil {
			return err
		}
	}
	if len(p.queries) == 0 {
		return nil
	}
	c, err := api.NewClient(api.Config{Address: p.server})
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	for _, q := range p.queries {
		if err := p.await(ctx, q, func() error { return hasSeries(ctx, promv1.NewAPI(c), q) }); err != nil {
			return err
		}
	}
	return nil
}

// await tries until it works or the time is up, and prints that it did.
func (p *probe) await(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(time.Duration(p.interval))
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			_, _ = fmt.Fprintln(p.out, "ok  ", what)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, p.timeout, err)
		case <-tick.C:
		}
	}
}

func ready(ctx context.Context, client *http.Client, u string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return errors.New(resp.Status)
	}
	return nil
}

func hasSeries(ctx context.Context, server promv1.API, q string) error {
	v, _, _, err := server.Query(ctx, q, time.Time{})
	if err != nil {
		return err
	}
	if vector, ok := v.(model.Vector); ok && len(vector) == 0 {
		return errEmpty
	}
	return nil
}
