package metric

import (
	"strconv"
	"strings"
)

// format is one that a family can be written in.
type format uint8

const (
	formatText format = iota
	formatOpenMetrics
	formatProtobuf
	formats // how many there are
)

// openEnd is the last line of OpenMetrics.
const openEnd = "# EOF\n"

// totalSuffix ends the samples of a counter in OpenMetrics, and is no part of
// the family's name there.
const totalSuffix = "_total"

// AppendOpenMetrics appends the batch as OpenMetrics 1.0, without the line
// that ends the exposition. A counter that is not named _total is of unknown
// type there, since the standard has no other way to say it.
func (b *Batch) AppendOpenMetrics(dst []byte) []byte { return b.appendAll(dst, formatOpenMetrics) }

// openTotal says that OpenMetrics takes a family for a counter. Somebody may
// name one just _total, which would leave no name.
func (s *Spec) openTotal() bool {
	return s.Type == Counter && strings.HasSuffix(s.Name, totalSuffix) && s.Name != totalSuffix
}

// openName is the family's name in OpenMetrics.
func (s *Spec) openName() string {
	if s.openTotal() {
		return strings.TrimSuffix(s.Name, totalSuffix)
	}
	return s.Name
}

// appendOpenHead appends the lines that open a family of OpenMetrics.
func appendOpenHead(dst []byte, s Spec) []byte {
	name, word := s.openName(), s.Type.String()
	if s.Type == Untyped || s.Type == Counter && !s.openTotal() {
		word = "unknown"
	}
	dst = append(append(dst, "# HELP "...), name...)
	dst = appendEscaped(append(dst, ' '), s.Help, true)
	dst = append(append(dst, "\n# TYPE "...), name...)
	dst = append(append(dst, ' '), word...)
	dst = append(dst, '\n')
	if unit := s.exposedUnit(); unit != "" {
		dst = append(append(dst, "# UNIT "...), name...)
		dst = append(append(dst, ' '), unit...)
		dst = append(dst, '\n')
	}
	return dst
}

// exposedUnit is the unit if the name ends in it: parsers of OpenMetrics refuse
// a whole exposition for one that does not.
func (s *Spec) exposedUnit() string {
	if s.Unit == "" || !strings.HasSuffix(s.openName(), "_"+s.Unit) {
		return ""
	}
	return s.Unit
}

// appendSeconds puts a time behind the value of a line that has none, in
// seconds as OpenMetrics wants it. All digits are written: a detour over
// floating point would be slower and not more exact.
func appendSeconds(line []byte, millis int64) []byte {
	dst := append(line[:len(line)-1], ' ')
	magnitude := uint64(millis)
	if millis < 0 {
		dst, magnitude = append(dst, '-'), -magnitude
	}
	dst = strconv.AppendUint(dst, magnitude/1000, 10)
	if part := magnitude % 1000; part != 0 {
		dst = append(dst, '.', byte('0'+part/100), byte('0'+part/10%10), byte('0'+part%10))
	}
	return append(dst, '\n')
}
