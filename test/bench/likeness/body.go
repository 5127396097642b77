// Package likeness holds that a program says what its peer says of the same
// things. Ours is scraped between two scrapes of the peer: each series that the
// peer has must be there with the same labels and type, and no other; a counter
// lies between the peer's two readings, a gauge within what was seen.
package likeness

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sample is one value. A label that is empty is none.
type Sample struct {
	Name   string
	Type   string
	Labels map[string]string
	Value  float64
	Time   time.Time // zero where the program told none
}

// Body is what one scrape showed, by the series' names with their labels in
// the order of the alphabet.
type Body map[string]Sample

// Parse reads the text format. A series that is there twice is an error.
func Parse(text string) (Body, error) {
	body, types := Body{}, map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if fields := strings.Fields(line); len(fields) == 4 && fields[0] == "#" && fields[1] == "TYPE" {
			types[fields[2]] = fields[3]
		}
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSample(line)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, line)
		}
		s.Type = types[s.Name]
		if _, twice := body[s.series()]; twice {
			return nil, fmt.Errorf("%s is there twice", s.series())
		}
		body[s.series()] = s
	}
	return body, nil
}

func parseSample(line string) (Sample, error) {
	s := Sample{Labels: map[string]string{}}
	at := strings.IndexAny(line, "{ ")
	if at < 0 {
		return s, errors.New("no value")
	}
	s.Name = line[:at]
	rest := line[at:]
	for rest[0] != ' ' {
		rest = strings.TrimLeft(rest[1:], ", ")
		if strings.HasPrefix(rest, "}") {
			rest = rest[1:]
			break
		}
		name, after, found := strings.Cut(rest, "=")
		quoted, err := strconv.QuotedPrefix(after)
		if !found || err != nil {
			return s, errors.New("a label without a value")
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return s, fmt.Errorf("label %s: %w", name, err)
		}
		if value != "" {
			s.Labels[name] = value
		}
		if rest = after[len(quoted):]; rest == "" || rest[0] != ',' && rest[0] != '}' {
			return s, errors.New("labels without an end")
		}
		if rest[0] == '}' {
			rest = rest[1:]
			break
		}
	}
	return s, s.parseValue(strings.Fields(rest))
}

// parseValue reads the value and the time behind it.
func (s *Sample) parseValue(fields []string) error {
	if len(fields) == 0 || len(fields) > 2 {
		return errors.New("no value or too many")
	}
	var err error
	if s.Value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return err
	}
	if len(fields) == 2 {
		millis, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return err
		}
		s.Time = time.UnixMilli(millis)
	}
	return nil
}

// series names the sample's series.
func (s Sample) series() string {
	var labels []string
	for name, value := range s.Labels {
		labels = append(labels, name+"="+strconv.Quote(value))
	}
	slices.Sort(labels)
	return s.Name + "{" + strings.Join(labels, ",") + "}"
}

// Keep gives the part of a body that is compared.
func (b Body) Keep(keep func(Sample) bool) Body {
	out := Body{}
	for series, s := range b {
		if keep(s) {
			out[series] = s
		}
	}
	return out
}
