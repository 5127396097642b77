package kubestate

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// oracle is the folder of reference data, beside the repository.
func oracle(t *testing.T, path ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{"..", "..", "..", "shared", "oracle"}, path...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference data: %v", err)
	}
	return dir
}

// reference maps the names of families to the columns that list them: kind,
// name, type, labels, optional labels, stability.
func reference(t *testing.T) map[string][]string {
	t.Helper()
	table, err := os.ReadFile(oracle(t, "kube_state_families.tsv"))
	require.NoError(t, err)
	families := make(map[string][]string)
	for line := range strings.Lines(string(table)) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if columns[0] != "kind" {
			families[columns[1]] = columns
		}
	}
	return families
}

func TestFamiliesAreThoseOfTheField(t *testing.T) {
	t.Parallel()
	want := reference(t)
	got, help := make(map[string][]string), make(map[string]string)
	require.NoError(t, metric.Check(Families()))
	for _, f := range Families() {
		if slices.ContainsFunc(addedFamilies(), func(ours *metric.Family) bool { return ours.Name() == f.Name() }) {
			continue
		}
		spec := f.Spec()
		require.NotEmpty(t, spec.Help)
		help[f.Name()] = spec.Help
		labels := slices.Sorted(slices.Values(spec.Labels))
		got[f.Name()] = []string{f.Name(), spec.Type.String(), strings.Join(labels, ","), string(spec.Stability)}
	}
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name, columns := range want {
		stability, deprecated, _ := strings.Cut(strings.Replace(columns[5], "EXPERIMENTAL", "ALPHA", 1), " (")
		if deprecated != "" {
			require.Contains(t, help[name], "Deprecated")
		}
		require.Equal(t, []string{name, columns[2], columns[3], stability}, got[name])
	}
}

// TestSameAsTheField compares every series with what kube-state-metrics said
// of the same objects under the same flags.
func TestSameAsTheField(t *testing.T) {
	t.Parallel()
	dir := oracle(t, "kubestate")
	families := reference(t)
	api := newFakeAPI(t, true)
	fill(t, api, filepath.Join(dir, "expected", "dump.json.gz"))
	runs, err := filepath.Glob(filepath.Join(dir, "expected", "run*.prom"))
	require.NoError(t, err)
	require.NotEmpty(t, runs)
	for _, run := range runs {
		t.Run(strings.TrimSuffix(filepath.Base(run), ".prom"), func(t *testing.T) {
			t.Parallel()
			flags, err := os.ReadFile(strings.TrimSuffix(run, "prom") + "flags")
			require.NoError(t, err)
			o := optionsOf(t, string(flags))
			o.Config = api.config()
			e := follow(t, o)
			ready(t, e)

			body, err := os.ReadFile(run)
			require.NoError(t, err)
			want := seriesOfBody(t, string(body), families)
			got := seriesOfBody(t, scrape(t, e), families)
			require.NotEmpty(t, want)
			compare(t, want, got)

			// What is shown besides changes nothing of it.
			if o.Resources == nil || slices.Contains(o.Resources, "pods") {
				o.PodWorkloads, o.ContainerExits, o.JoinLabels = true, true, Allowlist{"nodes": {"*"}, "namespaces": {"*"}}
			}
			o.SeriesBudgetFamily, o.SeriesBudgetNamespace = 1_000_000, 1_000_000
			more := follow(t, o)
			ready(t, more)
			all := scrape(t, more)
			compare(t, want, seriesOfBody(t, all, families))
			require.Equal(t, len(seriesIn(all, "kube_pod_info")), len(seriesIn(all, "kube_pod_workload")))

			// Nor does another order.
			o.LinesByObject = true
			byObject := follow(t, o)
			ready(t, byObject)
			require.ElementsMatch(t, slices.Collect(strings.Lines(all)), slices.Collect(strings.Lines(text(byObject))))
		})
	}
}

func compare(t *testing.T, want, got map[string][]float64) {
	t.Helper()
	for id, values := range want {
		switch mine := got[id]; {
		case len(mine) == 0:
			t.Errorf("missing: %s %v", id, values)
		case len(mine) > 1:
			t.Errorf("twice: %s", id)
		case !slices.Contains(values, mine[0]): // the field may repeat a series
			t.Errorf("%s is %v, not %v", id, mine[0], values)
		}
	}
	for id := range got {
		if want[id] == nil {
			t.Errorf("too much: %s", id)
		}
	}
}

// seriesOfBody maps series, and heads, of the families to their values.
func seriesOfBody(t *testing.T, body string, families map[string][]string) map[string][]float64 {
	t.Helper()
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
	out := make(map[string][]float64)
	for line := range strings.SplitSeq(body, "\n") {
		if head, ok := strings.CutPrefix(line, "# TYPE "); ok {
			if name, _, _ := strings.Cut(head, " "); families[name] != nil {
				out[line] = []float64{0}
			}
			continue
		}
		name := line[:max(0, strings.IndexAny(line+"{", "{ "))]
		if strings.HasPrefix(line, "#") || families[name] == nil {
			continue
		}
		if name == "kube_lease_renew_time" && strings.Contains(line, `lease="apiserver-`) {
			continue // the API server renewed its own lease between the runs
		}
		end := strings.LastIndexByte(line, ' ')
		labels := label.FindAllString(line[:end], -1)
		slices.Sort(labels)
		var value float64
		_, err := fmt.Sscan(line[end+1:], &value)
		require.NoError(t, err, line)
		require.False(t, math.IsNaN(value))
		id := name + "{" + strings.Join(labels, ",") + "}"
		out[id] = append(out[id], value)
	}
	return out
}

func optionsOf(t *testing.T, flags string) Options {
	t.Helper()
	var o Options
	for flag := range strings.FieldsSeq(flags) {
		name, value, _ := strings.Cut(flag, "=")
		list := strings.Split(value, ",")
		var err error
		switch name {
		case "--resources":
			o.Resources = list
		case "--namespaces":
			o.Namespaces = list
		case "--metric-denylist":
			o.MetricDenylist = list
		case "--metric-opt-in-list":
			o.MetricOptIn = list
		case "--metric-labels-allowlist":
			o.LabelsAllowlist, err = ParseAllowlist(value)
		case "--metric-annotations-allowlist":
			o.AnnotationsAllowlist, err = ParseAllowlist(value)
		default:
			t.Fatalf("a flag that this test does not know: %s", flag)
		}
		require.NoError(t, err)
	}
	return o
}

// fill puts the objects of a dump of lists, by plural, into a fake API server.
func fill(t *testing.T, api *fakeAPI, path string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	zip, err := gzip.NewReader(file)
	require.NoError(t, err)
	var dump map[string]struct{ Items []map[string]any }
	require.NoError(t, json.NewDecoder(zip).Decode(&dump))
	for _, plural := range Resources() {
		if plural != "events" { // kube-state-metrics does not follow them
			require.NotEmpty(t, dump[plural].Items, plural)
		}
		for _, o := range dump[plural].Items {
			api.load(plural, jsonable(o).(map[string]any))
		}
	}
}

// jsonable makes whole numbers int64, as unstructured objects want them.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = jsonable(v[k])
		}
	case []any:
		for i := range v {
			v[i] = jsonable(v[i])
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	}
	return v
}
