// Package repo finds the checkout that the end-to-end tests run in: the tests
// build Strata's binaries and the cluster's from their modules by path, since
// nested modules cannot be embedded.
package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// Module is the path of Strata's main module.
const Module = "github.com/strata-metrics/strata"

// ErrNotFound says that no directory above is a checkout of Strata.
var ErrNotFound = errors.New("no go.mod of " + Module + " here or above: run this inside the repository")

// Root returns the directory of Strata's main module, which is dir or a
// directory above it.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", dir, err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		data, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && modfile.ModulePath(data) == Module {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s: %w", dir, ErrNotFound)
		}
	}
}
