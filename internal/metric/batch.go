package metric

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Batch holds the samples of one scrape. It is filled by collectors, written
// once and used again: after the first scrapes it allocates nothing. It is not
// safe for concurrent use; a collector that runs beside others has its own,
// merged by the one who waits for it.
type Batch struct {
	groups  []group         // one per family ever seen, kept by Reset
	index   map[*Family]int // into groups
	order   []int           // into groups, sorted by name
	recent  int             // into groups: that of the sample before
	samples []sample
	arena   []byte // label values, and names of extra labels, each behind its length; then where a bound is
	limit   int
	dropped int
	meter   *atomic.Int64
}

// group chains the samples of a family in the order of their arrival, so that
// collectors may add to their families in any order and no sort is needed.
type group struct {
	family     *Family
	head, tail int           // into samples; -1 for none
	meter      *atomic.Int64 // of the batch that it was merged from; nil for none
}

// expose counts bytes of an answer for whom the group is metered.
func (g *group) expose(bytes int) {
	if g.meter != nil {
		g.meter.Add(int64(bytes))
	}
}

type sample struct {
	value  float64
	millis int64 // Unix time; 0 means none
	labels int   // where they start in the arena
	size   int   // their bytes in the arena
	next   int   // -1 ends the chain
	extra  int32 // pairs of name and value behind the declared values
	role   role
}

// role is what a sample is of its histogram or summary.
type role uint8

// The roles, in their order. Whole is the value of any other type.
const (
	whole role = iota
	bound
	sum
	count
)

// Distribution is the value of a histogram or summary that was counted
// elsewhere.
type Distribution struct {
	Bounds []Bound // each once, by rising At; a bucket of a histogram for +Inf is added where it is missing
	Sum    float64
	Count  uint64
}

// Bound is a bucket of a histogram, the count of what is not above At; or a
// quantile of a summary and its value.
type Bound struct{ At, Value float64 }

// maxGroups bounds the families that a batch remembers, for those whose names
// come and go.
const maxGroups = 20_000

// NewBatch makes an empty batch.
func NewBatch() *Batch { return &Batch{index: map[*Family]int{}} }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	if len(b.groups) > maxGroups {
		b.groups, b.order = nil, nil
		clear(b.index)
	}
	for i := range b.groups {
		b.groups[i].head, b.groups[i].tail, b.groups[i].meter = -1, -1, nil
	}
	b.samples, b.arena, b.dropped = b.samples[:0], b.arena[:0], 0
}

// SetLimit bounds the samples that the batch takes; what comes after them is
// dropped and counted. 0 takes away the bound.
func (b *Batch) SetLimit(samples int) { b.limit = samples }

// SetMeter says where the answers are counted that hold the families of this
// batch, once it is merged into theirs: in bytes before compression, in
// whichever format each is. A family of several batches is counted for the last
// of them. nil counts nothing.
func (b *Batch) SetMeter(exposed *atomic.Int64) { b.meter = exposed }

// Len is the number of samples held.
func (b *Batch) Len() int { return len(b.samples) }

// Dropped is the number of samples refused since Reset, see SetLimit.
func (b *Batch) Dropped() int { return b.dropped }

// Add appends a sample of f with the values of its labels in the order of the
// declaration. Bytes that are not UTF-8 become U+FFFD, since Prometheus
// refuses a whole scrape for one of them. It panics when the number of labels
// is not that of the family: a mistake of the program.
func (b *Batch) Add(f *Family, value float64, labels ...string) {
	b.add(f, sample{value: value}, 0, labels, nil, nil)
}

// AddAt is Add with the time at which the value was read. The zero time means
// the time of the scrape.
func (b *Batch) AddAt(f *Family, value float64, at time.Time, labels ...string) {
	s := sample{value: value}
	if !at.IsZero() {
		s.millis = at.UnixMilli()
	}
	b.add(f, s, 0, labels, nil, nil)
}

// AddExtra is Add for families whose samples differ in their label names, such
// as kube_pod_labels: names and values are written behind the declared labels.
// The names must be valid, distinct and not among the declared ones.
func (b *Batch) AddExtra(f *Family, value float64, labels, names, values []string) {
	b.add(f, sample{value: value}, 0, labels, names, values)
}

// AddDistribution is AddExtra for a histogram or summary. All its samples are
// taken or none.
func (b *Batch) AddDistribution(f *Family, d Distribution, labels, names, values []string) {
	bounds, missing := d.Bounds, 0
	if f.spec.Type == Histogram && (len(bounds) == 0 || !math.IsInf(bounds[len(bounds)-1].At, 1)) {
		missing = 1
	}
	if n := len(bounds) + missing + 2; b.limit > 0 && len(b.samples)+n > b.limit {
		b.dropped += n
		return
	}
	for _, at := range bounds {
		b.add(f, sample{value: at.Value, role: bound}, at.At, labels, names, values)
	}
	if missing > 0 {
		b.add(f, sample{value: float64(d.Count), role: bound}, math.Inf(1), labels, names, values)
	}
	b.add(f, sample{value: d.Sum, role: sum}, 0, labels, names, values)
	b.add(f, sample{value: float64(d.Count), role: count}, 0, labels, names, values)
}

// giveWay says whether the batch leaves a name to others: not when it has a
// family of its own by it. The samples of a foreign one are taken away.
func (b *Batch) giveWay(name string) bool {
	at, _ := slices.BinarySearchFunc(b.order, name, func(o int, name string) int {
		return strings.Compare(b.groups[o].family.spec.Name, name)
	})
	for ; at < len(b.order); at++ {
		g := &b.groups[b.order[at]]
		switch {
		case g.family.spec.Name != name:
			return true
		case g.family.spec.Foreign:
			g.head, g.tail = -1, -1
		case g.head >= 0:
			return false
		}
	}
	return true
}

// add appends a sample; at is where a bound is.
func (b *Batch) add(f *Family, s sample, at float64, labels, names, values []string) {
	switch {
	case len(labels) != len(f.spec.Labels):
		panic(fmt.Sprintf("metric %s: %d label values for the labels %v", f.spec.Name, len(labels), f.spec.Labels))
	case len(names) != len(values):
		panic(fmt.Sprintf("metric %s: %d extra label names, %d values", f.spec.Name, len(names), len(values)))
	case (s.role != whole) != f.spec.Type.distributed():
		panic(fmt.Sprintf("metric %s: no such value is of the type %s", f.spec.Name, f.spec.Type))
	}
	if b.limit > 0 && len(b.samples) >= b.limit {
		b.dropped++
		return
	}
	s.labels, s.extra = len(b.arena), int32(len(names))
	for _, v := range labels {
		b.put(v)
	}
	for i, n := range names {
		b.put(n)
		b.put(values[i])
	}
	if s.role == bound {
		b.arena = binary.LittleEndian.AppendUint64(b.arena, math.Float64bits(at+0)) // -0 is 0
	}
	s.size = len(b.arena) - s.labels
	b.push(b.group(f), s)
}

// put appends a text, and mends it once here so that no format has to.
func (b *Batch) put(s string) {
	if !utf8.ValidString(s) {
		s = strings.Map(func(r rune) rune { return r }, s) // each wrong byte becomes U+FFFD
	}
	b.arena = binary.AppendUvarint(b.arena, uint64(len(s)))
	b.arena = append(b.arena, s...)
}

// group gives the place of a family's group, which is made where there is none.
func (b *Batch) group(f *Family) int {
	if b.recent < len(b.groups) && b.groups[b.recent].family == f {
		return b.recent // as nearly always, without the search
	}
	i, ok := b.index[f]
	if !ok {
		i = len(b.groups)
		b.groups = append(b.groups, group{family: f, head: -1, tail: -1})
		b.index[f] = i
		at, _ := slices.BinarySearchFunc(b.order, f, func(o int, f *Family) int { return inOrder(b.groups[o].family, f) })
		b.order = slices.Insert(b.order, at, i)
	}
	b.recent = i
	return i
}

// push chains s behind the samples of the group at i.
func (b *Batch) push(i int, s sample) {
	s.next = -1
	g, n := &b.groups[i], len(b.samples)
	b.samples = append(b.samples, s)
	if g.tail < 0 {
		g.head = n
	} else {
		b.samples[g.tail].next = n
	}
	g.tail = n
}

// inOrder sorts families by name, foreign ones last.
func inOrder(a, b *Family) int {
	if c := strings.Compare(a.spec.Name, b.spec.Name); c != 0 || a.spec.Foreign == b.spec.Foreign {
		return c
	}
	if b.spec.Foreign {
		return -1
	}
	return 1
}

// last gives the sample that ends the metric that begins with the first: the
// count of a distribution, and any other is one by itself.
func (b *Batch) last(first int) int {
	for b.samples[first].role == bound || b.samples[first].role == sum {
		first = b.samples[first].next
	}
	return first
}

// boundAt gives where a bound is, which stands behind its labels.
func (b *Batch) boundAt(s *sample) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(b.arena[s.labels+s.size-8:]))
}

// counted is the value of a bucket or count, which formats hold as an integer.
func (s *sample) counted() uint64 {
	switch {
	case s.value >= 1<<64:
		return math.MaxUint64
	case s.value > 0:
		return uint64(s.value)
	default:
		return 0
	}
}

// written goes over the families that have samples, sorted by name. A foreign
// one whose name has been there is left out: a name that stands twice would
// cost the scraper the whole answer.
func (b *Batch) written(yield func(*group) bool) {
	last := ""
	for _, o := range b.order {
		g := &b.groups[o]
		if g.head < 0 || g.family.spec.Foreign && g.family.spec.Name == last {
			continue
		}
		last = g.family.spec.Name
		if !yield(g) {
			return
		}
	}
}

// Merge appends the samples of other, which stays as it is.
func (b *Batch) Merge(other *Batch) {
	base := len(b.arena)
	b.arena = append(b.arena, other.arena...)
	for _, g := range other.groups {
		if g.head < 0 {
			continue
		}
		to := b.group(g.family)
		b.groups[to].meter = other.meter
		for i := g.head; i >= 0; i = other.samples[i].next {
			s := other.samples[i]
			s.labels += base
			b.push(to, s)
		}
	}
}
