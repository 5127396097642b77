// Command nodehost measures strata-node beside node_exporter on this host: what
// a scrape costs each of them, what they hold in memory, and whether the peer
// shows a series that Strata does not. It prints one line a figure and exits 1
// where one falls short or a series is missing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/process"
)

const (
	// overall ends a run that hangs.
	overall = 5 * time.Minute
	// warmup is how many scrapes each program answers before it is measured:
	// its heap has its size then, and what it keeps of the host is known.
	warmup = 30
	// The budgets of docs/design.md, as ratios to the peer.
	cpuGoal, rssGoal, anonymousGoal = 0.25, 0.8, 1.0
)

func main() { os.Exit(process.Main(run)) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("nodehost", flag.ContinueOnError)
	ours := flags.String("strata-node", "bin/strata-node", "program to measure")
	peer := flags.String("node-exporter", "bin/bench/node_exporter", "program to measure beside it")
	scrapes := flags.Int("scrapes", 300, "scrapes of each program, in plain text and as many with gzip")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "strata-bench-")
	if err != nil {
		return fmt.Errorf("directory for logs: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(ctx, overall)
	defer cancel()
	programs := [2]*program{}
	for i, path := range []string{*ours, *peer} {
		if programs[i], err = start(ctx, dir, path); err != nil {
			return err
		}
		defer programs[i].process.Stop()
	}
	report := figure.NewReporter(os.Stdout)
	report.Note("%d cores, %s; load average %s", runtime.NumCPU(), runtime.Version(), loadAverage())
	for _, kind := range []struct{ name, encoding string }{{"plain", "identity"}, {"gzip", "gzip"}} {
		if err := compare(ctx, report, programs, kind.name, kind.encoding, *scrapes); err != nil {
			return err
		}
	}
	report.Note("load average %s", loadAverage())
	return errors.Join(compatible(ctx, programs), report.Err())
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// program is an exporter that runs, scraped over one connection as Prometheus
// does.
type program struct {
	process *process.Process
	client  *http.Client
	url     string
}

// start runs an exporter with its default flags but for the address, and waits
// until it answers.
func start(ctx context.Context, dir, path string) (*program, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	free, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	address := free.String()
	p := &program{client: &http.Client{Transport: &http.Transport{DisableCompression: true}}, url: "http://" + address + "/metrics"}
	if p.process, err = process.Start(dir, filepath.Base(path), path, "--web.listen-address="+address); err != nil {
		return nil, err
	}
	err = p.process.Await(ctx, time.Minute, func(ctx context.Context) error {
		_, err := p.scrape(ctx, "identity")
		return err
	})
	if err != nil {
		p.process.Stop()
		return nil, err
	}
	return p, nil
}
