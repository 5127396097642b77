// Package house checks the rules of CONTRIBUTING.md that no linter knows:
// which room may use which, what an exporter links, and how large a file gets.
package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/strata-metrics/strata/"
)

// Longest files, in lines.
const (
	maxSource = 500
	maxTest   = 800
)

type file struct {
	path   string // from the root
	lines  int
	syntax *ast.File
}

// goFiles parses all Go files that people write.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "node_modules" || name == "testdata" || name == "bin" || len(name) > 2 && name[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "zz_generated") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err == nil && ast.IsGenerated(syntax) {
			return nil
		}
		rel, _ := filepath.Rel(root, path)
		files = append(files, file{filepath.ToSlash(rel), bytes.Count(text, []byte("\n")), syntax})
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func TestFilesAndNames(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		limit := maxSource
		if isTest(f.path) {
			limit = maxTest
		}
		if f.lines > limit {
			t.Errorf("%s has %d lines, at most %d are allowed: split it by what it holds", f.path, f.lines, limit)
		}
		if name := f.syntax.Name.Name; name == "utils" || name == "util" || name == "common" || name == "helpers" {
			t.Errorf("%s: package %s: name a package for what it holds", f.path, name)
		}
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: func init: build it in main's explicit list instead", f.path)
			}
		}
	}
}

// TestRooms holds that data and imports flow one way.
func TestRooms(t *testing.T) {
	t.Parallel()
	forbidden := map[string][]string{
		"exporters/":          {module + "pipeline", module + "cmd"},
		"internal/":           {module + "pipeline", module + "cmd", module + "exporters"},
		"pipeline/":           {module + "cmd", module + "exporters"},
		"dashboards/":         {module + "cmd", module + "exporters", module + "pipeline"},
		"pipeline/discover/":  {module + "pipeline/"},
		"pipeline/store/":     {module + "pipeline/"},
		"pipeline/scrape/":    {module + "pipeline/rule", module + "pipeline/query", module + "pipeline/adapter"},
		"pipeline/query/":     {module + "pipeline/adapter", module + "pipeline/apiserver"},
		"pipeline/resource/":  {module + "pipeline/store", module + "pipeline/query", module + "pipeline/scrape"},
		"pipeline/page/":      {module + "pipeline/store", module + "pipeline/adapter"},
		"exporters/node":      {module + "exporters/", "k8s.io/"},
		"exporters/app":       {module + "exporters/", "k8s.io/"},
		"exporters/container": {module + "exporters/", "k8s.io/client-go", "k8s.io/apiserver"},
	}
	for _, f := range goFiles(t) {
		for room, imports := range forbidden {
			if !strings.HasPrefix(f.path, room) || isTest(f.path) {
				continue
			}
			own := strings.TrimSuffix(module+room, "/")
			for _, i := range f.syntax.Imports {
				path := strings.Trim(i.Path.Value, `"`)
				for _, bad := range imports {
					if strings.HasPrefix(path, bad) && !strings.HasPrefix(path, own) {
						t.Errorf("%s imports %s: data flows from the exporters to the APIs, see docs/design.md", f.path, path)
					}
				}
			}
		}
	}
}

// TestExporterBinaries holds that an exporter stays small: it links neither
// the Prometheus server nor the API server's library, and only the kubestate
// exporter links client-go.
func TestExporterBinaries(t *testing.T) {
	t.Parallel()
	heavy := []string{"github.com/prometheus/prometheus", "k8s.io/apiserver", "k8s.io/client-go"}
	f := func(binary string, allowed ...string) {
		t.Helper()
		cmd := exec.Command("go", "list", "-deps", "./cmd/"+binary)
		cmd.Dir = root
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		deps := strings.Fields(string(out))
		require.Contains(t, deps, module+"internal/metric")
		for _, dep := range deps {
			for _, bad := range heavy {
				if (dep == bad || strings.HasPrefix(dep, bad+"/")) && !contains(allowed, bad) {
					t.Errorf("%s links %s", binary, dep)
				}
			}
		}
	}
	f("strata-node")
	f("strata-container")
	f("strata-app")
	f("strata-kubestate", "k8s.io/client-go")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
