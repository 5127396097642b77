// Package check reads the files that people write for Strata, as the server
// would, and says all that is wrong with them: where, and how to mend it.
// Nothing is started and no one is asked.
package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/dashboards/lint"
	"github.com/strata-metrics/strata/pipeline/adapter"
	"github.com/strata-metrics/strata/pipeline/discover"
	"github.com/strata-metrics/strata/pipeline/rule"
)

// Kind is what a file is for.
type Kind string

// The kinds of files.
const (
	Auto       Kind = "auto"       // told by the content
	Prometheus Kind = "prometheus" // prometheus.yml, with the rule files that it names
	Rules      Kind = "rules"      // recording and alerting rules
	Adapter    Kind = "adapter"    // custom and external metrics, as prometheus-adapter reads them
	Dashboard  Kind = "dashboard"  // of Grafana, JSON
)

// object is a Kubernetes object that holds files of the other kinds.
const object Kind = "object"

// Kinds lists them for a flag.
func Kinds() []string {
	return []string{string(Auto), string(Prometheus), string(Rules), string(Adapter), string(Dashboard)}
}

// ErrKind means that a file is none of those that can be checked.
var ErrKind = errors.New("neither a prometheus.yml, rules, adapter rules nor a dashboard")

// A Result is what there is to say about one file.
type Result struct {
	File string
	Kind Kind
	// Holds is what is in a file without errors, such as "3 jobs".
	Holds string
	// Errors are one line each: FILE:LINE: what is wrong (how to mend it). With
	// one of them the server would refuse the file, or a part of it never work.
	Errors []error
	// Warnings have the same form; the server takes a file that has them.
	Warnings []error
}

// Checker checks files.
type Checker struct {
	// Parser is that of the server's PromQL.
	Parser parser.Parser
}

// Find lists the files behind a path: of a directory, those with the endings of
// files that can be checked, at any depth, hidden ones left out.
func Find(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != path && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(file)):
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

// File checks a file. A prometheus.yml gives one result more for each rule file
// that it names.
func (c *Checker) File(path string, kind Kind) []Result {
	r := Result{File: path, Kind: kind}
	content, err := os.ReadFile(path)
	if err == nil && kind == Auto {
		r.Kind, err = kindOf(path, content)
	}
	if err != nil {
		r.Errors = []error{err}
		return []Result{r}
	}
	switch r.Kind {
	case Prometheus:
		return c.prometheus(r)
	case object:
		return c.objects(path, content)
	}
	c.content(&r, content)
	return []Result{r}
}

// content checks what needs no other file.
func (c *Checker) content(r *Result, content []byte) {
	switch r.Kind {
	case Rules:
		c.rules(r, content, model.UTF8Validation)
	case Adapter:
		r.Errors = adapter.Check(r.File, content, c.Parser)
		if conf, err := adapter.ParseConfig(r.File, content); err == nil {
			r.Holds = fmt.Sprintf("%s, %s", count(len(conf.Rules), "rule"), count(len(conf.ExternalRules), "external rule"))
		}
	case Dashboard:
		r.Errors, r.Warnings = lint.Dashboard(r.File, content, c.Parser)
	}
}

func (c *Checker) prometheus(r Result) []Result {
	conf, err := discover.Load(r.File, discover.Defaults{}, promslog.NewNopLogger())
	if err != nil {
		r.Errors = []error{withRepair(err)}
		return []Result{r}
	}
	jobs, err := conf.GetScrapeConfigs()
	if err != nil {
		r.Errors = append(r.Errors, withRepair(err))
	}
	r.Holds = count(len(jobs), "job")
	files, unmatched, err := rule.Files(conf)
	if err != nil {
		r.Errors = append(r.Errors, fmt.Errorf("%s: %w", r.File, err))
	}
	for _, pattern := range unmatched {
		r.Warnings = append(r.Warnings, fmt.Errorf("%s: rule_files: no file matches %q (write the file, or correct the pattern)", r.File, pattern))
	}
	results := []Result{r}
	for _, file := range files {
		one := Result{File: file, Kind: Rules}
		content, err := os.ReadFile(file)
		if err != nil {
			one.Errors = []error{err}
		} else {
			c.rules(&one, content, conf.GlobalConfig.MetricNameValidationScheme)
		}
		results = append(results, one)
	}
	return results
}

func (c *Checker) rules(r *Result, content []byte, scheme model.ValidationScheme) {
	groups, errs := rule.CheckFile(r.File, content, scheme, c.Parser)
	for _, err := range errs {
		r.Errors = append(r.Errors, withRepair(err))
	}
	if len(errs) > 0 {
		return
	}
	n := 0
	for _, g := range groups.Groups {
		n += len(g.Rules)
	}
	r.Holds = fmt.Sprintf("%s in %s", count(n, "rule"), count(len(groups.Groups), "group"))
}

// kindOf tells what a file is by its ending and the keys at its top.
func kindOf(path string, content []byte) (Kind, error) {
	if filepath.Ext(path) == ".json" {
		return Dashboard, nil
	}
	// A file that is broken further down still says by its first keys what it
	// was meant to be.
	keys := topKeys(content)
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(keys, n) })
	}
	switch {
	case has("apiVersion", "kind"):
		return object, nil
	case has("groups"):
		return Rules, nil
	case has("rules", "externalRules", "resourceRules"):
		return Adapter, nil
	case has("global", "runtime", "scrape_configs", "scrape_config_files", "rule_files", "alerting", "remote_write", "remote_read", "storage", "otlp", "tracing"):
		return Prometheus, nil
	}
	return "", fmt.Errorf("%s: %w (say which with --as)", path, ErrKind)
}

// topKeys are the keys of a YAML document that stand at the beginning of a line
// or, where it is all on one, those of its mapping.
func topKeys(content []byte) []string {
	var keys []string
	for line := range strings.Lines(string(content)) {
		key, _, ok := strings.Cut(line, ":")
		if ok && key != "" && !strings.ContainsAny(key[:1], " \t#-{") {
			keys = append(keys, strings.Trim(key, `"' `))
		}
	}
	var doc map[string]yaml.Node
	if len(keys) == 0 && yaml.Unmarshal(content, &doc) == nil {
		for key := range doc {
			keys = append(keys, key)
		}
	}
	return keys
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
