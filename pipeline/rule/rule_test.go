package rule

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/common/model"
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
	f(`r.yml:4:5: invalid rules: group "g", rule 1, "a": field 'expr' must be set in rule (and 1 more)`,
		"groups:", "- name: g", "  rules:", "  - record: a", "  - record: b")
	f(`r.yml:2: invalid rules: did not find expected node content`,
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

// Built-in files stand beside those on the disk, whatever the names of these.
func TestLoader(t *testing.T) {
	t.Parallel()
	const rules = "groups: [{name: g, rules: [{record: a, expr: b}]}]"
	l := loader{builtin: fstest.MapFS{"node.yaml": {Data: []byte(rules)}, "README": {}}, parser: parser.NewParser(parser.Options{})}
	names, err := l.builtinFiles()
	require.NoError(t, err)
	require.Equal(t, []string{"builtin/node.yaml"}, names)

	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte(rules), 0o600))
	for _, name := range append(names, file) {
		groups, errs := l.Load(name, false, model.UTF8Validation)
		require.Empty(t, errs)
		require.Len(t, groups.Groups, 1)
	}
	_, errs := l.Load("builtin/none.yaml", false, model.UTF8Validation)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], fs.ErrNotExist)
	_, errs = loader{}.Load("builtin/node.yaml", false, model.UTF8Validation)
	require.ErrorIs(t, errs[0], os.ErrNotExist)
}
