package resource

import (
	"fmt"
	"slices"
	"strings"
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

// benchReading is what one node says in one round, after what it said in the
// round before. Like a parser it makes a string for each container.
func benchReading(node, round int, before *Reading, began time.Time) *Reading {
	at := sample{
		time: began.Add(time.Duration(round) * DefaultResolution).UnixNano(), start: began.Add(-time.Hour).UnixNano(),
		cpu: uint64(round+1) * 1e9, memory: 1 << 20,
	}
	r := &Reading{node: at}
	if before != nil {
		r.containers = slices.Clone(before.containers)
		for i := range r.containers {
			r.containers[i].sample = at
			r.containers[i].pod = strings.Clone(r.containers[i].pod)
		}
		return r
	}
	for pod := range benchPodsPerNode {
		r.containers = append(r.containers, containerReading{
			containerKey: containerKey{namespace: fmt.Sprintf("team-%02d", pod%100), pod: benchPod(node, pod), name: "app"},
			sample:       at,
		})
	}
	slices.SortFunc(r.containers, func(x, y containerReading) int { return x.compare(y.containerKey) })
	return r
}

func benchPod(node, pod int) string {
	return fmt.Sprintf("app-%04d-%08x-%05d", pod, pod*2654435761, node)
}

// BenchmarkStore150000Pods writes all nodes once an iteration, while a reader
// asks for 100 pods all the time. max-write is the longest time of one
// iteration's writes together, so that it compares with a store that takes all
// nodes at once; readers wait for none of it. As the collector does, the writer
// gives way after each node. max-alone is the longest read while nobody writes.
func BenchmarkStore150000Pods(b *testing.B) {
	s := newStore()
	began := time.Now()
	before := make([]*nodeState, benchNodes)
	readings := make([]*Reading, benchNodes)
	round := func(n int) (took time.Duration) {
		for i := range before {
			readings[i] = benchReading(i, n, readings[i], began)
			before[i] = next(fmt.Sprintf("node-%04d", i), before[i], readings[i], began, DefaultResolution)
			at := time.Now()
			s.put(before[i])
			took += time.Since(at)
			giveWay()
		}
		return took
	}
	round(0)
	round(1)
	shots := &snapshots{store: s}
	r := benchPods(b, shots)
	// asking reads all the time while something else is done.
	asking := func(meanwhile func()) []time.Duration {
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
		meanwhile()
		done.Store(true)
		reading.Wait()
		slices.Sort(reads)
		return reads
	}
	var longest time.Duration
	start := time.Now()
	reads := asking(func() {
		for n := 2; b.Loop(); n++ {
			longest = max(longest, round(n))
		}
	})
	took := time.Since(start)
	alone := asking(func() { time.Sleep(took) }) // what the machine and the reader's own garbage cost
	b.ReportMetric(float64(longest.Nanoseconds()), "max-write-ns")
	b.ReportMetric(float64(reads[len(reads)*99/100].Nanoseconds()), "p99-read-ns")
	b.ReportMetric(float64(reads[len(reads)-1].Nanoseconds()), "max-read-ns")
	b.ReportMetric(float64(reads[len(reads)/2].Nanoseconds()), "p50-read-ns")
	b.ReportMetric(float64(alone[len(alone)-1].Nanoseconds()), "max-alone-ns")
	b.ReportMetric(float64(shots.longest.Nanoseconds()), "max-wait-ns")
}

// snapshots measures how long its one reader waits for the store.
type snapshots struct {
	*store
	longest time.Duration
}

func (s *snapshots) Snapshot() *Snapshot {
	at := time.Now()
	snapshot := s.load()
	s.longest = max(s.longest, time.Since(at))
	return snapshot
}

// benchPods is the API over a store, for 100 pods of one namespace.
func benchPods(b *testing.B, s Snapshots) *Pods {
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
	return NewPods(cache.NewGenericLister(objects, schema.GroupResource{Resource: "pods"}), s)
}
