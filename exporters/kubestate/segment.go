package kubestate

import (
	"hash/maphash"
	"slices"

	"github.com/strata-metrics/strata/internal/metric"
)

// How many objects a segment is made with. More of them compress better, and a
// change costs all of the family's lines in its segment; of objects whose lines
// are kept together, all lines of the segment.
const (
	perSegment         = 20
	perSegmentTogether = 4
)

// segment is some objects that stand behind each other, each family of them
// kept as a compressed piece. A change waits until the next scrape, which makes
// those pieces anew whose lines are other than before.
type segment struct {
	objects []*entry // sorted by key
	pieces  []metric.Piece
	waiting bool // some objects have changed
}

// entry is what is known of an object beside its lines.
type entry struct {
	key     key
	version string
	sum     uint64    // of the lines that it has, or is to have
	lines   []lines   // those in the pieces
	fresh   *rendered // what is to come in their place; nil when nothing
	gone    bool      // its lines are to be taken out
}

// shows says whether these lines are what the next scrape shows.
func (o *entry) shows(sum uint64) bool { return !o.gone && o.sum == sum }

// lines are those of a family that an object has any of.
type lines struct {
	family, size uint32
	sum          uint64
}

// sizeOf is how much text of a family is an object's.
func sizeOf(all []lines, family int) int {
	i, ok := slices.BinarySearchFunc(all, family, func(l lines, family int) int { return int(l.family) - family })
	if !ok {
		return 0
	}
	return int(all[i].size)
}

// builder makes pieces.
type builder struct {
	packer   *metric.Packer
	seed     maphash.Seed
	arena    []byte // texts of the changed objects
	buf      []byte
	old, new []byte
	next     []next // of each object of the segment
	changed  []bool // of each family
}

// next is what an object will be.
type next struct {
	text  []byte
	ends  []uint32
	lines []lines
}

func newBuilder(seed maphash.Seed) *builder {
	return &builder{packer: metric.NewPacker(), seed: seed}
}

// settle puts what waits into the pieces. Pieces that somebody is sending are
// left as they are.
func (b *builder) settle(s *segment) {
	if !s.waiting {
		return
	}
	b.compare(s)
	pieces := make([]metric.Piece, len(b.changed))
	copy(pieces, s.pieces)
	for i, changed := range b.changed {
		if changed {
			b.rebuild(s, i, &pieces[i])
		}
	}
	s.pieces, s.waiting = pieces, false
	for i, o := range s.objects {
		if o.fresh != nil {
			o.lines, o.fresh = b.next[i].lines, nil
		}
	}
	s.objects = slices.DeleteFunc(s.objects, func(o *entry) bool { return o.gone })
	clear(b.next)
}

// compare fills b.next and b.changed.
func (b *builder) compare(s *segment) {
	b.arena, b.next, b.changed = b.arena[:0], b.next[:0], b.changed[:0]
	b.grow(len(s.pieces))
	for _, o := range s.objects {
		var n next
		if o.fresh != nil {
			n = b.read(o.fresh)
		}
		if o.fresh != nil || o.gone {
			b.grow(len(n.ends))
			b.mark(o.lines, n.lines)
		}
		b.next = append(b.next, n)
	}
}

func (b *builder) grow(families int) {
	for len(b.changed) < families {
		b.changed = append(b.changed, false)
	}
}

// read unpacks what an object will be. The text stays until the next segment.
func (b *builder) read(r *rendered) next {
	b.buf = r.text(b.buf)
	start := len(b.arena)
	b.arena = append(b.arena, b.buf...)
	n := next{text: b.arena[start:], ends: r.ends}
	at, count := uint32(0), 0
	for _, end := range r.ends {
		if end > at {
			count++
		}
		at = end
	}
	n.lines, at = make([]lines, 0, count), 0
	for i, end := range r.ends {
		if end > at {
			n.lines = append(n.lines, lines{uint32(i), end - at, maphash.Bytes(b.seed, n.text[at:end])})
		}
		at = end
	}
	return n
}

// mark notes the families in which two states differ.
func (b *builder) mark(was, is []lines) {
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].family < is[0].family:
			b.changed[was[0].family], was = true, was[1:]
		case len(was) == 0 || is[0].family < was[0].family:
			b.changed[is[0].family], is = true, is[1:]
		default:
			if was[0] != is[0] {
				b.changed[is[0].family] = true
			}
			was, is = was[1:], is[1:]
		}
	}
}

// rebuild makes a family's piece anew.
func (b *builder) rebuild(s *segment, family int, piece *metric.Piece) {
	b.old, b.new = b.packer.Unpack(b.old[:0], piece), b.new[:0]
	at := 0
	for i, o := range s.objects {
		size := sizeOf(o.lines, family)
		switch {
		case o.gone:
		case o.fresh != nil:
			if n := &b.next[i]; family < len(n.ends) {
				start := uint32(0)
				if family > 0 {
					start = n.ends[family-1]
				}
				b.new = append(b.new, n.text[start:n.ends[family]]...)
			}
		default:
			b.new = append(b.new, b.old[at:at+size]...)
		}
		at += size
	}
	*piece = b.packer.Pack(b.new)
}

// split cuts a segment in two.
func (b *builder) split(s *segment) (left, right *segment) {
	b.settle(s)
	half := len(s.objects) / 2
	left = &segment{objects: slices.Clone(s.objects[:half]), pieces: make([]metric.Piece, len(s.pieces))}
	right = &segment{objects: slices.Clone(s.objects[half:]), pieces: make([]metric.Piece, len(s.pieces))}
	for i := range s.pieces {
		b.old = b.packer.Unpack(b.old[:0], &s.pieces[i])
		at := 0
		for _, o := range left.objects {
			at += sizeOf(o.lines, i)
		}
		left.pieces[i], right.pieces[i] = b.packer.Pack(b.old[:at]), b.packer.Pack(b.old[at:])
	}
	return left, right
}

// join makes one segment of two that stand behind each other.
func (b *builder) join(left, right *segment) *segment {
	s := &segment{
		objects: slices.Concat(left.objects, right.objects),
		pieces:  make([]metric.Piece, max(len(left.pieces), len(right.pieces))),
	}
	for i := range s.pieces {
		b.old = b.old[:0]
		for _, half := range []*segment{left, right} {
			if i < len(half.pieces) {
				b.old = b.packer.Unpack(b.old, &half.pieces[i])
			}
		}
		s.pieces[i] = b.packer.Pack(b.old)
	}
	return s
}
