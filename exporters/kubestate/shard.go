package kubestate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Shard is one of several parts of all objects, which different exporters
// show. Which object is in which part depends on its UID alone, and is what
// kube-state-metrics says, so that exporters of both sorts can share a
// cluster. The zero value is all objects.
type Shard struct {
	Ordinal int32 // counted from 0
	Total   int   // 0 means 1
}

func (s Shard) validate() error {
	switch {
	case s.Total < 0 || s.Ordinal < 0:
		return fmt.Errorf("%w: --shard %d of --total-shards %d: they cannot be below 0", ErrUsage, s.Ordinal, s.Total)
	case int(s.Ordinal) >= max(1, s.Total):
		return fmt.Errorf("%w: --shard %d is none of --total-shards %d: shards are counted from 0", ErrUsage, s.Ordinal, max(1, s.Total))
	}
	return nil
}

// keeps says whether an object is in the part.
func (s Shard) keeps(o metav1.Object) bool {
	if s.Ordinal == 0 && s.Total == 1 {
		return true
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(o.GetUID()))
	return jump(hash.Sum64(), s.Total) == s.Ordinal
}

// jump is the jump consistent hash of Lamping and Veach
// (https://arxiv.org/abs/1406.2294): of n buckets that for a key. One bucket
// more takes its share of keys from the others and moves no others. It is -1
// when there is no bucket.
func jump(key uint64, n int) int32 {
	bucket, next := int64(-1), int64(0)
	for next < int64(n) {
		bucket = next
		key = key*2862933555777941757 + 1
		next = int64(float64(bucket+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return int32(bucket)
}

// sharding is the part that is followed now. It is not known yet while the
// StatefulSet that says so has not answered.
type sharding struct {
	ordinal *prometheus.GaugeVec
	total   prometheus.Gauge

	mu      sync.Mutex
	shard   Shard
	known   bool
	changed chan struct{} // closed by a change
}

func newSharding() *sharding {
	return &sharding{
		ordinal: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kube_state_metrics_shard_ordinal",
			Help: "Which part of the objects this exporter shows, counted from 0.",
		}, []string{"shard_ordinal"}),
		total: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_state_metrics_total_shards",
			Help: "Parts that this exporter takes the objects to be split into.",
		}),
		changed: make(chan struct{}),
	}
}

// set says which part is to be followed from now on, and whether that is new.
func (s *sharding) set(to Shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && s.shard == to {
		return false
	}
	s.shard, s.known = to, true
	s.ordinal.Reset()
	s.ordinal.WithLabelValues(strconv.Itoa(int(to.Ordinal))).Set(float64(to.Ordinal))
	s.total.Set(float64(to.Total))
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

func (s *sharding) now() (shard Shard, known bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shard, s.known, s.changed
}

func (s *sharding) ready() error {
	if _, known, _ := s.now(); !known {
		return errors.New("which shard this is, is not known yet")
	}
	return nil
}

// each follows one part after the other: it calls follow with a context that
// ends when the part changes, until its own context ends.
func (s *sharding) each(ctx context.Context, follow func(context.Context, Shard)) {
	for ctx.Err() == nil {
		shard, known, changed := s.now()
		if !known {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		turn, cancel := context.WithCancel(ctx)
		var wait sync.WaitGroup
		wait.Go(func() {
			defer cancel()
			select {
			case <-changed:
			case <-turn.Done():
			}
		})
		follow(turn, shard)
		cancel()
		wait.Wait()
	}
}
