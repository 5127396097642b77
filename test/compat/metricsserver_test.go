package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestMetricsServer replays the requests that metrics-server was asked in each
// scenario, kubectl top among them, by the reference data's own scripts.
func TestMetricsServer(t *testing.T) {
	dir := reference(t, "metricsserver")
	cert, key := shared.control.Administrator()
	env := []string{
		"KUBECONFIG=" + shared.control.Kubeconfig(), "CERT=" + cert, "KEY=" + key, "SERVER=" + coreProgram(t),
	}
	out, code := command(t, dir, nil, "python3", "load.py", "--api", shared.control.RESTConfig().Host,
		"--cert", cert, "--key", key, "--cacert", shared.control.Authority())
	require.Zero(t, code, out)
	kubelets := start(t, "kubelets", "python3", filepath.Join(dir, "fakekubelet.py"))
	kubelets.until(t, answers(t.Context(), http.DefaultClient, "http://127.0.0.1:19800/state?scenario=normal"))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "log"), 0o755))
	out, _ = command(t, dir, env, "bash", "all.sh", "compare", "8")
	require.NoError(t, os.WriteFile(filepath.Join(shared.LogDir, "metricsserver.txt"), []byte(out), 0o644))
	_, err := kubectl(t, "delete", "apiservice", "v1beta1.metrics.k8s.io")
	require.NoError(t, err)
	total := &tally{what: "metricsserver", seen: map[string]bool{}}
	scenarios := regexp.MustCompile(`(?m)^compat metrics-server right=(\d+) of=(\d+) \((\S+)\)$`).FindAllStringSubmatch(out, -1)
	recorded, err := filepath.Glob(filepath.Join(dir, "expected", "*.json"))
	require.NoError(t, err)
	if len(scenarios) != len(recorded) {
		logs, _ := filepath.Glob(filepath.Join(dir, "log", "ms-*.log"))
		require.NoError(t, os.CopyFS(filepath.Join(shared.LogDir, "metricsserver"), os.DirFS(filepath.Join(dir, "log"))))
		require.FailNow(t, "scenarios without an end", "%d of %d, logs of %d: %s", len(scenarios), len(recorded), len(logs), out)
	}
	var answers []*scenarioAnswers
	for _, s := range scenarios {
		total.count(t, s[1], s[2])
		answers = append(answers, newScenarioAnswers(t, dir, s[3]))
	}
	listed := resourceDifferences(t)
	for _, diff := range regexp.MustCompile(`(?m)^DIFF (\S+) @(\d+) (.+)$`).FindAllStringSubmatch(out, -1) {
		i := slices.IndexFunc(answers, func(a *scenarioAnswers) bool { return a.name == diff[1] })
		require.GreaterOrEqual(t, i, 0, diff[0])
		if why := listed.explain(answers[i], diff[2], diff[3]); why != "" {
			total.wrong = append(total.wrong, diff[0]+": "+why)
			continue
		}
		total.seen[strings.Join(diff[1:], " ")] = true
	}
	total.report(t, nil)
	for key := range listed {
		require.True(t, listed[key].used, "%s: listed in differences.yaml as different and is not", key)
	}
}

// coreProgram is a program of one word that runs `strata core`.
func coreProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "core")
	script := fmt.Sprintf("#!/bin/sh\nexec %s core \"$@\"\n", shared.Programs["strata"])
	require.NoError(t, os.WriteFile(file, []byte(script), 0o755))
	return file
}

// kubectl runs kubectl with all rights.
func kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, code := command(t, "", []string{"KUBECONFIG=" + shared.control.Kubeconfig()}, append([]string{"kubectl"}, args...)...)
	if code != 0 {
		return out, fmt.Errorf("kubectl %s: %d: %s", strings.Join(args, " "), code, out)
	}
	return out, nil
}

// scenarioAnswers are the answers to one scenario, by checkpoint and request,
// times and windows said in words.
type scenarioAnswers struct {
	name      string
	tolerance float64 // of cpu, in cores
	want, got map[string]map[string]json.RawMessage
}

func newScenarioAnswers(t *testing.T, dir, name string) *scenarioAnswers {
	t.Helper()
	a := &scenarioAnswers{name: name}
	var sc struct {
		Nanocores float64 `json:"cpu_tolerance_nanocores"`
	}
	readJSON(t, filepath.Join(dir, "scenarios", name+".json"), &sc)
	a.tolerance = sc.Nanocores / 1e9
	readJSON(t, filepath.Join(dir, "expected", name+".json"), &a.want)
	readJSON(t, filepath.Join(dir, "log", "got-"+name+".json"), &a.got)
	return a
}

// resourceDifference is one entry of differences.yaml.
type resourceDifference struct {
	why, contains string
	status        int
	pods          map[string]bool
	used          bool
}

// resourceTable has entries by scenario/checkpoint for pods that are absent,
// and by request for what is answered otherwise wherever it is asked.
type resourceTable map[string]*resourceDifference

func resourceDifferences(t *testing.T) resourceTable {
	t.Helper()
	byKey := resourceTable{}
	for _, d := range differences(t).MetricsServer {
		require.NotEmpty(t, d.Why)
		for _, r := range d.Requests {
			require.NotContains(t, byKey, r, "listed twice")
			byKey[r] = &resourceDifference{why: d.Why, contains: d.Contains, status: d.Status}
		}
		if d.At == "" {
			continue
		}
		if byKey[d.At] == nil {
			byKey[d.At] = &resourceDifference{why: d.Why, pods: map[string]bool{}}
		}
		for _, p := range d.Pods {
			byKey[d.At].pods[p] = true
		}
	}
	return byKey
}

// explain says why a difference is not one of the listed ones, "" for that it is.
func (l resourceTable) explain(a *scenarioAnswers, checkpoint, request string) string {
	want, got := a.want[checkpoint][request], a.got[checkpoint][request]
	if d := l[request]; d != nil {
		d.used = true
		var answer struct{ Code int }
		_ = json.Unmarshal(got, &answer)
		if answer.Code != d.status || !strings.Contains(compact(got), d.contains) {
			return fmt.Sprintf("not %d with %s (%s) but %s", d.status, d.contains, d.why, got)
		}
		return ""
	}
	d := l[a.name+"/"+checkpoint]
	if d == nil {
		return fmt.Sprintf("not listed: got %.600s, want %.600s", got, want)
	}
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		return err.Error()
	}
	if err := json.Unmarshal(got, &g); err != nil {
		return err.Error()
	}
	if _, pod, ok := strings.Cut(request, "/pods/"); ok && d.pods[pod] {
		if status, _ := g.(map[string]any); status["code"] != float64(http.StatusNotFound) {
			return fmt.Sprintf("not 404 but %.300s", got)
		}
	} else if !same(d.without(w), g, a.tolerance) {
		return fmt.Sprintf("differs in more than absent pods: got %.900s, want %.900s", got, want)
	}
	d.used = true
	return ""
}

// without takes the absent pods out of a recorded answer: items of lists, rows
// of tables, lines of kubectl top.
func (d *resourceDifference) without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = d.without(e)
		}
		if rows, ok := out["rows"].([]any); ok && len(rows) == 0 { // a table without rows says no columns either
			out["rows"], out["columnDefinitions"] = nil, nil
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			if m, ok := e.(map[string]any); !ok || !d.pods[podName(m)] {
				out = append(out, d.without(e))
			}
		}
		return out
	case string:
		var kept []string
		for line := range strings.Lines(v) {
			if !slices.ContainsFunc(strings.Fields(line), func(f string) bool { return d.pods[f] }) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	return v
}

// compact is JSON without blanks.
func compact(raw []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err.Error()
	}
	return b.String()
}

// podName is the name of an item of a list or of a row of a table.
func podName(item map[string]any) string {
	if object, ok := item["object"].(map[string]any); ok {
		item = object
	}
	meta, _ := item["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return name
}

// same compares as the scripts do: blanks do not count, and cpu may be off by
// the tolerance.
func same(want, got any, tolerance float64) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(w) != len(g) {
			return false
		}
		for k := range w {
			if !same(w[k], g[k], tolerance) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			return false
		}
		for i := range w {
			if !same(w[i], g[i], tolerance) {
				return false
			}
		}
		return true
	case string:
		g, ok := got.(string)
		return ok && (strings.Join(strings.Fields(w), " ") == strings.Join(strings.Fields(g), " ") || near(w, g, tolerance))
	}
	return want == got
}

func near(want, got string, tolerance float64) bool {
	w, err := resource.ParseQuantity(want)
	if err != nil {
		return false
	}
	g, err := resource.ParseQuantity(got)
	return err == nil && max(w.AsApproximateFloat64()-g.AsApproximateFloat64(), g.AsApproximateFloat64()-w.AsApproximateFloat64()) <= tolerance
}
