package binaries

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/test/e2e/repo"
)

func TestPinnedVersions(t *testing.T) {
	t.Parallel()
	root, err := repo.Root(".")
	require.NoError(t, err)
	for _, g := range groups() {
		path := filepath.Join(root, g.dir, "go.mod")
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		version, err := moduleVersion(path, data, g.module)
		require.NoError(t, err)
		require.Regexp(t, `^v\d+\.\d+\.\d+$`, version, g.name)
	}
	_, err = moduleVersion("go.mod", []byte("module x\n"), "k8s.io/kubernetes")
	require.ErrorContains(t, err, "does not require k8s.io/kubernetes")
}

func TestCacheKey(t *testing.T) {
	t.Parallel()
	pinned, inMain := group{name: "a", dir: "x"}, group{name: "a", dir: "."}
	base := cacheKey(pinned, "v1.0.0", []byte("m"), "go1")
	require.Equal(t, base, cacheKey(pinned, "v1.0.0", []byte("m"), "go1"))
	require.NotEqual(t, base, cacheKey(pinned, "v1.0.1", []byte("m"), "go1"), "version")
	require.NotEqual(t, base, cacheKey(pinned, "v1.0.0", []byte("n"), "go1"), "go.mod")
	require.NotEqual(t, base, cacheKey(pinned, "v1.0.0", []byte("m"), "go2"), "toolchain")
	require.Equal(t, cacheKey(inMain, "v1", []byte("m"), "go1"), cacheKey(inMain, "v1", []byte("n"), "go1"))
}

func TestComplete(t *testing.T) {
	t.Parallel()
	dir, g := t.TempDir(), group{programs: map[string]string{"a": "", "b": ""}}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600))
	require.False(t, complete(dir, g), "b is absent")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b"), nil, 0o600))
	require.False(t, complete(dir, g), "b is empty")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b"), []byte("x"), 0o600))
	require.True(t, complete(dir, g))
}

func TestKubernetesVersionIsStamped(t *testing.T) {
	t.Parallel()
	require.Equal(t, "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1"+
		" -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=v1.37.2", kubernetesVersion("v1.37.2"))
}

func TestBuildArgs(t *testing.T) {
	t.Parallel()
	one := group{programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"}}
	require.Equal(t, []string{"build", "-v", "-trimpath", "-buildvcs=false", "-o", "/d/etcd", "go.etcd.io/etcd/server/v3"},
		buildArgs(one, "v3", "/d"))
	two := group{programs: map[string]string{"b": "x/b", "a": "x/a"}, ldflags: func(v string) string { return "-X v=" + v }}
	require.Equal(t, []string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", "-X v=v1", "-o", "/d/", "x/a", "x/b"},
		buildArgs(two, "v1", "/d"))
}
