package serve

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	dto "github.com/prometheus/client_model/go"

	"github.com/strata-metrics/strata/internal/metric"
)

// Registry is client_golang's, with the metrics of this process and of the Go
// runtime beside it. Those are read into a batch, which costs a fraction of
// what a registry needs to gather, check and sort as many. It is safe for
// concurrent use.
type Registry struct {
	*prometheus.Registry

	mu      sync.Mutex // guards what follows
	process processSelf
	runtime runtimeSelf
	batch   *metric.Batch
}

// NewRegistry makes a registry with the metrics of the Go runtime, of the
// process, and PROGRAM_build_info.
func NewRegistry(program string) *Registry {
	r := &Registry{
		Registry: prometheus.NewRegistry(),
		process:  newProcessSelf(), runtime: newRuntimeSelf(), batch: metric.NewBatch(),
	}
	r.MustRegister(versioncollector.NewCollector(program))
	return r
}

// Gather implements prometheus.Gatherer.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	families, err := r.Registry.Gather()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch.Reset()
	r.collect(r.batch)
	families = append(families, r.batch.Messages()...)
	slices.SortFunc(families, func(f, g *dto.MetricFamily) int { return strings.Compare(f.GetName(), g.GetName()) })
	return families, err
}

// GatherInto implements metric.BatchGatherer.
func (r *Registry) GatherInto(b *metric.Batch) ([]*dto.MetricFamily, error) {
	r.mu.Lock()
	r.collect(b)
	r.mu.Unlock()
	return r.Registry.Gather()
}

func (r *Registry) collect(b *metric.Batch) {
	r.process.collect(b)
	r.runtime.collect(b)
}
