package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

const (
	namespace = "freshness"
	// Bursts come to one pod after the other, so that 50 take minutes and not
	// hours. Of the pods only some are loaded at once: there are two cores.
	podCount, atOnce = 12, 6
	// A burst: 20 requests a second of 4 ms of cpu each, of which with the
	// sidecar's work some 0.1 core become.
	perSecond, workMillis = 20, 4
	// At rest both are below, and in a burst above.
	restCores, restRequests = 0.02, 2
	stepCores, stepRequests = 0.05, 15
	readyWithin             = 2 * time.Minute
	// kubeletAge is how old the kubelet's own readings get.
	kubeletAge = 15 * time.Second
)

// bench has the pods that are loaded.
type bench struct {
	urls map[string]string // by pod
}

func newBench(ctx context.Context, c *cluster.Cluster) (*bench, error) {
	pods, err := story.Shops(ctx, c, namespace, podCount)
	if err != nil {
		return nil, err
	}
	b := &bench{urls: map[string]string{}}
	for _, p := range pods {
		b.urls[p.Name] = load.URL(p.Status.PodIP, story.ProxyPort, fmt.Sprintf("/work?ms=%d", workMillis))
	}
	return b, nil
}

// until repeats a condition until it holds.
func until(ctx context.Context, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not within %s: %w", readyWithin, err)
		}
		pause(ctx, askEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func send(ctx context.Context, url string, perSecond float64, d time.Duration) error {
	result, err := load.Run(ctx, load.Options{
		Targets: func(context.Context) ([]string, error) { return []string{url}, nil }, Rate: perSecond, Duration: d,
	})
	if err == nil && result.Failed+result.Shed > result.Sent/10 {
		err = fmt.Errorf("%d of %d requests failed, the last by: %v", result.Failed+result.Shed, result.Sent, result.Err)
	}
	return err
}

// length is that of a burst at an interval: in its last quarter even two
// intervals of the kubelet's oldest readings are of nothing else.
func length(interval time.Duration) time.Duration { return (2*interval + kubeletAge) * 4 / 3 }

// measure loads the pods in turn while all sources are asked, until there were
// so many bursts, and gives the times that each source took.
func (b *bench) measure(ctx context.Context, interval time.Duration, sources []source, bursts int) (map[string]*times, error) {
	m := &measurement{bench: b, length: length(interval), interval: interval, slots: make(chan struct{}, atOnce), times: map[string]*times{}}
	asking, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	for _, s := range sources {
		w := watch(s)
		m.watchers, m.times[s.name] = append(m.watchers, w), &times{}
		running.Go(func() { w.run(asking) })
	}
	var begun atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for pod := range b.urls {
		group.Go(func() error {
			for begun.Add(1) <= int64(bursts) {
				if err := m.burst(ctx, pod); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return m.times, group.Wait()
}

// measurement is what goes on at one interval.
type measurement struct {
	*bench
	interval, length time.Duration
	watchers         []*watcher
	slots            chan struct{}

	mu    sync.Mutex
	times map[string]*times
}

// burst waits until a pod rests in all answers, and then any part of an
// interval, or every burst would begin just after a reading.
func (m *measurement) burst(ctx context.Context, pod string) error {
	err := until(ctx, func() error {
		for _, w := range m.watchers {
			if err := w.rests(pod); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for rest: %w", err)
	}
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	pause(ctx, rand.N(m.interval)) // in its slot: the one before had it for whole intervals
	begin := time.Now()
	for _, w := range m.watchers {
		w.begin(pod, begin)
	}
	err = send(ctx, m.urls[pod], perSecond, m.length)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.watchers {
		points := w.end(pod)
		if err != nil {
			continue
		}
		var half, most time.Duration
		if half, most, err = rise(points, w.step); err != nil {
			err = fmt.Errorf("%s of %s: %w", w.name, pod, err)
			continue
		}
		t := m.times[w.name]
		t.half, t.most = append(t.half, half), append(t.most, most)
	}
	return err
}
