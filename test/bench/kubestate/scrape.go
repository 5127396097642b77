package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/strata-metrics/strata/test/bench/process"
)

// program is the exporter that runs.
type program struct {
	url     string
	process *process.Process
	client  *http.Client
	body    bytes.Buffer // of the last scrape, as it came
}

// cost is what one scrape took.
type cost struct{ cpu, took time.Duration }

// scrape asks once. The time of the processor is that until the program rests
// again, since garbage is collected behind an answer.
func (p *program) scrape(ctx context.Context, encoding string) (cost, error) {
	before, err := p.rest(ctx)
	if err != nil {
		return cost{}, err
	}
	took, err := p.answer(ctx, encoding)
	if err != nil {
		return cost{}, err
	}
	after, err := p.rest(ctx)
	return cost{cpu: after - before, took: took}, err
}

// answer asks for the body, and gives how long that took.
func (p *program) answer(ctx context.Context, encoding string) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept-Encoding", encoding)
	begin := time.Now()
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	p.body.Reset()
	if _, err := p.body.ReadFrom(response.Body); err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", p.url, response.Status)
	}
	return time.Since(begin), nil
}

// rest waits until the program does nothing any more, and gives the time of the
// processor that it has used.
func (p *program) rest(ctx context.Context) (time.Duration, error) {
	const step, idle, quiet = 100 * time.Millisecond, 2 * time.Millisecond, 3
	last, err := p.process.Running()
	for calm := 0; err == nil && calm < quiet; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(step):
		}
		var now time.Duration
		if now, err = p.process.Running(); now-last < idle {
			calm++
		} else {
			calm = 0
		}
		last = now
	}
	return last, err
}

// content is what a body says: its series, and how often containers began anew.
type content struct{ series, restarts int }

// read reads the last body.
func (p *program) read(gzipped bool) (content, error) {
	var c content
	in := io.Reader(bytes.NewReader(p.body.Bytes()))
	if gzipped {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return c, err
		}
		unpacked.Multistream(false) // browsers read the first member only
		in = unpacked
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Bytes()
		if line[0] == '#' {
			continue
		}
		c.series++
		if bytes.HasPrefix(line, []byte("kube_pod_container_status_restarts_total{")) {
			n, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
			if err != nil {
				return c, err
			}
			c.restarts += n
		}
	}
	return c, lines.Err()
}
