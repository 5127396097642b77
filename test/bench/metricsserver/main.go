// Command metricsserver measures the store of metrics-server in memory, with
// 150,000 pods, and prints a line as go test -bench does: the longest time that
// a write held the lock, and how long reads of 100 pods took meanwhile.
package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/metrics-server/pkg/storage"
)

const (
	nodes       = 1000
	podsPerNode = 150
	rounds      = 20
	asked       = 100
)

func main() {
	store := storage.NewStorage(15 * time.Second)
	began := time.Now()
	var pods []*metav1.PartialObjectMetadata
	for i := range asked {
		pods = append(pods, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace(0), Name: name(i, 0)}})
	}
	store.Store(batch(began, 0))
	store.Store(batch(began, 1))
	if found, err := store.GetPodMetrics(pods...); err != nil || len(found) != asked {
		panic(fmt.Sprintf("%d of %d pods: %v", len(found), asked, err))
	}
	var done atomic.Bool
	var reads []time.Duration
	var reading sync.WaitGroup
	reading.Go(func() {
		for !done.Load() {
			at := time.Now()
			_, _ = store.GetPodMetrics(pods...)
			reads = append(reads, time.Since(at))
		}
	})
	var longest time.Duration
	for round := range rounds {
		next := batch(began, round+2)
		at := time.Now()
		store.Store(next)
		longest = max(longest, time.Since(at))
	}
	done.Store(true)
	reading.Wait()
	slices.Sort(reads)
	fmt.Printf("BenchmarkStore150000Pods %d %d max-write-ns %d p99-read-ns %d max-read-ns\n", rounds,
		longest.Nanoseconds(), reads[len(reads)*99/100].Nanoseconds(), reads[len(reads)-1].Nanoseconds())
}

func namespace(pod int) string { return fmt.Sprintf("team-%02d", pod%100) }

func name(node, pod int) string { return fmt.Sprintf("app-%04d-%08x-%05d", pod, pod*2654435761, node) }

// batch is what all nodes say in one round.
func batch(began time.Time, round int) *storage.MetricsBatch {
	at := began.Add(time.Duration(round) * 15 * time.Second)
	point := storage.MetricsPoint{StartTime: began.Add(-time.Hour), Timestamp: at, CumulativeCPUUsed: uint64(round+1) * 1e9, MemoryUsage: 1 << 20}
	b := &storage.MetricsBatch{Nodes: map[string]storage.MetricsPoint{}, Pods: map[types.NamespacedName]storage.PodMetricsPoint{}}
	for node := range nodes {
		b.Nodes[fmt.Sprintf("node-%04d", node)] = point
		for pod := range podsPerNode {
			b.Pods[types.NamespacedName{Namespace: namespace(pod), Name: name(node, pod)}] = storage.PodMetricsPoint{
				Containers: map[string]storage.MetricsPoint{"app": point},
			}
		}
	}
	return b
}
