// Package store keeps what was scraped: the local TSDB, whatever remote
// storage the configuration names, and a guard over the disk below them.
//
// It knows nothing of targets, rules or HTTP. Samples come in through the
// storage.AppendableV2 half of Storage and leave through its Queryable half.
// Before Open has returned, and after Close, both answer tsdb.ErrNotReady; when
// the disk has no room left, appends answer ErrFull and queries go on.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	promruntime "github.com/prometheus/prometheus/util/runtime"

	"github.com/strata-metrics/strata/pipeline/store/recent"
)

// Errors of opening a data directory and of appending to it, for errors.Is.
var (
	// ErrLocked means that another process has the data directory open.
	ErrLocked = errors.New("data directory is in use by another process")
	// ErrUnwritable means that the data directory cannot be made or written.
	ErrUnwritable = errors.New("data directory is not writable")
	// ErrFull means that the disk has no room for more samples.
	ErrFull = errors.New("no space left for samples")
)

// Limits of what Options leaves at zero.
const (
	// DefaultRetention holds when neither a time nor a size is given.
	DefaultRetention = 15 * 24 * time.Hour
	// DefaultFlushDeadline is how long remote write may flush at the end.
	DefaultFlushDeadline = time.Minute
	// DefaultReserve is the disk space kept back for the store's own
	// housekeeping, in bytes.
	DefaultReserve = 64 << 20

	minBlock = 2 * time.Hour
	maxBlock = 31 * 24 * time.Hour
)

// Options say where samples are kept, for how long, and with what.
type Options struct {
	// Dir is the data directory; it is made when it does not exist.
	Dir string
	// Retention says how much is kept, by time, size or share of the disk.
	// All zero means DefaultRetention.
	Retention config.TSDBRetentionConfig
	// TSDB are its settings that are seldom other than Prometheus has them.
	TSDB TSDBOptions
	// OutOfOrderWindow is how old a sample may be and still be taken.
	OutOfOrderWindow time.Duration
	// Exemplars is how many exemplars are kept in memory; 0 keeps none.
	Exemplars int64
	// SnapshotOnShutdown writes the head to disk at Close for a quick start.
	SnapshotOnShutdown bool
	// DelayedCompaction spreads compaction by a random delay.
	DelayedCompaction bool
	// Reserve is how many bytes of disk are held back so that the log and the
	// chunk files can still be completed on a disk that others filled. It is
	// capped at a sixteenth of the file system. 0 means DefaultReserve, a
	// negative value holds nothing back.
	Reserve int64
	// FlushDeadline bounds the flush of remote write at Close; 0 means
	// DefaultFlushDeadline.
	FlushDeadline time.Duration
	// TypeAndUnit says that series have type and unit as labels, for remote write.
	TypeAndUnit bool
	// Metadata gives remote write the metadata of scraped metrics; nil sends
	// none until it is set.
	Metadata remote.ReadyScrapeManager

	// Logger receives one line per event; nil discards.
	Logger *slog.Logger
	// Registerer receives the TSDB's and remote storage's own metrics; nil
	// registers none.
	Registerer prometheus.Registerer
}

// TSDBOptions are settings of the TSDB. What is zero is as Prometheus has it by
// default.
type TSDBOptions struct {
	// MinBlock is the time that a new block spans, by default 2h. MaxBlock is the
	// longest time, by default a tenth of the retention, at most 31 days.
	MinBlock, MaxBlock time.Duration
	// WALCompression is snappy, zstd or none; empty means snappy.
	WALCompression compression.Type
	// WALSegment and ChunkSegment are the sizes of files of the log and of the
	// chunks of a block, in bytes.
	WALSegment   int
	ChunkSegment int64
	// NoLockfile makes no lock file in the directory.
	NoLockfile bool
	// KeepOverlapping leaves blocks that overlap as they are.
	KeepOverlapping bool
	// ChunkQueue is how many chunks wait to be written at most.
	ChunkQueue int
	// ChunkSamples is how many samples a chunk is to have.
	ChunkSamples int
	// DelayPercent is the largest delay of DelayedCompaction in hundredths of MinBlock.
	DelayPercent int
	// MetadataRecords, UncachedIO and FastStartup are experiments: metadata is
	// written to the log, blocks are written past the kernel's cache, and the state
	// of series is kept for the next start.
	MetadataRecords, UncachedIO, FastStartup bool
	// Uploaded is a file with the blocks that have been uploaded, in the format of
	// Thanos' sidecar; new blocks that are not in it are not compacted.
	Uploaded string
	// Reload is how often blocks that others put there are looked for.
	Reload time.Duration
}

// Storage is the store of one pipeline. It embeds the fan-out: appends go to
// the TSDB and to every remote write endpoint, queries read the TSDB and every
// remote read endpoint.
type Storage struct {
	storage.Storage

	opts   Options
	logger *slog.Logger
	local  *Local
	remote *remote.Storage
	// readsElsewhere is set while there are remote read endpoints.
	readsElsewhere atomic.Bool

	closeOnce sync.Once
	closeErr  error
}

// New prepares a store without touching the disk. Open makes it ready.
func New(o Options) *Storage {
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.FlushDeadline == 0 {
		o.FlushDeadline = DefaultFlushDeadline
	}
	if o.Retention == (config.TSDBRetentionConfig{}) {
		o.Retention.Time = model.Duration(DefaultRetention)
	}
	s := &Storage{opts: o, logger: o.Logger}
	s.local = newLocal(newSpace(o.Dir, o.Reserve, o.Logger, o.Registerer))
	// The TSDB complains about a full disk in many places. The guard has said
	// it once, with what to do about it.
	s.logger = slog.New(s.Quiet(o.Logger.Handler()))
	s.remote = remote.NewStorage(s.logger.With("component", "remote"), o.Registerer,
		s.local.StartTime, o.Dir, o.FlushDeadline, o.Metadata, o.TypeAndUnit)
	s.Storage = storage.NewFanout(s.logger, s.local, s.remote)
	return s
}

// Local is the TSDB alone: what rules restore their state from, and what the
// administrative part of the HTTP API acts on.
func (s *Storage) Local() *Local { return s.local }

// Open locks the data directory, replays the log and starts compaction. It
// returns when every sample that was ever acknowledged can be queried. Errors
// are ErrLocked, ErrUnwritable, ErrFull, or the TSDB's own.
func (s *Storage) Open() error {
	if err := s.writable(); err != nil {
		return err
	}
	s.local.space.prepare()
	db, err := tsdb.Open(s.opts.Dir, s.logger.With("component", "tsdb"), s.opts.Registerer, s.tsdbOptions(), s.local.stats)
	if err != nil {
		return s.explain(err)
	}
	if t := promruntime.FsType(s.opts.Dir); t == "NFS_SUPER_MAGIC" {
		s.logger.Warn("The data directory is on NFS, where the TSDB can lose or damage data; use a local disk", "dir", s.opts.Dir)
	}
	s.register(db)
	db.SetWriteNotified(s.remote)
	s.local.set(db)
	// Meant for tests by its name, it is what the TSDB does once a minute.
	s.local.space.start(db.ForceHeadMMap)
	return nil
}

// writable makes the data directory and proves that a file can be made in it,
// since the TSDB's own errors for this name a file that nobody knows.
func (s *Storage) writable() error {
	if err := os.MkdirAll(s.opts.Dir, 0o777); err != nil {
		return s.explain(err)
	}
	f, err := os.CreateTemp(s.opts.Dir, ".writable-")
	if err != nil {
		return s.explain(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// explain turns an error of opening into one that says what to do.
func (s *Storage) explain(err error) error {
	dir := s.opts.Dir
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES) && filepath.Base(pathOf(err)) == "lock":
		return fmt.Errorf("open %s: %w (%w); stop it or set another --storage.tsdb.path", dir, ErrLocked, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("open %s: %w (%w); free some space on that disk", dir, ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EROFS),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("open %s: %w (%w); change its owner or set another --storage.tsdb.path", dir, ErrUnwritable, err)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

func pathOf(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Path
	}
	return ""
}

func (s *Storage) tsdbOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	r := s.opts.Retention
	o.RetentionDuration = time.Duration(r.Time).Milliseconds()
	o.MaxBytes = int64(r.Size)
	o.MaxPercentage = r.Percentage
	o.FsSizeFunc = promruntime.FsSize
	t := s.opts.TSDB
	first := cmp.Or(t.MinBlock, minBlock)
	o.MinBlockDuration = first.Milliseconds()
	// A block may span a tenth of what is kept, so that retention by time
	// drops it soon after its last sample is too old.
	span := maxBlock
	if r.Time != 0 {
		span = min(span, time.Duration(r.Time)/10)
	}
	o.MaxBlockDuration = max(cmp.Or(t.MaxBlock, span), first).Milliseconds()
	o.WALCompression = cmp.Or(t.WALCompression, compression.Snappy)
	o.WALSegmentSize = t.WALSegment
	o.MaxBlockChunkSegmentSize = t.ChunkSegment
	o.NoLockfile = t.NoLockfile
	o.EnableOverlappingCompaction = !t.KeepOverlapping
	o.HeadChunksWriteQueueSize = t.ChunkQueue
	o.SamplesPerChunk = cmp.Or(t.ChunkSamples, o.SamplesPerChunk)
	o.CompactionDelayMaxPercent = cmp.Or(t.DelayPercent, o.CompactionDelayMaxPercent)
	o.BlockReloadInterval = t.Reload
	o.EnableMetadataWALRecords, o.UseUncachedIO, o.EnableFastStartup = t.MetadataRecords, t.UncachedIO, t.FastStartup
	if t.Uploaded != "" {
		o.BlockCompactionExcludeFunc = (&uploaded{path: t.Uploaded, logger: s.logger}).pending
	}
	o.OutOfOrderTimeWindow = s.opts.OutOfOrderWindow.Milliseconds()
	o.EnableExemplarStorage = s.opts.Exemplars > 0
	o.MaxExemplars = s.opts.Exemplars
	o.EnableMemorySnapshotOnShutdown = s.opts.SnapshotOnShutdown
	o.EnableDelayedCompaction = s.opts.DelayedCompaction
	return o
}

// register adds the three times that dashboards read and that Prometheus'
// command registers outside of the TSDB.
func (s *Storage) register(db *tsdb.DB) {
	gauge := func(name, help string, millis func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(millis() / 1000) })
	}
	s.opts.Registerer.MustRegister(
		gauge("prometheus_tsdb_lowest_timestamp_seconds", "Lowest timestamp value stored in the database.", func() int64 {
			if b := db.Blocks(); len(b) > 0 {
				return b[0].Meta().MinTime
			}
			return db.Head().MinTime()
		}),
		gauge("prometheus_tsdb_head_min_time_seconds", "Minimum time bound of the head block.", db.Head().MinTime),
		gauge("prometheus_tsdb_head_max_time_seconds", "Maximum timestamp of the head block.", db.Head().MaxTime),
	)
}

// ApplyConfig sets the parts of the configuration that may change at run time:
// retention, out-of-order window, exemplars, and all remote endpoints.
func (s *Storage) ApplyConfig(conf *config.Config) error {
	if err := s.local.applyConfig(conf); err != nil {
		return fmt.Errorf("apply storage configuration: %w", err)
	}
	if err := s.remote.ApplyConfig(conf); err != nil {
		return fmt.Errorf("apply remote storage configuration: %w", err)
	}
	s.readsElsewhere.Store(len(conf.RemoteReadConfigs) > 0)
	s.local.recent.Clear()
	return nil
}

// Follow keeps the newest samples of all series that match at hand, over windows
// of a length, for who asks for them again and again. It is nil where it cannot:
// for matchers without a metric name, beyond its bounds, and while there are
// remote read endpoints, since nobody tells what is new there.
func (s *Storage) Follow(ctx context.Context, matchers []*labels.Matcher, window time.Duration, now time.Time) (*recent.Selection, error) {
	if s.readsElsewhere.Load() {
		return nil, nil
	}
	return s.local.follow(ctx, matchers, window, now)
}

// Retained describes what is kept, as /api/v1/status/runtimeinfo shows it.
func Retained(c config.TSDBRetentionConfig) string {
	out := ""
	add := func(part string) {
		if out != "" {
			out += " or "
		}
		out += part
	}
	if c.Time != 0 {
		add(c.Time.String())
	}
	if c.Size != 0 {
		add(units.Base2Bytes(c.Size).String())
	}
	if c.Percentage != 0 {
		add(fmt.Sprintf("%g%%", c.Percentage))
	}
	return out
}

// Close stops compaction, flushes remote write and releases the directory. It
// may be called more than once, and also when Open was not.
func (s *Storage) Close() error {
	s.closeOnce.Do(func() {
		s.local.space.stop()
		s.closeErr = s.Storage.Close()
	})
	return s.closeErr
}
