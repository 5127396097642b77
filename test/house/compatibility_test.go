package house

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// listMark begins the part of docs/compatibility.md that is made from
// differences.yaml.
const listMark = "<!-- The rest is made from test/compat/differences.yaml: STRATA_UPDATE=1 go test ./test/house -->\n"

// TestCompatibilityPage holds docs/compatibility.md to the list of differences.
func TestCompatibilityPage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "test", "compat", "differences.yaml"))
	require.NoError(t, err)
	var list struct {
		Adapter       []difference
		MetricsServer []difference `yaml:"metricsserver"`
	}
	require.NoError(t, yaml.Unmarshal(data, &list))
	page := filepath.Join(root, "docs", "compatibility.md")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, after, found := strings.Cut(string(text), listMark)
	require.True(t, found, "%s has no line %s", page, listMark)
	want := listed("prometheus-adapter", list.Adapter) + listed("metrics-server", list.MetricsServer)
	if os.Getenv("STRATA_UPDATE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(before+listMark+want), 0o644))
		return
	}
	require.Equal(t, want, after, "run: STRATA_UPDATE=1 go test ./test/house")
}

type difference struct {
	Why, At        string
	Requests, Pods []string
}

// listed is one section: each reason once, with what it is about.
func listed(program string, differences []difference) string {
	var order []string
	about := map[string][]string{}
	for _, d := range differences {
		if _, seen := about[d.Why]; !seen {
			order = append(order, d.Why)
		}
		for _, p := range d.Pods {
			about[d.Why] = append(about[d.Why], d.At+" "+p)
		}
		about[d.Why] = append(about[d.Why], d.Requests...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## Other than %s\n\n| What | Where |\n|---|---|\n", program)
	for _, why := range order {
		fmt.Fprintf(&b, "| %s | `%s` |\n", why, strings.Join(about[why], "`, `"))
	}
	return b.String()
}
