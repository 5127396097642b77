package resource

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// labelScratch reads a set of labels and keeps the three that name a container.
// Its slices belong to the line, or to its own buffers where a value was
// escaped; they are good until the next reset.
type labelScratch struct {
	keep                      bool
	named                     bool // the metric's name stood before the labels
	hasContainer              bool
	renamed                   bool // the metric's name stood quoted among the labels
	namespace, pod, container []byte
	unescaped                 []byte
}

func (l *labelScratch) reset(keep, named bool) {
	*l = labelScratch{keep: keep, named: named, unescaped: l.unescaped[:0]}
}

// parse reads {a="b",c="d"} if b begins with one, and gives what follows.
func (l *labelScratch) parse(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != '{' {
		return b, nil
	}
	b = trimLeft(b[1:])
	for {
		if len(b) == 0 {
			return nil, errors.New("labels have no end")
		}
		if b[0] == '}' {
			return b[1:], nil
		}
		var err error
		if b, err = l.pair(b); err != nil {
			return nil, err
		}
		b = trimLeft(b)
		switch {
		case len(b) > 0 && b[0] == ',':
			b = trimLeft(b[1:])
		case len(b) == 0 || b[0] != '}':
			return nil, fmt.Errorf("expected , or } before %s", quote(b))
		}
	}
}

// pair reads name="value", "quoted name"="value", or the metric's own name in quotes.
func (l *labelScratch) pair(b []byte) ([]byte, error) {
	name, rest, quoted, err := labelName(b)
	if err != nil {
		return nil, err
	}
	rest = trimLeft(rest)
	if quoted && (len(rest) == 0 || rest[0] != '=') {
		if l.named || l.renamed {
			return nil, fmt.Errorf("a second metric name %s", quote(name))
		}
		l.renamed = true
		return rest, nil
	}
	if len(rest) == 0 || rest[0] != '=' {
		return nil, fmt.Errorf("expected = after label %s", quote(name))
	}
	rest = trimLeft(rest[1:])
	value, rest, escaped, err := quotedString(rest)
	if err != nil {
		return nil, fmt.Errorf("label %s: %w", quote(name), err)
	}
	if l.keep {
		l.take(name, value, escaped)
	}
	return rest, nil
}

func (l *labelScratch) take(name, value []byte, escaped bool) {
	var to *[]byte
	switch string(name) {
	case "namespace":
		to = &l.namespace
	case "pod":
		to = &l.pod
	case "container":
		to, l.hasContainer = &l.container, true
	default:
		return
	}
	if escaped {
		from := len(l.unescaped)
		l.unescaped = unescape(l.unescaped, value)
		value = l.unescaped[from:len(l.unescaped):len(l.unescaped)]
	}
	*to = value
}

func labelName(b []byte) (name, rest []byte, quoted bool, err error) {
	if b[0] == '"' {
		name, rest, _, err = quotedString(b)
		return name, rest, true, err
	}
	n := 0
	for n < len(b) && nameByte(b[n], n > 0, false) {
		n++
	}
	if n == 0 {
		return nil, nil, false, fmt.Errorf("%s is no start of a label name", quote(b))
	}
	return b[:n], b[n:], false, nil
}

// quotedString reads "..." and gives its inside, as it stands, and whether a
// backslash is in it.
func quotedString(b []byte) (inside, rest []byte, escaped bool, err error) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false, fmt.Errorf("expected a quoted string, found %s", quote(b))
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if !utf8.Valid(b[1:i]) {
				return nil, nil, false, fmt.Errorf("%s is not UTF-8", quote(b[1:i]))
			}
			return b[1:i], b[i+1:], escaped, nil
		}
	}
	return nil, nil, false, errors.New("a quoted string has no end")
}

// unescape appends b to to, with \\, \" and \n of the text format resolved;
// other backslashes stay.
func unescape(to, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return append(to, b...)
		}
		to = append(to, b[:i]...)
		switch b[i+1] {
		case 'n':
			to = append(to, '\n')
		case '\\', '"':
			to = append(to, b[i+1])
		default:
			to = append(to, b[i], b[i+1])
		}
		b = b[i+2:]
	}
}
