package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Config is a configuration file of prometheus-adapter, as people have it.
type Config struct {
	// Rules make the metrics of custom.metrics.k8s.io.
	Rules []RuleConfig `yaml:"rules"`
	// ResourceRules would make metrics.k8s.io. They are read, so that a file
	// which has them loads, and not evaluated here.
	ResourceRules *ResourceRules `yaml:"resourceRules,omitempty"`
	// ExternalRules make the metrics of external.metrics.k8s.io.
	ExternalRules []RuleConfig `yaml:"externalRules,omitempty"`

	file string
	doc  *yaml.Node
}

// RuleConfig is one entry of rules or externalRules.
type RuleConfig struct {
	// SeriesQuery selects the series that this rule is about.
	SeriesQuery string `yaml:"seriesQuery"`
	// SeriesFilters narrow the names of those series; all must agree.
	SeriesFilters []FilterConfig `yaml:"seriesFilters,omitempty"`
	// Resources says which label names which Kubernetes resource.
	Resources ResourceMapping `yaml:"resources"`
	// Name turns a series name into the name of the API.
	Name NameMapping `yaml:"name"`
	// MetricsQuery is the template of the expression.
	MetricsQuery string `yaml:"metricsQuery,omitempty"`
	// MaxAge is how old the samples behind an answer may be; 0 is the limit of
	// Options. prometheus-adapter has no such field.
	MaxAge model.Duration `yaml:"maxAge,omitempty"`
}

// FilterConfig is a regular expression on series names; one of the two is set.
type FilterConfig struct {
	Is    string `yaml:"is,omitempty"`
	IsNot string `yaml:"isNot,omitempty"`
}

// ResourceMapping joins labels and Kubernetes resources.
type ResourceMapping struct {
	// Template makes a label's name from <<.Group>> and <<.Resource>>.
	Template string `yaml:"template,omitempty"`
	// Overrides name the resource of a label.
	Overrides map[string]GroupResource `yaml:"overrides,omitempty"`
	// Namespaced says whether the series of an external rule belong to the
	// namespace of the request; nil is true.
	Namespaced *bool `yaml:"namespaced,omitempty"`
}

// GroupResource is a Kubernetes resource, singular or plural.
type GroupResource struct {
	Group    string `yaml:"group,omitempty"`
	Resource string `yaml:"resource"`
}

// NameMapping makes the API's name from a series name.
type NameMapping struct {
	// Matches is a regular expression; series that it does not match are left
	// out. "" matches all.
	Matches string `yaml:"matches"`
	// As may use the groups of Matches. "" is $1 where Matches has one group,
	// $0 where it has none.
	As string `yaml:"as"`
}

// ResourceRules are the rules of metrics.k8s.io.
type ResourceRules struct {
	CPU    ResourceRule   `yaml:"cpu"`
	Memory ResourceRule   `yaml:"memory"`
	Window model.Duration `yaml:"window"`
}

// ResourceRule is the rule of cpu or of memory.
type ResourceRule struct {
	ContainerQuery string          `yaml:"containerQuery"`
	NodeQuery      string          `yaml:"nodeQuery"`
	Resources      ResourceMapping `yaml:"resources"`
	ContainerLabel string          `yaml:"containerLabel"`
}

// ConfigError says what is wrong in a configuration file, where, and how to
// mend it, in one line.
type ConfigError struct {
	// File is the file's name; "" where the configuration came from no file.
	File string
	// Line counts from 1; 0 is unknown.
	Line int
	// Field is the path in the file, such as rules[2].name.matches.
	Field string
	// Err is the cause.
	Err error
	// Repair tells what to write instead.
	Repair string
}

// Error is "file:line: field: cause (repair)".
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.File == "" {
		b.WriteString("adapter rules")
	}
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(strings.ReplaceAll(e.Err.Error(), "\n", " "))
	if e.Repair != "" {
		b.WriteString(" (" + e.Repair + ")")
	}
	return b.String()
}

// Unwrap is the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ReadConfig reads a configuration file. Its errors are of type *ConfigError
// but for those of the file system.
func ReadConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the adapter's rules (--adapter.config): %w", err)
	}
	return ParseConfig(path, data)
}

// ParseConfig reads a configuration strictly: a field that it does not know
// or that is there twice is an error. An empty one has no rules. The name is
// for messages.
func ParseConfig(name string, data []byte) (*Config, error) {
	c := &Config{file: name}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, c.yamlError(err)
	}
	c.doc = &doc
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, c.yamlError(err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &ConfigError{File: name, Line: more.Line, Err: errors.New("a second YAML document"),
			Repair: "put all rules into one document, without ---"}
	}
	return c, nil
}

// yamlError puts the first complaint of the YAML decoder into our form.
func (c *Config) yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if te := (*yaml.TypeError)(nil); errors.As(err, &te) && len(te.Errors) > 0 {
		text = te.Errors[0]
	}
	out := &ConfigError{File: c.file, Repair: "see the fields of prometheus-adapter's configuration"}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		out.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	text = regexp.MustCompile(` (not found|already set) in type adapter\.\w+`).ReplaceAllString(text, " $1")
	switch {
	case strings.Contains(text, "not found"):
		out.Repair = "remove it or correct its spelling"
	case strings.Contains(text, "already"):
		out.Repair = "keep one of the two"
	case c.doc == nil:
		out.Repair = "write valid YAML"
	}
	out.Err = errors.New(text)
	out.Field = c.ruleAt(out.Line)
	return out
}

// ruleAt names the rule that a line belongs to; "" for none.
func (c *Config) ruleAt(line int) string {
	best := ""
	for _, kind := range []string{kindRules, kindExternal} {
		list := child(c.root(), kind)
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		for i, n := range list.Content {
			if n.Line <= line && line <= lastLine(n) {
				best = fmt.Sprintf("%s[%d]", kind, i)
			}
		}
	}
	return best
}

func (c *Config) root() *yaml.Node {
	if c.doc == nil || len(c.doc.Content) == 0 {
		return nil
	}
	return c.doc.Content[0]
}

// line is where a field stands: kind and index of its rule, then the keys to
// it. Of a field that is not there, it is the line of what would hold it.
func (c *Config) line(kind string, index int, path ...string) int {
	list := child(c.root(), kind)
	if list == nil || index >= len(list.Content) {
		return 0
	}
	n := list.Content[index]
	line := n.Line
	for _, key := range path {
		if n = child(n, key); n == nil {
			break
		}
		line = n.Line
	}
	return line
}

// child is the value of a key of a mapping, or the element of a sequence.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// lastLine is the last line on which something of n begins.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
