package migrate

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	kyaml "sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

func input(t testing.TB, name string) Input {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return Input{Name: name, Content: data}
}

// golden compares a report and its files with testdata/NAME.golden. With
// STRATA_UPDATE_GOLDEN=1 it writes that file.
func golden(t *testing.T, name string, r *Report) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.Table(&b))
	for _, f := range r.Files {
		b.WriteString("\n==> " + f.Name + "\n")
		b.Write(f.Content)
	}
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("STRATA_UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "STRATA_UPDATE_GOLDEN=1 go test ./pipeline/migrate writes it")
	require.Equal(t, string(want), b.String(), "if this is meant: STRATA_UPDATE_GOLDEN=1 go test ./pipeline/migrate")
}

func TestAdapter(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"adapter.yaml", "adapter-objects.yaml", "adapter-values.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Adapter(input(t, name), Options{})
			require.NoError(t, err)
			golden(t, name, r)
		})
	}
}

func TestKEDA(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"keda-hpa.yaml", "keda-stays.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := KEDA([]Input{input(t, name)}, Options{})
			require.NoError(t, err)
			golden(t, name, r)
			wellFormed(t, r)
		})
	}
}

// wellFormed holds that what is written can be used: rules that the adapter
// takes, HPAs without unknown fields.
func wellFormed(t testing.TB, r *Report) {
	t.Helper()
	for _, f := range r.Files {
		switch {
		case f.Name == rulesFile:
			require.Empty(t, adapter.Check(f.Name, f.Content, parser.NewParser(parser.Options{})), "%s", f.Content)
			described, err := adapter.Describe(f.Name, f.Content, parser.NewParser(parser.Options{}))
			require.NoError(t, err)
			for _, d := range described {
				require.NotEmpty(t, d.Name)
			}
		case strings.HasSuffix(f.Name, "-hpa.yaml"):
			var h autoscalingv2.HorizontalPodAutoscaler
			require.NoError(t, kyaml.UnmarshalStrict(f.Content, &h), "%s", f.Content)
			require.NotEmpty(t, h.Spec.Metrics)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r, err := KEDA([]Input{input(t, "keda-stays.yaml")}, Options{})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.JSON(&b))
	var back Report
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, r.Items, back.Items)
	require.Equal(t, r.Notes, back.Notes)
	require.Positive(t, back.Count(NotServed))
}

// A file that cannot be read is one line with its place.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	adapt := func(text, want string) {
		t.Helper()
		_, err := Adapter(Input{Name: "f.yml", Content: []byte(text)}, Options{})
		require.EqualError(t, err, want)
	}
	adapt("rules:\n- a: [\n", "f.yml:2: did not find expected node content (write valid YAML)")
	adapt("- a\n", "f.yml:1: not a mapping (write YAML with keys and values)")
	adapt("", "f.yml: no configuration of prometheus-adapter (give its file, its ConfigMap, its chart's values or its Deployment)")
	adapt("kind: ConfigMap\ndata:\n  a.txt: b\n", "f.yml: no configuration of prometheus-adapter (give its file, its ConfigMap, its chart's values or its Deployment)")
	adapt("rules:\n- seriesQuery: up\n  nam: {}\n", "f.yml:3: rules[0]: field nam not found (remove it or correct its spelling)")
	adapt("kind: ConfigMap\ndata:\n  c.yaml: |\n    rules:\n    - nam: 1\n", "f.yml:5: rules[0]: field nam not found (remove it or correct its spelling)")
	adapt("kind: ConfigMap\ndata:\n  c.yaml: \"rules: [{nam: 1}]\"\n", "f.yml:3: rules[0]: field nam not found (remove it or correct its spelling)")
	adapt("rules:\n  default: false\n  custom:\n  - seriesQuery: up\n  - nam: 1\n", "f.yml:5: rules.custom[1]: field nam not found (remove it or correct its spelling)")

	keda := func(text, want string) {
		t.Helper()
		_, err := KEDA([]Input{{Name: "f.yml", Content: []byte(text)}}, Options{})
		require.EqualError(t, err, want)
	}
	keda("kind: Pod\na: b: c\n", "f.yml:2: mapping values are not allowed in this context (write valid YAML)")
	keda("kind: Pod\n", "f.yml: no ScaledObject and no ScaledJob (kubectl get scaledobjects,scaledjobs -A -o yaml gives them)")
	keda("kind: ScaledObject\nmetadata: {name: a}\n", "f.yml:1: ScaledObject a has no spec")
	keda("kind: ScaledObject\nspec:\n  triggers: []\n", "f.yml:3: ScaledObject  has no triggers")
	keda("kind: ScaledObject\nspec:\n  minReplicaCount: many\n", "f.yml:3: cannot unmarshal !!str `many` into int32 (write valid YAML)")
	keda("kind: ScaledObject\nspec: &a\n  x: *a\n", "f.yml: anchor 'a' value contains itself (write valid YAML)")
}

// Every type of trigger has one row, and each row of the tables says something.
func TestTables(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range triggers() {
		for _, typ := range row.types {
			require.False(t, seen[typ], "%s has two rows", typ)
			seen[typ] = true
			if row.way == byKEDA {
				require.NotEmpty(t, row.asks, typ)
			}
		}
		if row.query == "" {
			continue
		}
		// With metadata that would break a query that is put together carelessly.
		odd := map[string]string{"topic": `a"b\`, "stream": "x}"}
		_, err := parser.NewParser(parser.Options{}).ParseExpr(fill(row.query, odd))
		require.NoError(t, err, row.query)
		require.NotEmpty(t, row.target, row.query)
		require.NotEmpty(t, row.exporter, row.query)
	}
	for _, row := range objectFields() {
		require.NotEmpty(t, row.note, row.path)
		require.Equal(t, row.keeps, row.keeps && row.verdict == NotServed, row.path)
	}
	flags := map[string]bool{}
	for _, row := range adapterFlags() {
		require.False(t, flags[row.name], "%s has two rows", row.name)
		flags[row.name] = true
		require.Equal(t, row.verdict == Served, row.note == "", row.name)
	}
}

func TestSingle(t *testing.T) {
	t.Parallel()
	f := func(query string, one, hasValue bool) {
		t.Helper()
		e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		require.NoError(t, err)
		require.Equal(t, one, single(e), query)
		require.Equal(t, hasValue, hasDefault(e), query)
	}
	f(`sum(x)`, true, false)
	f(`(sum(x))`, true, false)
	f(`-max(x)`, true, false)
	f(`sum by (a) (x)`, false, false)
	f(`sum without (a) (x)`, false, false)
	f(`topk(1, x)`, true, false)
	f(`topk(2, x)`, false, false)
	f(`count_values("v", x)`, false, false)
	f(`x`, false, false)
	f(`rate(x[1m])`, false, false)
	f(`ceil(sum(x))`, true, false)
	f(`clamp_max(sum(x), 5)`, true, false)
	f(`sum(x) / sum(y)`, true, false)
	f(`sum(x) / y`, false, false)
	f(`sum(x) or vector(0)`, true, true)
	f(`(sum(x) or vector(0))`, true, true)
	f(`sum(x) and vector(0)`, true, false)
	f(`scalar(x)`, true, true)
	f(`5`, true, true)
	f(`absent(x)`, true, false)
}

// The chart reads rules.existing instead of all others.
func TestExistingRules(t *testing.T) {
	t.Parallel()
	r, err := Adapter(Input{Name: "v.yml", Content: []byte("prometheus-adapter:\n  rules: {default: true, existing: mine, custom: [{seriesQuery: up}]}\n  extraArguments: [--secure-port=1]\n")}, Options{})
	require.NoError(t, err)
	var what []string
	for _, i := range r.Items {
		what = append(what, i.What+" "+string(i.Verdict))
	}
	require.Equal(t, []string{"rules.existing not served", "--secure-port served"}, what)
}

func FuzzAdapter(f *testing.F) {
	for _, name := range []string{"adapter.yaml", "adapter-objects.yaml", "adapter-values.yaml"} {
		f.Add(input(f, name).Content)
	}
	f.Add([]byte("rules: {custom: [{seriesQuery: up}], default: no}\n---\nextraArguments: [a, --b]\n"))
	f.Add([]byte("rules: &a\n- *a\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := Adapter(Input{Name: "f.yml", Content: content}, Options{})
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		complete(t, r)
	})
}

func FuzzKEDA(f *testing.F) {
	for _, name := range []string{"keda-hpa.yaml", "keda-stays.yaml"} {
		f.Add(input(f, name).Content)
	}
	f.Add([]byte("kind: ScaledObject\nspec: {triggers: [~, {type: cpu}]}\n"))
	f.Add([]byte("kind: ScaledObject\nx: &x {triggers: [{type: cpu}]}\nspec:\n  <<: *x\n"))
	f.Add([]byte("kind: ScaledObject\nmetadata: {name: \"a\\nb\"}\nspec: {scaleTargetRef: {name: a}, triggers: [{type: prometheus, name: '\"$1', metadata: {query: '\"<<.X>>\" == bool 1', threshold: 1e300}}]}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := KEDA([]Input{{Name: "f.yml", Content: content}}, Options{})
		if err != nil {
			return
		}
		complete(t, r)
		wellFormed(t, r)
	})
}

// complete holds what is true of every report.
func complete(t *testing.T, r *Report) {
	t.Helper()
	require.NotEmpty(t, r.Items)
	for _, i := range r.Items {
		require.Contains(t, []Verdict{Served, Differs, NotServed}, i.Verdict)
		require.NotEmpty(t, i.What)
		require.Equal(t, i.Verdict == Served, i.Verdict == Served && i.Do == "", "%+v", i)
		if i.Verdict != Served {
			require.NotEmpty(t, i.Notes, "%+v", i)
		}
	}
	require.Equal(t, len(r.Items), r.Count(Served)+r.Count(Differs)+r.Count(NotServed))
	names := map[string]bool{}
	for _, f := range r.Files {
		require.False(t, names[f.Name], f.Name)
		names[f.Name] = true
	}
}
