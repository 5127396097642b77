package rule

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

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
	fs, err := files(conf)
	if err != nil {
		return err
	}
	for _, f := range fs {
		_, errs := rulefmt.ParseFile(f, false, conf.GlobalConfig.MetricNameValidationScheme, p, promslog.NewNopLogger())
		if len(errs) > 0 {
			return oneLine(f, errs)
		}
	}
	return nil
}

func oneLine(file string, errs []error) error {
	msg := strings.TrimPrefix(errs[0].Error(), file+": ")
	msg = noiseRE.ReplaceAllString(msg, "")
	msg = unknownRE.ReplaceAllString(msg, `unknown field "$1"`)
	pos := ""
	if at := positionRE.FindStringSubmatchIndex(msg); at != nil {
		m := positionRE.FindStringSubmatch(msg)
		pos = ":" + m[1]
		if n, err := strconv.Atoi(m[1]); err == nil && strings.Contains(msg, "did not find expected") {
			pos = fmt.Sprintf(":%d", min(n+1, lines(file))) // the YAML parser counts from 0 here
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
		pos = entryLine(file, msg)
	}
	more := ""
	if n := len(errs) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%s%s: %w: %s%s", file, pos, ErrRules, strings.TrimSpace(spacesRE.ReplaceAllString(msg, " ")), more)
}

// entryLine finds what a message is about that names a group, and perhaps the
// number of a rule in it, for which Prometheus gives no position: of groups of
// one name the last. "" means not found.
func entryLine(file, msg string) string {
	var doc struct {
		Groups []struct {
			Name  yaml.Node   `yaml:"name"`
			Rules []yaml.Node `yaml:"rules"`
		} `yaml:"groups"`
	}
	content, err := os.ReadFile(file)
	if err != nil || yaml.Unmarshal(content, &doc) != nil {
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
func lines(file string) int {
	content, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt
	}
	return 1 + bytes.Count(bytes.TrimSpace(content), []byte("\n"))
}
