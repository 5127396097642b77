package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/strata-metrics/strata/pipeline/check"
)

// checkCommand is `strata check`.
func checkCommand() command {
	return command{name: "check", help: "Read prometheus.yml, rules, adapter rules, MetricRules and dashboards as the server would; say what is wrong, where, and how to mend it.",
		setup: func(cmd *kingpin.CmdClause, _ *env) func(context.Context) error {
			c := &checking{out: os.Stdout}
			cmd.Arg("path", "File, or directory whose *.yml, *.yaml and *.json are read.").Required().StringsVar(&c.paths)
			cmd.Flag("as", "What the files are; told by their content by default.").Default(string(check.Auto)).EnumVar(&c.kind, check.Kinds()...)
			return c.run
		}}
}

// checking is one run of the command.
type checking struct {
	paths []string
	kind  string
	out   io.Writer
}

func (c *checking) run(context.Context) error {
	checker := &check.Checker{Parser: parser.NewParser(parser.Options{})}
	bad, problems := 0, 0
	seen := map[string]bool{} // a rule file is found by itself and through a prometheus.yml
	for _, path := range c.paths {
		found, err := check.Find(path)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("%s has no *.yml, *.yaml or *.json", path)
		}
		for _, file := range found {
			for _, r := range checker.File(file, check.Kind(c.kind)) {
				if seen[r.File] {
					continue
				}
				seen[r.File] = true
				c.tell(r)
				if n := len(r.Errors); n > 0 {
					bad, problems = bad+1, problems+n
				}
			}
		}
	}
	if problems > 0 {
		return fmt.Errorf("errors in %d of %d files: %d", bad, len(seen), problems)
	}
	return nil
}

// tell prints a line for each error and warning, or that there is no error.
func (c *checking) tell(r check.Result) {
	for _, err := range r.Errors {
		_, _ = fmt.Fprintf(c.out, "error    %v\n", err)
	}
	for _, err := range r.Warnings {
		_, _ = fmt.Fprintf(c.out, "warning  %v\n", err)
	}
	if len(r.Errors) > 0 {
		return
	}
	holds := string(r.Kind)
	if r.Holds != "" {
		holds += ", " + r.Holds
	}
	_, _ = fmt.Fprintf(c.out, "ok       %s: %s\n", r.File, holds)
}
