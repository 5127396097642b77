package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strata-metrics/strata/test/bench/figure"
)

// stores measures the stores of both programs in memory: how long a writer
// holds up readers with 150,000 pods, and how long a reader takes meanwhile.
func (b *bench) stores(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkStore150000Pods$", "-benchtime=20x",
		"-tags=remove_all_sd,enable_kubernetes_sd", "./pipeline/resource")
	cmd.Dir = b.root
	ours, err := benchmark(cmd)
	if err != nil {
		return err
	}
	peer := map[string]float64{"max-write-ns": figure.Unknown(), "max-read-ns": figure.Unknown()}
	bound := figure.Report
	if b.store != "" {
		if peer, err = benchmark(exec.CommandContext(ctx, b.store)); err != nil {
			return err
		}
		bound = figure.RatioAtMost
	}
	b.report.Note("core_store: longest of 20 rounds, in which all nodes are written once; readers ask for 100 pods all the time")
	b.report.Add(figure.Figure{Name: "core_store_write", Ours: ours["max-write-ns"] / 1e6, Peer: peer["max-write-ns"] / 1e6, Goal: 0.1, Bound: bound, Unit: "ms"})
	b.report.Add(figure.Figure{Name: "core_store_read_p99", Ours: ours["p99-read-ns"] / 1e6, Peer: peer["p99-read-ns"] / 1e6, Unit: "ms"})
	b.report.Add(figure.Figure{Name: "core_store_read_p50", Ours: ours["p50-read-ns"] / 1e6, Peer: figure.Unknown(), Unit: "ms"})
	b.report.Add(figure.Figure{Name: "core_store_wait_max", Ours: ours["max-wait-ns"] / 1e6, Peer: figure.Unknown(), Unit: "ms"})
	b.report.Add(figure.Figure{Name: "core_store_read_max", Ours: ours["max-read-ns"] / 1e6, Peer: peer["max-read-ns"] / 1e6, Goal: 1, Bound: figure.AtMost, Unit: "ms"})
	b.report.Add(figure.Figure{Name: "core_store_read_max_unwritten", Ours: ours["max-alone-ns"] / 1e6, Peer: figure.Unknown(), Unit: "ms"})
	return nil
}

// benchmark runs a command that prints a line of go test -bench and gives its
// values by unit.
func benchmark(cmd *exec.Cmd) (map[string]float64, error) {
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", filepath.Base(cmd.Path), err, out.Bytes(), failed.Bytes())
	}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "Benchmark") {
			continue
		}
		values := map[string]float64{}
		f := strings.Fields(lines.Text())
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark's line %q: %w", lines.Text(), err)
			}
			values[f[i+1]] = v
		}
		return values, nil
	}
	return nil, errors.New("no line of a benchmark was printed")
}
