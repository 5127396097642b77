package check

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/metricrule"
)

// objects checks what is in Kubernetes objects: each file of a ConfigMap, the
// groups of a PrometheusRule, and MetricRules. Lines are those of the file as a whole.
func (c *Checker) objects(path string, content []byte) []Result {
	var results []Result
	dec := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(results, Result{File: path, Kind: Auto, Errors: []error{withRepair(fmt.Errorf("%s: %w", path, err))}})
		}
		if len(doc.Content) > 0 {
			results = append(results, c.object(path, content, doc.Content[0])...)
		}
	}
	if len(results) == 0 {
		err := fmt.Errorf("%s: %w: its Kubernetes objects are no ConfigMap with such a file, and no PrometheusRule or MetricRule", path, ErrKind)
		return []Result{{File: path, Kind: Auto, Errors: []error{err}}}
	}
	return results
}

func (c *Checker) object(path string, content []byte, n *yaml.Node) []Result {
	var results []Result
	switch kind := field(n, "kind"); {
	case kind == nil:
	case kind.Value == "ConfigMap":
		data := field(n, "data")
		for i := 0; data != nil && i+1 < len(data.Content); i += 2 {
			key, value := data.Content[i].Value, data.Content[i+1]
			if text := block(value); text != nil {
				results = append(results, c.entry(path, key, text)...)
			}
		}
	case kind.Value == "PrometheusRule":
		r := Result{File: path, Kind: Rules}
		c.rules(&r, indented(content, field(n, "spec")), model.UTF8Validation)
		results = append(results, r)
	case kind.Value == metricrule.Kind:
		results = append(results, c.metricRule(path, n))
	case strings.HasSuffix(kind.Value, "List"):
		for items, i := field(n, "items"), 0; items != nil && i < len(items.Content); i++ {
			results = append(results, c.object(path, content, items.Content[i])...)
		}
	}
	return results
}

// metricRule checks a MetricRule. The line of an error is that of the field which
// it begins with.
func (c *Checker) metricRule(path string, n *yaml.Node) Result {
	r := Result{File: path, Kind: Adapter, Holds: "1 MetricRule"}
	m, err := metricrule.Parse(n)
	if err != nil {
		line := n.Line
		if name := unknownField.FindStringSubmatch(err.Error()); name != nil {
			line = cmp.Or(keyLine(n, name[1]), line)
		}
		r.Errors = []error{withRepair(fmt.Errorf("%s:%d: %w", path, line, err))}
		return r
	}
	for _, err := range metricrule.Check(m, c.Parser) {
		line := n.Line
		if spec := field(n, "spec"); spec != nil {
			line = spec.Line
			name, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "spec."), ":")
			if f := field(spec, name); f != nil {
				line = f.Line
			}
		}
		r.Errors = append(r.Errors, fmt.Errorf("%s:%d: %w", path, line, err))
	}
	return r
}

// entry checks one file of a ConfigMap; of one that is of no kind there is
// nothing to say. A prometheus.yml has no rule files beside it there.
func (c *Checker) entry(path, key string, content []byte) []Result {
	kind, err := kindOf(key, content)
	if err != nil || filepath.Ext(key) == ".json" && !bytes.Contains(content, []byte(`"panels"`)) {
		return nil
	}
	r := Result{File: path, Kind: kind}
	if kind == Prometheus {
		conf, err := discover.Parse(path, content, discover.Defaults{})
		if err != nil {
			r.Errors = []error{withRepair(err)}
		} else {
			r.Holds = key + ", " + count(len(conf.ScrapeConfigs), "job")
		}
		return []Result{r}
	}
	c.content(&r, content)
	return []Result{r}
}

// keyLine is where a key first stands in a mapping or below it, 0 for nowhere.
func keyLine(n *yaml.Node, key string) int {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if c.Value == key {
				return c.Line
			}
			continue
		}
		if line := keyLine(c, key); line > 0 {
			return line
		}
	}
	return 0
}

// field is the value of a mapping's key, nil for none.
func field(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// block is a literal block scalar (|) after as many empty lines as put each of
// its lines where it stands in the file. Other scalars keep no lines: nil.
func block(n *yaml.Node) []byte {
	if n.Kind != yaml.ScalarNode || n.Style&yaml.LiteralStyle == 0 {
		return nil
	}
	return []byte(strings.Repeat("\n", n.Line) + n.Value)
}

// indented is the text of a mapping in block style, moved to the margin and to
// where it stands in the file.
func indented(content []byte, n *yaml.Node) []byte {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var out bytes.Buffer
	line := 0
	for text := range bytes.Lines(content) {
		line++
		margin := len(text) - len(bytes.TrimLeft(text, " "))
		blank := len(bytes.TrimSpace(text)) == 0
		switch {
		case line < n.Line || blank:
			out.WriteByte('\n')
		case margin < n.Column-1:
			return out.Bytes()
		default:
			out.Write(text[n.Column-1:])
		}
	}
	return out.Bytes()
}
