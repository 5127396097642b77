// Package deploy holds together what Strata is deployed with: the chart's values
// with their schema and table, the Dockerfile with the programs and
// docker-compose.yml, and the systemd units with systemd. What needs a cluster is
// in test/e2e.
package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/pipeline/discover"
)

const root = "../.."

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	require.NoError(t, err)
	return string(text)
}

// schema is what of a JSON schema is used here.
type schema struct {
	Description          string
	Type                 any
	Enum                 []any
	Properties           map[string]schema
	AdditionalProperties any
}

// TestValuesAreDescribed holds that each value has one description, the same in
// values.yaml and in the schema, a type, and a place in the README; and that the
// schema knows no other values.
func TestValuesAreDescribed(t *testing.T) {
	t.Parallel()
	var document yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/helm/strata/values.yaml")), &document))
	var s schema
	require.NoError(t, json.Unmarshal([]byte(read(t, "deploy/helm/strata/values.schema.json")), &s))
	delete(s.Properties, "global") // helm's
	readme := read(t, "deploy/helm/strata/README.md")
	described := 0
	walk(t, document.Content[0], s, "", func(path, comment string, s schema) {
		described++
		require.NotEmpty(t, comment, "values.yaml: %s has no comment", path)
		require.Equal(t, comment, s.Description, "description of %s in values.yaml and values.schema.json", path)
		require.True(t, s.Type != nil || s.Enum != nil, "values.schema.json: %s has no type", path)
		if s.Properties == nil {
			require.Contains(t, readme, "| `"+path, "README.md lists %s", path)
		}
	})
	require.Greater(t, described, 100)
}

var commentMark = regexp.MustCompile(`(?m)^# ?`)

func walk(t *testing.T, node *yaml.Node, s schema, path string, visit func(path, comment string, s schema)) {
	t.Helper()
	require.Equal(t, false, s.AdditionalProperties, "values.schema.json: %q takes unknown values", path)
	known := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		known[key.Value] = true
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		property, ok := s.Properties[key.Value]
		require.True(t, ok, "values.schema.json has no %s", at)
		// A blank line ends what is not about this value.
		comments := strings.Split(key.HeadComment, "\n\n")
		comment := strings.ReplaceAll(commentMark.ReplaceAllString(comments[len(comments)-1], ""), "\n", " ")
		visit(at, comment, property)
		if value.Kind == yaml.MappingNode && property.AdditionalProperties == false && !strings.HasSuffix(at, ".resources") {
			walk(t, value, property, at, visit)
		}
	}
	for name := range s.Properties {
		require.True(t, known[name] || name == "resourceRules", "values.yaml has no %s.%s", path, name)
	}
}

var stage = regexp.MustCompile(`(?m)^FROM .* AS (\S+)$`)

// TestImages holds that each program has its target, and that docker-compose.yml
// names no other.
func TestImages(t *testing.T) {
	t.Parallel()
	var stages []string
	dockerfile := read(t, "Dockerfile")
	for _, m := range stage.FindAllStringSubmatch(dockerfile, -1) {
		stages = append(stages, m[1])
	}
	programs, err := os.ReadDir(filepath.Join(root, "cmd"))
	require.NoError(t, err)
	for _, p := range programs {
		require.Contains(t, stages, p.Name(), "targets of the Dockerfile")
		require.Contains(t, strings.Fields(dockerfile), "./cmd/"+p.Name(), "what the Dockerfile builds")
	}
	var compose struct {
		Services map[string]struct {
			Build struct {
				Target string
			}
			Volumes []string
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &compose))
	require.Len(t, compose.Services, 6)
	for name, s := range compose.Services {
		if s.Build.Target != "" {
			require.Contains(t, stages, s.Build.Target, name)
		}
		for _, v := range s.Volumes {
			if source, _, _ := strings.Cut(v, ":"); strings.HasPrefix(source, "./") {
				require.FileExists(t, existing(filepath.Join(root, source)), "%s mounts it", name)
			}
		}
	}
}

// existing is a path, or for a directory a file in it.
func existing(path string) string {
	files, err := filepath.Glob(filepath.Join(path, "*"))
	if err == nil && len(files) > 0 {
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && st.IsDir() {
				return existing(f)
			}
		}
		return files[0]
	}
	return path
}

// TestComposeConfiguration loads the server's configuration as the server does,
// and holds that it has the jobs of strata up.
func TestComposeConfiguration(t *testing.T) {
	t.Parallel()
	conf, err := discover.Load(filepath.Join(root, "deploy/compose/prometheus.yml"), discover.Defaults{}, nil)
	require.NoError(t, err)
	var jobs []string
	for _, c := range conf.ScrapeConfigs {
		jobs = append(jobs, c.JobName)
	}
	slices.Sort(jobs)
	require.Equal(t, []string{discover.JobApp, discover.JobKubelet, discover.JobNode, discover.JobSelf}, jobs)
}

// TestUnits lets systemd judge the units. It looks for the programs, which
// another stands for, and takes unknown settings for warnings that it prints.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	units, err := filepath.Glob(filepath.Join(root, "deploy/systemd/*.service"))
	require.NoError(t, err)
	require.NotEmpty(t, units)
	dir := t.TempDir()
	program := regexp.MustCompile(`/usr/local/bin/strata\S*`)
	for _, unit := range units {
		text := program.ReplaceAllString(read(t, "deploy/systemd", filepath.Base(unit)), "/bin/true")
		name := filepath.Join(dir, strings.Replace(filepath.Base(unit), "@.", "@8080.", 1))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", name).CombinedOutput()
		require.NoError(t, err, "%s: %s", unit, out)
		require.NotContains(t, string(out), filepath.Base(name), "%s", unit)
		out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=25", "--no-pager", name).CombinedOutput()
		require.NoError(t, err, "%s is exposed more than 2.5 of 10: %s", unit, out)
	}
}
