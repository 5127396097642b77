// Package figure prints what a benchmark measured, one line a figure, and
// knows whether it is as good as its goal.
package figure

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
)

// Bound is how a figure is judged.
type Bound int

// The ways to judge a figure.
const (
	// Report has no goal: the figure is told, whatever it is.
	Report Bound = iota
	// AtMost wants ours at most Goal.
	AtMost
	// AtLeast wants ours at least Goal.
	AtLeast
	// RatioAtMost wants ours / peer at most Goal.
	RatioAtMost
)

// Figure is one measured value beside the peer's.
type Figure struct {
	Name string
	Ours float64
	// Peer is NaN where it cannot be run.
	Peer  float64
	Goal  float64
	Bound Bound
	Unit  string
}

// Unknown is the Peer of a figure that has none.
func Unknown() float64 { return math.NaN() }

// Holds tells whether the goal is reached. Without a peer a ratio cannot be.
func (f Figure) Holds() bool {
	switch f.Bound {
	case AtMost:
		return f.Ours <= f.Goal
	case AtLeast:
		return f.Ours >= f.Goal
	case RatioAtMost:
		return f.Ours/f.Peer <= f.Goal
	}
	return !math.IsNaN(f.Ours)
}

// String is the line that is printed.
func (f Figure) String() string {
	goal := "-"
	switch f.Bound {
	case AtMost:
		goal = "<=" + number(f.Goal)
	case AtLeast:
		goal = ">=" + number(f.Goal)
	case RatioAtMost:
		goal = "ratio<=" + number(f.Goal)
	}
	return fmt.Sprintf("figure %s ours=%s peer=%s ratio=%s goal=%s unit=%s",
		f.Name, number(f.Ours), number(f.Peer), number(f.Ours/f.Peer), goal, f.Unit)
}

// number is v with four digits, "-" where there is none.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Reporter prints figures as they come and remembers which fell short. It is safe
// for concurrent use.
type Reporter struct {
	out io.Writer

	mu    sync.Mutex // guards short and out
	short []string
}

// NewReporter makes one that prints to out.
func NewReporter(out io.Writer) *Reporter { return &Reporter{out: out} }

// Add prints one figure.
func (r *Reporter) Add(f Figure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.Holds() {
		r.short = append(r.short, f.Name)
	}
	_, _ = fmt.Fprintln(r.out, f)
}

// Note prints a remark, which is no figure.
func (r *Reporter) Note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.out, "# "+format+"\n", args...)
}

// Err names the figures that fell short, nil when there are none.
func (r *Reporter) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.short) == 0 {
		return nil
	}
	return fmt.Errorf("short of the goal: %s", strings.Join(r.short, ", "))
}
