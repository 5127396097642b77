package deploy

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/pipeline/metricrule"
)

// openAPI is what of a structural schema is used here.
type openAPI struct {
	Type        string
	Description string
	Properties  map[string]openAPI
	Items       *openAPI
}

// action is a line or a word of a template that helm takes out.
var action = regexp.MustCompile(`\{\{-?.*?-?\}\}`)

// TestMetricRuleDefinition holds that the chart's definition of MetricRules and
// the server's types have the same fields, and that people and servers may use
// them.
func TestMetricRuleDefinition(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy/helm/strata/templates/metricrule.yaml")
	_, text, found := strings.Cut(text, "*/}}")
	require.True(t, found)
	documents := strings.Split(action.ReplaceAllString(text, ""), "\n---\n")
	require.Len(t, documents, 3)
	var crd struct {
		Metadata struct{ Name string }
		Spec     struct {
			Group, Scope string
			Names        struct {
				Kind, Plural string
				ShortNames   []string `yaml:"shortNames"`
			}
			Versions []struct {
				Name         string
				Subresources map[string]any
				Schema       struct {
					OpenAPI openAPI `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(documents[0]), &crd))
	require.Equal(t, metricrule.Resource+"."+metricrule.Group, crd.Metadata.Name)
	require.Equal(t, metricrule.Group, crd.Spec.Group)
	require.Equal(t, metricrule.Kind, crd.Spec.Names.Kind)
	require.Equal(t, "Namespaced", crd.Spec.Scope)
	require.Equal(t, []string{"mr"}, crd.Spec.Names.ShortNames)
	require.Len(t, crd.Spec.Versions, 1)
	version := crd.Spec.Versions[0]
	require.Equal(t, metricrule.Version, version.Name)
	require.Contains(t, version.Subresources, "status")
	properties := version.Schema.OpenAPI.Properties
	sameFields(t, "spec", reflect.TypeFor[metricrule.Spec](), properties["spec"])
	sameFields(t, "status", reflect.TypeFor[metricrule.Status](), properties["status"])

	server := read(t, "deploy/helm/strata/templates/server.yaml")
	require.Contains(t, server, "resources: [metricrules]\n    verbs: [get, list, watch]")
	require.Contains(t, server, "resources: [metricrules/status]\n    verbs: [update, patch]")
	require.Contains(t, documents[1], "aggregate-to-edit")
	require.Contains(t, documents[2], "aggregate-to-view")
}

func sameFields(t *testing.T, path string, typ reflect.Type, s openAPI) {
	t.Helper()
	var fields, properties []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if f.Type.Kind() == reflect.Slice && s.Properties[name].Items != nil {
			sameFields(t, path+"."+name, f.Type.Elem(), *s.Properties[name].Items)
		}
	}
	for name, p := range s.Properties {
		properties = append(properties, name)
		require.True(t, p.Description != "" || strings.Contains(path, "."), "%s.%s has no description", path, name)
	}
	slices.Sort(fields)
	slices.Sort(properties)
	require.Equal(t, fields, properties, "fields of the server and properties of the definition, at %s", path)
}
