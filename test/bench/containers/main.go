// Command containers measures strata-container beside cAdvisor on cgroups that
// it makes, each with a process that sleeps: what a scrape each 15 s costs, what
// they hold in memory, and how old a value is when it is scraped. It needs
// root. It prints one line a figure and exits 1 where one falls short.
//
// With -compare it measures nothing, but holds every series of every group to
// cAdvisor's, on cgroups whose processes are busy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/process"
)

// The budgets of docs/design.md, as ratios to the peer.
const cpuGoal, rssGoal = 0.2, 0.6

// ageGoal bounds the age of our oldest value at the end of its scrape.
const ageGoal = 1000 // milliseconds

type settings struct {
	ours, peer         string
	duration, interval time.Duration
	counts             []int
}

func main() { os.Exit(process.Main(run)) }

func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == busyArgument {
		return busy(ctx)
	}
	var s settings
	flags := flag.NewFlagSet("containers", flag.ContinueOnError)
	flags.StringVar(&s.ours, "strata-container", "bin/strata-container", "program to measure")
	flags.StringVar(&s.peer, "cadvisor", "bin/bench/cadvisor", "program to measure beside it")
	flags.DurationVar(&s.duration, "duration", 5*time.Minute, "how long each number of cgroups is measured")
	flags.DurationVar(&s.interval, "interval", 15*time.Second, "time between scrapes")
	counts := flags.String("cgroups", "20,100,300", "numbers of cgroups, one after the other")
	alike := flags.Bool("compare", false, "compare the series of both instead of measuring")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*counts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("--cgroups=%s: want numbers with commas", *counts)
		}
		s.counts = append(s.counts, n)
	}
	dir, err := os.MkdirTemp("", "strata-bench-")
	if err != nil {
		return fmt.Errorf("directory for logs: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *alike {
		return s.compare(ctx, dir)
	}
	report := figure.NewReporter(os.Stdout)
	report.Note("%d cores, %s; %s of each, a scrape every %s", runtime.NumCPU(), runtime.Version(), s.duration, s.interval)
	for _, n := range s.counts {
		if err := s.measure(ctx, report, dir, n); err != nil {
			return err
		}
	}
	return report.Err()
}

// measure compares the programs on n cgroups.
func (s settings) measure(ctx context.Context, report *figure.Reporter, dir string, n int) (err error) {
	made, err := makeCgroups(n)
	if err != nil {
		return errors.Join(err, made.remove())
	}
	defer func() { err = errors.Join(err, made.remove()) }()
	var programs [2]*program
	for i, path := range []string{s.ours, s.peer} {
		if programs[i], err = start(dir, path, "/metrics/cadvisor", i == 0); err != nil {
			return err
		}
		defer programs[i].process.Stop()
		if err := programs[i].ready(ctx); err != nil {
			return err
		}
	}
	results, err := s.scrapeAll(ctx, programs[:])
	if err != nil {
		return err
	}
	ours, peer := results[0], results[1]
	name := strconv.Itoa(n) + " cgroups: "
	report.Add(figure.Figure{Name: name + "CPU a minute", Unit: "ms", Ours: ours.cpuMillis, Peer: peer.cpuMillis, Goal: cpuGoal, Bound: figure.RatioAtMost})
	report.Add(figure.Figure{Name: name + "RSS", Unit: "MB", Ours: ours.rss, Peer: peer.rss, Goal: rssGoal, Bound: figure.RatioAtMost})
	report.Add(figure.Figure{Name: name + "age of the oldest value", Unit: "ms", Ours: ours.oldest, Peer: peer.oldest, Goal: ageGoal, Bound: figure.AtMost})
	report.Add(figure.Figure{Name: name + "age of a value, mean", Unit: "ms", Ours: ours.age, Peer: peer.age})
	report.Add(figure.Figure{Name: name + "a scrape takes", Unit: "ms", Ours: ours.took, Peer: peer.took})
	report.Add(figure.Figure{Name: name + "series", Ours: ours.series, Peer: peer.series})
	for i, r := range results {
		if r.containers < float64(n) {
			return fmt.Errorf("%s shows %.0f of the %d cgroups", filepath.Base(programs[i].path), r.containers, n)
		}
	}
	return nil
}

// start runs a program.
func start(dir, path, endpoint string, ours bool, arguments ...string) (*program, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	free, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	address := free.String()
	listen := "--listen-address=" + address
	if ours {
		listen = "--web.listen-address=" + address
	}
	p := &program{path: path, url: "http://" + address + endpoint}
	p.process, err = process.Start(dir, filepath.Base(path), path, append(arguments, listen)...)
	return p, err
}

// ready waits until it answers.
func (p *program) ready(ctx context.Context) error {
	return p.process.Await(ctx, time.Minute, func(ctx context.Context) error { _, err := p.scrape(ctx); return err })
}
