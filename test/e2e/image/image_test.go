package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample(t *testing.T) Spec {
	t.Helper()
	source := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.WriteFile(source, []byte("binary"), 0o600))
	return Spec{
		Name: "strata.test/app:e2e", Entrypoint: []string{"/bin/app", "-x"}, User: "65532:65532",
		Ports: []string{"8080/tcp"}, Labels: map[string]string{"b": "2", "a": "1"}, Env: []string{"A=b"},
		Files: []File{{Path: "/etc/app/config", Data: []byte("data"), Mode: 0o644}, {Path: "/bin/app", Source: source}},
	}
}

func entries(t *testing.T, r io.Reader) (map[string][]byte, []*tar.Header) {
	t.Helper()
	content, headers := map[string][]byte{}, []*tar.Header(nil)
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return content, headers
		}
		require.NoError(t, err)
		headers = append(headers, h)
		content[h.Name], err = io.ReadAll(tr)
		require.NoError(t, err)
	}
}

func TestWriteIsAWholeOCILayout(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, Write(&out, sample(t)))
	files, _ := entries(t, &out)
	require.JSONEq(t, `{"imageLayoutVersion":"1.0.0"}`, string(files["oci-layout"]))

	blob := func(d descriptor) []byte {
		data := files[blobPath(d.Digest)]
		sum := sha256.Sum256(data)
		require.Equal(t, d.Digest, "sha256:"+hex.EncodeToString(sum[:]))
		require.Equal(t, d.Size, int64(len(data)))
		return data
	}
	var idx index
	require.NoError(t, json.Unmarshal(files["index.json"], &idx))
	require.Equal(t, "strata.test/app:e2e", idx.Manifests[0].Annotations["io.containerd.image.name"])
	require.Equal(t, "e2e", idx.Manifests[0].Annotations["org.opencontainers.image.ref.name"])
	var man manifest
	require.NoError(t, json.Unmarshal(blob(idx.Manifests[0]), &man))
	var config imageConfig
	require.NoError(t, json.Unmarshal(blob(man.Config), &config))
	require.Equal(t, []string{"/bin/app", "-x"}, config.Config.Entrypoint)
	require.Equal(t, "65532:65532", config.Config.User)
	require.Contains(t, config.Config.ExposedPorts, "8080/tcp")
	require.Equal(t, []string{man.Layers[0].Digest}, config.RootFS.DiffIDs)

	layer, headers := entries(t, bytes.NewReader(blob(man.Layers[0])))
	require.Equal(t, "binary", string(layer["bin/app"]))
	require.Equal(t, "data", string(layer["etc/app/config"]))
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
		require.Zero(t, h.ModTime.Unix())
		require.Zero(t, h.Uid+h.Gid)
	}
	require.Equal(t, []string{"bin/", "bin/app", "etc/", "etc/app/", "etc/app/config"}, names)
}

func TestWriteIsReproducible(t *testing.T) {
	t.Parallel()
	var a, b bytes.Buffer
	require.NoError(t, Write(&a, sample(t)))
	require.NoError(t, Write(&b, sample(t))) // another source file, made later
	require.True(t, bytes.Equal(a.Bytes(), b.Bytes()))
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	f := func(name, want string, change func(*Spec)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sample(t)
			change(&s)
			err := Write(io.Discard, s)
			require.ErrorIs(t, err, ErrSpec)
			require.ErrorContains(t, err, want)
		})
	}
	f("latest", "tag other than latest", func(s *Spec) { s.Name = "strata.test/app:latest" })
	f("no tag", "tag other than latest", func(s *Spec) { s.Name = "strata.test:80/app" })
	f("named user", "not numeric", func(s *Spec) { s.User = "nobody" })
	f("no entrypoint", "no entrypoint", func(s *Spec) { s.Entrypoint = nil })
	f("no files", "no files", func(s *Spec) { s.Files = nil })
	f("relative path", "not absolute", func(s *Spec) { s.Files[0].Path = "bin/app" })
	f("path upwards", "not absolute", func(s *Spec) { s.Files[0].Path = "/../app" })
}

func TestWriteNamesTheFileThatIsAbsent(t *testing.T) {
	t.Parallel()
	s := sample(t)
	s.Files[1].Source = filepath.Join(t.TempDir(), "absent")
	err := Write(io.Discard, s)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "/bin/app")
}
