package kubestate

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/internal/metric"
)

// tally counts what happens to objects, by labels, and goes on when they are
// gone. It has a bounded number of series: when there is no room, the one that
// has not counted for the longest, and for an hour at least, makes room; else
// what is to be counted is dropped, and that is counted.
type tally struct {
	family  *metric.Family
	limit   int
	now     func() time.Time
	dropped **prometheus.CounterVec

	mu     sync.Mutex
	counts map[string]*tallied
	order  []string  // keys, sorted
	full   time.Time // before this no series is idle enough
}

// tallied is a series.
type tallied struct {
	labels []string
	value  float64
	last   time.Time
}

// idleEnough is how long a series must not have counted to make room.
const idleEnough = time.Hour

// newTallyDrops counts what tallies have no room for.
func newTallyDrops() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "strata_kubestate_counts_dropped_total",
		Help: "Occurrences that were not counted since their family has as many series as --counter-series-limit allows.",
	}, []string{"family"})
}

func newTally(family *metric.Family, limit int, dropped **prometheus.CounterVec) *tally {
	return &tally{family: family, limit: limit, now: time.Now, dropped: dropped, counts: make(map[string]*tallied)}
}

// add counts.
func (t *tally) add(n float64, labels ...string) {
	key := strings.Join(labels, "\x00")
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts[key]
	if c == nil {
		if len(t.counts) >= t.limit && !t.makeRoom() {
			(*t.dropped).WithLabelValues(t.family.Name()).Add(n)
			return
		}
		c = &tallied{labels: strings.Split(strings.Clone(key), "\x00")}
		if len(c.labels) != len(labels) {
			return // a 0 in a label, which no API server lets through
		}
		t.counts[key] = c
		i, _ := slices.BinarySearch(t.order, key)
		t.order = slices.Insert(t.order, i, key)
	}
	c.value += n
	c.last = t.now()
}

// makeRoom drops the series that has not counted for the longest.
func (t *tally) makeRoom() bool {
	if t.now().Before(t.full) {
		return false // do not look at all of them each time
	}
	oldest := ""
	for key, c := range t.counts {
		if oldest == "" || c.last.Before(t.counts[oldest].last) {
			oldest = key
		}
	}
	c := t.counts[oldest]
	if c == nil {
		return false
	}
	if t.full = c.last.Add(idleEnough); t.now().Before(t.full) {
		return false
	}
	delete(t.counts, oldest)
	if i, ok := slices.BinarySearch(t.order, oldest); ok {
		t.order = slices.Delete(t.order, i, i+1)
	}
	return true
}

// write writes the family, unless it has no series.
func (t *tally) write(b *body) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		return
	}
	b.buf = b.head(t.family, b.buf)
	for _, key := range t.order {
		c := t.counts[key]
		b.buf = t.family.AppendSample(b.buf, c.value, c.labels, nil, nil)
	}
	b.flush(false)
}
