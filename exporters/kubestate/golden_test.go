package kubestate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestGolden holds what each kind shows of the objects in testdata. To make
// the files anew: UPDATE_GOLDEN=1 go test ./exporters/kubestate -run TestGolden
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, plural := range Resources() {
		t.Run(plural, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t, true)
			source, err := os.ReadFile(filepath.Join("testdata", plural+".yaml"))
			require.NoError(t, err)
			var objects []map[string]any
			require.NoError(t, yaml.Unmarshal(source, &objects))
			for _, o := range objects {
				api.put(plural, jsonable(o).(map[string]any))
			}
			book := &logBook{}
			e := follow(t, Options{
				Config: api.config(), Resources: []string{plural}, Logger: book.logger(),
				MetricOptIn:          []string{"nodeselectors", "csi_attributes"},
				LabelsAllowlist:      Allowlist{"*": {"*"}},
				AnnotationsAllowlist: Allowlist{plural: {"note", "*.kubernetes.io/ttl", "deployment*"}},
			})
			ready(t, e)
			got := scrape(t, e)
			require.NotContains(t, book.String(), "level=ERROR")
			golden := filepath.Join("testdata", plural+".prom")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "when this is meant: UPDATE_GOLDEN=1 go test ./exporters/kubestate -run TestGolden")
		})
	}
}
