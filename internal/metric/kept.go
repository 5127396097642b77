package metric

import (
	"bytes"
	"math"
	"slices"
)

// kept is what the last answers left: the families as they were, rendered. A
// family whose samples are what they were is not rendered again. It is not
// safe for concurrent use.
type kept struct {
	families map[*Family]*keptFamily
	scrape   uint64 // counts the batches
}

// keptFamily is a family with its samples of the last batch that had it.
type keptFamily struct {
	samples []keptSample
	labels  []byte // of all of them, as in the arena
	changed uint64 // the scrape in which the samples were other than before
	bodies  [formats]keptBody
}

// keptSample is a sample without its place in the batch.
type keptSample struct {
	value       float64
	millis      int64
	size, extra int32
}

// keptBody is a family in one format.
type keptBody struct {
	text []byte
	at   uint64 // the value of changed that text is of
	run  *keptRun
}

// part is a piece of an answer.
type part struct {
	text []byte
	// from is the family that text was rendered of, nil for text that is not
	// kept.
	from *keptFamily
}

func newKept() *kept { return &kept{families: map[*Family]*keptFamily{}} }

// next begins with another batch. Foreign families come and go, and may not
// fill the memory.
func (k *kept) next() {
	k.scrape++
	if len(k.families) > maxGroups {
		clear(k.families)
	}
}

// family gives a family of the batch in a format, valid until the next batch.
func (k *kept) family(b *Batch, g *group, as format) part {
	f := k.families[g.family]
	if f == nil {
		f = &keptFamily{changed: k.scrape}
		f.keep(b, g)
		k.families[g.family] = f
	} else if !f.same(b, g) {
		f.changed = k.scrape
		f.keep(b, g)
	}
	body := &f.bodies[as]
	if body.at != f.changed {
		body.text, body.at = b.appendFamily(body.text[:0], g, as), f.changed
	}
	return part{text: body.text, from: f}
}

// same compares the samples of a batch with those kept. Values are compared by
// their bits, since NaN is no other than itself here. Which part of a
// distribution a sample is need not be: a bound has more bytes than its labels,
// and a sum and a count take turns.
func (f *keptFamily) same(b *Batch, g *group) bool {
	n, at := 0, 0
	for i := g.head; i >= 0; i = b.samples[i].next {
		s := &b.samples[i]
		if n == len(f.samples) {
			return false
		}
		old := &f.samples[n]
		if math.Float64bits(s.value) != math.Float64bits(old.value) || s.millis != old.millis ||
			s.extra != old.extra || s.size != int(old.size) ||
			!bytes.Equal(b.arena[s.labels:s.labels+s.size], f.labels[at:at+s.size]) {
			return false
		}
		n, at = n+1, at+s.size
	}
	return n == len(f.samples)
}

func (f *keptFamily) keep(b *Batch, g *group) {
	f.samples, f.labels = f.samples[:0], f.labels[:0]
	for i := g.head; i >= 0; i = b.samples[i].next {
		s := &b.samples[i]
		f.labels = append(f.labels, b.arena[s.labels:s.labels+s.size]...)
		f.samples = append(f.samples, keptSample{s.value, s.millis, int32(s.size), s.extra})
	}
}

// keptRun is the compressed form of families that stand behind each other, of
// which none has changed. It belongs to the first of them.
type keptRun struct {
	members []member
	deflate bytes.Buffer
}

// member is a family of a run, and what it was of.
type member struct {
	family  *keptFamily
	changed uint64
}

const (
	// runAge is for how many scrapes a family is as it was before it is kept
	// compressed: what changes all the time is not worth a piece of its own.
	runAge = 3
	// runSize is the text from which a run is worth it. A shorter one saves
	// no time, and pieces that do not see each other compress less well.
	runSize = 8 << 10
)

// steady gives how many of the parts from the first on have not changed for
// long enough, and the size of their text.
func (k *kept) steady(parts []part) (n, size int) {
	for _, p := range parts {
		if p.from == nil || k.scrape-p.from.changed < runAge {
			break
		}
		n, size = n+1, size+len(p.text)
	}
	return n, size
}

// run gives the compressed form of parts, made by a function when it is not
// the one kept.
func (k *kept) run(parts []part, as format, compress func(*bytes.Buffer, []part)) []byte {
	body := &parts[0].from.bodies[as]
	if body.run == nil {
		body.run = &keptRun{}
	}
	r := body.run
	if !slices.EqualFunc(r.members, parts, func(m member, p part) bool {
		return m.family == p.from && m.changed == p.from.changed
	}) {
		r.members = r.members[:0]
		for _, p := range parts {
			r.members = append(r.members, member{p.from, p.from.changed})
		}
		r.deflate.Reset()
		compress(&r.deflate, parts)
	}
	return r.deflate.Bytes()
}
