package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/strata-metrics/strata/test/bench/figure"
)

// accepted is what Prometheus 3 asks for by default.
const accepted = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
	"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
	"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

// scrape asks once, with Prometheus' headers, and gives the body as it came.
func (p *program) scrape(ctx context.Context, encoding string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accepted)
	request.Header.Set("Accept-Encoding", encoding)
	request.Header.Set("User-Agent", "Prometheus/3.0")
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %s", p.url, response.Status)
	}
	if got := response.Header.Get("Content-Encoding"); (got == "gzip") != (encoding == "gzip") {
		return nil, fmt.Errorf("%s: asked for %s, got %q", p.url, encoding, got)
	}
	return body, nil
}

// use is what a program used over the scrapes of one kind.
type use struct {
	milliseconds, rss, anonymous, allocations, body float64
}

// compare scrapes both in turn and prints what it cost each. They take turns
// so that whatever else the machine does meets both.
func compare(ctx context.Context, report *figure.Reporter, programs [2]*program, kind, encoding string, scrapes int) error {
	for range warmup {
		for _, p := range programs {
			if _, err := p.scrape(ctx, encoding); err != nil {
				return err
			}
		}
	}
	var meters [2]meter
	for i, p := range programs {
		if err := meters[i].begin(ctx, p, encoding); err != nil {
			return err
		}
	}
	for range scrapes {
		for i := range meters {
			if err := meters[i].scrape(ctx); err != nil {
				return err
			}
		}
	}
	var used [2]use
	for i := range meters {
		var err error
		if used[i], err = meters[i].end(); err != nil {
			return err
		}
	}
	ours, peer := used[0], used[1]
	ratio := func(what string, ours, peer, goal float64, unit string) {
		report.Add(figure.Figure{Name: "node_" + kind + "_" + what, Ours: ours, Peer: peer, Goal: goal, Bound: figure.RatioAtMost, Unit: unit})
	}
	tell := func(what string, ours, peer float64, unit string) {
		report.Add(figure.Figure{Name: "node_" + kind + "_" + what, Ours: ours, Peer: peer, Bound: figure.Report, Unit: unit})
	}
	ratio("cpu", ours.milliseconds, peer.milliseconds, cpuGoal, "ms/scrape")
	ratio("rss", ours.rss, peer.rss, rssGoal, "MB")
	ratio("anonymous", ours.anonymous, peer.anonymous, anonymousGoal, "MB")
	tell("allocations", ours.allocations, peer.allocations, "1/scrape")
	tell("body", ours.body, peer.body, "bytes")
	return nil
}

// meter adds up what a program uses.
type meter struct {
	program  *program
	encoding string

	cpu         float64 // in ms, at the begin
	first, last float64 // allocations that the program told
	sum         use
	scrapes     int
}

func (m *meter) begin(ctx context.Context, p *program, encoding string) error {
	m.program, m.encoding = p, encoding
	body, err := p.scrape(ctx, encoding)
	if err != nil {
		return err
	}
	if m.first, err = mallocs(body, encoding); err != nil {
		return err
	}
	cpu, err := p.process.Running()
	m.cpu = cpu.Seconds() * 1e3
	return err
}

// scrape also reads the memory, which is the other process' time.
func (m *meter) scrape(ctx context.Context) error {
	body, err := m.program.scrape(ctx, m.encoding)
	if err != nil {
		return err
	}
	memory, err := m.program.process.Memory()
	if err != nil {
		return err
	}
	m.scrapes++
	m.sum.rss += float64(memory.RSS) / 1e6
	m.sum.anonymous += float64(memory.Anonymous) / 1e6
	m.sum.body += float64(len(body))
	m.last, err = mallocs(body, m.encoding)
	return err
}

// end gives the means over the scrapes.
func (m *meter) end() (use, error) {
	cpu, err := m.program.process.Running()
	n := float64(m.scrapes)
	return use{
		milliseconds: (cpu.Seconds()*1e3 - m.cpu) / n,
		rss:          m.sum.rss / n,
		anonymous:    m.sum.anonymous / n,
		allocations:  (m.last - m.first) / n,
		body:         m.sum.body / n,
	}, err
}

// mallocs finds the allocations since its start that a program of Go tells.
func mallocs(body []byte, encoding string) (float64, error) {
	if encoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return 0, err
		}
	}
	const name = "\ngo_memstats_mallocs_total "
	_, rest, ok := bytes.Cut(body, []byte(name))
	if !ok {
		return 0, fmt.Errorf("no%s in the body", name)
	}
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return strconv.ParseFloat(string(value), 64)
}
