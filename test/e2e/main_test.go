// Package e2e tests Strata on a real Kubernetes that this run starts and ends.
//
// The tests share one cluster; each works in a namespace of its own. With
// STRATA_E2E_ATTACH=1 they use the one of `make cluster` instead and leave it
// running, which saves time while a test is written.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
	"github.com/strata-metrics/strata/test/e2e/setup"
)

// shared is what all tests of a run use; TestMain sets it before the first.
var shared struct {
	root    string
	cluster *cluster.Cluster
}

const guardArg = "cluster-guard"

func TestMain(m *testing.M) {
	var code int
	var err error
	if len(os.Args) == 3 && os.Args[1] == guardArg {
		err = cluster.Guard(context.Background(), os.Args[2])
	} else {
		code, err = runTests(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if shared.root, err = repo.Root("."); err != nil {
		return 1, err
	}
	if os.Getenv("STRATA_E2E_ATTACH") != "" {
		if shared.cluster, err = cluster.Attach(cluster.DefaultStateDir, log); err != nil {
			return 1, err
		}
		return m.Run(), nil
	}
	if err := cluster.CheckMachine(); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	output, err := filepath.Abs("output")
	if err != nil {
		return 1, err
	}
	if err := os.RemoveAll(output); err != nil {
		return 1, err
	}
	o, err := setup.Options(ctx, log)
	if err != nil {
		return 1, err
	}
	o.LogDir = filepath.Join(output, "log")
	o.Guard = []string{self, guardArg}
	if shared.cluster, err = cluster.Start(ctx, o); err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, shared.cluster.Stop(context.Background()))
	}()
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	select {
	case code = <-ended:
		return code, nil
	case <-ctx.Done():
		return 1, fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}

// namespace makes a namespace for one test and removes it at its end. When the
// test has failed, what is in it goes to output/ first.
func namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	require.NoError(t, shared.cluster.CreateNamespace(t.Context(), name))
	t.Cleanup(func() {
		ctx := context.Background()
		if t.Failed() {
			file := filepath.Join("output", name+".txt")
			err := os.MkdirAll("output", 0o755)
			if err == nil {
				err = os.WriteFile(file, []byte(shared.cluster.Describe(ctx, name)), 0o644)
			}
			t.Logf("what was in the namespace is in %s (%v)", file, err)
		}
		if _, err := shared.cluster.Kubectl(ctx, "delete", "namespace", name, "--wait=false"); err != nil {
			t.Log(err)
		}
	})
	return name
}
