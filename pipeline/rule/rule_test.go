package rule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every kind of mistake gets the line where it is, in one line.
func TestCheck(t *testing.T) {
	t.Parallel()
	p := parser.NewParser(parser.Options{})
	f := func(want string, lines ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "r.yml")
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
		conf := config.DefaultConfig
		conf.RuleFiles = []string{filepath.Join(filepath.Dir(file), "*.yml"), file}
		err := Check(&conf, p)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, ErrRules)
		require.Equal(t, want, strings.ReplaceAll(err.Error(), file, "r.yml"))
	}
	f("", "groups: []")
	f("", "")
	f("", "groups:", "- name: g", "  rules:", "  - {record: a, expr: sum(b)}")
	f(`r.yml:5:11: invalid rules: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis`,
		"groups:", "- name: g", "  rules:", "  - record: a", "    expr: sum(")
	f(`r.yml:2: invalid rules: unknown field "nam"`,
		"groups:", "- nam: g")
	f(`r.yml:5:5: invalid rules: groupname: "g" is repeated in the same file`,
		"groups:", "- name: g", "  rules: []", "- ? name", "  : g")
	f(`r.yml:4:5: invalid rules: group "g", rule 1, "a": field 'expr' must be set in rule`,
		"groups:", "- name: g", "  rules:", "  - record: a")
	f(`r.yml:2: invalid rules: did not find expected node content (and 1 more)`,
		"groups:", "- [")
}

// A pattern that matches nothing is no error, a bad one is.
func TestFiles(t *testing.T) {
	t.Parallel()
	conf := config.DefaultConfig
	conf.RuleFiles = []string{filepath.Join(t.TempDir(), "*.yml")}
	require.NoError(t, Check(&conf, nil))
	conf.RuleFiles = []string{"[x"}
	require.ErrorContains(t, Check(&conf, nil), `rule_files: "[x"`)
}
