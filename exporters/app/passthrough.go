package app

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// passthrough copies an exposition in the text format 0.0.4 line by line, and
// leaves out what would cost the scraper the whole answer: lines that are not
// in the format, and families that are ours. It knows just enough of the
// format for that, and makes no object per sample.
//
// One is used for one exposition at a time; its memory is kept.
type passthrough struct {
	// own says which families are ours.
	own func(name []byte) bool

	families map[string]*family
	last     *family // of the line before: samples of a family come together
	lastName []byte  // the name as it stood there
	spare    []*family

	samples int // copied
	broken  int // lines left out since they are not in the format
	clashes int // lines left out since the family is ours
}

// family is what was seen of one so far.
type family struct {
	kind    kind
	typed   bool // a TYPE line or a sample was seen: the type is fixed
	hasHelp bool
}

// kind is the type of a family, as far as its lines differ.
type kind uint8

const (
	plain kind = iota
	summary
	histogram
)

func newPassthrough(own func([]byte) bool) *passthrough {
	return &passthrough{own: own, families: map[string]*family{}}
}

// copy appends what is right of text to dst. Comments that are neither HELP
// nor TYPE mean nothing and are left out without being counted. A last line
// without an end may have been cut off, and is wrong.
func (p *passthrough) copy(dst, text []byte) []byte {
	p.reset()
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		text = rest
		line = bytes.Trim(line, " \t\r")
		switch {
		case len(line) == 0:
		case !ended || !cleanText(line):
			p.broken++
		case line[0] == '#':
			dst = p.comment(dst, line)
		default:
			dst = p.sample(dst, line)
		}
	}
	return dst
}

func (p *passthrough) reset() {
	for _, f := range p.families {
		*f = family{}
		p.spare = append(p.spare, f)
	}
	clear(p.families)
	p.last, p.lastName = nil, nil
	p.samples, p.broken, p.clashes = 0, 0, 0
}

// cleanText says whether a line is UTF-8 without NUL, which would end the
// exposition for Prometheus.
func cleanText(line []byte) bool {
	return bytes.IndexByte(line, 0) < 0 && utf8.Valid(line)
}

// resolve finds the family that a name belongs to, as expfmt does: the count
// of a histogram is part of it, if the histogram came first. With create it
// makes the family where there is none.
func (p *passthrough) resolve(name []byte) *family {
	if p.last != nil && bytes.Equal(name, p.lastName) {
		return p.last
	}
	f := p.find(name)
	if f == nil {
		if n := len(p.spare); n > 0 {
			f, p.spare = p.spare[n-1], p.spare[:n-1]
		} else {
			f = &family{}
		}
		p.families[string(name)] = f
	}
	p.last, p.lastName = f, name
	return f
}

func (p *passthrough) find(name []byte) *family {
	if f := p.families[string(name)]; f != nil {
		return f
	}
	for _, suffix := range [...]string{"_count", "_sum", "_bucket"} {
		base, ok := bytes.CutSuffix(name, []byte(suffix))
		if !ok || len(base) == 0 {
			continue
		}
		f := p.families[string(base)]
		if f != nil && (f.kind == histogram || f.kind == summary && suffix != "_bucket") {
			return f
		}
	}
	return nil
}

// comment copies a line HELP or TYPE.
func (p *passthrough) comment(dst, line []byte) []byte {
	keyword, rest := token(line[1:])
	isType := string(keyword) == "TYPE"
	if !isType && string(keyword) != "HELP" {
		return dst
	}
	name, rest := token(rest)
	text := bytes.TrimLeft(rest, " \t")
	switch {
	case len(name) == 0 || nameLength(name) != len(name):
		p.broken++
		return dst
	case p.own(name):
		p.clashes++
		return dst
	case !isType && len(text) == 0:
		return dst
	}
	ok := false
	if isType {
		ok = p.setType(name, text)
	} else {
		ok = p.setHelp(name, text)
	}
	if !ok {
		p.broken++
		return dst
	}
	dst = append(append(dst, "# "...), keyword...)
	dst = append(append(dst, ' '), name...)
	dst = append(append(dst, ' '), text...)
	return append(dst, '\n')
}

// setType is false for a type that does not exist, a second one, and one that
// comes after the samples.
func (p *passthrough) setType(name, text []byte) bool {
	var k kind
	switch string(text) {
	case "counter", "gauge", "untyped":
	case "summary":
		k = summary
	case "histogram":
		k = histogram
	default:
		return false
	}
	f := p.resolve(name)
	if f.typed {
		return false
	}
	f.typed, f.kind = true, k
	return true
}

// setHelp is false for a second text, and one with a wrong escape.
func (p *passthrough) setHelp(name, text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if i++; i == len(text) || !escapable(text[i]) {
			return false
		}
	}
	f := p.resolve(name)
	if f.hasHelp {
		return false
	}
	f.hasHelp = true
	return true
}

// escapable says what may stand behind a backslash.
func escapable(c byte) bool { return c == '\\' || c == 'n' || c == '"' }

// sample copies a line with a value.
func (p *passthrough) sample(dst, line []byte) []byte {
	n := nameLength(line)
	if n == 0 {
		p.broken++
		return dst
	}
	name := line[:n]
	if p.own(name) {
		p.clashes++
		return dst
	}
	s, ok := parseSample(line[n:])
	if !ok {
		p.broken++
		return dst
	}
	f := p.resolve(name)
	if !f.fits(name, &s) {
		p.broken++
		return dst
	}
	f.typed = true
	p.samples++
	dst = append(dst, line...)
	return append(dst, '\n')
}

// sampleLine is what must be known of a line with a value.
type sampleLine struct {
	value        float64
	le, quantile []byte // label values; nil for none
}

// fits says whether a sample can belong to the family: bounds and quantiles
// are numbers, counts are not negative.
func (f *family) fits(name []byte, s *sampleLine) bool {
	switch f.kind {
	case summary:
		return s.quantile == nil || isNumber(s.quantile)
	case histogram:
		if s.le != nil && !isNumber(s.le) {
			return false
		}
		return s.value >= 0 || s.le == nil && !bytes.HasSuffix(name, []byte("_count"))
	default:
		return true
	}
}

// parseSample reads what follows the name: labels, value, time.
func parseSample(rest []byte) (s sampleLine, ok bool) {
	rest = bytes.TrimLeft(rest, " \t")
	if len(rest) > 0 && rest[0] == '{' {
		if rest, ok = parseLabels(rest[1:], &s); !ok {
			return s, false
		}
	}
	text, rest := token(rest)
	if s.value, ok = parseNumber(text); !ok {
		return s, false
	}
	if text, rest = token(rest); len(text) == 0 {
		return s, true
	}
	// Digits only: Prometheus knows no time before 1970.
	if !allDigits(text) || len(bytes.TrimLeft(rest, " \t")) > 0 {
		return s, false
	}
	_, err := strconv.ParseInt(string(text), 10, 64)
	return s, err == nil
}

func allDigits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// maxLabels bounds the labels of a sample, so that the look for doubles stays
// cheap.
const maxLabels = 64

// parseLabels reads from behind the opening brace to behind the closing one.
func parseLabels(rest []byte, s *sampleLine) (_ []byte, ok bool) {
	var names [maxLabels][]byte
	for n := 0; ; n++ {
		rest = bytes.TrimLeft(rest, " \t")
		if len(rest) > 0 && rest[0] == '}' {
			return rest[1:], true
		}
		length := nameLength(rest)
		name := rest[:length]
		if length == 0 || n == maxLabels || bytes.IndexByte(name, ':') >= 0 || string(name) == "__name__" {
			return nil, false
		}
		for _, other := range names[:n] {
			if bytes.Equal(other, name) {
				return nil, false
			}
		}
		names[n] = name
		rest = bytes.TrimLeft(rest[length:], " \t")
		if len(rest) == 0 || rest[0] != '=' {
			return nil, false
		}
		var value []byte
		if value, rest, ok = parseLabelValue(bytes.TrimLeft(rest[1:], " \t")); !ok {
			return nil, false
		}
		switch string(name) {
		case "le":
			s.le = value
		case "quantile":
			s.quantile = value
		}
		rest = bytes.TrimLeft(rest, " \t")
		switch {
		case len(rest) > 0 && rest[0] == ',':
			rest = rest[1:]
		case len(rest) > 0 && rest[0] == '}':
		default:
			return nil, false
		}
	}
}

// parseLabelValue reads a value with its quotes. The value is not unescaped.
func parseLabelValue(rest []byte) (value, after []byte, ok bool) {
	if len(rest) == 0 || rest[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			return rest[1:i], rest[i+1:], true
		case '\\':
			if i++; i == len(rest) || !escapable(rest[i]) {
				return nil, nil, false
			}
		}
	}
	return nil, nil, false
}

// isNumber says whether a label value is one, which it is not when escaped.
func isNumber(s []byte) bool {
	_, ok := parseNumber(s)
	return ok
}

// parseNumber reads a value as Prometheus does: no underscores, no hexadecimal
// form, but NaN and Inf.
func parseNumber(s []byte) (float64, bool) {
	if v, ok := parseShort(s); ok {
		return v, true
	}
	if len(s) == 0 || bytes.ContainsAny(s, "pP_{") {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(s), 64)
	return v, err == nil
}

// parseShort reads a whole number of few digits, which most values are.
func parseShort(s []byte) (float64, bool) {
	const exact = 15
	if len(s) == 0 || len(s) > exact || !allDigits(s) {
		return 0, false
	}
	v := 0
	for _, c := range s {
		v = 10*v + int(c-'0')
	}
	return float64(v), true
}

// token takes what stands up to the next blank off a line.
func token(s []byte) (first, rest []byte) {
	s = bytes.TrimLeft(s, " \t")
	for i, c := range s {
		if c == ' ' || c == '\t' {
			return s[:i], s[i:]
		}
	}
	return s, nil
}

// nameLength is that of the name of a family or label at the start of s; 0 is
// none.
func nameLength(s []byte) int {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

// isOwn says whether a family, or a series of it, is one of those that the
// sidecar itself exposes.
func isOwn(name []byte) bool {
	s := string(name)
	return strings.HasPrefix(s, selfPrefix) || s == nameTotal || s == nameInFlight ||
		strings.HasPrefix(s, nameDuration) && ownSuffix(s[len(nameDuration):])
}

func ownSuffix(s string) bool { return s == "" || s == "_bucket" || s == "_sum" || s == "_count" }
