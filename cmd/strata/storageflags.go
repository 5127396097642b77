package main

import (
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/strata-metrics/strata/pipeline/store"
)

// storageFlags are Prometheus' --storage flags, the hidden ones too: a sidecar
// that uploads blocks has some of them set.
type storageFlags struct {
	dir       string
	retention config.TSDBRetentionConfig
	flush     model.Duration
	reserve   units.Base2Bytes

	minBlock, maxBlock       model.Duration
	chunkSegment, walSegment units.Base2Bytes
	compressWAL              bool
	walCompression           string
	noLock, overlapping      bool
	chunkQueue, chunkSamples int
	delayPercent             int
	uploaded                 string
	reload                   model.Duration
}

func (f *storageFlags) declare(cmd *kingpin.CmdClause, dir string) {
	cmd.Flag("storage.tsdb.path", "Directory of the stored samples.").Default(dir).StringVar(&f.dir)
	duration(cmd, "storage.tsdb.retention.time", "How long samples are kept; 15d when no size is set either. The configuration's storage.tsdb.retention holds over it.", &f.retention.Time).PlaceHolder("<duration>")
	cmd.Flag("storage.tsdb.retention.size", "How many bytes of blocks are kept, such as 512MB.").
		PlaceHolder("<bytes>").BytesVar(&f.retention.Size)
	cmd.Flag("storage.tsdb.wal-compression", "Compress the write-ahead log.").Default("true").BoolVar(&f.compressWAL)
	cmd.Flag("storage.tsdb.wal-compression-type", "How: snappy or zstd.").
		Default(compression.Snappy).EnumVar(&f.walCompression, compression.Snappy, compression.Zstd)
	cmd.Flag("storage.tsdb.wal-segment-size", "Size of a file of the write-ahead log.").Hidden().BytesVar(&f.walSegment)
	cmd.Flag("storage.tsdb.reserve", "Bytes of disk held back, at most a sixteenth of it, so that the store survives a disk that others fill.").
		Default("64MB").BytesVar(&f.reserve)
	duration(cmd, "storage.tsdb.min-block-duration", "Time that a new block spans.", &f.minBlock).Hidden().Default("2h")
	duration(cmd, "storage.tsdb.max-block-duration", "Longest time that a block spans.", &f.maxBlock).Hidden()
	cmd.Flag("storage.tsdb.max-block-chunk-segment-size", "Largest file of chunks in a block.").Hidden().BytesVar(&f.chunkSegment)
	cmd.Flag("storage.tsdb.no-lockfile", "Make no lock file in the directory.").BoolVar(&f.noLock)
	cmd.Flag("storage.tsdb.allow-overlapping-compaction", "Make one of blocks that overlap.").Hidden().Default("true").BoolVar(&f.overlapping)
	cmd.Flag("storage.tsdb.head-chunks-write-queue-size", "Chunks that wait to be written; 0 is none.").Default("0").IntVar(&f.chunkQueue)
	cmd.Flag("storage.tsdb.samples-per-chunk", "Samples of a chunk.").Hidden().Default("120").IntVar(&f.chunkSamples)
	cmd.Flag("storage.tsdb.delayed-compaction.max-percent", "Largest delay of a compaction, of the time that a new block spans, with --enable-feature=delayed-compaction.").
		Hidden().Default("10").IntVar(&f.delayPercent)
	cmd.Flag("storage.tsdb.delay-compact-file.path", "File with the blocks that have been uploaded, as Thanos' sidecar writes it: others are not compacted.").StringVar(&f.uploaded)
	duration(cmd, "storage.tsdb.block-reload-interval", "How often blocks that others put there are looked for.", &f.reload).Hidden().Default("1m")
	duration(cmd, "storage.remote.flush-deadline", "How long remote write may flush at the end.", &f.flush).Default("1m")
}

// options checks what was given. Its errors are usage errors.
func (f *storageFlags) options() (store.Options, error) {
	o := store.Options{
		Dir: f.dir, Retention: f.retention, Reserve: int64(f.reserve), FlushDeadline: time.Duration(f.flush),
		TSDB: store.TSDBOptions{
			MinBlock: time.Duration(f.minBlock), MaxBlock: time.Duration(f.maxBlock),
			WALSegment: int(f.walSegment), ChunkSegment: int64(f.chunkSegment), WALCompression: f.walCompression,
			NoLockfile: f.noLock, KeepOverlapping: !f.overlapping, ChunkQueue: f.chunkQueue, ChunkSamples: f.chunkSamples,
			DelayPercent: f.delayPercent, Uploaded: f.uploaded, Reload: time.Duration(f.reload),
		},
	}
	if f.reserve == 0 {
		o.Reserve = -1
	}
	if !f.compressWAL {
		o.TSDB.WALCompression = compression.None
	}
	switch {
	case f.walSegment != 0 && (f.walSegment < 10*units.MiB || f.walSegment > 256*units.MiB):
		return o, usagef("--storage.tsdb.wal-segment-size must be between 10MB and 256MB, not %s", f.walSegment)
	case f.chunkSegment != 0 && f.chunkSegment < units.MiB:
		return o, usagef("--storage.tsdb.max-block-chunk-segment-size must be 1MB at least, not %s", f.chunkSegment)
	case f.minBlock <= 0 || f.maxBlock != 0 && f.maxBlock < f.minBlock:
		return o, usagef("--storage.tsdb.min-block-duration must be above 0 and not above --storage.tsdb.max-block-duration")
	case f.chunkSamples <= 0 || f.chunkQueue < 0:
		return o, usagef("--storage.tsdb.samples-per-chunk must be above 0, and --storage.tsdb.head-chunks-write-queue-size not below it")
	case f.delayPercent <= 0 || f.delayPercent > 100:
		return o, usagef("--storage.tsdb.delayed-compaction.max-percent must be between 1 and 100, not %d", f.delayPercent)
	}
	return o, nil
}
