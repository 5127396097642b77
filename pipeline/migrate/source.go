package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Input is a file that has been read.
type Input struct {
	// Name is for messages.
	Name string
	// Content is YAML, one or more documents.
	Content []byte
}

// object is a Kubernetes object, or another mapping at the top of a document.
type object struct {
	file            string
	node            *yaml.Node
	kind            string
	namespace, name string
}

// String is KIND namespace/name.
func (o *object) String() string {
	name := o.name
	if o.namespace != "" {
		name = o.namespace + "/" + name
	}
	return o.kind + " " + name
}

// objects are those of all documents of a file, lists taken apart.
func objects(in Input) ([]object, error) {
	var out []object
	dec := yaml.NewDecoder(bytes.NewReader(in.Content))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, yamlError(in.Name, err)
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		root := doc.Content[0]
		if root.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s:%d: not a mapping (write YAML with keys and values)", in.Name, root.Line)
		}
		out = flatten(out, in.Name, root)
	}
}

func flatten(out []object, file string, n *yaml.Node) []object {
	o := object{file: file, node: n, kind: text(field(n, "kind")),
		namespace: text(field(n, "metadata", "namespace")), name: text(field(n, "metadata", "name"))}
	if items := field(n, "items"); strings.HasSuffix(o.kind, "List") && items != nil {
		for _, item := range items.Content {
			if item.Kind == yaml.MappingNode {
				out = flatten(out, file, item)
			}
		}
		return out
	}
	return append(out, o)
}

// field is the value at a path of keys, nil for none.
func field(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		var found *yaml.Node
		if n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1]
			}
		}
		n = found
	}
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// text is a scalar's text, "" for another node and for null.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// lineOf is where a node stands; without one, where what would hold it does.
func lineOf(n, holder *yaml.Node) int {
	switch {
	case n != nil:
		return n.Line
	case holder != nil:
		return holder.Line
	}
	return 0
}

// yamlError is what the YAML decoder says, as file:line: what (how to mend it).
func yamlError(file string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if te := (*yaml.TypeError)(nil); errors.As(err, &te) && len(te.Errors) > 0 {
		msg = te.Errors[0]
	}
	msg = strings.ReplaceAll(msg, "unmarshal errors:\n  ", "")
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		return fmt.Errorf("%s:%s: %s (write valid YAML)", file, m[1], msg[len(m[0]):])
	}
	return fmt.Errorf("%s: %s (write valid YAML)", file, msg)
}
