// Command apis measures the metrics APIs: strata server with custom metrics
// under the load of autoscalers, strata core with 150,000 pods beside
// metrics-server, both against a cluster that is faked on loopback. It ends by
// itself, prints one line a figure and exits 1 where one falls short.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/fakecluster"
	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/process"
)

// overall ends a run that hangs.
const overall = 15 * time.Minute

// bench is one run of the benchmark.
type bench struct {
	strata, peer, store string // programs
	root                string // of the repository
	dir                 string
	profiles            bool
	report              *figure.Reporter
}

func main() { os.Exit(process.Main(run)) }

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "fake" {
		return fake(ctx, args[1])
	}
	b := &bench{report: figure.NewReporter(os.Stdout)}
	flags := flag.NewFlagSet("apis", flag.ContinueOnError)
	flags.StringVar(&b.root, "root", "../..", "root of the repository")
	flags.StringVar(&b.strata, "strata", "", "program to measure (default ROOT/bin/strata)")
	flags.StringVar(&b.peer, "metrics-server", "", "metrics-server to measure beside it; none leaves its figures out")
	flags.StringVar(&b.store, "metrics-server-store", "", "program that measures metrics-server's store; none leaves its figures out")
	only := flags.String("only", "server,core,store", "parts to run")
	keep := flags.String("dir", "", "directory for logs and data, kept (default one that is removed)")
	flags.BoolVar(&b.profiles, "profiles", false, "write profiles of the server's cpu into -dir")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := b.paths(*keep); err != nil {
		return err
	}
	if *keep == "" {
		defer func() { _ = os.RemoveAll(b.dir) }()
	}
	ctx, cancel := context.WithTimeout(ctx, overall)
	defer cancel()
	return b.all(ctx, strings.Split(*only, ","))
}

// paths makes all paths absolute, since programs run in the directory of logs.
func (b *bench) paths(keep string) error {
	if b.strata == "" {
		b.strata = filepath.Join(b.root, "bin", "strata")
	}
	if b.dir = keep; keep == "" {
		var err error
		if b.dir, err = os.MkdirTemp("", "strata-bench-"); err != nil {
			return fmt.Errorf("directory for logs: %w", err)
		}
	}
	for _, p := range []*string{&b.root, &b.strata, &b.peer, &b.store, &b.dir} {
		if *p == "" {
			continue
		}
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return os.MkdirAll(b.dir, 0o755)
}

func (b *bench) all(ctx context.Context, only []string) error {
	b.report.Note("%d cores, %s; load average %s", runtime.NumCPU(), runtime.Version(), loadAverage())
	parts := []struct {
		name string
		run  func(context.Context) error
	}{{"server", b.server}, {"core", b.core}, {"store", b.stores}}
	for _, p := range parts {
		if !slices.Contains(only, p.name) {
			continue
		}
		begin := time.Now()
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.report.Note("%s took %s; load average %s", p.name, time.Since(begin).Round(time.Second), loadAverage())
	}
	return b.report.Err()
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// fake runs a fake cluster of the options in a file until its input ends; its
// output is where it is found.
func fake(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("options of the fake cluster: %w", err)
	}
	var o fakecluster.Options
	if err := json.Unmarshal(text, &o); err != nil {
		return fmt.Errorf("options of the fake cluster: %w", err)
	}
	c, err := fakecluster.New(o)
	if err != nil {
		return err
	}
	found, err := json.Marshal(c.Info())
	if err != nil {
		return err
	}
	// Complete or not there: whoever waits for it must not read half of it.
	path := filepath.Join(o.Dir, infoFile)
	if err := errors.Join(os.WriteFile(path+".new", found, 0o600), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("tell where the fake cluster is: %w", err)
	}
	return c.Run(ctx)
}

const infoFile = "info.json"

// startFake runs a fake cluster in a process of its own, so that its work is
// not the load generator's.
func (b *bench) startFake(ctx context.Context, name string, o fakecluster.Options) (*process.Process, fakecluster.Info, error) {
	var info fakecluster.Info
	o.Dir = filepath.Join(b.dir, name)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, info, err
	}
	file := filepath.Join(o.Dir, "options.json")
	if err := errors.Join(os.RemoveAll(o.Dir), os.MkdirAll(o.Dir, 0o700), os.WriteFile(file, text, 0o600)); err != nil {
		return nil, info, fmt.Errorf("directory of the fake cluster: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, info, err
	}
	p, err := process.Start(o.Dir, name, self, "fake", file)
	if err != nil {
		return nil, info, err
	}
	err = p.Await(ctx, time.Minute, func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(o.Dir, infoFile))
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &info)
	})
	if err != nil {
		p.Stop()
		return nil, info, err
	}
	return p, info, nil
}

// writeAll writes files into a directory.
func writeAll(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// clean makes an empty directory within that of the run.
func (b *bench) clean(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	return dir, nil
}
