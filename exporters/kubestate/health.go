package kubestate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// health knows how every list-watch does, logs what changes and says whether
// all is known. An API server that is away is one line, not one of each kind
// and attempt.
type health struct {
	logger *slog.Logger
	server string
	now    func() time.Time

	mu      sync.Mutex
	noShard error // why it is not known which shard this is
	states  []*state
	pinged  bool
	pingErr error
	away    map[*state]bool // those that did not reach the API server
}

// state is the health of one list-watch.
type state struct {
	health  *health
	kind    *bound
	scope   scope
	listed  bool
	age     age
	gone    bool                       // it was removed, and what it still says is no matter
	err     error                      // the last failure, nil when it is over
	failing map[op]metav1.StatusReason // what fails, and how
}

// op is what was asked of the API server.
type op string

// The sorts of calls. To follow is to get the events of a watch.
const (
	opList  op = "list"
	opWatch op = "watch"
	opEvent op = "follow"
)

func newHealth(logger *slog.Logger, server string) *health {
	return &health{logger: logger, server: server, now: time.Now, away: make(map[*state]bool)}
}

func (h *health) add(kind *bound, sc scope) *state {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &state{health: h, kind: kind, scope: sc, failing: make(map[op]metav1.StatusReason)}
	h.states = append(h.states, s)
	return s
}

// remove forgets a list-watch that has ended.
func (h *health) remove(s *state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states = slices.DeleteFunc(h.states, func(other *state) bool { return other == s })
	delete(h.away, s)
	s.gone = true
}

// shardUnknown takes why it is not known which shard this is, nil when it is.
func (h *health) shardUnknown(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noShard = err
}

// connected takes the outcome of the calls before the first list.
func (h *health) connected(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && h.pingErr == nil:
		h.logger.Error("the API server does not answer: is its address right, is it up, and may this host reach it? Trying on",
			"server", h.server, "err", err)
	case err == nil && h.pingErr != nil:
		h.logger.Info("the API server answers", "server", h.server)
	}
	h.pinged, h.pingErr = err == nil, err
}

// ready is nil when every list-watch has had a complete list. A kind that the
// API server does not serve, such as one that is newer, has no objects.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pingErr != nil {
		return fmt.Errorf("API server %s does not answer: %w", h.server, h.pingErr)
	}
	if !h.pinged {
		return fmt.Errorf("API server %s was not asked yet", h.server)
	}
	if h.noShard != nil {
		return h.noShard
	}
	var errs []error
	for _, s := range h.states {
		switch {
		case s.listed, s.unserved():
		case s.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", s.name(), s.err))
		default:
			errs = append(errs, fmt.Errorf("%s: not listed yet", s.name()))
		}
	}
	return errors.Join(errs...)
}

// unserved says that the API server does not know the kind.
func (s *state) unserved() bool {
	return s.failing[opList] == metav1.StatusReasonNotFound || s.failing[opWatch] == metav1.StatusReasonNotFound
}

func (s *state) name() string {
	if s.scope.namespace == "" {
		return s.kind.name
	}
	return s.kind.name + " of namespace " + s.scope.namespace
}

// unreachable tells an API server that was not reached from one that refused.
func unreachable(err error) bool {
	var transport *url.Error
	var network net.Error
	return errors.As(err, &transport) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// called takes the outcome of a call to the API server.
func (s *state) called(during op, err error) {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.gone {
		return
	}
	if unreachable(err) {
		if len(h.away) == 0 {
			h.logger.Error("the API server does not answer; the last state is served on, trying on", "server", h.server, "err", err)
		}
		h.away[s], s.err = true, err
		return
	}
	if h.away[s] {
		delete(h.away, s)
		s.err = nil
		if len(h.away) == 0 {
			h.logger.Info("the API server answers again", "server", h.server)
		}
	}
	switch {
	case err == nil:
		s.over(during)
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		h.logger.Debug("the history of changes was too short, listing anew", "resource", s.name())
	default:
		s.fails(during, err)
	}
}

// fails logs a failure, unless it is one that goes on.
func (s *state) fails(during op, err error) {
	s.err = err
	reason := apierrors.ReasonForError(err)
	known := slices.Contains(slices.Collect(maps.Values(s.failing)), reason)
	s.failing[during] = reason
	if !known {
		s.health.logger.Error("cannot "+string(during)+" "+s.name()+": "+s.mend(reason), "server", s.health.server, "err", err)
	}
}

// mend says what helps against a failure.
func (s *state) mend(reason metav1.StatusReason) string {
	group := s.kind.version.Group
	switch reason {
	case metav1.StatusReasonForbidden:
		return fmt.Sprintf("allow list and watch of %s in the API group %q to this account, or %s", s.kind.name, group, s.kind.without)
	case metav1.StatusReasonUnauthorized:
		return "the credentials are not valid (any more)"
	case metav1.StatusReasonNotFound:
		return fmt.Sprintf("the API server does not serve %s of %s; %s", s.kind.name, s.kind.version, s.kind.without)
	}
	return "trying on"
}

// over ends a failure of the same sort of call. A list that works says nothing
// about a watch that does not, and a log that alternates helps nobody.
func (s *state) over(during op) {
	if _, failed := s.failing[during]; !failed {
		return
	}
	delete(s.failing, during)
	if len(s.failing) == 0 {
		s.err = nil
		s.health.logger.Info("following "+s.name()+" again", "server", s.health.server)
	}
}

// received takes a change that came.
func (s *state) received() {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.age.received(s.health.now())
	s.over(opEvent)
}

// replaced takes a complete list.
func (s *state) replaced(objects int) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if !s.listed {
		s.health.logger.Info("following "+s.name(), "objects", objects)
	}
	s.listed = true
	s.age.listed(s.health.now())
	s.over(opList)
	s.over(opEvent)
}
