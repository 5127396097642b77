// Command controlplane runs a command beside a real etcd and API server, which
// know no object and end with it. All of them are in namespaces of their own.
// The argument {kubeconfig} is replaced by the path of a file with all rights.
//
//	controlplane kubectl --kubeconfig {kubeconfig} get namespaces
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/strata-metrics/strata/test/e2e/apart"
	"github.com/strata-metrics/strata/test/e2e/binaries"
	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
)

const (
	insideEnv = "STRATA_CONTROLPLANE_INSIDE" // the directory that everything goes to
	nodeIP    = "10.200.0.1"
)

func main() {
	code, err := 1, error(nil)
	if len(os.Args) < 2 {
		err = errors.New("no command: say what to run beside the API server")
	} else if dir := os.Getenv(insideEnv); dir != "" {
		code, err = inside(dir, os.Args[1], os.Args[2:])
	} else {
		code, err = outside()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// outside builds the programs, which may need a network.
func outside() (code int, err error) {
	if _, err := programs(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "strata-controlplane-")
	if err != nil {
		return 1, fmt.Errorf("directory of the control plane: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return apart.Run(insideEnv + "=" + dir)
}

func programs() (binaries.Set, error) {
	root, err := repo.Root(".")
	if err != nil {
		return nil, err
	}
	return binaries.Ensure(context.Background(), binaries.Options{Root: root, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

func inside(dir, name string, args []string) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := apart.Settle(nodeIP); err != nil {
		return 1, err
	}
	set, err := programs()
	if err != nil {
		return 1, err
	}
	// ServiceAccounts would have to be made by a controller first.
	control, err := cluster.StartControlPlane(ctx, cluster.Options{
		StateDir: filepath.Join(dir, "cluster"), NodeIP: nodeIP, Binaries: set,
	}, "--disable-admission-plugins=ServiceAccount")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, control.Stop(context.WithoutCancel(ctx))) }()
	for i, arg := range args {
		if arg == "{kubeconfig}" {
			args[i] = control.Kubeconfig()
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
