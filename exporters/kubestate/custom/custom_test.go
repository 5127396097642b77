package custom

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/internal/metric"
)

const boat = `
apiVersion: harbour.io/v1
kind: Boat
metadata:
  name: ada
  annotations: {home: north, crew/size: "7"}
  labels: {sail: red}
spec:
  version: v2
  order:
  - {id: 1, value: true}
  - {id: 3, value: false}
  refs: [bea, cleo]
  ref: {kind: Pier}
status:
  phase: Moored
  speed: 4.5
  none: null
  active: {left: 1, right: 3}
  sub:
    left: {active: 1, ready: 2}
    right: {active: 3, ready: 4}
  conditions:
  - {name: tight, value: 45, status: "True"}
  - {name: clean, value: 66, status: Unknown}
  tanks:
  - {name: fuel, low: {cpu: 100m, memory: 256Ki}}
  mixed: {ready: 3, word: x}
`

func parseBoat(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(boat), &object))
	return object
}

func never(string) bool { return false }

// config wraps metrics, each line indented by six, into a configuration.
func config(before, metrics string) string {
	return "kind: CustomResourceStateMetrics\nspec:\n  resources:\n  - groupVersionKind: {group: harbour.io, version: v1, kind: Boat}\n" + before + "    metrics:\n" + metrics
}

// seriesOf is what a configuration makes of the boat, as text.
func seriesOf(t testing.TB, content string) (lines []string, errs []error) {
	t.Helper()
	c, err := Parse([]byte(content), never)
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	for _, f := range c.Resources[0].Families("harbour.io", "v1", "Boat") {
		series, more := f.Series(parseBoat(t))
		errs = append(errs, more...)
		for _, s := range series {
			var labels []string
			for i, name := range s.Names {
				if !strings.HasPrefix(name, "customresource_") {
					labels = append(labels, name+"="+s.Values[i])
				}
			}
			require.Contains(t, s.Names, "customresource_kind")
			lines = append(lines, fmt.Sprintf("%s{%s} %v", f.Name(), strings.Join(labels, ","), s.Value))
		}
	}
	return lines, errs
}

// TestTypes holds what each type of metric makes of values, lists and maps.
func TestTypes(t *testing.T) {
	t.Parallel()
	f := func(each string, want ...string) {
		t.Helper()
		got, errs := seriesOf(t, config("", "    - {name: x, each: "+each+"}\n"))
		require.Empty(t, errs)
		for i := range want {
			want[i] = "kube_customresource_x" + want[i]
		}
		require.Equal(t, want, got)
	}
	f(`{type: Gauge, gauge: {path: [status, speed]}}`, "{} 4.5")
	f(`{type: gauge, gauge: {path: [status, active], labelFromKey: side}}`, "{side=left} 1", "{side=right} 3")
	f(`{type: Gauge, gauge: {path: [status, sub], labelFromKey: side, labelsFromPath: {active: [active]}, valueFrom: [ready]}}`,
		"{active=1,side=left} 2", "{active=3,side=right} 4")
	f(`{type: Gauge, gauge: {path: [status, tanks], labelsFromPath: {tank: [name]}, valueFrom: [low, memory]}}`, "{tank=fuel} 262144")
	f(`{type: Gauge, gauge: {path: [status, tanks], labelsFromPath: {tank: [name]}, valueFrom: [low, cpu]}}`, "{tank=fuel} 0.1")
	f(`{type: Gauge, gauge: {path: [status, conditions], labelsFromPath: {type: [name]}, valueFrom: [status]}}`, "{type=tight} 1", "{type=clean} 0")
	f(`{type: Gauge, gauge: {path: [status, mixed], valueFrom: [ready], labelsFromPath: {word: [word]}}}`, "{word=x} 3")
	f(`{type: Gauge, gauge: {path: [status, absent], nilIsZero: true}}`, "{} 0")
	f(`{type: Gauge, gauge: {path: [status, sub], valueFrom: [absent]}}`)
	f(`{type: StateSet, stateSet: {path: [status, phase], labelName: phase, list: [Moored, Sunk]}}`, "{phase=Moored} 1", "{phase=Sunk} 0")
	f(`{type: StateSet, stateSet: {path: [status, absent], labelName: phase, list: [Moored]}}`)
	f(`{type: StateSet, stateSet: {path: [status, conditions], valueFrom: [status], labelsFromPath: {of: [name]}, labelName: is, list: ["True"]}}`,
		"{is=True,of=tight} 1", "{is=True,of=clean} 0")
	f(`{type: Info, info: {labelsFromPath: {version: [spec, version]}}}`, "{version=v2} 1")
	f(`{type: Info, info: {path: [spec, refs], labelsFromPath: {ref: []}}}`, "{ref=bea} 1", "{ref=cleo} 1")
	f(`{type: Info, info: {path: [status, active], labelFromKey: side}}`, "{side=left} 1", "{side=right} 1")
	f(`{type: Info, info: {path: [status, absent], labelsFromPath: {ref: []}}}`)
	f(`{type: Info, info: {path: [spec, ref], labelsFromPath: {kind: [kind]}}}`, "{kind=Pier} 1")
}

func TestErrorsOfSeries(t *testing.T) {
	t.Parallel()
	f := func(each, want string) {
		t.Helper()
		got, errs := seriesOf(t, config("", "    - {name: x, each: "+each+"}\n"))
		require.Empty(t, got)
		require.NotEmpty(t, errs)
		require.ErrorContains(t, errs[0], want)
	}
	f(`{type: Gauge, gauge: {path: [status, absent]}}`, "[status,absent]: there is nothing")
	f(`{type: Gauge, gauge: {path: [status, phase]}}`, `"Moored" is no number`)
	f(`{type: Gauge, gauge: {path: [status, conditions], valueFrom: [name]}}`, `[0]: [name]: "tight" is no number`)
	f(`{type: Gauge, gauge: {path: [status, mixed], valueFrom: [word]}}`, `[word]: "x" is no number`)
	f(`{type: StateSet, stateSet: {path: [status, speed], labelName: l, list: [a]}}`, "a state is text")
}

// TestLabels holds which label goes before which, and how maps are copied.
func TestLabels(t *testing.T) {
	t.Parallel()
	got, errs := seriesOf(t, config(`    commonLabels: {of: boats, level: resource}
    labelsFromPath: {name: [metadata, name]}
    metricNamePrefix: harbour
`, `    - name: speed
      commonLabels: {level: metric}
      labelsFromPath:
        "*": [metadata, labels]
        "**": [metadata, labels]
        "note_*": [metadata, annotations]
        sail: [metadata, labels, sail]
        "9-x": [spec, version]
        absent: [spec, absent]
      each: {type: Gauge, gauge: {path: [status, speed]}}
    - name: named
      each: {type: Info, info: {path: [spec, ref], labelsFromPath: {name: [kind]}}}
`))
	require.Empty(t, errs)
	require.Equal(t, []string{
		"harbour_speed{_9_x=v2,_sail=red,level=metric,name=ada,note_crew_size=7,note_home=north,of=boats,sail=red} 4.5",
		"harbour_named{level=resource,name=Pier,of=boats} 1",
	}, got)
	got, _ = seriesOf(t, config("    metricNamePrefix: ''\n", "    - {name: bare, each: {type: Gauge, gauge: {path: [status, speed]}}}\n"))
	require.Equal(t, []string{"bare{} 4.5"}, got)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	f := func(want any, parts ...string) {
		t.Helper()
		p, err := newPath(parts)
		require.NoError(t, err)
		require.Equal(t, want, p.get(parseBoat(t)))
	}
	f("v2", "spec", "version")
	f(true, "spec", "order", "0", "value")
	f(false, "spec", "order", "-1", "value")
	f(nil, "spec", "order", "2")
	f(nil, "spec", "order", "-3")
	f(nil, "spec", "order", "id")
	f(45.0, "status", "conditions", "[name=tight]", "value")
	f("clean", "status", "conditions", "[value=66]", "name")
	f(1.0, "spec", "order", "[value=true]", "id")
	f(nil, "status", "conditions", "[name=loose]", "value")
	f(nil, "status", "[name=tight]")
	f("ada", "metadata", "name=ada")
	f(nil, "metadata", "name=bea")
	f(nil, "metadata", "name", "deeper")
	f(nil, "status", "none", "deeper")
	_, err := newPath([]string{"[name]"})
	require.ErrorContains(t, err, "its form is [key=value]")
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	f := func(want float64, v any) {
		t.Helper()
		got, err := number(v, false)
		require.NoError(t, err)
		require.InDelta(t, want, got, math.Abs(want)*1e-12)
	}
	f(1, true)
	f(0, false)
	f(3, int64(3))
	f(3, 3)
	f(3.5, 3.5)
	f(1, "Yes")
	f(0, "NO")
	f(0, "unknown")
	f(1571757391, "2019-10-22T15:16:31Z")
	f(0.25, "250m")
	f(1<<30, "1Gi")
	f(0.4, "40%")
	f(1200, "1.2e3")
	f(0, "1e-999999999") // in no time
	f(0, "-0."+strings.Repeat("0", 1e6))
	for _, bad := range []any{nil, "", "x", strings.Repeat("9", 1e6) + "Ki", "1e-999999999Ki", []any{}, map[string]any{}} {
		_, err := number(bad, false)
		require.Error(t, err)
	}
	got, err := number(nil, true)
	require.NoError(t, err)
	require.Zero(t, got)
}

// TestMistakes holds that a wrong configuration is one line that says where.
func TestMistakes(t *testing.T) {
	t.Parallel()
	f := func(want, content string) {
		t.Helper()
		_, err := Parse([]byte(content), func(name string) bool { return name == "kube_pod_info" })
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	one := func(metric string) string {
		return config("", "    - {name: good, each: {type: Info, info: {labelsFromPath: {a: [b]}}}}\n    - "+metric+"\n")
	}
	at := "line 7: spec.resources[0].metrics[1]: "
	f("line 1: cannot unmarshal", "spec: [1]")
	f("yaml", "spec: {")
	f("line 4: spec.resources[0]: groupVersionKind.group is missing", "spec:\n  resources:\n\n  - groupVersionKind: {kind: A}\n")
	f("group is missing", "spec: {resources: [{groupVersionKind: {group: '*'}}]}")
	f(at+`each.type is "Counter"`, one("{name: x, each: {type: Counter}}"))
	f(at+"each.type is Gauge, but each.gauge is missing", one("{name: x, each: {type: Gauge, info: {}}}"))
	f(at+`each.gauge.path: "[a]" is no search`, one("{name: x, each: {type: Gauge, gauge: {path: ['[a]']}}}"))
	f(at+`each.gauge.valueFrom: "[a]" is no search`, one("{name: x, each: {type: Gauge, gauge: {valueFrom: ['[a]']}}}"))
	f(at+`each.info.labelsFromPath: l: "[a]" is no search`, one("{name: x, each: {type: Info, info: {labelsFromPath: {l: ['[a]']}}}}"))
	f(at+`labelsFromPath: l: "[a]" is no search`, one("{name: x, labelsFromPath: {l: ['[a]']}, each: {type: Info, info: {}}}"))
	f(at+`name ""`, one("{each: {type: Info, info: {}}}"))
	f(at+`name "a-b"`, one("{name: a-b, each: {type: Info, info: {}}}"))
	f(at+`commonLabels: "a-b"`, one("{name: x, commonLabels: {a-b: c}, each: {type: Info, info: {}}}"))
	f(at+`each.stateSet.labelName: ""`, one("{name: x, each: {type: StateSet, stateSet: {}}}"))
	f(at+`each.gauge.labelFromKey: "a-b"`, one("{name: x, each: {type: Gauge, gauge: {labelFromKey: a-b}}}"))
	f("kube_pod_info is a family of the built-in kinds",
		config("    metricNamePrefix: kube\n", "    - {name: pod_info, each: {type: Info, info: {}}}\n"))

	c, err := Parse([]byte(one("{name: x, labelFromPath: {}, each: {type: Info, info: {}}}")), never)
	require.NoError(t, err)
	require.Len(t, c.Warnings, 1)
	require.Contains(t, c.Warnings[0], "line 7: field labelFromPath not found")
}

func TestMatches(t *testing.T) {
	t.Parallel()
	f := func(want bool, r Resource) {
		t.Helper()
		require.Equal(t, want, r.Matches("harbour.io", "v1", "Boat"))
	}
	f(true, Resource{Group: "harbour.io", Version: "v1", Kind: "Boat"})
	f(true, Resource{Group: "harbour.io", Version: "*", Kind: "Boat"})
	f(true, Resource{Group: "harbour.io", Version: "v1", Kind: "*"})
	f(false, Resource{Group: "harbour", Version: "*", Kind: "*"})
	f(false, Resource{Group: "harbour.io", Version: "v2", Kind: "*"})
	f(false, Resource{Group: "harbour.io", Version: "*", Kind: "Pier"})
}

// FuzzConfig holds that no configuration breaks the program, and that labels
// and names are valid whatever it says.
func FuzzConfig(f *testing.F) {
	f.Add(config("    commonLabels: {a: b}\n", "    - {name: x, labelsFromPath: {'*': [metadata, labels], 'p*': [status]}, each: {type: Gauge, gauge: {path: [status, sub], valueFrom: [ready], labelFromKey: k}}}\n"))
	f.Add(config("", "    - {name: x, each: {type: StateSet, stateSet: {path: [status, phase], labelName: l, list: [Moored]}}}\n"))
	f.Add(config("", "    - {name: x, each: {type: Info, info: {path: [status, conditions, '[name=tight]'], labelsFromPath: {ref: ['-1', 'a=b']}}}}\n"))
	f.Fuzz(func(t *testing.T, content string) {
		c, err := Parse([]byte(content), never)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for _, r := range c.Resources {
			for _, family := range r.Families("harbour.io", "v1", "Boat") {
				require.True(t, metric.ValidName(family.Name()))
				series, _ := family.Series(parseBoat(t))
				for _, s := range series {
					require.Len(t, s.Values, len(s.Names))
					for _, name := range s.Names {
						require.True(t, metric.ValidLabelName(name), name)
					}
				}
			}
		}
	})
}
