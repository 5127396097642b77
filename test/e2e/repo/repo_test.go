package repo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoot(t *testing.T) {
	t.Parallel()
	root, nested := t.TempDir(), ""
	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), []byte("module "+Module+"\n"), 0o600))
	nested = filepath.Join(root, "test", "e2e")
	require.NoError(t, os.MkdirAll(nested, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(nested, "go.mod"), []byte("module "+Module+"/test/e2e\n"), 0o600))

	got, err := Root(nested)
	require.NoError(t, err)
	require.Equal(t, root, got)

	_, err = Root(t.TempDir())
	require.ErrorIs(t, err, ErrNotFound)
}
