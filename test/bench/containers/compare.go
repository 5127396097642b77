package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/likeness"
)

// rounds is how often both are compared: the first pass of an exporter is not
// like those that follow.
const rounds = 3

// compare scrapes ours between two scrapes of the peer, which reads everything
// when it is scraped, and holds each series of all groups to it.
func (s settings) compare(ctx context.Context, dir string) (err error) {
	made, err := makeKinds()
	if err != nil {
		return errors.Join(err, made.remove())
	}
	defer func() { err = errors.Join(err, made.remove()) }()
	ours, err := start(dir, s.ours, "/metrics", true, "--disable_metrics=")
	if err != nil {
		return err
	}
	defer ours.process.Stop()
	peer, err := start(dir, s.peer, "/metrics", false, "-all")
	if err != nil {
		return err
	}
	defer peer.process.Stop()
	for _, p := range []*program{ours, peer} {
		if err := p.showsAll(ctx); err != nil {
			return err
		}
	}
	var sum likeness.Result
	for range rounds {
		one, err := likenessOf(ctx, ours, peer)
		if err != nil {
			return err
		}
		sum.Add(one)
	}
	sum.Print(os.Stdout)
	fmt.Printf("compat container right=%d of=%d differs=%d\n", sum.Right, sum.Of, sum.Differs)
	return sum.Err()
}

// likenessOf makes one comparison.
func likenessOf(ctx context.Context, ours, peer *program) (likeness.Result, error) {
	var r likeness.Readings
	var err error
	if r.Before, err = peer.body(ctx); err != nil {
		return likeness.Result{}, err
	}
	if r.Ours, err = ours.later(ctx, time.Now()); err != nil {
		return likeness.Result{}, err
	}
	if r.After, err = peer.body(ctx); err != nil {
		return likeness.Result{}, err
	}
	return r.Compare(differences(), tolerances()), nil
}

// body reads what a program shows of what is compared.
func (p *program) body(ctx context.Context) (likeness.Body, error) {
	text, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	body, err := likeness.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.url, err)
	}
	return body.Keep(compared), nil
}

// compared tells whether a sample is of the machine, of the root or of a
// cgroup of ours. Others on the machine come and go as they like.
func compared(s likeness.Sample) bool {
	id := s.Labels["id"]
	if id == "" {
		return strings.HasPrefix(s.Name, "container_") || strings.HasPrefix(s.Name, "machine_") || strings.HasPrefix(s.Name, "cadvisor_")
	}
	return id == "/" || id == parent || strings.HasPrefix(id, parent+"/")
}

// showsAll waits until a program shows every cgroup that was made.
func (p *program) showsAll(ctx context.Context) error {
	return p.process.Await(ctx, time.Minute, func(ctx context.Context) error {
		body, err := p.body(ctx)
		if err != nil {
			return err
		}
		for _, k := range kinds() {
			if _, ok := body[fmt.Sprintf("container_memory_rss{id=%q}", parent+"/"+k.name)]; !ok {
				return fmt.Errorf("%s is not shown", k.name)
			}
		}
		return nil
	})
}

// later gives a body of which all was read after a time: two readers within a
// second may get the same.
func (p *program) later(ctx context.Context, after time.Time) (body likeness.Body, err error) {
	return body, p.process.Await(ctx, time.Minute, func(ctx context.Context) error {
		if body, err = p.body(ctx); err != nil {
			return err
		}
		if at := body[`container_last_seen{id="/"}`].Value; at <= float64(after.Unix()) {
			return fmt.Errorf("it shows what was read at %.0f", at)
		}
		return nil
	})
}
