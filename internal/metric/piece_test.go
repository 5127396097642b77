package metric

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPieces holds that an answer of text and pieces is what was written, in
// every encoding, and one member of gzip with the right sum.
func TestPieces(t *testing.T) {
	t.Parallel()
	p := NewPacker()
	var texts []string
	for _, size := range []int{0, 1, 2, 255, 256, 4097, 100_000} {
		texts = append(texts, strings.Repeat("up{job=\"x\"} 1\n", size)[:size])
	}
	pieces := make([]Piece, len(texts))
	for i, text := range texts {
		pieces[i] = p.Pack([]byte(text))
		require.Equal(t, len(text), pieces[i].Size())
		require.Equal(t, "before"+text, string(p.Unpack([]byte("before"), &pieces[i])))
	}
	write := func(w io.Writer) error {
		for i := range pieces {
			if err := p.Copy(w, &pieces[i]); err != nil {
				return err
			}
			if _, err := io.WriteString(w, "# between\n"); err != nil {
				return err
			}
			if err := p.Copy(w, &pieces[len(pieces)-1-i]); err != nil {
				return err
			}
		}
		return nil
	}
	var want strings.Builder
	require.NoError(t, write(&want))
	h := Handler(HandlerOptions{WriteText: write})
	for _, encoding := range []string{"", gzipped, zstandard, gzipped} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Header.Set("Accept-Encoding", encoding)
		h.ServeHTTP(w, r)
		require.Equal(t, want.String(), unpacked(t, w), encoding)
	}
}

func TestPieceOfNothing(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	g := newGzipStream()
	g.reset(&body)
	require.NoError(t, g.Close())
	r, err := gzip.NewReader(&body)
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestDamagedPiece(t *testing.T) {
	t.Parallel()
	p := NewPacker()
	piece := p.Pack([]byte("up 1\n"))
	piece.size++
	require.Panics(t, func() { p.Unpack(nil, &piece) })
	w := newGzipStream()
	w.reset(failing{})
	big := Piece{deflate: make([]byte, 2*sendSize), size: 1}
	require.Error(t, w.piece(&big))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
