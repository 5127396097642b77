package rule

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// ErrRules means that a rule file is broken.
var ErrRules = errors.New("invalid rules")

var (
	positionRE = regexp.MustCompile(`(?:^|: )(?:line )?(\d+):(?:(\d+):)? `)
	noiseRE    = regexp.MustCompile(`yaml: (unmarshal errors:\n\s*)?`)
	unknownRE  = regexp.MustCompile(`field (\S+) not found in type \S+`)
	numberRE   = regexp.MustCompile(`", rule (\d+), "`)
	spacesRE   = regexp.MustCompile(`\s+`)
)

// Check parses every rule file of conf without changing anything. The error is
// one line: FILE:LINE:COLUMN: what is wrong with the first, and how many more
// there are. It matches ErrRules.
func Check(conf *config.Config, p parser.Parser) error {
	fs, _, err := Files(conf)
	if err != nil {
		return err
	}
	for _, f := range fs {
		content, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", f, ErrRules, err)
		}
		_, errs := CheckFile(f, content, conf.GlobalConfig.MetricNameValidationScheme, p)
		if n := len(errs) - 1; n > 0 {
			return fmt.Errorf("%w (and %d more)", errs[0], n)
		} else if n == 0 {
			return errs[0]
		}
	}
	return nil
}

// CheckFile parses the content of one rule file. Each error is one line,
// NAME:LINE:COLUMN: what is wrong, and matches ErrRules; the groups hold where
// there is none.
func CheckFile(name string, content []byte, scheme model.ValidationScheme, p parser.Parser) (*rulefmt.RuleGroups, []error) {
	groups, errs := rulefmt.Parse(content, false, scheme, p, promslog.NewNopLogger())
	for i, err := range errs {
		errs[i] = oneLine(name, content, err)
	}
	// YAML that is broken is found by each of the parser's two readings.
	return groups, slices.CompactFunc(errs, func(a, b error) bool { return a.Error() == b.Error() })
}

func oneLine(file string, content []byte, err error) error {
	msg := noiseRE.ReplaceAllString(err.Error(), "")
	msg = unknownRE.ReplaceAllString(msg, `unknown field "$1"`)
	pos := ""
	if at := positionRE.FindStringSubmatchIndex(msg); at != nil {
		m := positionRE.FindStringSubmatch(msg)
		pos = ":" + m[1]
		if n, err := strconv.Atoi(m[1]); err == nil && strings.Contains(msg, "did not find expected") {
			pos = fmt.Sprintf(":%d", min(n+1, lines(content))) // the YAML parser counts from 0 here
		}
		if m[2] != "" {
			pos += ":" + m[2]
		}
		sep := ""
		if at[0] > 0 {
			sep = ": "
		}
		msg = msg[:at[0]] + sep + msg[at[1]:]
	}
	if strings.HasPrefix(pos, ":0") {
		pos = entryLine(content, msg)
	}
	return fmt.Errorf("%s%s: %w: %s", file, pos, ErrRules, strings.TrimSpace(spacesRE.ReplaceAllString(msg, " ")))
}

// entryLine finds what a message is about that names a group, and perhaps the
// number of a rule in it, for which Prometheus gives no position: of groups of
// one name the last. "" means not found.
func entryLine(content []byte, msg string) string {
	var doc struct {
		Groups []struct {
			Name  yaml.Node   `yaml:"name"`
			Rules []yaml.Node `yaml:"rules"`
		} `yaml:"groups"`
	}
	if yaml.Unmarshal(content, &doc) != nil {
		return ""
	}
	var at yaml.Node
	for _, g := range doc.Groups {
		if !strings.Contains(msg, strconv.Quote(g.Name.Value)) {
			continue
		}
		at = g.Name
		if m := numberRE.FindStringSubmatch(msg); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 0 && n <= len(g.Rules) {
				at = g.Rules[n-1]
			}
		}
	}
	if at.Line == 0 {
		return ""
	}
	return fmt.Sprintf(":%d:%d", at.Line, at.Column)
}

// lines is how many lines a file has.
func lines(content []byte) int {
	return 1 + bytes.Count(bytes.TrimSpace(content), []byte("\n"))
}
