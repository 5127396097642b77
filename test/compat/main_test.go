// Package compat asks Strata's real programs what the programs that they
// replace were asked, and compares the answers; and it holds the APIs to a
// table of what their clients may expect.
//
// All runs in namespaces of its own (network, processes, mounts): the fixed
// addresses and ports of the reference data collide with nothing of this
// machine, and nothing can be left running.
package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strata-metrics/strata/test/e2e/apart"
	"github.com/strata-metrics/strata/test/e2e/binaries"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
)

// insideEnv names the file that tells the run inside the namespaces what the
// one outside has found and built.
const insideEnv = "STRATA_COMPAT_INSIDE"

// environment is what a run needs of this machine.
type environment struct {
	Root     string // of the repository
	Dir      string // removed at the end
	LogDir   string // stays
	Programs binaries.Set
}

// shared is what all tests of a run use; TestMain sets it before the first.
var shared struct {
	environment
	control *cluster.ControlPlane
}

func TestMain(m *testing.M) {
	code, err := 1, error(nil)
	if file := os.Getenv(insideEnv); file != "" {
		code, err = runInside(m, file)
	} else {
		code, err = runOutside()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// runOutside builds what needs a network, then runs the tests inside.
func runOutside() (code int, err error) {
	env := environment{}
	if env.Root, err = repo.Root("."); err != nil {
		return 1, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if env.Programs, err = binaries.Ensure(context.Background(), binaries.Options{Root: env.Root, Log: log}); err != nil {
		return 1, err
	}
	env.Programs["strata"] = filepath.Join(env.Root, "bin", "strata")
	if _, err := os.Stat(env.Programs["strata"]); err != nil {
		return 1, fmt.Errorf("%w: run make build", err)
	}
	for name, file := range map[string]string{"client": "go.mod", "client-previous": "previous.mod"} {
		if env.Programs[name], err = buildClient(env.Root, name, file); err != nil {
			return 1, err
		}
	}
	if env.LogDir, err = filepath.Abs("output"); err != nil {
		return 1, err
	}
	if err := errors.Join(os.RemoveAll(env.LogDir), os.MkdirAll(env.LogDir, 0o755)); err != nil {
		return 1, err
	}
	if env.Dir, err = os.MkdirTemp("", "strata-compat-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(env.Dir)) }()
	file := filepath.Join(env.Dir, "environment.json")
	data, err := json.Marshal(env)
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return 1, err
	}
	return apart.Run(insideEnv + "=" + file)
}

// buildClient builds the program of the typed clients in the versions of one
// module file, into bin.
func buildClient(root, name, modfile string) (string, error) {
	out := filepath.Join(root, "bin", "compat-"+name)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-modfile="+modfile, "-o", out, ".")
	cmd.Dir, cmd.Env = filepath.Join(root, "test", "compat", "client"), append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s in %s: %w: %s", cmd, cmd.Dir, err, said)
	}
	return out, nil
}

// runInside starts the control plane that all tests share.
func runInside(m *testing.M, file string) (code int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 1, err
	}
	if err := json.Unmarshal(data, &shared.environment); err != nil {
		return 1, fmt.Errorf("%s: %w", file, err)
	}
	if err := apart.Settle(nodeIP); err != nil {
		return 1, err
	}
	// Scripts look for kubectl there.
	if err := os.Setenv("PATH", filepath.Dir(shared.Programs["kubectl"])+":"+os.Getenv("PATH")); err != nil {
		return 1, err
	}
	shared.control, err = cluster.StartControlPlane(context.Background(), cluster.Options{
		StateDir: filepath.Join(shared.Dir, "cluster"), LogDir: shared.LogDir, NodeIP: nodeIP, Binaries: shared.Programs,
	}, "--disable-admission-plugins=ServiceAccount")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.control.Stop(context.Background())) }()
	return m.Run(), nil
}

// nodeIP is where the reference data wants its fake nodes.
const nodeIP = "10.200.0.1"
