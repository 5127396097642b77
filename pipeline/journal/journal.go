// Package journal keeps what autoscalers were told: the question, each value
// with the age of the samples behind it, what was left out and why. It answers
// "why did it scale" after the fact, from memory for the last hour and as series
// of the store for as long as these are kept.
//
// Recording must not slow an answer: an entry is put into memory and into a
// queue, from which Run appends it to the store.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/storage"
	"k8s.io/apiserver/pkg/endpoints/request"
)

const (
	// DefaultKeep is how long entries stay in memory.
	DefaultKeep = time.Hour
	// DefaultMaxValues is how many values stay in memory, some 100 bytes each.
	DefaultMaxValues = 100_000
	// queued is how many entries may wait to be appended.
	queued = 1024
	// gather is how long entries wait for others to be appended with: one commit
	// for all, and not beside the answer that is still being written.
	gather = 250 * time.Millisecond
	// together is how many values one commit has, or the few more of its last
	// entry: the store's buffers grow with it.
	together = 4096
)

// The APIs that a question can be put to.
const (
	Resource = "resource"
	Custom   = "custom"
	External = "external"
)

// Question is what was asked. Selectors are in the form of kubectl's --selector.
type Question struct {
	API       string `json:"api"`
	Namespace string `json:"namespace,omitempty"`
	// Resource is that of the objects, as in pods or services; "" for an
	// external metric.
	Resource string `json:"resource,omitempty"`
	// Object is the name of the one object that was asked for, "" for all that
	// Selector selects.
	Object         string `json:"object,omitempty"`
	Metric         string `json:"metric"`
	Selector       string `json:"selector,omitempty"`
	MetricSelector string `json:"metricSelector,omitempty"`
}

// Value is one value of an answer.
type Value struct {
	// Object is whose value it is. Of an external metric it is the labels of the
	// result, "" where it has none.
	Object string  `json:"object,omitempty"`
	Value  float64 `json:"value"`
	// Time is that of the data behind the value.
	Time time.Time `json:"time"`
	// Stale values are too old for their rule: they were not given.
	Stale bool `json:"stale,omitempty"`
}

// Entry is one answer.
type Entry struct {
	Time time.Time `json:"time"`
	Question
	Requester string  `json:"requester"`
	Rule      string  `json:"rule,omitempty"`
	Values    []Value `json:"values"`
	// Error is what the requester was told instead of values.
	Error string `json:"error,omitempty"`
}

// Options are what a Journal works with; all may be left out.
type Options struct {
	// Autoscalers are the users whose answers are kept; none are without.
	Autoscalers []string
	// Store receives the answers as series; nil keeps them in memory only.
	Store storage.Appendable
	// Keep and MaxValues bound the memory; 0 is DefaultKeep and DefaultMaxValues.
	Keep      time.Duration
	MaxValues int

	// Logger receives what cannot be appended; nil discards.
	Logger *slog.Logger
	// Registry receives the metrics strata_journal_*; nil registers none.
	Registry prometheus.Registerer
}

// Journal keeps answers. It is safe for concurrent use; a nil *Journal keeps
// nothing.
type Journal struct {
	o           Options
	autoscalers map[string]bool
	queue       chan *Entry
	entries     prometheus.Counter
	dropped     prometheus.Counter
	failing     bool // used by Run alone

	mu     sync.Mutex // guards kept and values
	kept   []*Entry   // the oldest first
	values int
}

// New makes a Journal; Run makes it write to the store.
func New(o Options) *Journal {
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	if o.MaxValues == 0 {
		o.MaxValues = DefaultMaxValues
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Journal{o: o, autoscalers: map[string]bool{}, queue: make(chan *Entry, queued)}
	for _, a := range o.Autoscalers {
		j.autoscalers[a] = true
	}
	f := promauto.With(o.Registry)
	j.entries = f.NewCounter(prometheus.CounterOpts{Name: "strata_journal_entries_total", Help: "Answers to autoscalers that were recorded."})
	j.dropped = f.NewCounter(prometheus.CounterOpts{Name: "strata_journal_dropped_total", Help: "Recorded answers that did not become series, since the store was behind or refused them."})
	return j
}

// Asker is the user of a request whose answer is to be recorded, "" where it is
// no autoscaler's.
func (j *Journal) Asker(ctx context.Context) string {
	if j == nil {
		return ""
	}
	u, ok := request.UserFrom(ctx)
	if !ok || !j.autoscalers[u.GetName()] {
		return ""
	}
	return u.GetName()
}

// Record keeps an entry, which must not be changed afterwards. It does not wait.
func (j *Journal) Record(e *Entry) {
	if j == nil {
		return
	}
	j.entries.Inc()
	j.mu.Lock()
	j.kept = append(j.kept, e)
	j.values += e.size()
	n := 0
	for n < len(j.kept)-1 && (j.values > j.o.MaxValues || e.Time.Sub(j.kept[n].Time) > j.o.Keep) {
		j.values -= j.kept[n].size()
		n++
	}
	j.kept = slices.Delete(j.kept, 0, n)
	j.mu.Unlock()
	if j.o.Store == nil {
		return
	}
	select {
	case j.queue <- e:
	default:
		j.dropped.Inc()
	}
}

// size is what an entry counts for: an answer without values takes memory too.
func (e *Entry) size() int { return 1 + len(e.Values) }

// Filter selects entries: those that are equal in every field that is set.
type Filter struct {
	Question
	// Since leaves out what is older.
	Since time.Time
	// Limit is how many entries are wanted, the newest; 0 is all.
	Limit int
}

func (f *Filter) matches(e *Entry) bool {
	for _, p := range [][2]string{
		{f.API, e.API}, {f.Namespace, e.Namespace}, {f.Resource, e.Resource}, {f.Object, e.Object},
		{f.Metric, e.Metric}, {f.Selector, e.Selector}, {f.MetricSelector, e.MetricSelector},
	} {
		if p[0] != "" && p[0] != p[1] {
			return false
		}
	}
	return !e.Time.Before(f.Since)
}

// Entries are those in memory that match, the oldest first. They are shared and
// must not be changed.
func (j *Journal) Entries(f Filter) []*Entry {
	out := []*Entry{}
	if j == nil {
		return out
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range slices.Backward(j.kept) {
		if f.Limit > 0 && len(out) == f.Limit {
			break
		}
		if f.matches(e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// Run appends what is recorded to the store until ctx ends, and then the rest.
func (j *Journal) Run(ctx context.Context) error {
	if j == nil || j.o.Store == nil {
		<-ctx.Done()
		return nil
	}
	w := newWriter(j.o.Store)
	var batch []*Entry
	values := 0              // in the batch
	var due <-chan time.Time // nil while the batch is empty
	for {
		select {
		case <-ctx.Done():
			j.say(len(batch), w.append(context.WithoutCancel(ctx), batch))
			return nil
		case e := <-j.queue:
			batch = append(batch, e)
			if len(batch) == 1 {
				due = time.After(gather)
			}
			if values += e.size(); values < together {
				continue
			}
		case <-due:
		}
		j.say(len(batch), w.append(ctx, batch))
		clear(batch)
		batch, values, due = batch[:0], 0, nil
	}
}

// say logs a failure to append entries when it begins and when it is over.
func (j *Journal) say(entries int, err error) {
	switch {
	case err != nil:
		j.dropped.Add(float64(entries))
		if !j.failing {
			j.o.Logger.Warn("Answers to autoscalers cannot be stored; they are kept in memory", "err", err)
		}
	case j.failing:
		j.o.Logger.Info("Answers to autoscalers are stored again")
	}
	j.failing = err != nil
}

// tolerable tells errors about a sample that is there already: the same
// question was asked twice in one millisecond.
func tolerable(err error) bool {
	return errors.Is(err, storage.ErrDuplicateSampleForTimestamp) || errors.Is(err, storage.ErrOutOfOrderSample)
}

func (q *Question) String() string {
	what := strings.Join(slices.DeleteFunc([]string{q.Namespace, q.Resource, q.Object, q.Metric}, func(s string) bool { return s == "" }), "/")
	return fmt.Sprintf("%s %s", q.API, what)
}
