package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// costOver is how long the cost of an interval is measured, with nobody asking.
const costOver = 40 * time.Second

// used is a reading of a container's cpu, by the container exporter.
var used = regexp.MustCompile(`^container_cpu_usage_seconds_total\{(.*)\} (\S+) (\d+)$`)

// reading is cpu in seconds at a time in milliseconds.
type reading struct{ seconds, millis float64 }

// readings are those of the containers of the installation, by pod and container.
func readings(ctx context.Context, c *cluster.Cluster) (map[string]reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(c.Options().NodeIP, "9101")+"/metrics/resource", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return parse(string(body))
}

// parse finds the containers' cpu in the text of /metrics/resource.
func parse(text string) (map[string]reading, error) {
	out := map[string]reading{}
	for line := range strings.Lines(text) {
		m := used.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || !strings.Contains(m[1], `namespace="`+story.Namespace+`"`) && !strings.Contains(m[1], `container="strata-app"`) {
			continue
		}
		seconds, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		millis, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		out[m[1]] = reading{seconds, millis}
	}
	return out, nil
}

// costs are the cores that the installation uses, by container; of core both
// replicas, of the sidecars all.
func costs(ctx context.Context, c *cluster.Cluster, interval time.Duration) ([]figure.Figure, error) {
	before, err := readings(ctx, c)
	if err != nil {
		return nil, err
	}
	pause(ctx, costOver)
	after, err := readings(ctx, c)
	if err != nil {
		return nil, err
	}
	cores := map[string]float64{}
	for series, a := range after {
		b, ok := before[series]
		_, rest, found := strings.Cut(series, `container="`)
		container, _, _ := strings.Cut(rest, `"`)
		if ok && found && a.millis > b.millis {
			cores[container] += (a.seconds - b.seconds) / (a.millis - b.millis) * 1000
		}
	}
	if len(cores) == 0 {
		return nil, fmt.Errorf("the container exporter knows no container of namespace %s", story.Namespace)
	}
	var all []figure.Figure
	for _, name := range slices.Sorted(maps.Keys(cores)) {
		all = append(all, figure.Figure{Name: "freshness_cost_" + name + "_" + interval.String(), Ours: cores[name], Peer: figure.Unknown(), Unit: "cores"})
	}
	return all, nil
}

// serverCosts are the cores that the servers on this machine use.
func serverCosts(ctx context.Context, all []*server, interval time.Duration) ([]figure.Figure, error) {
	before := map[string]float64{}
	begin := time.Now()
	for _, s := range all {
		v, err := s.cpu()
		if err != nil {
			return nil, err
		}
		before[s.name] = v
	}
	pause(ctx, costOver)
	var out []figure.Figure
	for _, s := range all {
		v, err := s.cpu()
		if err != nil {
			return nil, err
		}
		out = append(out, figure.Figure{
			Name: "freshness_cost_process_" + s.name + "_" + interval.String(),
			Ours: (v - before[s.name]) / time.Since(begin).Seconds(), Peer: figure.Unknown(), Unit: "cores",
		})
	}
	return out, nil
}
