package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/strata-metrics/strata/test/bench/process"
)

// warmup is how many scrapes come before the first that counts.
const warmup = 5

// program is an exporter that runs.
type program struct {
	path, url string
	process   *process.Process
}

// answer is what one scrape showed.
type answer struct {
	series, containers int
	ages               time.Duration // of all containers together
	oldest, took       time.Duration
}

// result is what was measured of a program; a mean of all scrapes but for
// oldest, which is the greatest.
type result struct {
	cpuMillis, rss, age, oldest, took, series, containers float64
}

// get reads the endpoint.
func (p *program) get(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", p.url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// scrape reads the endpoint, and how old the memory of each cgroup was when
// the answer was there.
func (p *program) scrape(ctx context.Context) (answer, error) {
	begin := time.Now()
	body, err := p.get(ctx)
	if err != nil {
		return answer{}, err
	}
	end := time.Now()
	a, err := parse(body, end)
	a.took = end.Sub(begin)
	return a, err
}

// parse counts the series of a body and the ages of the values of the
// cgroups that were made.
func parse(body []byte, now time.Time) (answer, error) {
	var a answer
	for line := range bytes.Lines(body) {
		if line[0] == '#' {
			continue
		}
		a.series++
		if !bytes.HasPrefix(line, []byte("container_memory_rss{")) || !bytes.Contains(line, []byte(parent+"/")) {
			continue
		}
		fields := bytes.Fields(line[bytes.LastIndexByte(line, '}')+1:])
		if len(fields) != 2 {
			return a, fmt.Errorf("want a value and a time in %q", line)
		}
		millis, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return a, fmt.Errorf("want a time in %q", line)
		}
		age := now.Sub(time.UnixMilli(millis))
		a.containers++
		a.ages += age
		a.oldest = max(a.oldest, age)
	}
	return a, nil
}

// scrapeAll scrapes the programs in turn for the time that was asked for.
func (s settings) scrapeAll(ctx context.Context, programs []*program) ([]result, error) {
	results := make([]result, len(programs))
	before := make([]time.Duration, len(programs))
	for i, p := range programs {
		for range warmup {
			if _, err := p.scrape(ctx); err != nil {
				return nil, err
			}
		}
		var err error
		if before[i], err = p.process.CPU(); err != nil {
			return nil, err
		}
	}
	begin, scrapes := time.Now(), 0
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for ; time.Since(begin)+s.interval <= s.duration || scrapes == 0; scrapes++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		for i, p := range programs {
			a, err := p.scrape(ctx)
			if err != nil {
				return nil, err
			}
			results[i].take(a)
		}
	}
	minutes := time.Since(begin).Minutes()
	for i, p := range programs {
		after, err := p.process.CPU()
		if err != nil {
			return nil, err
		}
		memory, err := p.process.Memory()
		if err != nil {
			return nil, err
		}
		r := &results[i]
		r.cpuMillis = millis(after-before[i]) / minutes
		r.rss = float64(memory.RSS) / 1e6
		for _, sum := range []*float64{&r.age, &r.took, &r.series, &r.containers} {
			*sum /= float64(scrapes)
		}
	}
	return results, nil
}

func (r *result) take(a answer) {
	if a.containers > 0 {
		r.age += millis(a.ages) / float64(a.containers)
	}
	r.oldest = max(r.oldest, millis(a.oldest))
	r.took += millis(a.took)
	r.series += float64(a.series)
	r.containers += float64(a.containers)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
