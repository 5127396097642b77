package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// open opens a store until the test ends.
func open(t *testing.T, o Options) *Storage {
	t.Helper()
	s := New(o)
	require.NoError(t, s.Open())
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// closed makes a store that is never opened.
func closed(t *testing.T, o Options) *Storage {
	t.Helper()
	s := New(o)
	require.NoError(t, s.Close())
	return s
}

// write commits one sample of each of n series at a time.
func write(s *Storage, n int, at time.Time) error {
	app := s.AppenderV2(context.Background())
	for i := range n {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
		if _, err := app.Append(0, ls, 0, at.UnixMilli(), math.Sin(float64(at.UnixNano())+float64(i)), nil, nil, storage.AppendV2Options{}); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// read gives every (series, time) in the store.
func read(t *testing.T, q storage.Queryable) map[string]float64 {
	t.Helper()
	querier, err := q.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	set := querier.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	out := map[string]float64{}
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, v := it.At()
			out[fmt.Sprintf("%s@%d", set.At().Labels(), at)] = v
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	require.NoError(t, querier.Close())
	return out
}

// tmpfs mounts a small disk that the test can fill.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a disk to fill can be mounted by root only: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fill takes all that is left on the disk of dir in one stroke, and gives the
// file. It must not go on while the store gives its reserve back: that would be
// taken, too.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	left, _, err := diskFree(dir)
	require.NoError(t, err)
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, left))
	require.NoError(t, f.Close())
	return path
}

// A disk that others fill: the process lives, what is stored can be read, the
// log says it once; with space again, samples are taken; and a restart finds
// every sample that was acknowledged.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := tmpfs(t, "96m")
	log, reg := &lines{}, prometheus.NewRegistry()
	o := Options{Dir: filepath.Join(disk, "data"), Logger: log.logger(), Registerer: reg}
	s := open(t, o)
	require.Eventually(t, func() bool {
		fi, err := os.Stat(filepath.Join(o.Dir, reserveFile))
		return err == nil && fi.Size() == 6<<20
	}, patience, 10*time.Millisecond, "the reserve is not held")

	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
	n := 0
	for ; n < 300; n++ { // more than two chunks of each series
		require.NoError(t, write(s, 100, at(n)))
	}
	before := read(t, s)
	require.Len(t, before, 300*100)

	filler := fill(t, disk)
	require.Eventually(t, func() bool {
		n++
		return errors.Is(write(s, 100, at(n)), ErrFull)
	}, patience, time.Millisecond, "samples are taken on a full disk")
	// Whatever the guard let through until it saw the disk is stored.
	acknowledged := read(t, s)
	require.GreaterOrEqual(t, len(acknowledged), len(before))

	// The TSDB writes full chunks to disk once a minute, and panics if it
	// cannot; the reserve is there for that.
	db, err := s.local.get()
	require.NoError(t, err)
	db.ForceHeadMMap()
	for range 100 {
		n++
		err := write(s, 200, at(n))
		require.ErrorIs(t, err, ErrFull)
		require.ErrorContains(t, err, "no space left for samples on the disk of "+o.Dir)
	}
	require.Equal(t, acknowledged, read(t, s))
	require.Len(t, log.with("is full"), 1, log.with(""))
	require.Empty(t, log.with("no space left on device: "), "the TSDB repeats it")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP strata_store_disk_full 1 while samples are refused because the disk of the data directory is full.
# TYPE strata_store_disk_full gauge
strata_store_disk_full 1
`), "strata_store_disk_full"))

	require.NoError(t, os.Remove(filler))
	require.Eventually(t, func() bool {
		n++
		return write(s, 100, at(n)) == nil
	}, patience, time.Millisecond, "no sample is taken although there is space")
	require.Len(t, log.with("has space again"), 1)
	require.FileExists(t, filepath.Join(o.Dir, reserveFile))
	after := read(t, s)
	require.Greater(t, len(after), len(acknowledged))
	require.NoError(t, s.Close())

	o.Registerer = prometheus.NewRegistry()
	again := read(t, open(t, o))
	for k := range again {
		if _, ok := after[k]; !ok {
			delete(again, k) // more than was asked for is no loss
		}
	}
	require.Equal(t, after, again)
}

// A store can be opened on a disk that is already full, to read what is there.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := tmpfs(t, "96m")
	o := Options{Dir: filepath.Join(disk, "data")}
	s := New(o)
	require.NoError(t, s.Open())
	require.NoError(t, write(s, 10, time.Now()))
	want := read(t, s)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(o.Dir, reserveFile))
		return err == nil
	}, patience, 10*time.Millisecond)
	require.NoError(t, s.Close())
	fill(t, disk)
	s = open(t, o)
	require.Equal(t, want, read(t, s))
	require.ErrorIs(t, write(s, 10, time.Now()), ErrFull)
}

// Until it is opened, and after it is closed, a store says that it is not ready.
func TestNotReady(t *testing.T) {
	t.Parallel()
	s := New(Options{Dir: t.TempDir()})
	f := func() {
		t.Helper()
		_, err := s.Querier(0, 1)
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		_, err = s.ChunkQuerier(0, 1)
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		_, err = s.Local().ExemplarQuerier(t.Context())
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		_, err = s.Local().Stats("job", 1)
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		_, err = s.Local().BlockMetas()
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		_, err = s.Local().StartTime()
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		require.ErrorIs(t, s.Local().CleanTombstones(), tsdb.ErrNotReady)
		require.ErrorIs(t, s.Local().Snapshot(t.TempDir(), true), tsdb.ErrNotReady)
		require.ErrorIs(t, s.Local().Delete(t.Context(), 0, 1), tsdb.ErrNotReady)
		require.ErrorIs(t, write(s, 1, time.Now()), tsdb.ErrNotReady)
		app := s.Appender(t.Context())
		_, err = app.Append(0, labels.EmptyLabels(), 0, 0)
		require.ErrorIs(t, err, tsdb.ErrNotReady)
		require.NoError(t, app.Rollback())
	}
	f()
	_, err := s.Local().WALReplayStatus()
	require.NoError(t, err)
	require.NoError(t, s.Open())
	require.NoError(t, write(s, 1, time.Now()))
	require.NoError(t, s.Close())
	f()
	require.NoError(t, s.Close())
}

// The errors of opening name the directory and the flag.
func TestOpenErrors(t *testing.T) {
	t.Parallel()
	f := func(dir string, want error, flag string) {
		t.Helper()
		s := New(Options{Dir: dir})
		err := s.Open()
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "open "+dir+": ")
		require.ErrorContains(t, err, flag)
		require.NotContains(t, err.Error(), "\n")
		require.NoError(t, s.Close())
	}
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	f(dir, ErrLocked, "--storage.tsdb.path")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	f(file, ErrUnwritable, "--storage.tsdb.path")
	f("/proc/strata", ErrUnwritable, "--storage.tsdb.path")
}

// Retention of the configuration reaches the TSDB, and is what the API shows.
func TestRetention(t *testing.T) {
	t.Parallel()
	f := func(c config.TSDBRetentionConfig, want string) {
		t.Helper()
		require.Equal(t, want, Retained(c))
	}
	f(config.TSDBRetentionConfig{Time: model.Duration(DefaultRetention)}, "15d")
	f(config.TSDBRetentionConfig{Size: 512 << 20}, "512MiB")
	f(config.TSDBRetentionConfig{Time: model.Duration(time.Hour), Percentage: 50}, "1h or 50%")

	o := closed(t, Options{Retention: config.TSDBRetentionConfig{Time: model.Duration(24 * time.Hour)}}).tsdbOptions()
	require.Equal(t, (24 * time.Hour).Milliseconds(), o.RetentionDuration)
	require.Equal(t, (144 * time.Minute).Milliseconds(), o.MaxBlockDuration)
	o = closed(t, Options{}).tsdbOptions()
	require.Equal(t, DefaultRetention.Milliseconds(), o.RetentionDuration)
}

// The guard starts to refuse below a quarter of its reserve, and takes samples
// again only when there is room for the reserve and as much besides.
func TestSpaceThresholds(t *testing.T) {
	t.Parallel()
	const total, reserve = 1600, 100 // a sixteenth
	var avail int64
	s := newSpace(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	s.free = func(string) (int64, int64, error) { return avail, total, nil }
	f := func(free int64, full bool) {
		t.Helper()
		avail = free
		s.check()
		require.Equal(t, full, s.err() != nil, free)
	}
	f(reserve/4, false)
	f(reserve/4-1, true)
	f(2*reserve, true)
	f(2*reserve+1, false)
	f(0, true)
	f(total, false)
	require.ErrorIs(t, s.seen(fmt.Errorf("write log: %w", syscall.ENOSPC)), ErrFull)
	require.ErrorIs(t, s.err(), ErrFull)
	other := errors.New("other")
	require.Equal(t, other, s.seen(other))
	require.NoError(t, s.seen(nil))
}

// Quiet drops what the guard has said, and nothing else.
func TestQuiet(t *testing.T) {
	t.Parallel()
	log := &lines{}
	s := New(Options{Dir: t.TempDir()})
	l := slog.New(s.Quiet(log.logger().Handler())).With("component", "x").WithGroup("g")
	l.Error("append failed", "err", fmt.Errorf("scrape: %w", ErrFull))
	l.Error("write failed", "err", syscall.ENOSPC)
	l.Error("other", "err", errors.New("other"), "n", 1)
	require.Empty(t, log.with("append failed"))
	require.Len(t, log.with("write failed"), 1, "the guard has not said it yet")
	require.Len(t, log.with("other"), 1)
	s.local.space.refuse(syscall.ENOSPC)
	l.Error("write failed", "err", syscall.ENOSPC)
	require.Len(t, log.with("write failed"), 1)
	require.NoError(t, s.Close())
}
