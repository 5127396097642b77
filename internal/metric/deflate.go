package metric

import (
	"io"

	"github.com/klauspost/compress/flate"
)

// deflater compresses text to blocks of deflate (RFC 1951), the last of which ends
// at a byte when it is flushed, and which refer to nothing before the last Reset.
// A flate.Writer does so too, but keeps 0.8 MB of tables for as long as it is there,
// half of the live heap of an exporter. This keeps the text that waits, and borrows
// tables while it compresses.
type deflater struct {
	w    io.Writer
	text []byte // what waits, at most deflateSize of it
	err  error  // the first of w
}

// deflateSize is how much text is compressed at once. No match reaches from one such
// piece into the next: with 64 kB, that costs nothing that can be measured.
const deflateSize = 64 << 10

// Reset begins anew; what waits is dropped.
func (d *deflater) Reset(w io.Writer) { d.w, d.text, d.err = w, d.text[:0], nil }

// Write takes text; its errors, and those of Flush, are w's.
func (d *deflater) Write(text []byte) (int, error) {
	if d.text == nil {
		d.text = make([]byte, 0, deflateSize)
	}
	for rest := text; len(rest) > 0; {
		n := min(len(rest), deflateSize-len(d.text))
		d.text = append(d.text, rest[:n]...)
		rest = rest[n:]
		if len(d.text) == deflateSize {
			if err := d.Flush(); err != nil {
				return len(text) - len(rest), err
			}
		}
	}
	return len(text), nil
}

// Flush writes what waits.
func (d *deflater) Flush() error {
	if d.err != nil || len(d.text) == 0 {
		return d.err
	}
	d.err = flate.StatelessDeflate(d.w, d.text, false, nil)
	d.text = d.text[:0]
	return d.err
}
