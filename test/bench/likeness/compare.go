package likeness

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Kind is how a series may differ.
type Kind int

// The kinds of differences.
const (
	// Missing: the peer has the series, ours does not.
	Missing Kind = iota
	// Added: ours has it, the peer does not.
	Added
	// Other: the values have nothing to do with each other.
	Other
)

// Difference is one that is allowed, and why.
type Difference struct {
	Kind Kind
	// Family is its name; a * at its end stands for any rest.
	Family string
	// Where narrows it to some series; nil means all.
	Where func(Sample) bool
	Why   string
}

// Tolerance is how far a value may lie outside of what was seen: one that moves
// back and forth may be anywhere between the readings.
type Tolerance struct {
	Family string
	Where  func(Sample) bool
	// By is added to what was seen on both sides, and Share of the greatest.
	By, Share float64
	Why       string
}

// Readings are the scrapes, in their order.
type Readings struct{ Before, Ours, After Body }

// Result is what a comparison found.
type Result struct {
	Right, Of, Differs int
	Wrong              []string // one line each
	used               map[string]int
}

// Compare looks at every series. Those that came or went between the peer's
// readings say nothing and are left out.
func (r Readings) Compare(allowed []Difference, tolerances []Tolerance) Result {
	result := Result{used: map[string]int{}}
	for series, before := range r.Before {
		after, still := r.After[series]
		if !still {
			continue
		}
		ours, ok := r.Ours[series]
		switch {
		case !ok:
			result.differs(Missing, before, fmt.Sprintf("missing: %s %g", series, before.Value), allowed)
		case ours.Type != before.Type:
			result.differs(Other, ours, fmt.Sprintf("type: %s is a %s, not a %s", series, ours.Type, before.Type), allowed)
		case !between(before, ours, after, tolerances):
			result.differs(Other, ours, fmt.Sprintf("value: %s is %v, not from %v to %v", series, ours.Value, before.Value, after.Value), allowed)
		default:
			result.Of++
			result.Right++
		}
	}
	for series, ours := range r.Ours {
		_, before := r.Before[series]
		_, after := r.After[series]
		if !before && !after {
			result.differs(Added, ours, fmt.Sprintf("added: %s %g", series, ours.Value), allowed)
		}
	}
	slices.Sort(result.Wrong)
	return result
}

func (r *Result) differs(kind Kind, s Sample, line string, allowed []Difference) {
	r.Of++
	for _, d := range allowed {
		if d.Kind == kind && matches(d.Family, d.Where, s) {
			r.Differs++
			r.used[d.Why]++
			return
		}
	}
	r.Wrong = append(r.Wrong, line)
}

func matches(family string, where func(Sample) bool, s Sample) bool {
	lead, open := strings.CutSuffix(family, "*")
	return (s.Name == family || open && strings.HasPrefix(s.Name, lead)) && (where == nil || where(s))
}

// rounding is how much of a value may be lost on its way through the text.
const rounding = 1e-9

// between holds a value to the peer's readings before and after it.
func between(before, ours, after Sample, tolerances []Tolerance) bool {
	low, high := before.Value, after.Value
	if ours.Type != "counter" {
		low, high = min(low, high), max(low, high)
	}
	spare := rounding * max(math.Abs(low), math.Abs(high))
	for _, t := range tolerances {
		if matches(t.Family, t.Where, ours) {
			spare += t.By + t.Share*max(math.Abs(low), math.Abs(high))
			break
		}
	}
	return ours.Value >= low-spare && ours.Value <= high+spare
}

// Add takes in another result.
func (r *Result) Add(other Result) {
	r.Right, r.Of, r.Differs = r.Right+other.Right, r.Of+other.Of, r.Differs+other.Differs
	r.Wrong = append(r.Wrong, other.Wrong...)
	if r.used == nil {
		r.used = map[string]int{}
	}
	for why, n := range other.used {
		r.used[why] += n
	}
}

// Print writes what was allowed, how often and why, and what is wrong.
func (r Result) Print(w io.Writer) {
	for _, why := range slices.Sorted(maps.Keys(r.used)) {
		fmt.Fprintf(w, "# %d: %s\n", r.used[why], why)
	}
	for _, line := range r.Wrong {
		fmt.Fprintln(w, "# "+line)
	}
}

// Err says that something is wrong.
func (r Result) Err() error {
	if r.Right == 0 || len(r.Wrong) > 0 {
		return fmt.Errorf("%d of %d series are not what the peer says", len(r.Wrong), r.Of)
	}
	return nil
}
