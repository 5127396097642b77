package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// topPods are two pods that kubectl top can tell apart: of one container and of
// two, which use more memory than the one.
const topPods = `
apiVersion: v1
kind: Pod
metadata: {name: twin, labels: {app: twin, tier: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: first, image: "strata.test/demo:e2e", resources: {limits: {memory: 64Mi}}}
  - {name: second, image: "strata.test/demo:e2e", args: [-listen=:8081], resources: {limits: {memory: 64Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: solo, labels: {app: solo, tier: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: only, image: "strata.test/demo:e2e", resources: {limits: {memory: 64Mi}}}]
`

// topCase is a call of kubectl top that has an answer.
type topCase struct {
	args    string   // after kubectl top, NS being the test's namespace
	columns string   // of the answer
	names   []string // of the rows, in this order, where no others can be there
	has     []string // names among those of the rows
	falls   string   // the column whose values fall from row to row
	sum     bool     // the last row is the sum of the others
}

// The columns of kubectl top.
const (
	nodeColumns      = "NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)"
	podColumns       = "NAME CPU(cores) MEMORY(bytes)"
	containerColumns = "POD NAME CPU(cores) MEMORY(bytes)"
)

// TestTop holds that kubectl top answers in each of its forms: what is asked
// for and nothing else, in the order that was asked for, with values that can be.
func TestTop(t *testing.T) {
	strata(t)
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, topPods))
	pods(t, ns, map[string]string{"tier": "web"}, 2)
	// Each replica of core has its own readings; ten answers are of both.
	row := 0
	cluster.Eventually(t, time.Minute, func() error {
		out, err := shared.cluster.Kubectl(t.Context(), "top", "pods", "--namespace", ns, "--no-headers")
		if n := strings.Count(out, "\n"); err != nil || n != 2 {
			row = 0
			return fmt.Errorf("%d of 2 pods are known (%v)", n, err)
		}
		if row++; row < 10 {
			return fmt.Errorf("answered %d times", row)
		}
		return nil
	})
	node, installed := []string{"strata-e2e"}, "--namespace "+story.Namespace
	both, twin := []string{"solo", "twin"}, []string{"twin"}
	parts := []string{"node", "container", "kubestate", "core", "server"}
	for _, c := range []topCase{
		{args: "nodes", columns: nodeColumns, names: node},
		{args: "node strata-e2e", columns: nodeColumns, names: node},
		{args: "nodes --sort-by=cpu", columns: nodeColumns, names: node, falls: "CPU(cores)"},
		{args: "nodes --sort-by=memory", columns: nodeColumns, names: node, falls: "MEMORY(bytes)"},
		{args: "nodes --selector=kubernetes.io/hostname=strata-e2e", columns: nodeColumns, names: node},
		{args: "nodes --show-capacity", columns: nodeColumns, names: node},
		{args: "nodes --no-headers", columns: nodeColumns, names: node},
		{args: "nodes --use-protocol-buffers=false", columns: nodeColumns, names: node},
		{args: "pods --namespace NS", columns: podColumns, names: both},
		{args: "pods --namespace NS --no-headers", columns: podColumns, names: both},
		{args: "pods --namespace NS --use-protocol-buffers=false", columns: podColumns, names: both},
		{args: "pod twin --namespace NS", columns: podColumns, names: twin},
		{args: "pod twin --namespace NS --containers", columns: containerColumns, names: []string{"twin/first", "twin/second"}},
		{args: "pods --namespace NS --containers", columns: containerColumns, names: []string{"solo/only", "twin/first", "twin/second"}},
		{args: "pods --namespace NS --selector=app=twin", columns: podColumns, names: twin},
		{args: "pods --namespace NS --selector=app!=twin,tier", columns: podColumns, names: []string{"solo"}},
		{args: "pods --namespace NS --selector=tier=web", columns: podColumns, names: both},
		{args: "pods --namespace NS --field-selector=metadata.name=twin", columns: podColumns, names: twin},
		{args: "pods --namespace NS --field-selector=metadata.name!=twin", columns: podColumns, names: []string{"solo"}},
		{args: "pods --all-namespaces --field-selector=metadata.namespace=NS", columns: "NAMESPACE " + podColumns, names: []string{"NS/solo", "NS/twin"}},
		{args: "pods --namespace NS --sort-by=memory", columns: podColumns, names: []string{"twin", "solo"}, falls: "MEMORY(bytes)"},
		{args: "pods --namespace NS --sum", columns: podColumns, names: both, sum: true},
		{args: "pods --namespace NS --containers --sum", columns: containerColumns, names: []string{"solo/only", "twin/first", "twin/second"}, sum: true},
		{args: "pods " + installed + " --sort-by=cpu", columns: podColumns, falls: "CPU(cores)"},
		{args: "pods " + installed + " --sort-by=memory", columns: podColumns, falls: "MEMORY(bytes)"},
		{args: "pods " + installed + " --containers", columns: containerColumns, has: parts},
		{args: "pods " + installed + " --containers --no-headers --sort-by=memory", columns: containerColumns, has: parts},
		{args: "pods --all-namespaces", columns: "NAMESPACE " + podColumns, has: []string{"NS/solo", "NS/twin"}},
		{args: "pods --all-namespaces --no-headers", columns: "NAMESPACE " + podColumns, has: []string{"NS/solo", "NS/twin"}},
		{args: "pods --all-namespaces --sort-by=memory", columns: "NAMESPACE " + podColumns, has: []string{"NS/solo"}, falls: "MEMORY(bytes)"},
		{args: "pods --all-namespaces --containers --selector=tier=web", columns: "NAMESPACE " + containerColumns, names: []string{"NS/solo/only", "NS/twin/first", "NS/twin/second"}},
	} {
		t.Run(c.args, func(t *testing.T) { c.in(ns).holds(t) })
	}
	t.Run("nothing", func(t *testing.T) { topOfNothing(t, ns) })
}

// in is the case with the test's namespace in it.
func (c topCase) in(ns string) topCase {
	c.args = strings.ReplaceAll(c.args, "NS", ns)
	for _, list := range []*[]string{&c.names, &c.has} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i] = strings.ReplaceAll((*list)[i], "NS", ns)
		}
	}
	return c
}

// holds asks, and holds the answer against the case.
func (c topCase) holds(t *testing.T) {
	out, err := shared.cluster.Kubectl(t.Context(), append([]string{"top"}, strings.Fields(c.args)...)...)
	require.NoError(t, err)
	columns, lines := strings.Fields(c.columns), strings.Split(strings.TrimRight(out, "\n"), "\n")
	if !strings.Contains(c.args, "--no-headers") {
		require.Equal(t, columns, strings.Fields(lines[0]), out)
		lines = lines[1:]
	}
	var total []string
	if c.sum {
		require.Greater(t, len(lines), 2, out)
		require.Equal(t, []string{"________", "________"}, strings.Fields(lines[len(lines)-2]), out)
		total, lines = strings.Fields(lines[len(lines)-1]), lines[:len(lines)-2]
		require.Len(t, total, 2, out)
	}
	parts := slices.Index(columns, "NAME") + 1 // what a row is called: namespace, pod, container
	var names []string
	values := map[string][]int{}
	for _, line := range lines {
		fields := strings.Fields(line)
		require.Len(t, fields, len(columns), out)
		names = append(names, strings.Join(fields[:parts], "/"))
		for i, column := range columns[parts:] {
			values[column] = append(values[column], topValue(t, column, fields[parts+i]))
		}
	}
	if c.names != nil {
		require.Equal(t, c.names, names, out)
	}
	for _, name := range c.has {
		require.True(t, slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix("/"+n, "/"+name) }), "no %s in\n%s", name, out)
	}
	if c.falls != "" {
		require.IsNonIncreasing(t, values[c.falls], out)
	}
	for i, column := range columns[parts:] {
		if c.sum { // of values before they were rounded
			sum := 0
			for _, v := range values[column] {
				sum += v
			}
			require.InDelta(t, sum, topValue(t, column, total[i]), float64(len(lines)), out)
		}
	}
}

var topForms = map[string]*regexp.Regexp{
	"CPU(cores)":    regexp.MustCompile(`^(\d+)m$`),
	"CPU(%)":        regexp.MustCompile(`^(\d+)%$`),
	"MEMORY(bytes)": regexp.MustCompile(`^([1-9]\d*)Mi$`),
	"MEMORY(%)":     regexp.MustCompile(`^([1-9]\d*)%$`),
}

// topValue is a value as kubectl top writes it, which no node exceeds.
func topValue(t *testing.T, column, text string) int {
	t.Helper()
	most := map[string]int{"CPU(cores)": runtime.NumCPU() * 1100, "CPU(%)": 110, "MEMORY(bytes)": 1 << 22, "MEMORY(%)": 100}
	m := topForms[column].FindStringSubmatch(text)
	require.NotNil(t, m, "%s is %q", column, text)
	v, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	require.LessOrEqual(t, v, most[column], "%s is %q", column, text)
	return v
}

// topOfNothing holds what a person is told when nothing can be shown.
func topOfNothing(t *testing.T, ns string) {
	empty := namespace(t)
	for args, want := range map[string]string{
		"pods --namespace " + empty:                             "No resources found in " + empty + " namespace.",
		"pods --namespace absent":                               "No resources found in absent namespace.",
		"pods --selector=app=absent --namespace " + ns:          "No resources found in " + ns + " namespace.",
		"nodes --selector=absent=true":                          "error: metrics not available yet",
		"pod absent --namespace " + ns:                          `Error from server (NotFound): pods "absent" not found`,
		"node absent":                                           `Error from server (NotFound): node "absent" not found`,
		"pod solo --selector=app=solo --namespace " + ns:        "error: only one of NAME or selector can be provided",
		"pods --sort-by=disk --namespace " + ns:                 "error: --sort-by accepts only cpu or memory",
		"pods --field-selector=spec.absent=1 --namespace " + ns: "Error from server (BadRequest): field label not supported: spec.absent",
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(shared.cluster.BinDir(), "kubectl"), append([]string{"top"}, strings.Fields(args)...)...)
		cmd.Env = append(os.Environ(), shared.cluster.Env()...)
		var out, says bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &says
		err := cmd.Run()
		require.Equal(t, strings.HasPrefix(want, "No resources"), err == nil, "%s: %v", args, err)
		require.Empty(t, out.String(), args)
		require.Contains(t, says.String(), want, args)
	}
}
