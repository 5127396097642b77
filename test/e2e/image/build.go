package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program is a Go command to be built and packed.
type Program struct {
	// Dir is the directory of the module that holds it.
	Dir string
	// Package is its path there, such as "./cmd/strata-node".
	Package string
	// Image is the reference to give, such as "strata.test/strata-node:e2e".
	Image string
	// User is the numeric user it runs as; empty means 65532:65532.
	User string
	// Ports are the ports it exposes.
	Ports []string
}

// Strata is one of Strata's own commands, such as "strata-node", packed as
// strata.test/<name>:e2e.
func Strata(root, name string) Program {
	return Program{Dir: root, Package: "./cmd/" + name, Image: "strata.test/" + name + ":e2e"}
}

// Demo is the demo application, packed as strata.test/demo:e2e.
func Demo(root string) Program {
	return Program{Dir: filepath.Join(root, "test", "e2e"), Package: "./demo", Image: "strata.test/demo:e2e", Ports: []string{"8080/tcp"}}
}

// Pause is what holds a pod's namespaces, packed as strata.test/pause:e2e.
func Pause(root string) Program {
	return Program{Dir: filepath.Join(root, "test", "e2e"), Package: "./pause", Image: "strata.test/pause:e2e"}
}

// Pack builds a static binary of p and writes its image archive into dir; it
// returns the archive's path. With nothing changed the go command links
// nothing again.
func Pack(ctx context.Context, dir string, p Program) (string, error) {
	name := filepath.Base(p.Package)
	binary := filepath.Join(dir, name)
	_, version, _ := strings.Cut(filepath.Base(p.Image), ":")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -X github.com/prometheus/common/version.Version="+version, "-o", binary, p.Package)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s in %s: %w\n%s", cmd, p.Dir, err, strings.TrimSpace(string(out)))
	}
	user := p.User
	if user == "" {
		user = "65532:65532"
	}
	archive := binary + ".tar"
	return archive, writeTo(archive, Spec{
		Name: p.Image, Entrypoint: []string{"/bin/" + name}, User: user, Ports: p.Ports,
		Env:    []string{"PATH=/bin"},
		Labels: map[string]string{"org.opencontainers.image.title": name},
		Files:  []File{{Path: "/bin/" + name, Source: binary}},
	})
}

// writeTo writes the archive aside and renames it, so that it is whole or absent.
func writeTo(path string, s Spec) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".archive-")
	if err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	defer os.Remove(f.Name())
	if err := Write(io.Writer(f), s); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing the archive: %w", err)
	}
	return os.Rename(f.Name(), path)
}
