// Package metric holds what every exporter says: families declared once, and a
// batch that collectors append samples to and that is written in the formats
// of Prometheus without building an object per sample.
//
// A family carries its type and labels, so that an undeclared name, a wrong
// number of labels or a counter exposed as a gauge cannot be written. The
// formats are the text format 0.0.4 and delimited protobuf messages, described
// in https://prometheus.io/docs/instrumenting/exposition_formats/, and
// OpenMetrics, https://github.com/prometheus/OpenMetrics. Which of them is
// written, how it is compressed and what is kept from the answer before is the
// business of Handler.
package metric

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Type is the type of a family as the TYPE line of the text format names it.
type Type uint8

// The types a family can have. Histograms and summaries are those that are
// read whole from elsewhere, see Batch.AddDistribution: the ones of this process
// are kept by client_golang, whose registry is written beside the batch.
const (
	Untyped Type = iota
	Counter
	Gauge
	Histogram
	Summary
)

// String gives the word that follows the name on a TYPE line.
func (t Type) String() string {
	switch t {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	case Summary:
		return "summary"
	default:
		return "untyped"
	}
}

// distributed says that a value of the type is a Distribution.
func (t Type) distributed() bool { return t == Histogram || t == Summary }

// Stability says what a user may rely on, in the words of Kubernetes
// (KEP-1209).
type Stability string

// The levels of stability.
const (
	Alpha  Stability = "ALPHA"
	Beta   Stability = "BETA"
	Stable Stability = "STABLE"
)

// Spec is the declaration of a family.
type Spec struct {
	Name      string    // such as node_cpu_seconds_total
	Help      string    // one sentence; any UTF-8
	Type      Type      //
	Unit      string    // base unit, such as seconds or bytes; empty where there is none
	Labels    []string  // names, in the order in which values are given to Batch.Add
	Stability Stability // empty means Stable
	// Foreign says that people outside chose the name. Where a family of the
	// program has it too, only that one is written.
	Foreign bool
}

// Family is a declared family: immutable, made once, shared by every scrape.
type Family struct {
	spec      Spec
	head      []byte // the HELP and TYPE lines of the text format, rendered once
	openHead  []byte // the same of OpenMetrics, and UNIT
	protoHead []byte // the first fields of the protobuf message: name, help and type
}

// ErrInvalid is what every error of New is.
var ErrInvalid = errors.New("invalid metric family")

// New declares a family. It fails with ErrInvalid when the name or a label is
// not of the form [a-zA-Z_][a-zA-Z0-9_]* (names may also hold colons), when a
// label starts with two underscores or stands twice.
func New(s Spec) (*Family, error) {
	if !ValidName(s.Name) {
		return nil, fmt.Errorf("%w: name %q", ErrInvalid, s.Name)
	}
	for i, l := range s.Labels {
		if !ValidLabelName(l) {
			return nil, fmt.Errorf("%w: %s: label %q", ErrInvalid, s.Name, l)
		}
		if slices.Contains(s.Labels[:i], l) {
			return nil, fmt.Errorf("%w: %s: label %q twice", ErrInvalid, s.Name, l)
		}
	}
	s.Labels = slices.Clone(s.Labels)
	if s.Stability == "" {
		s.Stability = Stable
	}
	f := &Family{spec: s}
	f.head, f.openHead, f.protoHead = appendHead(nil, s), appendOpenHead(nil, s), appendProtoHead(nil, s)
	return f, nil
}

// NewCounter declares a counter by literals of the source. It panics where New
// fails, since that is a mistake of the program and not of its input.
func NewCounter(name, help string, labels ...string) *Family {
	return mustNew(Spec{Name: name, Help: help, Type: Counter, Labels: labels})
}

// NewGauge declares a gauge, see NewCounter.
func NewGauge(name, help string, labels ...string) *Family {
	return mustNew(Spec{Name: name, Help: help, Type: Gauge, Labels: labels})
}

// NewSummary declares a summary, see NewCounter.
func NewSummary(name, help string, labels ...string) *Family {
	return mustNew(Spec{Name: name, Help: help, Type: Summary, Labels: labels})
}

// NewUntyped declares a family whose type its source does not know, see
// NewCounter.
func NewUntyped(name, help string, labels ...string) *Family {
	return mustNew(Spec{Name: name, Help: help, Type: Untyped, Labels: labels})
}

func mustNew(s Spec) *Family {
	f, err := New(s)
	if err != nil {
		panic(err)
	}
	return f
}

// Name is the family's name.
func (f *Family) Name() string { return f.spec.Name }

// Spec gives the declaration; its Labels must not be changed.
func (f *Family) Spec() Spec { return f.spec }

// AppendHead appends the HELP and TYPE lines that open the family in the text
// format.
func (f *Family) AppendHead(dst []byte) []byte { return append(dst, f.head...) }

// AppendOpenHead is AppendHead for OpenMetrics. The lines of AppendSample are the
// same there.
func (f *Family) AppendOpenHead(dst []byte) []byte { return append(dst, f.openHead...) }

func appendHead(dst []byte, s Spec) []byte {
	dst = append(dst, "# HELP "...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	dst = appendEscaped(dst, s.Help, false)
	dst = append(dst, "\n# TYPE "...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	dst = append(dst, s.Type.String()...)
	return append(dst, '\n')
}

// Check reports families of one name that are declared more than once, which
// would put the same name twice into one exposition.
func Check(families []*Family) error {
	seen := make(map[string]*Family, len(families))
	var errs []error
	for _, f := range families {
		if other, ok := seen[f.spec.Name]; ok && other != f {
			errs = append(errs, fmt.Errorf("%w: %s is declared twice", ErrInvalid, f.spec.Name))
		}
		seen[f.spec.Name] = f
	}
	return errors.Join(errs...)
}

// ValidName says whether s can name a family in every version of the text
// format.
func ValidName(s string) bool { return validIdentifier(s, true) }

// ValidLabelName says whether s can name a label that an exporter gives.
// Names that start with two underscores are Prometheus' own.
func ValidLabelName(s string) bool {
	return validIdentifier(s, false) && !strings.HasPrefix(s, "__")
}

func validIdentifier(s string, colon bool) bool {
	for i := range len(s) {
		if !identifierByte(s[i], i == 0) && (!colon || s[i] != ':') {
			return false
		}
	}
	return s != ""
}

func identifierByte(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || !first && c >= '0' && c <= '9'
}

// SanitizeName turns any text into part of a valid name: every byte that a
// name cannot hold becomes an underscore, as node_exporter and
// kube-state-metrics do. The caller puts a valid prefix before it.
func SanitizeName(s string) string {
	bad := func(c byte) bool { return !identifierByte(c, false) }
	for i := range len(s) {
		if bad(s[i]) {
			out := []byte(s)
			for j := i; j < len(out); j++ {
				if bad(out[j]) {
					out[j] = '_'
				}
			}
			return string(out)
		}
	}
	return s
}
