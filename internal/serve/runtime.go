package serve

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// runtimeSelf says of the Go runtime what client_golang's collector says, under
// the same names. What each is in terms of runtime/metrics is told by the docs
// of runtime.MemStats and of runtime/metrics. It is not safe for concurrent
// use.
type runtimeSelf struct {
	families []runtimeFamily
	samples  []metrics.Sample

	info, goroutines, threads, lastGC, pauses *metric.Family

	version   string
	created   *pprof.Profile
	stats     debug.GCStats
	quantiles []metric.Bound
}

// runtimeFamily is the sum of some values of runtime/metrics.
type runtimeFamily struct {
	family *metric.Family
	add    []int // into samples
}

// The names of runtime/metrics that stand in more than one family.
const (
	heapObjects  = "/memory/classes/heap/objects:bytes"
	heapUnused   = "/memory/classes/heap/unused:bytes"
	heapFree     = "/memory/classes/heap/free:bytes"
	heapReleased = "/memory/classes/heap/released:bytes"
	heapStacks   = "/memory/classes/heap/stacks:bytes"
	mspanInuse   = "/memory/classes/metadata/mspan/inuse:bytes"
	mcacheInuse  = "/memory/classes/metadata/mcache/inuse:bytes"
	tinyAllocs   = "/gc/heap/tiny/allocs:objects"
)

func newRuntimeSelf() runtimeSelf {
	r := runtimeSelf{
		info:       metric.NewGauge("go_info", "Version of Go that this program was built with.", "version"),
		goroutines: metric.NewGauge("go_goroutines", "Goroutines that there are now."),
		threads:    metric.NewGauge("go_threads", "Threads of the system that were created."),
		lastGC:     metric.NewGauge("go_memstats_last_gc_time_seconds", "End of the last garbage collection, in Unix seconds."),
		pauses:     metric.NewSummary("go_gc_duration_seconds", "Pauses of the program for garbage collections, in seconds."),
		version:    runtime.Version(),
		created:    pprof.Lookup("threadcreate"),
		stats:      debug.GCStats{PauseQuantiles: make([]time.Duration, 5)},
	}
	for i := range r.stats.PauseQuantiles {
		r.quantiles = append(r.quantiles, metric.Bound{At: float64(i) / float64(len(r.stats.PauseQuantiles)-1)})
	}
	r.memory()
	r.bounds()
	return r
}

// memory declares the fields of runtime.MemStats.
func (r *runtimeSelf) memory() {
	gauge := func(name, help string, of ...string) { r.sum(metric.NewGauge("go_memstats_"+name, help), of...) }
	counter := func(name, help string, of ...string) { r.sum(metric.NewCounter("go_memstats_"+name, help), of...) }
	gauge("alloc_bytes", "Bytes in heap objects, live or not yet swept; the same as go_memstats_heap_alloc_bytes.", heapObjects)
	counter("alloc_bytes_total", "Bytes allocated for heap objects since the start.", "/gc/heap/allocs:bytes")
	gauge("sys_bytes", "Bytes obtained from the system.", "/memory/classes/total:bytes")
	counter("mallocs_total", "Heap objects allocated since the start.", "/gc/heap/allocs:objects", tinyAllocs)
	counter("frees_total", "Heap objects freed since the start.", "/gc/heap/frees:objects", tinyAllocs)
	gauge("heap_alloc_bytes", "Bytes in heap objects, live or not yet swept.", heapObjects)
	gauge("heap_sys_bytes", "Bytes of the heap obtained from the system.", heapObjects, heapUnused, heapReleased, heapFree)
	gauge("heap_idle_bytes", "Bytes in spans of the heap that hold nothing.", heapReleased, heapFree)
	gauge("heap_inuse_bytes", "Bytes in spans of the heap that hold something.", heapObjects, heapUnused)
	gauge("heap_released_bytes", "Bytes of the heap given back to the system.", heapReleased)
	gauge("heap_objects", "Heap objects, live or not yet swept.", "/gc/heap/objects:objects")
	gauge("stack_inuse_bytes", "Bytes of the heap that are stacks.", heapStacks)
	gauge("stack_sys_bytes", "Bytes obtained from the system for stacks.", heapStacks, "/memory/classes/os-stacks:bytes")
	gauge("mspan_inuse_bytes", "Bytes of the runtime's mspan structures in use.", mspanInuse)
	gauge("mspan_sys_bytes", "Bytes obtained from the system for mspan structures.", mspanInuse, "/memory/classes/metadata/mspan/free:bytes")
	gauge("mcache_inuse_bytes", "Bytes of the runtime's mcache structures in use.", mcacheInuse)
	gauge("mcache_sys_bytes", "Bytes obtained from the system for mcache structures.", mcacheInuse, "/memory/classes/metadata/mcache/free:bytes")
	gauge("buck_hash_sys_bytes", "Bytes of the tables of profiles.", "/memory/classes/profiling/buckets:bytes")
	gauge("gc_sys_bytes", "Bytes of what the runtime notes for the garbage collection.", "/memory/classes/metadata/other:bytes")
	gauge("other_sys_bytes", "Bytes of the rest of the runtime.", "/memory/classes/other:bytes")
	gauge("next_gc_bytes", "Size of the heap at which the next garbage collection ends.", "/gc/heap/goal:bytes")
}

// bounds declares what the runtime was told to keep to.
func (r *runtimeSelf) bounds() {
	gauge := func(name, help, of string) { r.sum(metric.NewGauge(name, help), of) }
	gauge("go_gc_gogc_percent", "Growth of the heap between garbage collections, in percent, as set by GOGC.", "/gc/gogc:percent")
	gauge("go_gc_gomemlimit_bytes", "Bound on the memory of the runtime, as set by GOMEMLIMIT.", "/gc/gomemlimit:bytes")
	gauge("go_sched_gomaxprocs_threads", "Threads that may run Go code at once, as set by GOMAXPROCS.", "/sched/gomaxprocs:threads")
}

// sum declares a family as the sum of values of runtime/metrics.
func (r *runtimeSelf) sum(f *metric.Family, names ...string) {
	of := runtimeFamily{family: f}
	for _, name := range names {
		of.add = append(of.add, r.place(name))
	}
	r.families = append(r.families, of)
}

func (r *runtimeSelf) place(name string) int {
	for i := range r.samples {
		if r.samples[i].Name == name {
			return i
		}
	}
	r.samples = append(r.samples, metrics.Sample{Name: name})
	return len(r.samples) - 1
}

func (r *runtimeSelf) collect(b *metric.Batch) {
	metrics.Read(r.samples)
	for _, f := range r.families {
		total, known := 0.0, true
		for _, i := range f.add {
			// Another version of Go might not know one.
			if r.samples[i].Value.Kind() != metrics.KindUint64 {
				known = false
				break
			}
			total += float64(r.samples[i].Value.Uint64())
		}
		if known {
			b.Add(f.family, total)
		}
	}
	b.Add(r.info, 1, r.version)
	b.Add(r.goroutines, float64(runtime.NumGoroutine()))
	b.Add(r.threads, float64(r.created.Count()))
	debug.ReadGCStats(&r.stats)
	b.Add(r.lastGC, float64(r.stats.LastGC.UnixNano())/1e9)
	for i, pause := range r.stats.PauseQuantiles {
		r.quantiles[i].Value = pause.Seconds()
	}
	b.AddDistribution(r.pauses, metric.Distribution{
		Bounds: r.quantiles, Sum: r.stats.PauseTotal.Seconds(), Count: uint64(r.stats.NumGC),
	}, nil, nil, nil)
}
