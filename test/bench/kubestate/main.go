// Command kubestate measures strata-kubestate on an API server of its own, or on a
// real one that it fills, which holds so many pods of two containers with their
// ReplicaSets, Deployments and nodes: memory after the list and in it, and what a
// scrape costs when nothing, one pod of a hundred or one of ten has changed since
// the last, with the lines in each of their two orders. What stands behind --
// are further flags of strata-kubestate. It prints one line a figure and exits 1
// where one falls short.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/process"
)

// The budgets of docs/design.md, of 10,000 pods.
const (
	rssGoal, cpuGoal, wireGoal = 92.0, 38.0, 9.0 // MB, ms, MB
	podsOfGoals                = 10_000
)

type settings struct {
	program         string
	pods, scrapes   int
	kubeconfig      string // of a real API server; empty means the benchmark's own
	watchList, keep bool
	lasts           time.Duration // of a soak; 0 means scrapes instead
	orders          []string      // of the lines, one after the other
	order           string        // the one that is measured
	flags           []string      // further ones of the program
	dir             string
}

func main() { os.Exit(process.Main(run)) }

func run(ctx context.Context, args []string) error {
	var s settings
	flags := flag.NewFlagSet("kubestate", flag.ContinueOnError)
	flags.StringVar(&s.program, "strata-kubestate", "bin/strata-kubestate", "program to measure")
	flags.IntVar(&s.pods, "pods", podsOfGoals, "pods that the API server has")
	flags.IntVar(&s.scrapes, "scrapes", 10, "scrapes of each sort")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "fill the empty API server of this file, in place of one of our own")
	flags.BoolVar(&s.watchList, "watch-list", true, "whether watches can begin with a list; without, lists come by pages")
	flags.BoolVar(&s.keep, "keep", false, "leave the last and the API server running until interrupted, for profiles at /debug/pprof of the telemetry port")
	orders := flags.String("orders", "family,object", "whose lines stand behind each other, a family's or an object's; a soak takes the first")
	flags.DurationVar(&s.lasts, "soak", 0, "in place of the scrapes: for so long, 200 changes a second, broken watches and forgotten versions")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.flags = flags.Args()
	for _, order := range strings.Split(*orders, ",") {
		if orderFlags()[order] == "" {
			return fmt.Errorf("--orders=%s: want family, object or both with a comma", *orders)
		}
		s.orders = append(s.orders, order)
	}
	if s.pods < 100 || s.scrapes < 1 {
		return fmt.Errorf("--pods=%d --scrapes=%d: want at least 100 pods and a scrape", s.pods, s.scrapes)
	}
	if s.kubeconfig != "" && (s.lasts > 0 || !s.watchList) {
		return errors.New("--kubeconfig: a soak and lists by pages need our own API server, leave it out")
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "strata-bench-"); err != nil {
		return fmt.Errorf("directory for logs: %w", err)
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	report := figure.NewReporter(os.Stdout)
	report.Note("%d cores, %s; %d pods, %d scrapes of each sort, list by watch: %t, further flags: %q", runtime.NumCPU(), runtime.Version(), s.pods, s.scrapes, s.watchList, s.flags)
	if err := s.measure(ctx, report); err != nil {
		return err
	}
	return report.Err()
}

// goal is a figure with a budget, which grows with the pods.
func (s settings) goal(name, unit string, ours, most float64) figure.Figure {
	return figure.Figure{
		Name: s.name(name), Unit: unit, Ours: ours, Peer: figure.Unknown(), Bound: figure.AtMost,
		Goal: most * max(1, float64(s.pods)/podsOfGoals),
	}
}

// name is that of a figure of an order.
func (s settings) name(figure string) string { return "by " + s.order + ", " + figure }

func (s settings) plain(name, unit string, ours float64) figure.Figure {
	return figure.Figure{Name: s.name(name), Unit: unit, Ours: ours, Peer: figure.Unknown()}
}

// cluster is what the program follows.
type cluster interface {
	// change lets a container of n pods, taken by chance, end and begin anew.
	change(ctx context.Context, n int) error
	// begun is how often containers began anew.
	begun() int
}

func (s settings) measure(ctx context.Context, report *figure.Reporter) error {
	if s.kubeconfig != "" {
		filled, err := fill(ctx, report, s.kubeconfig, s.pods)
		if err != nil {
			return err
		}
		return s.each(ctx, report, filled, "--kubeconfig="+s.kubeconfig)
	}
	own := newAPIServer(s.pods, s.watchList)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("port for the API server: %w", err)
	}
	server := &http.Server{Handler: own, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	address := "--apiserver=http://" + l.Addr().String()
	if s.lasts > 0 {
		s.order = s.orders[0]
		return s.endure(ctx, report, own, address)
	}
	return s.each(ctx, report, own, address)
}

// orderFlags are the flags that make the orders.
func orderFlags() map[string]string {
	return map[string]string{"family": "--no-lines-by-object", "object": "--lines-by-object"}
}

// each measures the program with each order of the lines, on a cluster that an
// argument leads it to.
func (s settings) each(ctx context.Context, report *figure.Reporter, api cluster, address string) error {
	for _, s.order = range s.orders {
		if err := s.figures(ctx, report, api, address); err != nil {
			return err
		}
	}
	return nil
}

// figures measures the program with one order.
func (s settings) figures(ctx context.Context, report *figure.Reporter, api cluster, address string) error {
	p, err := s.start(ctx, report, "strata-kubestate", address)
	if err != nil {
		return err
	}
	defer p.process.Stop()
	if err := s.memory(ctx, report, p, "after the list"); err != nil {
		return err
	}
	for _, kind := range []struct {
		name, encoding string
		changed        int
	}{
		{"gzip, nothing changed", "gzip", 0}, {"gzip, 1 % changed", "gzip", s.pods / 100}, {"gzip, 10 % changed", "gzip", s.pods / 10},
		{"plain, nothing changed", "identity", 0}, {"plain, 1 % changed", "identity", s.pods / 100},
	} {
		if err := s.scrapesOf(ctx, report, p, api, kind.name, kind.encoding, kind.changed); err != nil {
			return err
		}
	}
	if err := s.memory(ctx, report, p, "after the scrapes"); err != nil {
		return err
	}
	if s.keep && s.order == s.orders[len(s.orders)-1] {
		<-ctx.Done()
	}
	return nil
}

// scrapesOf measures scrapes of one sort. A body that has not every change is
// an error.
func (s settings) scrapesOf(ctx context.Context, report *figure.Reporter, p *program, api cluster, name, encoding string, changed int) error {
	if _, err := p.scrape(ctx, encoding); err != nil { // the first after another sort is none
		return err
	}
	var sum cost
	var taking time.Duration
	var seen content
	for range s.scrapes {
		before, err := p.rest(ctx)
		if err != nil {
			return err
		}
		if err := api.change(ctx, changed); err != nil {
			return err
		}
		after, err := p.rest(ctx)
		if err != nil {
			return err
		}
		taking += after - before
		c, err := p.scrape(ctx, encoding)
		if err != nil {
			return err
		}
		sum.cpu, sum.took = sum.cpu+c.cpu, sum.took+c.took
		if seen, err = p.read(encoding == "gzip"); err != nil {
			return err
		}
		if seen.restarts != api.begun() {
			return fmt.Errorf("%s: %d containers began anew and the body has %d of them", name, api.begun(), seen.restarts)
		}
	}
	n := float64(s.scrapes)
	cpu, bytes := millis(sum.cpu)/n, float64(p.body.Len())/1e6
	switch {
	case encoding == "gzip" && changed == s.pods/100:
		report.Add(s.goal(name+": CPU a scrape", "ms", cpu, cpuGoal))
	default:
		report.Add(s.plain(name+": CPU a scrape", "ms", cpu))
	}
	if changed > 0 {
		report.Add(s.plain(name+": CPU to take the changes", "ms", millis(taking)/n))
	}
	report.Add(s.plain(name+": a scrape takes", "ms", millis(sum.took)/n))
	if encoding == "gzip" {
		report.Add(s.goal(name+": on the wire", "MB", bytes, wireGoal))
	} else {
		report.Add(s.plain(name+": on the wire", "MB", bytes))
	}
	if changed == 0 {
		report.Add(s.plain(name+": series", "1", float64(seen.series)))
	}
	return nil
}

func (s settings) memory(ctx context.Context, report *figure.Reporter, p *program, when string) error {
	if _, err := p.rest(ctx); err != nil {
		return err
	}
	m, err := p.process.Memory()
	if err != nil {
		return err
	}
	report.Add(s.goal("RSS "+when, "MB", float64(m.RSS)/1e6, rssGoal))
	report.Add(s.plain("peak RSS "+when, "MB", float64(m.Peak)/1e6))
	return nil
}

// start runs the program and waits until it has listed everything.
func (s settings) start(ctx context.Context, report *figure.Reporter, name, address string) (*program, error) {
	path, err := filepath.Abs(s.program)
	if err != nil {
		return nil, err
	}
	var ports [2]string
	for i := range ports {
		free, err := process.FreeAddress()
		if err != nil {
			return nil, err
		}
		ports[i] = strconv.Itoa(free.Port)
	}
	base := "http://127.0.0.1:" + ports[0]
	p := &program{url: base + "/metrics", client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	begin := time.Now()
	p.process, err = process.Start(s.dir, name, path, append([]string{address, "--resources=pods,replicasets,deployments,nodes",
		"--host=127.0.0.1", "--port=" + ports[0], "--telemetry-host=127.0.0.1", "--telemetry-port=" + ports[1], "--web.enable-pprof", orderFlags()[s.order]}, s.flags...)...)
	if err != nil {
		return nil, err
	}
	err = p.process.Await(ctx, 5*time.Minute, func(ctx context.Context) error { return p.ready(ctx, base+"/readyz") })
	if err != nil {
		p.process.Stop()
		return nil, err
	}
	report.Add(s.plain("ready after", "s", time.Since(begin).Seconds()))
	if cpu, err := p.process.CPU(); err == nil {
		report.Add(s.plain("CPU until ready", "s", cpu.Seconds()))
	}
	report.Note("profiles: http://127.0.0.1:%s/debug/pprof/", ports[1])
	return p, nil
}

func (p *program) ready(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
