package resource

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
)

const (
	benchNodes       = 1000
	benchPodsPerNode = 150
	benchAsked       = 100
)

// benchReading is what one node says in one round.
func benchReading(node, round int, began time.Time) *Reading {
	at := began.Add(time.Duration(round) * DefaultResolution).UnixNano()
	r := &Reading{}
	for pod := range benchPodsPerNode {
		r.containers = append(r.containers, containerReading{
			containerKey: containerKey{namespace: fmt.Sprintf("team-%02d", pod%100), pod: benchPod(node, pod), name: "app"},
			sample:       sample{time: at, start: began.Add(-time.Hour).UnixNano(), cpu: uint64(round+1) * 1e9, memory: 1 << 20},
		})
	}
	slices.SortFunc(r.containers, func(x, y containerReading) int { return x.compare(y.containerKey) })
	r.node = r.containers[0].sample
	return r
}

func benchPod(node, pod int) string {
	return fmt.Sprintf("app-%04d-%08x-%05d", pod, pod*2654435761, node)
}

// BenchmarkStore150000Pods writes all nodes once an iteration, while a reader
// asks for 100 pods all the time. max-write is the longest time of one
// iteration's writes together, so that it compares with a store that takes all
// nodes at once; readers wait for none of it.
func BenchmarkStore150000Pods(b *testing.B) {
	s := newStore()
	began := time.Now()
	before := make([]*nodeState, benchNodes)
	round := func(n int) {
		for i := range before {
			before[i] = next(fmt.Sprintf("node-%04d", i), before[i], benchReading(i, n, began), began, DefaultResolution)
		}
	}
	put := func() {
		for _, n := range before {
			s.put(n)
		}
	}
	round(0)
	put()
	round(1)
	put()
	r := benchPods(b, s)
	var done atomic.Bool
	var reads []time.Duration
	var reading sync.WaitGroup
	reading.Go(func() {
		ctx := request.WithNamespace(b.Context(), "team-00")
		for !done.Load() {
			at := time.Now()
			list, err := r.List(ctx, nil)
			reads = append(reads, time.Since(at))
			if err != nil || len(list.(*metrics.PodMetricsList).Items) != benchAsked {
				b.Errorf("list: %v, %v", list, err)
				return
			}
		}
	})
	var longest time.Duration
	for n := 2; b.Loop(); n++ {
		b.StopTimer()
		round(n)
		b.StartTimer()
		at := time.Now()
		put()
		longest = max(longest, time.Since(at))
	}
	done.Store(true)
	reading.Wait()
	slices.Sort(reads)
	b.ReportMetric(float64(longest.Nanoseconds()), "max-write-ns")
	b.ReportMetric(float64(reads[len(reads)*99/100].Nanoseconds()), "p99-read-ns")
	b.ReportMetric(float64(reads[len(reads)-1].Nanoseconds()), "max-read-ns")
}

type snapshots struct{ *store }

func (s snapshots) Snapshot() *Snapshot { return s.load() }

// benchPods is the API over a store, for 100 pods of one namespace.
func benchPods(b *testing.B, s *store) *Pods {
	b.Helper()
	objects := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for i := range benchAsked {
		err := objects.Add(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-00", Name: benchPod(i*7, 0), Labels: map[string]string{"app": "web"},
		}})
		if err != nil {
			b.Fatal(err)
		}
	}
	return NewPods(cache.NewGenericLister(objects, schema.GroupResource{Resource: "pods"}), snapshots{s})
}
