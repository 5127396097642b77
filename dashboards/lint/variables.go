package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// variableRE finds what Grafana takes for a variable: $name, [[name]],
// [[name:format]], ${name}, ${name.field}, ${name:format}.
var variableRE = regexp.MustCompile(`\$(\w+)|\[\[(\w+)(?::[^\]]*)?\]\]|\$\{(\w+)(?:\.[^:}]+)?(?::[^}]*)?\}`)

// builtin variables are there in every dashboard.
func builtin(name string) bool {
	switch name {
	case "__interval", "__interval_ms", "__rate_interval", "__rate_interval_ms", "__range", "__range_s", "__range_ms",
		"__from", "__to", "__dashboard", "__org", "__user", "__timezone", "__name", "timeFilter", "__timeFilter", "__all":
		return true
	}
	return false
}

// reference is one use of a variable in a text.
type reference struct {
	name       string
	start, end int
}

func references(s string) []reference {
	var refs []reference
	for _, m := range variableRE.FindAllStringSubmatchIndex(s, -1) {
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				refs = append(refs, reference{s[m[g]:m[g+1]], m[0], m[1]})
			}
		}
	}
	return refs
}

// group says whether a name is that of a group in a regular expression of the
// same query, as "$1" in label_replace is, and no variable.
func group(name, query string) bool {
	return strings.Trim(name, "0123456789") == "" || strings.Contains(query, "?P<"+name+">") || strings.Contains(query, "?<"+name+">")
}

// query is a PromQL query with variables.
type query struct {
	text string
	refs []reference // that are variables
	in   []place
}

// place is where a variable stands in a query, which decides what can stand for
// it there.
type place uint8

const (
	open   place = iota // outside of quotes: a metric, a label, a number, ...
	quoted              // in a string
	span                // a duration
	count               // the number of a duration
	unit                // the unit of a duration
)

// newQuery reads a query. known tells the variables from the rest.
func newQuery(s string, known func(string) bool) query {
	q := query{text: s}
	scan := scanner{text: s}
	for _, r := range references(s) {
		if !known(r.name) {
			continue
		}
		q.refs = append(q.refs, r)
		q.in = append(q.in, scan.place(r))
	}
	return q
}

// scanner follows quotes and brackets from the start of a query.
type scanner struct {
	text    string
	at      int
	quote   byte // 0 outside of strings
	bracket bool // in the brackets of a range
}

func (s *scanner) place(r reference) place {
	for ; s.at < r.start; s.at++ {
		s.step(s.text[s.at])
	}
	s.at = r.end
	before, after := strings.TrimRight(s.text[:r.start], " \t\n"), s.text[r.end:]
	switch {
	case s.quote != 0:
		return quoted
	case !s.bracket && !strings.HasSuffix(before, "offset"):
		return open
	case r.start > 0 && s.text[r.start-1] >= '0' && s.text[r.start-1] <= '9':
		return unit
	case after != "" && after[0] >= 'a' && after[0] <= 'z':
		return count
	}
	return span
}

func (s *scanner) step(c byte) {
	switch {
	case s.quote != 0:
		if c == '\\' && s.quote != '`' {
			s.at++
		} else if c == s.quote {
			s.quote = 0
		}
	case c == '"' || c == '\'' || c == '`':
		s.quote = c
	case c == '[' || c == ']':
		s.bracket = c == '['
	}
}

// candidates can stand for a variable outside of strings: the name of a metric
// or label, a number, an aggregation, a function, a matcher.
func candidates() []string { return []string{"x", "1", "sum", "rate", `x="x"`} }

// maxTries bounds the combinations of candidates that are tried for one query.
const maxTries = 250

// parse parses the query with the variables' values made up. The error's offset
// is in the query as it was written.
func (q query) parse(p parser.Parser) (offset int, err error) {
	var names []string
	for i, r := range q.refs {
		if q.in[i] == open && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	choice := make([]int, len(names))
	for try := 0; try < maxTries; try++ {
		text, at := q.fill(names, choice)
		_, e := p.ParseExpr(text)
		if e == nil {
			return 0, nil
		}
		if try == 0 {
			offset, err = errorOffset(e, at), e
		}
		if !next(choice, len(candidates())) {
			break
		}
	}
	return offset, err
}

// next counts on, and says whether there was a next.
func next(digits []int, base int) bool {
	for i := range digits {
		if digits[i]++; digits[i] < base {
			return true
		}
		digits[i] = 0
	}
	return false
}

// fill replaces the variables. at holds for each byte of the result, and for
// its end, the byte of the query that it comes from.
func (q query) fill(names []string, choice []int) (filled string, at []int) {
	var b strings.Builder
	last := 0
	copyTo := func(end int) {
		for i := last; i < end; i++ {
			b.WriteByte(q.text[i])
			at = append(at, i)
		}
	}
	for i, r := range q.refs {
		copyTo(r.start)
		value := map[place]string{quoted: "x", span: "1m", count: "1", unit: "m"}[q.in[i]]
		if q.in[i] == open {
			value = candidates()[choice[slices.Index(names, r.name)]]
			if strings.HasPrefix(r.name, "__") {
				value = map[bool]string{true: "1m", false: "1"}[r.name == "__interval" || r.name == "__rate_interval" || r.name == "__range"]
			}
		}
		for range len(value) {
			at = append(at, r.start)
		}
		b.WriteString(value)
		last = r.end
	}
	copyTo(len(q.text))
	return b.String(), append(at, len(q.text))
}
