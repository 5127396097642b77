package metric

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Piece is text that is kept compressed, in blocks of deflate that end at a
// byte and refer to nothing before them (RFC 1951, 3.2.4). A member of gzip can
// be put together of pieces as they are. It never changes.
type Piece struct {
	deflate []byte
	size    int
	sum     uint32
	shift   uint32 // what the sum of text before this is to be multiplied by
}

// Size is that of the text.
func (p *Piece) Size() int { return p.size }

// Packer makes pieces and reads them. It is not safe for concurrent use.
type Packer struct {
	packed bytes.Buffer
	reader io.ReadCloser
	source bytes.Reader
	text   []byte
}

// NewPacker makes a packer. Its memory, of 100 kB and the longest texts, is best shared.
func NewPacker() *Packer {
	p := &Packer{}
	p.reader = flate.NewReader(&p.source)
	return p
}

// Pack compresses a text.
func (p *Packer) Pack(text []byte) Piece {
	if len(text) == 0 {
		return Piece{}
	}
	p.packed.Reset()
	_ = flate.StatelessDeflate(&p.packed, text, false, nil) // a bytes.Buffer takes everything
	return Piece{
		deflate: bytes.Clone(p.packed.Bytes()), size: len(text),
		sum: crc32.ChecksumIEEE(text), shift: shiftOf(len(text)),
	}
}

// Unpack appends the text of a piece. It panics when the piece is damaged,
// which only a broken program or memory can do.
func (p *Packer) Unpack(dst []byte, piece *Piece) []byte {
	if piece.size == 0 {
		return dst
	}
	start := len(dst)
	dst = append(dst, make([]byte, piece.size)...)
	p.source.Reset(piece.deflate)
	err := p.reader.(flate.Resetter).Reset(&p.source, nil)
	if err == nil {
		_, err = io.ReadFull(p.reader, dst[start:])
	}
	if err != nil {
		panic(fmt.Sprintf("a piece of %d bytes cannot be read: %v", piece.size, err))
	}
	return dst
}

// Copy writes a piece: as it is to the writer that HandlerOptions.WriteText
// gets for gzip, else its text.
func (p *Packer) Copy(w io.Writer, piece *Piece) error {
	if g, ok := w.(*gzipStream); ok {
		return g.piece(piece)
	}
	p.text = p.Unpack(p.text[:0], piece)
	_, err := w.Write(p.text)
	return err
}

// gzipStream writes one member of gzip (RFC 1952) from text and from pieces.
type gzipStream struct {
	deflate *bufio.Writer
	w       *bufio.Writer
	open    bool // deflate has text since the last piece
	all     checksum
}

func newGzipStream() *gzipStream {
	return &gzipStream{deflate: newDeflate(), w: bufio.NewWriterSize(io.Discard, sendSize)}
}

// reset begins a member.
func (g *gzipStream) reset(w io.Writer) {
	g.w.Reset(w)
	g.open, g.all = false, checksum{}
	_, _ = g.w.WriteString(gzipHead) // what fails, fails at the end too
}

// Write implements io.Writer.
func (g *gzipStream) Write(text []byte) (int, error) {
	if !g.open {
		g.deflate.Reset(flate.NewStatelessWriter(g.w))
		g.open = true
	}
	g.all.add(text)
	return g.deflate.Write(text)
}

func (g *gzipStream) piece(p *Piece) error {
	if p.size == 0 {
		return nil
	}
	if err := g.align(); err != nil {
		return err
	}
	g.all.join(p)
	_, err := g.w.Write(p.deflate)
	return err
}

// align ends what was written as text at a byte.
func (g *gzipStream) align() error {
	if !g.open {
		return nil
	}
	g.open = false
	return g.deflate.Flush()
}

// Close ends the member.
func (g *gzipStream) Close() error {
	if err := g.align(); err != nil {
		return err
	}
	end := g.all.end()
	if _, err := g.w.Write(end[:]); err != nil {
		return err
	}
	return g.w.Flush()
}

// gzipHead says: deflate, no time, fastest, unknown system.
const gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

// checksum is what the end of a member of gzip tells of its text.
type checksum struct{ sum, size uint32 }

func (c *checksum) add(text []byte) {
	c.sum, c.size = crc32.Update(c.sum, crc32.IEEETable, text), c.size+uint32(len(text))
}

// join adds the text of a piece.
func (c *checksum) join(p *Piece) {
	c.sum, c.size = multiply(p.shift, c.sum)^p.sum, c.size+uint32(p.size)
}

// end is a last block that holds nothing, the sum and the size.
func (c *checksum) end() (end [10]byte) {
	end[0] = 0x03
	binary.LittleEndian.PutUint32(end[2:], c.sum)
	binary.LittleEndian.PutUint32(end[6:], c.size)
	return end
}

// A CRC-32 is the rest of a polynomial over GF(2) in a division, its highest
// power in the lowest bit. The sum of two texts, one behind the other, is that
// of the first, multiplied by x to the bits of the second, plus the second's.

// multiply multiplies two rests, without a branch, which nobody could foretell:
// there is one for each piece of an answer.
func multiply(a, b uint32) (product uint32) {
	for range 32 {
		product ^= b & -(a >> 31)
		a, b = a<<1, b>>1^crc32.IEEE&-(b&1)
	}
	return product
}

// shiftOf is the rest of x to the power of the bits in so many bytes.
func shiftOf(bytes int) uint32 {
	const one, x8 = 1 << 31, 1 << 23
	power, square := uint32(one), uint32(x8)
	for ; bytes > 0; bytes >>= 1 {
		if bytes&1 != 0 {
			power = multiply(square, power)
		}
		square = multiply(square, square)
	}
	return power
}
