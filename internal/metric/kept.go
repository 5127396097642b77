package metric

import (
	"bytes"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
)

// kept is what the last answers left: the families that were as they had been,
// rendered. Such a family is not rendered again. It is not safe for concurrent
// use.
type kept struct {
	families map[*Family]*keptFamily
	scrape   uint64 // counts the batches
	seed     maphash.Seed
}

// keptFamily is what is known of a family since the last batch that had it.
type keptFamily struct {
	sum      uint64 // of its samples
	changed  uint64 // the scrape in which the samples were other than before
	restless int    // changes in a row
	bodies   [formats]keptBody
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
	// group is what is rendered when it is written, nil where text is all.
	group *group
	batch *Batch
	as    format
}

// appendTo appends the text.
func (p *part) appendTo(dst []byte) []byte {
	if p.group == nil {
		return append(dst, p.text...)
	}
	from := len(dst)
	dst = p.batch.appendFamily(dst, p.group, p.as)
	p.group.expose(len(dst) - from)
	return dst
}

// in gives the text, by way of a buffer where it is not there yet. It is valid
// until the next call with that buffer.
func (p *part) in(buf *[]byte) []byte {
	if p.group == nil {
		return p.text
	}
	*buf = p.appendTo((*buf)[:0])
	return *buf
}

func newKept() *kept { return &kept{families: map[*Family]*keptFamily{}, seed: maphash.MakeSeed()} }

// next begins with another batch. Foreign families come and go, and may not
// fill the memory.
func (k *kept) next() {
	k.scrape++
	if len(k.families) > maxGroups {
		clear(k.families)
	}
}

// restlessAfter is how many changes in a row tell that a family is not worth to
// be kept, such as one whose samples have time stamps: of such a family there is
// no more than what is written at the moment.
const restlessAfter = 3

// family gives a family of the batch in a format, valid until the next batch.
func (k *kept) family(b *Batch, g *group, as format) part {
	f, sum := k.families[g.family], k.sum(b, g)
	switch {
	case f == nil:
		f = &keptFamily{sum: sum, changed: k.scrape}
		k.families[g.family] = f
	case f.sum == sum:
		f.restless = 0
	default:
		f.sum, f.changed = sum, k.scrape
		f.restless++
	}
	if f.restless >= restlessAfter {
		f.bodies = [formats]keptBody{}
		return part{group: g, batch: b, as: as}
	}
	body := &f.bodies[as]
	if body.at != f.changed {
		body.text, body.at = b.appendFamily(body.text[:0], g, as), f.changed
	}
	g.expose(len(body.text))
	return part{text: body.text, from: f}
}

// sum tells the samples of a family from others: two that differ have the same
// one in 2^64. Which part of a distribution a sample is need not be in it: a
// bound has more bytes than its labels, and a sum and a count take turns.
func (k *kept) sum(b *Batch, g *group) uint64 {
	sum := maphash.String(k.seed, g.family.spec.Name)
	for i := g.head; i >= 0; i = b.samples[i].next {
		s := &b.samples[i]
		sum = fold(sum^math.Float64bits(s.value), 0x9e3779b97f4a7c15)
		sum = fold(sum^uint64(s.millis), uint64(s.size)<<32|uint64(uint32(s.extra))|1<<63)
		sum = fold(sum^maphash.Bytes(k.seed, b.arena[s.labels:s.labels+s.size]), 0xd1342543de82ef95)
	}
	return sum
}

// fold mixes two numbers, by all bits of their product.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
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
