package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// A new block waits until the file says that it has been uploaded; none waits for
// a file that is not there or is broken.
func TestUploaded(t *testing.T) {
	t.Parallel()
	block := func(id string, level int) *tsdb.BlockMeta {
		return &tsdb.BlockMeta{ULID: ulid.MustParse(id), Compaction: tsdb.BlockMetaCompaction{Level: level}}
	}
	const a, b = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"
	path := filepath.Join(t.TempDir(), "thanos.shipper.json")
	u := &uploaded{path: path, logger: slog.New(slog.DiscardHandler)}
	require.False(t, u.pending(block(a, 1)), "there is no file")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.False(t, u.pending(block(a, 1)), "it is broken")
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"uploaded":["`+a+`"]}`), 0o600))
	require.False(t, u.pending(block(a, 1)))
	require.True(t, u.pending(block(b, 1)))
	require.False(t, u.pending(block(b, 2)), "compacted blocks are not uploaded")
	require.NoError(t, os.WriteFile(path, []byte(`{"uploaded":["`+a+`","`+b+`"]}`), 0o600))
	require.True(t, u.pending(block(b, 1)), "what was read is believed for a while")
	u.read = u.read.Add(-uploadedFor)
	require.False(t, u.pending(block(b, 1)))
	require.NoError(t, os.Remove(path))
	require.False(t, u.pending(block(a, 1)))
}

// The TSDB gets what is asked for, and Prometheus' defaults.
func TestTSDBOptions(t *testing.T) {
	t.Parallel()
	options := func(o TSDBOptions) *tsdb.Options {
		s := New(Options{Dir: t.TempDir(), TSDB: o})
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s.tsdbOptions()
	}
	o := options(TSDBOptions{})
	byDefault := tsdb.DefaultOptions()
	require.Equal(t, byDefault.MinBlockDuration, o.MinBlockDuration)
	require.EqualValues(t, DefaultRetention.Milliseconds()/10, o.MaxBlockDuration)
	require.Equal(t, byDefault.SamplesPerChunk, o.SamplesPerChunk)
	require.Equal(t, byDefault.CompactionDelayMaxPercent, o.CompactionDelayMaxPercent)
	require.Equal(t, "snappy", o.WALCompression)
	require.True(t, o.EnableOverlappingCompaction)
	require.Nil(t, o.BlockCompactionExcludeFunc)

	o = options(TSDBOptions{MinBlock: minBlock, MaxBlock: minBlock, Uploaded: "x", KeepOverlapping: true, WALCompression: "none"})
	require.Equal(t, o.MinBlockDuration, o.MaxBlockDuration, "nothing is compacted beside who uploads")
	require.NotNil(t, o.BlockCompactionExcludeFunc)
	require.False(t, o.EnableOverlappingCompaction)
	require.Equal(t, "none", o.WALCompression)
}
