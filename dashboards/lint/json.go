package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// node is a JSON value that knows where it stands in its file.
type node struct {
	start   int // offset of its first byte
	text    string
	kind    kind
	members []member // of an object, in the order of the file
	items   []*node  // of an array
}

type member struct {
	key   string
	value *node
}

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

// get gives the value of a key, the last where there are several, as every
// reader of JSON takes it; nil when there is none or it is null.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := len(n.members) - 1; i >= 0; i-- {
		if m := n.members[i]; m.key == key && m.value.kind != null {
			return m.value
		}
	}
	return nil
}

// list gives the elements of an array, none for anything else.
func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// str gives the content of a string; "" for anything else.
func (n *node) str() string {
	if n == nil || n.kind != text {
		return ""
	}
	return n.text
}

// parse reads a file of JSON. Its error tells the offset.
func parse(content []byte) (*node, int, error) {
	var raw json.RawMessage
	if err := json.Unmarshal(content, &raw); err != nil {
		var syntax *json.SyntaxError
		if !errors.As(err, &syntax) {
			return nil, 0, err
		}
		offset := min(int(syntax.Offset), len(content))
		if offset > 0 && err.Error() != "unexpected end of JSON input" {
			offset-- // the byte that is wrong is counted
		}
		return nil, offset, err
	}
	r := &reader{content: content, dec: json.NewDecoder(bytes.NewReader(content))}
	r.dec.UseNumber()
	n, err := r.value()
	return n, int(r.dec.InputOffset()), err
}

type reader struct {
	content []byte
	dec     *json.Decoder
}

// token gives the next token and where it starts.
func (r *reader) token() (json.Token, int, error) {
	start := int(r.dec.InputOffset())
	for start < len(r.content) && bytes.IndexByte([]byte(" \t\r\n,:"), r.content[start]) >= 0 {
		start++
	}
	t, err := r.dec.Token()
	return t, start, err
}

func (r *reader) value() (*node, error) {
	t, start, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &node{start: start}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return n, r.object(n)
		}
		return n, r.array(n)
	case string:
		n.kind, n.text = text, t
	case json.Number:
		n.kind, n.text = number, t.String()
	case bool:
		n.kind, n.text = boolean, strconv.FormatBool(t)
	}
	return n, nil
}

func (r *reader) object(n *node) error {
	n.kind = object
	for r.dec.More() {
		t, _, err := r.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return fmt.Errorf("%v instead of a key", t)
		}
		v, err := r.value()
		if err != nil {
			return err
		}
		n.members = append(n.members, member{key, v})
	}
	_, _, err := r.token()
	return err
}

func (r *reader) array(n *node) error {
	n.kind = array
	for r.dec.More() {
		v, err := r.value()
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
	}
	_, _, err := r.token()
	return err
}

// offset gives where byte i of a string's content stands in the file.
func (n *node) offset(content []byte, i int) int {
	at := n.start + 1 // behind the quote
	for done := 0; done < i && at < len(content) && content[at] != '"'; {
		in, out := 1, 1
		switch {
		case content[at] != '\\':
			var r rune
			r, in = utf8.DecodeRune(content[at:])
			out = utf8.RuneLen(r) // a byte that is no UTF-8 becomes U+FFFD
		case at+1 < len(content) && content[at+1] == 'u':
			in, out = escaped(content[at:])
		default:
			in = 2
		}
		at, done = at+in, done+out
	}
	return min(at, len(content))
}

// escaped measures a \u escape, a surrogate pair among them: its bytes in the
// file and in the content.
func escaped(s []byte) (in, out int) {
	var r string
	for _, in := range []int{12, 6} {
		if len(s) >= in && json.Unmarshal(append(append([]byte{'"'}, s[:in]...), '"'), &r) == nil && utf8.RuneCountInString(r) == 1 {
			return in, len(r)
		}
	}
	return 6, 3
}

// position gives line and column, from 1, the column in characters.
func position(content []byte, offset int) (line, column int) {
	before := content[:min(max(offset, 0), len(content))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}
