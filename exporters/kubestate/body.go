package kubestate

import (
	"bytes"
	"hash/maphash"
	"io"

	"github.com/strata-metrics/strata/internal/metric"
)

// body writes families in one of the text formats.
type body struct {
	w      io.Writer
	packer *metric.Packer
	buf    []byte
	head   func(*metric.Family, []byte) []byte
	err    error // the writer's first
}

// flush writes what is gathered, if it is much or the end.
func (b *body) flush(end bool) {
	if b.err != nil || len(b.buf) == 0 || !end && len(b.buf) < chunk {
		return
	}
	_, b.err = b.w.Write(b.buf)
	b.buf = b.buf[:0]
}

// kind writes the families of a kind.
func (b *body) kind(kind *bound, segments [][]metric.Piece) {
	if len(segments) == 0 {
		return
	}
	for i, f := range kind.families {
		b.buf = b.head(f, b.buf)
		if !kind.together {
			b.pieces(i, segments)
		}
	}
	if kind.together {
		b.pieces(0, segments)
	}
}

// pieces writes one piece of each segment.
func (b *body) pieces(i int, segments [][]metric.Piece) {
	for _, pieces := range segments {
		// Objects without any line, as all may be, have no pieces.
		if i >= len(pieces) || pieces[i].Size() == 0 {
			continue
		}
		if b.flush(true); b.err == nil {
			b.err = b.packer.Copy(b.w, &pieces[i])
		}
		if b.err != nil {
			return
		}
	}
}

// part is a family of a kind, of which several may have the same name.
type part struct {
	family *metric.Family
	index  int
	views  []view
}

// customs writes the families of custom resources. Those of different kinds
// may have the same name, and nothing keeps two objects from having the same
// labels: a head is written once, and a series too.
func (b *body) customs(c *customs) {
	var names []string
	parts := make(map[string][]part)
	for _, kind := range *c.served.Load() {
		var views []view
		for _, s := range kind.sources {
			views = s.store.appendViews(views)
		}
		if len(views) == 0 {
			continue
		}
		for i, f := range kind.families {
			if parts[f.Name()] == nil {
				names = append(names, f.Name())
			}
			parts[f.Name()] = append(parts[f.Name()], part{f, i, views})
		}
	}
	seed, seen := maphash.MakeSeed(), make(map[uint64]struct{})
	for _, name := range names {
		clear(seen)
		b.buf = b.head(parts[name][0].family, b.buf)
		for _, p := range parts[name] {
			for i := range p.views {
				p.views[i].each(b.packer, p.index, func(o *entry, lines []byte) {
					if b.once(lines, seed, seen) {
						c.tellTwice(name, o)
					}
				})
				if b.flush(false); b.err != nil {
					return
				}
			}
		}
	}
}

// once appends the lines whose series were not seen before, and says whether
// any was.
func (b *body) once(lines []byte, seed maphash.Seed, seen map[uint64]struct{}) (twice bool) {
	for line := range bytes.Lines(lines) {
		id := maphash.Bytes(seed, seriesOf(line))
		if _, ok := seen[id]; ok {
			twice = true
			continue
		}
		seen[id] = struct{}{}
		b.buf = append(b.buf, line...)
	}
	return twice
}

// tellTwice logs once a family that objects have the same series of one.
func (c *customs) tellTwice(family string, o *entry) {
	if _, told := c.twice.LoadOrStore(family, true); !told {
		c.exporter.logger.Error("two custom resources have the same series, and only one is shown: add labelsFromPath with name: [metadata, name] to the family",
			"family", family, "namespace", o.key.namespace, "name", o.key.name)
	}
}
