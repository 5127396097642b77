// Package lint checks dashboards in Grafana's JSON model that people wrote:
// whether Grafana and Strata's page can show every panel of them, and where to
// mend what they cannot. It parses the queries as the server would.
package lint

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// ErrDashboard means that a dashboard, or a part of it, cannot be shown.
var ErrDashboard = errors.New("invalid dashboard")

// A Problem is one thing that is wrong. It matches ErrDashboard.
type Problem struct {
	// File, Line and Column say where; both count from 1.
	File         string
	Line, Column int
	// Message says what is wrong and how to mend it.
	Message string
}

// Error gives one line: FILE:LINE:COLUMN: what is wrong (how to mend it).
func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Is makes a Problem match ErrDashboard.
func (p *Problem) Is(target error) bool { return target == ErrDashboard }

// maxProblems bounds what is said about one file.
const maxProblems = 100

// Dashboard checks the content of a file; name is only said in the results,
// which are Problems in the order of the file. With an error the dashboard, or
// a panel or variable of it, can never work; with a warning it works in Grafana
// or in part.
func Dashboard(name string, content []byte, p parser.Parser) (errs, warnings []error) {
	c := &checker{name: name, content: content, parser: p}
	root, offset, err := parse(content)
	if err != nil {
		c.errorAt(offset, "the JSON is broken: %s (often a comma or a bracket before this place)", strings.TrimPrefix(err.Error(), "json: "))
		return c.errs, nil
	}
	c.dashboard(root)
	return c.errs, c.warnings
}

type checker struct {
	name           string
	content        []byte
	parser         parser.Parser
	errs, warnings []error

	variables []string
	ids       map[string]int // offset of the first panel with an id
}

func (c *checker) problem(offset int, format string, args ...any) error {
	line, column := position(c.content, offset)
	return &Problem{File: c.name, Line: line, Column: column, Message: spaceRE.ReplaceAllString(fmt.Sprintf(format, args...), " ")}
}

// A message is one line, whatever stands in a title or query.
var spaceRE = regexp.MustCompile(`\s+`)

func (c *checker) errorAt(offset int, format string, args ...any) {
	if len(c.errs) < maxProblems {
		c.errs = append(c.errs, c.problem(offset, format, args...))
	}
}

func (c *checker) warnAt(offset int, format string, args ...any) {
	if len(c.warnings) < maxProblems {
		c.warnings = append(c.warnings, c.problem(offset, format, args...))
	}
}

// dashboard finds the dashboard in what may be wrapped around it.
func (c *checker) dashboard(root *node) {
	if inner := root.get("dashboard"); inner != nil && root.get("panels") == nil {
		root = inner // as Grafana's API gives and takes it
	}
	if strings.HasPrefix(root.get("apiVersion").str(), "dashboard.grafana.app/") {
		root = root.get("spec") // as Grafana's resources hold it
	}
	switch {
	case root == nil || root.kind != object:
		c.errorAt(0, "this is no dashboard (a dashboard is a JSON object with a title and panels)")
		return
	case root.get("elements") != nil && root.get("layout") != nil:
		c.errorAt(root.start, "this is a dashboard of Grafana's schema v2, which is not supported (export it in Grafana as JSON model of version 1, \"classic\")")
		return
	case root.get("panels") == nil && root.get("rows") == nil:
		c.errorAt(root.start, "this is no dashboard: it has no panels (if it is another kind of file, say so with --as)")
		return
	}
	if root.get("title").str() == "" {
		c.errorAt(root.start, "the dashboard has no title (add \"title\": \"...\")")
	}
	c.ids = map[string]int{}
	c.declare(root.get("templating").get("list").list())
	for _, v := range root.get("templating").get("list").list() {
		c.variable(v)
	}
	c.panels(root)
}

// declare collects the variables' names.
func (c *checker) declare(list []*node) {
	for _, v := range list {
		name := v.get("name").str()
		switch {
		case name == "":
			c.errorAt(v.start, "a variable has no name (add \"name\": \"...\")")
		case slices.Contains(c.variables, name):
			c.errorAt(v.start, "the variable %s is declared twice (rename one)", name)
		}
		c.variables = append(c.variables, name)
	}
}

func (c *checker) known(name string) bool { return builtin(name) || slices.Contains(c.variables, name) }

// undefined reports variables in a text that nobody declares.
func (c *checker) undefined(what string, n *node) {
	var told []string
	for _, r := range references(n.str()) {
		if !c.known(r.name) && !group(r.name, n.str()) && !slices.Contains(told, r.name) {
			told = append(told, r.name)
			c.errorAt(n.offset(c.content, r.start), "%s uses the variable $%s, which the dashboard does not declare (%s)", what, r.name, c.suggest(r.name))
		}
	}
}

func (c *checker) suggest(name string) string {
	for _, v := range c.variables {
		if strings.EqualFold(v, name) || v != "" && (strings.Contains(v, name) || strings.Contains(name, v)) {
			return "it has $" + v
		}
	}
	return "add it under templating.list"
}

// variable checks a variable that asks the data source.
func (c *checker) variable(v *node) {
	if v.get("type").str() != "query" {
		return
	}
	what := "the variable " + v.get("name").str()
	q := v.get("query")
	if q != nil && q.kind == object {
		q = q.get("query")
	}
	if q.str() == "" {
		c.errorAt(v.start, "%s asks nothing (add \"query\": \"label_values(METRIC, LABEL)\")", what)
		return
	}
	if !c.promQL(v, nil) {
		return
	}
	c.undefined(what, q)
	m := variableQueryRE.FindStringSubmatchIndex(q.text)
	if m == nil {
		return // a name alone, or a form that is not known here
	}
	inner, start := q.text[m[4]:m[5]], m[4]
	if q.text[m[2]:m[3]] == "label_values" {
		comma := strings.LastIndexByte(inner, ',')
		if comma < 0 {
			return // label_values(LABEL)
		}
		inner = inner[:comma]
	}
	c.query(what, q, inner, start)
}

// variableQueryRE matches the queries of variables that hold PromQL.
var variableQueryRE = regexp.MustCompile(`(?s)^\s*(label_values|query_result)\((.*)\)\s*$`)

// query parses the part of a text that starts at an offset of it.
func (c *checker) query(what string, n *node, text string, start int) {
	offset, err := newQuery(text, c.known).parse(c.parser)
	if err == nil {
		return
	}
	for _, r := range references(text) {
		if !c.known(r.name) && !group(r.name, text) {
			return // said already
		}
	}
	c.errorAt(n.offset(c.content, start+offset), "%s is not PromQL: %s", what, message(err))
}

// message gives the parser's words without its position, which is ours.
func message(err error) string {
	var list parser.ParseErrors
	if errors.As(err, &list) && len(list) > 0 {
		return list[0].Err.Error()
	}
	var one *parser.ParseErr
	if errors.As(err, &one) {
		return one.Err.Error()
	}
	return err.Error()
}

// errorOffset maps where the parser failed to the query as it was written.
func errorOffset(err error, at []int) int {
	start := 0
	var list parser.ParseErrors
	var one *parser.ParseErr
	switch {
	case errors.As(err, &list) && len(list) > 0:
		start = int(list[0].PositionRange.Start)
	case errors.As(err, &one):
		start = int(one.PositionRange.Start)
	}
	return at[min(max(start, 0), len(at)-1)]
}
