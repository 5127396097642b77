package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/load"
)

// floodOpen is how many lists the flood has open all the time.
const floodOpen = 16

// flood measures an autoscaler's reads while somebody else lists all pods of
// the largest namespace as fast as it goes.
func (b *bench) flood(ctx context.Context, s *stack) error {
	quiet, err := s.ask(ctx, hpaUser, 10, s.question(10), latencyRate)
	if err != nil {
		return err
	}
	// A list that is turned away is as good as an answer: it is asked again.
	list, err := s.client(floodUser, 1500, s.question(1500))
	if err != nil {
		return err
	}
	defer list.Close()
	var flood *load.Result
	var floodErr error
	var both sync.WaitGroup
	both.Go(func() { flood, floodErr = load.Closed(ctx, []*load.Client{list}, floodOpen, latencyTime+4*time.Second) })
	busy, err := s.ask(ctx, hpaUser, 10, s.question(10), latencyRate)
	both.Wait()
	if err != nil {
		return fmt.Errorf("during the flood: %w", err)
	}
	if floodErr != nil {
		return floodErr
	}
	b.report.Note("flood: %d lists of 1,500 pods open all the time, by another user: %.0f/s answered, %d turned away; autoscaler: pods/* of 10 pods, max %.1f ms before and %.1f ms in it",
		floodOpen, flood.Rate(), flood.Failed, quiet.Max(), busy.Max())
	b.report.Add(figure.Figure{Name: "hpa_read_p99", Ours: quiet.Quantile(0.99), Peer: figure.Unknown(), Unit: "ms"})
	b.report.Add(figure.Figure{Name: "hpa_read_p99_in_flood", Ours: busy.Quantile(0.99), Peer: figure.Unknown(), Unit: "ms"})
	return nil
}
