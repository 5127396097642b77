package node

import (
	"bytes"
	"strings"
)

// cpuTable reads files such as /proc/interrupts and /proc/softirqs: a head
// line names the processors, the others have a name, a colon and a count for
// each of them.
type cpuTable struct {
	head   []byte   // the line that cpus was made of
	cpus   []string // numbers of the processors
	counts []uint64 // of the line at hand
}

// walk calls f for each line with what stands before the colon and what stands
// behind the counts, which are in t.counts. Lines can have fewer counts than
// there are processors.
func (t *cpuTable) walk(path string, data []byte, f func(name, rest []byte)) error {
	l := newLines(path, data)
	if !l.next() {
		return l.end()
	}
	if !hasPrefix(bytes.TrimLeft(l.line, " "), "CPU") {
		return l.errorf("%s does not name the processors", quote(l.line))
	}
	t.processors(l.line)
	for l.next() {
		name, rest, ok := bytes.Cut(l.line, []byte(":"))
		if !ok {
			return l.errorf("%s does not begin with a name and a colon", quote(l.line))
		}
		name = bytes.TrimLeft(name, " ")
		t.counts = t.counts[:0]
		for len(t.counts) < len(t.cpus) {
			word, behind := field(rest)
			if len(word) == 0 {
				break
			}
			n, err := parseUint(word)
			if err != nil {
				return l.errorf("%s: %s is not a number", quote(name), quote(word))
			}
			t.counts, rest = append(t.counts, n), behind
		}
		f(name, bytes.TrimSpace(rest))
	}
	return l.end()
}

// processors reads the head line when it is another than before.
func (t *cpuTable) processors(head []byte) {
	if t.cpus != nil && bytes.Equal(head, t.head) {
		return
	}
	t.head, t.cpus = append(t.head[:0], head...), nil
	for _, word := range strings.Fields(string(head)) {
		t.cpus = append(t.cpus, strings.TrimPrefix(word, "CPU"))
	}
}
