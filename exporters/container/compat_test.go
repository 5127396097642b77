package container

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// tableMark begins the part of docs/compat-container.md that is made from the
// declared families.
const tableMark = "<!-- The rest is made from the declared families: STRATA_UPDATE=1 go test ./exporters/container -->\n"

// TestCompatibilityPage holds docs/compat-container.md to what is declared.
func TestCompatibilityPage(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "compat-container.md")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	head, _, ok := strings.Cut(string(text), tableMark)
	require.True(t, ok, "docs/compat-container.md lacks the line %q", tableMark)
	want := head + tableMark + "\n" + groupsTable() + "\n" + familiesTable(t) + "\n" + endedFamilies() + "\n" + ownFamiliesTable() + "\n" + impossibleTable()
	if os.Getenv("STRATA_UPDATE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run: STRATA_UPDATE=1 go test ./exporters/container")
}

func groupsTable() string {
	var b strings.Builder
	b.WriteString("## Groups\n\n| Group | /metrics | /metrics/cadvisor | |\n|---|---|---|---|\n")
	on := map[bool]string{true: "on", false: "off"}
	for i, name := range groupNames() {
		g, note := group(1<<i), ""
		if g&emptyGroups != 0 {
			note = "no families, see below"
		}
		if g == groupApp {
			note = "no families: an application's own metrics are scraped from it"
		}
		if g == groupPressure {
			note = "at /metrics/cadvisor only where the root of the cgroups has cpu.pressure, as in the kubelet"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, on[g&defaultGroups != 0], on[g&kubeletGroups != 0], note)
	}
	return b.String()
}

func familiesTable(t *testing.T) string {
	t.Helper()
	shown, err := newBody(nil, allGroups)
	require.NoError(t, err)
	groups := map[string]group{}
	for _, row := range slices.Concat(table(), networkTable(), labelledTable(), machineTable()) {
		groups[row.name] |= row.group
	}
	all := shown.families()
	slices.SortFunc(all, func(a, b *metric.Family) int { return strings.Compare(a.Name(), b.Name()) })
	var b strings.Builder
	fmt.Fprintf(&b, "## Families\n\n%d.\n\n| Family | Type | Labels of its own | Group | Meaning |\n|---|---|---|---|---|\n", len(all))
	for _, f := range all {
		labels := strings.Join(slices.DeleteFunc(slices.Clone(f.Spec().Labels), func(l string) bool {
			return slices.Contains(machineLabels(), l)
		}), ", ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name(), f.Spec().Type, labels, strings.ReplaceAll(groups[f.Name()].String(), ",", ", "), f.Spec().Help)
	}
	return b.String()
}

func endedFamilies() string {
	var b strings.Builder
	b.WriteString("## Of containers that have ended\n\nStrata's own, at /metrics and /metrics/cadvisor, with the labels of the container.\n\n| Family | Type | Meaning |\n|---|---|---|\n")
	for _, row := range endedTable() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row.name, row.typ, row.help)
	}
	return b.String()
}

func ownFamiliesTable() string {
	var b strings.Builder
	b.WriteString("## Further ones of Strata's own\n\nAt /metrics and /metrics/cadvisor.\n\n| Family | Type | Labels of its own | Group | Meaning |\n|---|---|---|---|---|\n")
	for _, row := range ownTable() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", row.name, row.typ, strings.Join(row.labels, ", "), row.group, row.help)
	}
	return b.String()
}

func impossibleTable() string {
	var b strings.Builder
	b.WriteString("## Not shown\n\n| Family of cAdvisor | Why |\n|---|---|\n")
	reasons := Impossible()
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, reasons[name])
	}
	return b.String()
}
