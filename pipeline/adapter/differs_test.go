package adapter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// difference is how an answer differs from the recorded one, and why.
type difference struct {
	why    string
	status int
	body   string // is in the answer
	live   bool   // only the whole server shows it
}

// deliberate are the recorded requests that are answered differently, with the
// reason of each.
func deliberate(t *testing.T) map[string]difference {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "test", "compat", "differences.yaml"))
	require.NoError(t, err)
	var list struct {
		Adapter []struct {
			Why, Contains string
			Requests      []string
			Status        int
			Live          bool
		}
	}
	require.NoError(t, yaml.Unmarshal(data, &list))
	out := map[string]difference{}
	for _, d := range list.Adapter {
		for _, id := range d.Requests {
			require.NotContains(t, out, id, "listed twice")
			out[id] = difference{d.Why, d.Status, d.Contains, d.Live}
		}
	}
	require.NotEmpty(t, out)
	return out
}
