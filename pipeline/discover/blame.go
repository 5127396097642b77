package discover

import (
	"strings"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
)

// blame finds the line of an error that says none: the one of the smallest
// entry without which the file would not give it. Each try parses the file
// once, so this is for when it is broken anyway. 0 means not found.
func blame(content []byte, msg string) int {
	var doc yaml.Node
	if yaml.Unmarshal(content, &doc) != nil || len(doc.Content) != 1 {
		return 0
	}
	b := &blamer{doc: &doc, msg: msg}
	// A message about one of several files says more at its end.
	if b.msg = b.try(); b.msg == "" || !strings.HasPrefix(msg, b.msg) {
		return 0 // it is about something else than this content
	}
	return b.search(doc.Content[0], 0)
}

type blamer struct {
	doc *yaml.Node
	msg string
}

// try gives the error of the document as it now is, "" for none.
func (b *blamer) try() string {
	out, err := yaml.Marshal(b.doc)
	if err != nil {
		return b.msg
	}
	if _, err := config.Load(string(out), promslog.NewNopLogger()); err != nil {
		return err.Error()
	}
	return ""
}

// search takes the entries of n out one at a time. The entry whose absence
// leaves a valid file is to blame; failing that, one whose absence leaves
// another error, since a file may have several. The last such entry is taken:
// what the sections have in common, which most likely is meant, stands first,
// and of two jobs of one name the second is too many. line is the answer when
// no single entry is.
func (b *blamer) search(n *yaml.Node, line int) int {
	step := 1
	switch n.Kind {
	case yaml.MappingNode:
		step = 2
	case yaml.SequenceNode:
	default:
		return line
	}
	all := n.Content
	best := -1
	for i := len(all) - step; i >= 0; i -= step {
		n.Content = append(append([]*yaml.Node{}, all[:i]...), all[i+step:]...)
		msg := b.try()
		if msg == "" {
			best = i
			break
		}
		if msg != b.msg && best < 0 {
			best = i
		}
	}
	n.Content = all
	if best < 0 {
		return line
	}
	return b.search(all[best+step-1], all[best].Line)
}
