package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tableMark begins the part of docs/compat-node.md that is made from
// testdata/node_exporter.tsv and the flags of this program.
const tableMark = "<!-- The rest is made from cmd/strata-node/testdata/node_exporter.tsv and the program's flags: STRATA_UPDATE=1 go test ./cmd/strata-node -->\n"

// there is a collector or flag of node_exporter: a line of the list.
type there struct{ kind, name, standard, note string }

func nodeExporter(t *testing.T) []there {
	t.Helper()
	data, err := os.ReadFile("testdata/node_exporter.tsv")
	require.NoError(t, err)
	var all []there
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, f, 4, line)
		require.Contains(t, []string{"collector", "flag"}, f[0], line)
		all = append(all, there{f[0], f[1], f[2], f[3]})
	}
	return all
}

// here is this program's own flags with their defaults.
func here() map[string]string {
	own := map[string]string{}
	for _, f := range newFlags().app.Model().Flags {
		standard := strings.Join(f.Default, ",")
		if standard == "" && f.IsBoolFlag() {
			standard = "false"
		}
		own[f.Name] = standard
	}
	return own
}

// TestCompatibilityPage holds docs/compat-node.md to the flags that there are.
func TestCompatibilityPage(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "compat-node.md")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, after, found := strings.Cut(string(text), tableMark)
	require.True(t, found, "%s has no line %s", page, tableMark)
	want := compared(nodeExporter(t), here())
	if os.Getenv("STRATA_UPDATE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(before+tableMark+want), 0o644))
		return
	}
	require.Equal(t, want, after, "run: STRATA_UPDATE=1 go test ./cmd/strata-node")
}

// compared is the tables. Every flag that is only here is listed too, but for
// what kingpin makes by itself.
func compared(list []there, own map[string]string) string {
	const collector = "collector."
	var collectors, flags strings.Builder
	known := map[string]bool{}
	count, missing := 0, 0
	for _, l := range list {
		name, out := l.name, &flags
		if l.kind == "collector" {
			name, out = collector+l.name, &collectors
			count++
		}
		known[name] = true
		standard, ok := own[name]
		switch {
		case l.kind == "collector" && !ok:
			missing++
			fmt.Fprintf(out, "| %s | %s | not yet |\n", l.name, l.standard)
		case l.kind == "collector":
			fmt.Fprintf(out, "| %s | %s | %s |\n", l.name, l.standard, map[string]string{"true": "on", "false": "off"}[standard])
		case !ok:
			fmt.Fprintf(out, "| `--%s` | %s | not yet | %s |\n", name, code(l.standard), l.note)
		case standard == l.standard:
			fmt.Fprintf(out, "| `--%s` | %s | the same | %s |\n", name, code(l.standard), l.note)
		default:
			fmt.Fprintf(out, "| `--%s` | %s | %s | %s |\n", name, code(l.standard), cmp.Or(code(standard), "none"), l.note)
		}
	}
	var only []string
	for name := range own {
		if !known[name] && !slices.Contains([]string{"help", "help-long", "help-man", "version"}, name) && !strings.HasPrefix(name, "completion-") {
			only = append(only, "`--"+name+"`")
		}
	}
	slices.Sort(only)
	return fmt.Sprintf("\n## Collectors\n\n%d of %d.\n\n| Collector | node_exporter | strata-node |\n|---|---|---|\n%s", count-missing, count, collectors.String()) +
		"\n## Flags\n\n| Flag | Default of node_exporter | Default of strata-node | Note |\n|---|---|---|---|\n" + flags.String() +
		"\nOnly in strata-node: " + strings.Join(only, ", ") + ".\n"
}

// code shows a default in a table, whose columns a bar would end.
func code(standard string) string {
	if standard == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(standard, "|", `\|`) + "`"
}
