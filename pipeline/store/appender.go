package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/strata-metrics/strata/pipeline/store/recent"
)

// appender and appenderV2 pass everything on to the TSDB, tell the guard when a
// commit failed for want of space, and give what was committed to those who
// follow series.
type appender struct {
	storage.Appender
	space *space
	batch recent.Batch
}

func (a *appender) Append(given storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	ref, err := a.Appender.Append(given, l, t, v)
	if err == nil {
		a.batch.Add(given, ref, l, t, v)
	}
	return ref, err
}

func (a *appender) AppendHistogram(given storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendHistogram(given, l, t, h, fh)
	a.batch.Spoil(given, ref, l, t)
	return ref, err
}

func (a *appender) AppendHistogramSTZeroSample(given storage.SeriesRef, l labels.Labels, t, st int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendHistogramSTZeroSample(given, l, t, st, h, fh)
	a.batch.Spoil(given, ref, l, t)
	return ref, err
}

func (a *appender) AppendSTZeroSample(given storage.SeriesRef, l labels.Labels, t, st int64) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendSTZeroSample(given, l, t, st)
	a.batch.Spoil(given, ref, l, t)
	return ref, err
}

func (a *appender) Commit() error { return a.space.seen(committed(&a.batch, a.Appender.Commit())) }

func (a *appender) Rollback() error {
	err := a.Appender.Rollback()
	a.batch.Rollback()
	return err
}

type appenderV2 struct {
	storage.AppenderV2
	space *space
	batch recent.Batch
}

func (a *appenderV2) Append(given storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AppendV2Options) (storage.SeriesRef, error) {
	ref, err := a.AppenderV2.Append(given, l, st, t, v, h, fh, o)
	switch {
	case h != nil || fh != nil:
		a.batch.Spoil(given, ref, l, t)
	case ref != 0: // also with the error that an exemplar was not taken
		a.batch.Add(given, ref, l, t, v)
	}
	return ref, err
}

func (a *appenderV2) Commit() error { return a.space.seen(committed(&a.batch, a.AppenderV2.Commit())) }

func (a *appenderV2) Rollback() error {
	err := a.AppenderV2.Rollback()
	a.batch.Rollback()
	return err
}

func committed(b *recent.Batch, err error) error {
	if err != nil {
		b.Lost()
	} else {
		b.Commit()
	}
	return err
}

// AppendExemplars implements storage.ExemplarAppenderV2, which the remote write
// receiver asks for.
func (a *appenderV2) AppendExemplars(ref storage.SeriesRef, l labels.Labels, es []exemplar.Exemplar) (storage.SeriesRef, error) {
	inner, ok := a.AppenderV2.(storage.ExemplarAppenderV2)
	if !ok {
		return 0, fmt.Errorf("append exemplars: %T takes none: %w", a.AppenderV2, errors.ErrUnsupported)
	}
	return inner.AppendExemplars(ref, l, es)
}

// noSpace reports whether err says that the disk, or the quota on it, is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// refusal and refusalV2 answer every append with one error. Nothing reaches
// the TSDB, not even a new series, whose record would go to the log.
type refusal struct{ err error }

func (refusal) SetOptions(*storage.AppendOptions) {}

func (r refusal) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) AppendHistogramSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) AppendSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusal) Commit() error { return r.err }

func (r refusal) Rollback() error { return nil }

type refusalV2 struct{ err error }

func (r refusalV2) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AppendV2Options) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusalV2) AppendExemplars(storage.SeriesRef, labels.Labels, []exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, r.err
}

func (r refusalV2) Commit() error { return r.err }

func (r refusalV2) Rollback() error { return nil }
