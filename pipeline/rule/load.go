package rule

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// builtinPrefix stands before the names of the files of Options.Builtin, where
// others have the path of a file.
const builtinPrefix = "builtin/"

// loader reads rule files from the disk and from those built in.
type loader struct {
	builtin fs.FS
	parser  parser.Parser
	logger  *slog.Logger
}

// Load implements rules.GroupLoader.
func (l loader) Load(name string, ignoreUnknownFields bool, scheme model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	var content []byte
	var err error
	if file, ok := strings.CutPrefix(name, builtinPrefix); ok && l.builtin != nil {
		content, err = fs.ReadFile(l.builtin, file)
	} else {
		content, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", name, err)}
	}
	groups, errs := rulefmt.Parse(content, ignoreUnknownFields, scheme, l.parser, l.logger)
	for i := range errs {
		errs[i] = fmt.Errorf("%s: %w", name, errs[i])
	}
	return groups, errs
}

// Parse implements rules.GroupLoader.
func (l loader) Parse(query string) (parser.Expr, error) { return l.parser.ParseExpr(query) }

// builtinFiles names the rule files that are built in.
func (l loader) builtinFiles() ([]string, error) {
	if l.builtin == nil {
		return nil, nil
	}
	names, err := fs.Glob(l.builtin, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the built-in rules: %w", err)
	}
	for i := range names {
		names[i] = builtinPrefix + names[i]
	}
	return names, nil
}
