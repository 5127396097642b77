// Package image packs static binaries into OCI image archives without a
// container engine. The same input gives the same bytes.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ErrSpec says that a Spec cannot be packed.
var ErrSpec = errors.New("bad image")

// Spec describes an image of one layer.
type Spec struct {
	// Name is the reference pods ask for, "host/path:tag". The tag must not be
	// latest, for which a kubelet would go to a registry.
	Name string
	// Entrypoint is the program with its fixed arguments.
	Entrypoint []string
	// User is "uid" or "uid:gid", numeric, so that runAsNonRoot can be checked.
	User string
	// Env are NAME=value pairs.
	Env []string
	// Ports are exposed ports such as "8080/tcp".
	Ports []string
	// Labels describe the image.
	Labels map[string]string
	// Files are what it holds; directories above them are made.
	Files []File
}

// File is one regular file of an image.
type File struct {
	// Path is where it is in the image, absolute.
	Path string
	// Source is a file on this machine; Data is used when it is empty.
	Source string
	// Data is the content itself.
	Data []byte
	// Mode is the permission; zero means 0755.
	Mode int64
}

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Config       runtimeConfig `json:"config"`
	RootFS       rootFS        `json:"rootfs"`
}

type runtimeConfig struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string
	Labels       map[string]string `json:",omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// Write writes the archive of s in the OCI image layout. Sources are read
// twice and must not change meanwhile, so that no image is held in memory.
func Write(w io.Writer, s Spec) error {
	if err := s.check(); err != nil {
		return err
	}
	counted := &hasher{sum: sha256.New()}
	if err := writeLayer(counted, s.Files); err != nil {
		return err
	}
	layer := descriptor{MediaType: mediaLayer, Digest: counted.digest(), Size: counted.size}
	config, err := json.Marshal(s.config(layer.Digest))
	if err != nil {
		return fmt.Errorf("encoding the config: %w", err)
	}
	man, err := json.Marshal(manifest{
		SchemaVersion: 2, MediaType: mediaManifest,
		Config: describe(mediaConfig, config), Layers: []descriptor{layer},
	})
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	top := describe(mediaManifest, man)
	top.Annotations = map[string]string{
		"io.containerd.image.name":          s.Name,
		"org.opencontainers.image.ref.name": s.Name[strings.LastIndex(s.Name, ":")+1:],
	}
	idx, err := json.Marshal(index{SchemaVersion: 2, MediaType: mediaIndex, Manifests: []descriptor{top}})
	if err != nil {
		return fmt.Errorf("encoding the index: %w", err)
	}
	return writeArchive(w, s, layer, [][]byte{config, man}, idx)
}

func (s Spec) check() error {
	name := s.Name[strings.LastIndex(s.Name, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	switch {
	case tag == "" || tag == "latest":
		return fmt.Errorf("%w %q: it needs a tag other than latest, for which a kubelet would ask a registry", ErrSpec, s.Name)
	case len(s.Entrypoint) == 0:
		return fmt.Errorf("%w %q: no entrypoint", ErrSpec, s.Name)
	case strings.Trim(s.User, "0123456789:") != "":
		return fmt.Errorf("%w %q: user %q is not numeric", ErrSpec, s.Name, s.User)
	case len(s.Files) == 0:
		return fmt.Errorf("%w %q: no files", ErrSpec, s.Name)
	}
	for _, f := range s.Files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			return fmt.Errorf("%w %q: file path %q is not absolute and clean", ErrSpec, s.Name, f.Path)
		}
	}
	return nil
}

func (s Spec) config(layer string) imageConfig {
	ports := map[string]struct{}{}
	for _, p := range s.Ports {
		ports[p] = struct{}{}
	}
	return imageConfig{
		Architecture: runtime.GOARCH, OS: "linux",
		Config: runtimeConfig{User: s.User, ExposedPorts: ports, Env: s.Env, Entrypoint: s.Entrypoint, Labels: s.Labels},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{layer}},
	}
}

// writeLayer writes the files with their directories, in the order of paths.
func writeLayer(w io.Writer, files []File) error {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	t, made := tar.NewWriter(w), map[string]bool{}
	for _, f := range files {
		for _, d := range parents(f.Path) {
			if made[d] {
				continue
			}
			made[d] = true
			if err := t.WriteHeader(header(d+"/", tar.TypeDir, 0o755, 0)); err != nil {
				return fmt.Errorf("packing %s: %w", d, err)
			}
		}
		if err := writeFile(t, f); err != nil {
			return fmt.Errorf("packing %s: %w", f.Path, err)
		}
	}
	return t.Close()
}

func writeFile(t *tar.Writer, f File) error {
	content, size := io.Reader(bytes.NewReader(f.Data)), int64(len(f.Data))
	if f.Source != "" {
		src, err := os.Open(f.Source)
		if err != nil {
			return err
		}
		defer src.Close()
		info, err := src.Stat()
		if err != nil {
			return err
		}
		content, size = src, info.Size()
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o755
	}
	if err := t.WriteHeader(header(strings.TrimPrefix(f.Path, "/"), tar.TypeReg, mode, size)); err != nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}

// header leaves owner and time at nought: they would differ between machines.
func header(name string, kind byte, mode, size int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: kind, Mode: mode, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

// parents lists the directories above an absolute path, top first, without
// their leading slash.
func parents(p string) []string {
	var out []string
	for d := path.Dir(p); d != "/"; d = path.Dir(d) {
		out = append(out, strings.TrimPrefix(d, "/"))
	}
	slices.Reverse(out)
	return out
}

func writeArchive(w io.Writer, s Spec, layer descriptor, blobs [][]byte, idx []byte) error {
	t := tar.NewWriter(w)
	small := [][2]string{{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`}, {"index.json", string(idx)}}
	for _, b := range blobs {
		small = append(small, [2]string{blobPath(describe("", b).Digest), string(b)})
	}
	for _, f := range small {
		if err := writeFile(t, File{Path: "/" + f[0], Data: []byte(f[1]), Mode: 0o644}); err != nil {
			return fmt.Errorf("writing %s: %w", f[0], err)
		}
	}
	if err := t.WriteHeader(header(blobPath(layer.Digest), tar.TypeReg, 0o644, layer.Size)); err != nil {
		return fmt.Errorf("writing the layer of %s: %w", s.Name, err)
	}
	again := &hasher{sum: sha256.New(), next: t}
	if err := writeLayer(again, s.Files); err != nil {
		return err
	}
	if again.digest() != layer.Digest {
		return fmt.Errorf("%w %q: a file changed while it was packed", ErrSpec, s.Name)
	}
	return t.Close()
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func describe(mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
}

// hasher sums and counts what passes, and hands it to next if there is one.
type hasher struct {
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
	next io.Writer
}

// Write never fails by itself; the error is that of next.
func (h *hasher) Write(b []byte) (int, error) {
	h.sum.Write(b)
	h.size += int64(len(b))
	if h.next == nil {
		return len(b), nil
	}
	return h.next.Write(b)
}

func (h *hasher) digest() string { return "sha256:" + hex.EncodeToString(h.sum.Sum(nil)) }
