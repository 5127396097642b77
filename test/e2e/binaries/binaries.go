// Package binaries builds the programs that a real cluster is made of from
// their Go modules, and keeps them in the user's cache.
//
// Versions are pinned by the go.mod files in the directories beside this one.
// A program is built once for each go.mod, Go version and platform; with all of
// them in the cache, Ensure only looks.
package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/sys/unix"
)

// Set maps a program's name to its file.
type Set map[string]string

// Options says where to build from and to.
type Options struct {
	// Root is the repository, as repo.Root finds it.
	Root string
	// CacheDir holds the programs; empty means strata/e2e in the user's cache.
	CacheDir string
	// Log tells what is built and how long it took; nil is silent.
	Log *slog.Logger
}

// group is the programs that are built together from one module.
type group struct {
	name     string
	dir      string            // of its go.mod, from the root
	module   string            // whose version the programs carry
	programs map[string]string // name to package
	ldflags  func(version string) string
	env      []string // NAME=value pairs that the build needs
	hint     string   // what a person is told while it is built
}

func groups() []group {
	return []group{
		{
			name: "kubernetes", dir: "test/e2e/binaries/kubernetes", module: "k8s.io/kubernetes",
			programs: map[string]string{
				"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
				"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
				"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
				"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
				"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
				"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
			},
			ldflags: kubernetesVersion,
			hint:    "about 12 minutes on two cores, once",
		},
		{
			name: "etcd", dir: "test/e2e/binaries/etcd", module: "go.etcd.io/etcd/server/v3",
			programs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
			hint:     "about a minute, once",
		},
		{
			name: "helm", dir: "test/e2e/binaries/helm", module: "helm.sh/helm/v4",
			programs: map[string]string{"helm": "helm.sh/helm/v4/cmd/helm"},
			hint:     "about two minutes, once",
		},
		{
			name: "promtool", dir: ".", module: "github.com/prometheus/prometheus",
			programs: map[string]string{"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
			// As make build builds, which has then compiled most of it already.
			env:  []string{"CGO_ENABLED=0"},
			hint: "about three minutes, once",
		},
	}
}

// kubernetesVersion stamps the version in: components that do not know theirs
// refuse each other.
func kubernetesVersion(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	const base, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[3]s -X %[1]s.gitMajor=%[4]s -X %[1]s.gitMinor=%[5]s -X %[2]s.gitVersion=%[3]s",
		base, client, version, parts[0], parts[1])
}

// Ensure returns every program, building those that the cache does not have.
// Two runs at once build only once: the second waits for the first.
func Ensure(ctx context.Context, o Options) (Set, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding a cache directory: %w", err)
		}
		o.CacheDir = filepath.Join(cache, "strata", "e2e")
	}
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	toolchain, err := goEnv(ctx, o.Root)
	if err != nil {
		return nil, err
	}
	set := Set{}
	for _, g := range groups() {
		dir, err := ensureGroup(ctx, o, g, toolchain)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", g.name, err)
		}
		for name := range g.programs {
			set[name] = filepath.Join(dir, name)
		}
	}
	return set, nil
}

// ensureGroup returns the directory of one group's programs.
func ensureGroup(ctx context.Context, o Options, g group, toolchain string) (string, error) {
	gomod := filepath.Join(o.Root, g.dir, "go.mod")
	data, err := os.ReadFile(gomod)
	if err != nil {
		return "", fmt.Errorf("reading the pinned versions: %w", err)
	}
	version, err := moduleVersion(gomod, data, g.module)
	if err != nil {
		return "", err
	}
	final := filepath.Join(o.CacheDir, cacheKey(g, version, data, toolchain))
	if complete(final, g) {
		return final, nil
	}
	unlock, err := lock(final + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(final, g) { // built by another run while we waited
		return final, nil
	}
	return final, build(ctx, o, g, version, final)
}

// build builds a group aside and renames it, so that final is whole or absent.
func build(ctx context.Context, o Options, g group, version, final string) error {
	aside, err := os.MkdirTemp(o.CacheDir, "."+g.name+"-")
	if err != nil {
		return fmt.Errorf("making a directory to build in: %w", err)
	}
	defer os.RemoveAll(aside)
	o.Log.Info("building "+g.name, "version", version, "takes", g.hint, "into", final)
	begin := time.Now()
	progress := &progress{log: o.Log, name: g.name, every: 20 * time.Second, last: begin}
	cmd := exec.CommandContext(ctx, "go", buildArgs(g, version, aside)...)
	cmd.Dir = filepath.Join(o.Root, g.dir)
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), g.env...)
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s in %s: %w\n%s", cmd, cmd.Dir, err, progress.tail())
	}
	o.Log.Info("built "+g.name, "elapsed", time.Since(begin).Round(time.Second))
	if err := os.Chmod(aside, 0o755); err != nil {
		return fmt.Errorf("opening %s to others: %w", aside, err)
	}
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("removing a broken cache: %w", err)
	}
	if err := os.Rename(aside, final); err != nil {
		return fmt.Errorf("moving %s into the cache: %w", g.name, err)
	}
	return nil
}

// buildArgs is one go build for the whole group, so that programs that share
// packages compile side by side.
func buildArgs(g group, version, dir string) []string {
	args := []string{"build", "-v", "-trimpath", "-buildvcs=false"}
	if g.ldflags != nil {
		args = append(args, "-ldflags", g.ldflags(version))
	}
	names := slices.Sorted(maps.Keys(g.programs))
	if len(names) == 1 { // go would name it after its package
		return append(args, "-o", filepath.Join(dir, names[0]), g.programs[names[0]])
	}
	args = append(args, "-o", dir+string(filepath.Separator))
	for _, name := range names {
		args = append(args, g.programs[name])
	}
	return args
}

// progress counts the packages that go build -v names, tells now and then how
// far it is, and keeps the lines for an error.
type progress struct {
	log   *slog.Logger
	name  string
	every time.Duration
	last  time.Time
	lines []string
}

// Write takes whole lines, as the go command writes them.
func (p *progress) Write(b []byte) (int, error) {
	p.lines = append(p.lines, strings.Split(strings.TrimRight(string(b), "\n"), "\n")...)
	if now := time.Now(); now.Sub(p.last) >= p.every {
		p.last = now
		p.log.Info("building "+p.name, "packages compiled", len(p.lines))
	}
	return len(b), nil
}

func (p *progress) tail() string {
	return strings.Join(p.lines[max(0, len(p.lines)-30):], "\n")
}

// cacheKey names a directory after all that the programs depend on. The main
// module changes often; of it only the version of the tool counts.
func cacheKey(g group, version string, gomod []byte, toolchain string) string {
	h := sha256.New()
	fmt.Fprintln(h, g.name, version, toolchain)
	if len(g.env) > 0 {
		fmt.Fprintln(h, g.env)
	}
	if g.dir != "." {
		h.Write(gomod)
	}
	return g.name + "-" + version + "-" + hex.EncodeToString(h.Sum(nil))[:12]
}

// moduleVersion reads the version of a module that a go.mod requires.
func moduleVersion(path string, gomod []byte, module string) (string, error) {
	f, err := modfile.ParseLax(path, gomod, nil)
	if err != nil {
		return "", fmt.Errorf("parsing %s: %w", path, err)
	}
	for _, r := range f.Require {
		if r.Mod.Path == module {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not require %s: run go get there", path, module)
}

func complete(dir string, g group) bool {
	for name := range g.programs {
		info, err := os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err != nil || info.Size() == 0 {
			return false
		}
	}
	return true
}

// lock waits for the lock file at path; the kernel frees it when a holder dies.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the cache's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// goEnv describes the toolchain as far as it decides what a build gives.
func goEnv(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking go for its version (is Go installed?): %w", err)
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}
