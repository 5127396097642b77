package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

const (
	reserveFile = "reserve"
	spaceCheck  = 500 * time.Millisecond
)

// space guards the TSDB against a full disk. The TSDB survives a failed write
// to its log, but it panics when a full chunk of the head cannot be written to
// its file, and it would lose all of the process with it. So the guard holds a
// file of some size: as soon as the disk has less free than a quarter of that,
// it refuses further samples, gives the file's space back, and has the full
// chunks in memory written at once, before somebody else takes the space. When there is room again for the file
// and as much besides, it takes it back and samples are taken again.
type space struct {
	dir    string
	want   int64 // bytes; the reserve asked for, before the cap of the disk
	logger *slog.Logger
	free   func(dir string) (avail, total int64, err error)

	mu      sync.Mutex // guards the fields below
	full    error      // nil while samples are taken
	since   time.Time
	refused int

	isFull  prometheus.Gauge
	refuses prometheus.Counter

	flush  func() // writes the full chunks in memory; nil before start
	cancel context.CancelFunc
	done   chan struct{}
}

func newSpace(dir string, reserve int64, logger *slog.Logger, reg prometheus.Registerer) *space {
	if reserve == 0 {
		reserve = DefaultReserve
	}
	s := &space{dir: dir, want: max(reserve, 0), logger: logger, free: diskFree,
		isFull: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "strata_store_disk_full",
			Help: "1 while samples are refused because the disk of the data directory is full.",
		}),
		refuses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "strata_store_refused_appends_total",
			Help: "Batches of samples that were refused because the disk of the data directory was full.",
		}),
	}
	reg.MustRegister(s.isFull, s.refuses)
	return s
}

// diskFree is what a process without privileges may still write, in bytes.
func diskFree(dir string) (avail, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	//nolint:unconvert // Bsize has another type on other architectures.
	size := int64(st.Bsize)
	return int64(st.Bavail) * size, int64(st.Blocks) * size, nil
}

// err is ErrFull with its reason while samples are refused, else nil.
func (s *space) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		s.refused++
		s.refuses.Inc()
	}
	return s.full
}

// isRefusing is err without counting.
func (s *space) isRefusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full != nil
}

// seen looks at the error of a commit: when the disk was full, it starts to
// refuse at once instead of at the next check, and marks the error as ErrFull.
func (s *space) seen(err error) error {
	if !noSpace(err) {
		return err
	}
	s.refuse(err)
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// prepare runs before the TSDB is opened: on a full disk it frees the reserve,
// so that the TSDB can open its files and what is stored can be read.
func (s *space) prepare() { s.check() }

// start checks until stop. flush writes the full chunks in memory.
func (s *space) start(flush func()) {
	s.flush = flush
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		t := time.NewTicker(spaceCheck)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				s.check()
			}
		}
	}()
}

func (s *space) stop() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
	}
}

// check compares what is free with the reserve, and refuses or admits.
func (s *space) check() {
	avail, total, err := s.free(s.dir)
	if err != nil {
		s.logger.Debug("Cannot see how much space is left", "err", err)
		return
	}
	reserve := min(s.want, total/16)
	if !s.isRefusing() {
		if avail < reserve/4 || avail == 0 {
			s.refuse(fmt.Errorf("%s are free", units.Base2Bytes(avail)))
			return
		}
		if avail > 2*reserve {
			s.take(reserve)
		}
		return
	}
	// The file was given back, so its size must be free, and as much again,
	// lest the guard goes to and fro.
	if avail > 2*reserve {
		s.take(reserve)
		s.admit()
	}
}

// refuse starts refusing samples, says so once, and gives the reserve back.
func (s *space) refuse(why error) {
	if s.stopTaking(why) && s.flush != nil {
		s.flush()
	}
}

// stopTaking is refuse without the flush; it tells whether it was the first.
func (s *space) stopTaking(why error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return false
	}
	s.full = fmt.Errorf("%w on the disk of %s; samples are refused until some is freed", ErrFull, s.dir)
	s.since, s.refused = time.Now(), 0
	s.isFull.Set(1)
	path := filepath.Join(s.dir, reserveFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.logger.Warn("Cannot give back the space kept in reserve", "file", path, "err", err)
	}
	s.logger.Error("The disk of the data directory is full: no sample is stored until space is freed; what is stored can still be queried",
		"dir", s.dir, "err", why)
	return true
}

// admit ends the refusal.
func (s *space) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = nil
	s.isFull.Set(0)
	s.logger.Info("The disk of the data directory has space again: samples are stored",
		"dir", s.dir, "refused_batches", s.refused, "full_for", time.Since(s.since).Round(time.Millisecond))
}

// take allocates the reserve if it is not there. On a file system that cannot
// allocate without writing, the guard works without it.
func (s *space) take(size int64) {
	path := filepath.Join(s.dir, reserveFile)
	if fi, err := os.Stat(path); size == 0 || err == nil && fi.Size() == size {
		return
	}
	if err := allocate(path, size); err != nil {
		s.logger.Debug("No space is kept in reserve", "file", path, "err", err)
		// A file of the right size keeps this from being tried at every check.
		if err := os.Truncate(path, size); err != nil {
			s.logger.Debug("Cannot mark the reserve", "file", path, "err", err)
		}
	}
}

func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return errors.Join(fmt.Errorf("allocate %s: %w", path, err), f.Close())
	}
	return f.Close()
}
