package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/figure"
)

const (
	changesPerSecond = 200
	tick             = 50 * time.Millisecond
	scrapeEvery      = 15 * time.Second // as Prometheus often does
	breakEvery       = 20 * time.Second
	forgetEvery      = 70 * time.Second
	// growthGoal is the RSS of the last minutes over that of the minutes
	// before: the heap's own breathing is within it, and a leak of a hundred
	// bytes a change is not.
	growthGoal = 1.1
	catchUp    = time.Minute // after the last change
)

// churn is what has happened in a soak.
type churn struct{ updates, creates, deletes, breaks, forgets, scrapes int }

func (c churn) changes() int { return c.updates + c.creates + c.deletes }

func (c churn) String() string {
	return fmt.Sprintf("%d changes (%d updates, %d creates, %d deletes), %d broken watches, %d versions gone, %d scrapes",
		c.changes(), c.updates, c.creates, c.deletes, c.breaks, c.forgets, c.scrapes)
}

// soak is a soak under way.
type soak struct {
	settings
	report *figure.Reporter
	p      *program
	api    *apiServer
	done   churn
	late   time.Duration // the longest scrape

	minutes []float64 // the highest RSS of each

	nextScrape, nextBreak, nextForget time.Duration
}

// endure changes pods for a while: memory is to be flat, and what is shown at
// the end is to be what a fresh program shows.
func (s settings) endure(ctx context.Context, report *figure.Reporter, api *apiServer, address string) error {
	p, err := s.start(ctx, report, "strata-kubestate", address)
	if err != nil {
		return err
	}
	defer p.process.Stop()
	o := &soak{
		settings: s, report: report, p: p, api: api,
		nextScrape: scrapeEvery, nextBreak: breakEvery, nextForget: forgetEvery,
	}
	begin := time.Now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for now := time.Duration(0); now < s.lasts; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now = time.Since(begin)
		if err := o.step(ctx, now); err != nil {
			return err
		}
	}
	report.Add(s.plain("soak: longest scrape", "ms", millis(o.late)))
	report.Add(s.plain("soak: on the wire", "MB", float64(p.body.Len())/1e6))
	growth := growthOf(o.minutes[:max(1, int(s.lasts/time.Minute))])
	report.Add(figure.Figure{Name: s.name("soak: RSS of the second half over that of the first"), Unit: "1", Ours: growth, Peer: figure.Unknown(), Bound: figure.AtMost, Goal: growthGoal})
	lines, different, err := s.compare(ctx, report, p, address)
	if err != nil {
		return err
	}
	report.Add(figure.Figure{Name: s.name("soak: lines other than those of a fresh start"), Unit: "1", Ours: float64(different), Peer: figure.Unknown(), Bound: figure.AtMost})
	report.Note("soak of %s: %s; RSS %.1f MB in the first minute and %.1f MB in the last; %d lines, %d of them other than those of a fresh start",
		s.lasts, o.done, o.minutes[0], o.minutes[max(1, int(s.lasts/time.Minute))-1], lines, different)
	return nil
}

// step does what is due.
func (o *soak) step(ctx context.Context, now time.Duration) error {
	// By the clock, so that ticks which come late are made up for.
	for due := int(min(now, o.lasts).Seconds() * changesPerSecond); o.done.changes() < due; {
		o.done.change(o.api, o.pods)
	}
	if now >= o.nextForget {
		o.api.drop("pods", true)
		o.done.forgets++
		o.nextForget, o.nextBreak = now+forgetEvery, now+breakEvery
	} else if now >= o.nextBreak {
		o.api.drop("pods", false)
		o.done.breaks++
		o.nextBreak = now + breakEvery
	}
	if now >= o.nextScrape {
		took, err := o.p.answer(ctx, "gzip")
		if err != nil {
			return err
		}
		o.done.scrapes++
		o.nextScrape, o.late = now+scrapeEvery, max(o.late, took)
	}
	m, err := o.p.process.Memory()
	if err != nil {
		return err
	}
	for minute := int(now / time.Minute); len(o.minutes) <= minute; {
		if n := len(o.minutes); n > 0 {
			o.report.Add(o.plain(fmt.Sprintf("soak: highest RSS in minute %d", n), "MB", o.minutes[n-1]))
		}
		o.minutes = append(o.minutes, 0)
	}
	last := &o.minutes[len(o.minutes)-1]
	*last = max(*last, float64(m.RSS)/1e6)
	return nil
}

// growthOf is the mean of the second half over that of the first, of which the
// first minute, in which the memory still fills, is not.
func growthOf(minutes []float64) float64 {
	if len(minutes) > 2 {
		minutes = minutes[1:]
	}
	mean := func(of []float64) float64 {
		sum := 0.0
		for _, v := range of {
			sum += v
		}
		return sum / float64(len(of))
	}
	half := len(minutes) / 2
	if half == 0 {
		return 1
	}
	return mean(minutes[half:]) / mean(minutes[:half])
}

// change does one thing to one pod. The number of pods stays about the same.
func (c *churn) change(api *apiServer, pods int) {
	api.mu.Lock()
	defer api.mu.Unlock()
	switch n := len(api.objects["pods"]); {
	case rand.IntN(10) < 6:
		api.restart(rand.IntN(n))
		c.updates++
	case n < pods, n == pods && rand.IntN(2) == 0:
		api.create()
		c.creates++
	default:
		api.remove()
		c.deletes++
	}
}

// compare holds the program's body against that of one that has just begun. A
// watch that was broken at the end has a minute to come back.
func (s settings) compare(ctx context.Context, report *figure.Reporter, p *program, address string) (lines, different int, err error) {
	fresh, err := s.start(ctx, report, "fresh", address)
	if err != nil {
		return 0, 0, err
	}
	defer fresh.process.Stop()
	if _, err := fresh.answer(ctx, "identity"); err != nil {
		return 0, 0, err
	}
	want := sorted(fresh.body.Bytes())
	for limit := time.Now().Add(catchUp); ; {
		if _, err := p.answer(ctx, "identity"); err != nil {
			return 0, 0, err
		}
		missing, added := difference(want, sorted(p.body.Bytes()))
		if len(missing)+len(added) == 0 || time.Now().After(limit) {
			for _, line := range missing[:min(5, len(missing))] {
				report.Note("missing: %s", line)
			}
			for _, line := range added[:min(5, len(added))] {
				report.Note("added: %s", line)
			}
			return len(want), len(missing) + len(added), nil
		}
		select {
		case <-ctx.Done():
			return 0, 0, errors.New("interrupted while the bodies were compared")
		case <-time.After(time.Second):
		}
	}
}

// sorted gives a body's lines about objects.
func sorted(body []byte) []string {
	var lines []string
	in := bufio.NewScanner(bytes.NewReader(body))
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		if line := in.Text(); strings.HasPrefix(strings.TrimPrefix(line, "# HELP "), "kube_") || strings.HasPrefix(line, "# TYPE kube_") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// difference is of two sorted lists; a line that is there twice counts as added.
func difference(want, got []string) (missing, added []string) {
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0] < got[0]:
			missing, want = append(missing, want[0]), want[1:]
		case len(want) == 0 || got[0] < want[0]:
			added, got = append(added, got[0]), got[1:]
		default:
			want, got = want[1:], got[1:]
		}
	}
	return missing, added
}
