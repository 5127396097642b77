package store

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/strata-metrics/strata/pipeline/store/recent"
)

// maxFollowed is how many series are followed for one question.
const maxFollowed = 20_000

// Local is the TSDB behind a door: every method answers tsdb.ErrNotReady until
// the log has been replayed. It is the storage.Storage that the fan-out calls
// primary, and it has what web/api/v1 calls TSDBAdminStats.
type Local struct {
	db    atomic.Pointer[tsdb.DB]
	stats *tsdb.DBStats
	space *space
	// recent are the newest samples of the series that Storage.Follow was asked
	// for.
	recent recent.Set
}

func newLocal(sp *space) *Local {
	return &Local{stats: tsdb.NewDBStats(), space: sp}
}

func (l *Local) set(db *tsdb.DB) { l.db.Store(db) }

func (l *Local) get() (*tsdb.DB, error) {
	if db := l.db.Load(); db != nil {
		return db, nil
	}
	return nil, tsdb.ErrNotReady
}

func (l *Local) applyConfig(conf *config.Config) error {
	db, err := l.get()
	if err != nil {
		return err
	}
	return db.ApplyConfig(conf)
}

// StartTime is the oldest stored time in milliseconds, with a margin, or
// tsdb.ErrNotReady. Remote read uses it to ask for nothing that is here.
func (l *Local) StartTime() (int64, error) {
	db, err := l.get()
	if err != nil {
		return math.MaxInt64, err
	}
	start := time.Now().UnixMilli()
	if b := db.Blocks(); len(b) > 0 {
		start = b[0].Meta().MinTime
	}
	// What is being scraped needs minutes to fill the head.
	return start + 2*minBlock.Milliseconds(), nil
}

// Newest is the time of the newest sample that is stored, zero for none. It
// answers tsdb.ErrNotReady as the rest does.
func (l *Local) Newest() (time.Time, error) {
	db, err := l.get()
	if err != nil {
		return time.Time{}, err
	}
	newest := db.Head().MaxTime()
	for _, b := range db.Blocks() {
		newest = max(newest, b.MaxTime()-1) // the end of a block is not in it
	}
	if newest == math.MinInt64 {
		return time.Time{}, nil
	}
	return time.UnixMilli(newest), nil
}

// Querier implements storage.Queryable.
func (l *Local) Querier(mint, maxt int64) (storage.Querier, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db.Querier(mint, maxt)
}

// ChunkQuerier implements storage.ChunkQueryable.
func (l *Local) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db.ChunkQuerier(mint, maxt)
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (l *Local) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db.ExemplarQuerier(ctx)
}

// Appender implements storage.Appendable. The appender refuses every sample
// while the store is not ready or the disk is full.
func (l *Local) Appender(ctx context.Context) storage.Appender {
	db, err := l.admit()
	if err != nil {
		return refusal{err}
	}
	return &appender{Appender: db.Appender(ctx), space: l.space, batch: l.recent.Batch()}
}

// AppenderV2 implements storage.AppendableV2, and refuses as Appender does.
func (l *Local) AppenderV2(ctx context.Context) storage.AppenderV2 {
	db, err := l.admit()
	if err != nil {
		return refusalV2{err}
	}
	return &appenderV2{AppenderV2: db.AppenderV2(ctx), space: l.space, batch: l.recent.Batch()}
}

// admit says why no sample can be taken now.
func (l *Local) admit() (*tsdb.DB, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db, l.space.err()
}

// Close closes the TSDB, if it is open.
func (l *Local) Close() error {
	db := l.db.Swap(nil)
	if db == nil {
		return nil
	}
	return db.Close()
}

// CleanTombstones removes deleted samples from disk.
func (l *Local) CleanTombstones() error {
	db, err := l.get()
	if err != nil {
		return err
	}
	return db.CleanTombstones()
}

// Delete marks the samples of the matching series in [mint, maxt], in
// milliseconds, as deleted.
func (l *Local) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	db, err := l.get()
	if err != nil {
		return err
	}
	defer l.recent.Clear()
	return db.Delete(ctx, mint, maxt, ms...)
}

// follow is Storage.Follow. It takes all series that the head knows, also those
// without samples in the window, or with none at all since they were rolled back:
// whoever writes them has their references, by which the TSDB tells of no new
// series.
func (l *Local) follow(ctx context.Context, matchers []*labels.Matcher, window time.Duration, now time.Time) (taken *recent.Selection, err error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	watch := l.recent.Watch(matchers, now) // before the store is asked
	if watch == nil {
		return nil, nil
	}
	defer func() {
		if taken == nil {
			watch.End()
		}
	}()
	index, err := db.Head().Index()
	if err != nil {
		return nil, err
	}
	defer index.Close() //nolint:errcheck // of memory
	found, err := tsdb.PostingsForMatchers(ctx, index, matchers...)
	if err != nil {
		return nil, err
	}
	out := &recent.Selection{Watch: watch}
	var refs []storage.SeriesRef
	var b labels.ScratchBuilder
	for found.Next() {
		if len(refs) == maxFollowed {
			return nil, nil
		}
		err := index.Series(found.At(), &b, nil)
		if errors.Is(err, storage.ErrNotFound) {
			continue // it is just being forgotten
		}
		if err != nil {
			return nil, err
		}
		refs, out.Labels = append(refs, found.At()), append(out.Labels, b.Labels())
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	out.Series = l.recent.Follow(refs, window, now)
	return out, nil
}

// Snapshot writes all blocks, and the head when asked, to dir.
func (l *Local) Snapshot(dir string, withHead bool) error {
	db, err := l.get()
	if err != nil {
		return err
	}
	return db.Snapshot(dir, withHead)
}

// Stats gives the cardinality of the head by label.
func (l *Local) Stats(statsByLabelName string, limit int) (*tsdb.Stats, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db.Head().Stats(statsByLabelName, limit), nil
}

// WALReplayStatus says how far the replay of the log is; it answers before
// Open has returned too.
func (l *Local) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return l.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas lists the blocks on disk.
func (l *Local) BlockMetas() ([]tsdb.BlockMeta, error) {
	db, err := l.get()
	if err != nil {
		return nil, err
	}
	return db.BlockMetas(), nil
}
