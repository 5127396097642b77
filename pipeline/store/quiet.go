package store

import (
	"context"
	"errors"
	"log/slog"
)

// Quiet wraps a log handler for everything that appends: while the disk is
// full, it drops the records whose error says just that. The guard has said it
// in one line, and every target and rule would repeat it at every interval.
func (s *Storage) Quiet(h slog.Handler) slog.Handler {
	return &quiet{Handler: h, space: s.local.space}
}

type quiet struct {
	slog.Handler
	space *space
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	drop := false
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && (errors.Is(err, ErrFull) || noSpace(err) && q.space.isRefusing()) {
			drop = true
		}
		return !drop
	})
	if drop {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q *quiet) WithAttrs(as []slog.Attr) slog.Handler {
	return &quiet{Handler: q.Handler.WithAttrs(as), space: q.space}
}

func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{Handler: q.Handler.WithGroup(name), space: q.space}
}
