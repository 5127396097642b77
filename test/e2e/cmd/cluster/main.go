// Command cluster keeps a real one-node Kubernetes for a person.
//
//	cluster up      start one and leave it running
//	cluster down    end it
//	cluster demo    install Strata in it, or in a new one, and tell its story
//	cluster build   only build the programs that it is made of
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/repo"
	"github.com/strata-metrics/strata/test/e2e/setup"
	"github.com/strata-metrics/strata/test/e2e/story"
)

const usage = `usage: cluster up | down | demo | build
  up      start a Kubernetes on this machine and leave it running (needs root)
  down    end it and undo all that it changed
  demo    install Strata and show how a request becomes a new pod
  build   only build the programs it is made of, into the user's cache`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

var errUsage = errors.New(usage)

func run(ctx context.Context, args []string, out io.Writer, log *slog.Logger) error {
	if len(args) != 1 {
		return errUsage
	}
	switch args[0] {
	case "up":
		return up(ctx, out, log)
	case "down":
		return down(ctx, out, log)
	case "demo":
		return demo(ctx, out, log)
	case "build":
		_, err := setup.Options(ctx, log)
		return err
	default:
		return fmt.Errorf("unknown command %q\n%w", args[0], errUsage)
	}
}

func up(ctx context.Context, out io.Writer, log *slog.Logger) error {
	if err := cluster.CheckMachine(); err != nil {
		return err
	}
	o, err := setup.Options(ctx, log)
	if err != nil {
		return err
	}
	o.Keep = true
	c, err := cluster.Start(ctx, o)
	if err != nil {
		return err
	}
	root, err := repo.Root(".")
	if err != nil {
		return err
	}
	install, err := story.Offer(ctx, c, root, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
The cluster runs until make cluster ARGS=down; its logs are in %s.

    export KUBECONFIG=%s PATH=%s:$PATH
    helm %s

`, c.Options().LogDir, c.Kubeconfig(), c.BinDir(), strings.Join(install, " "))
	return nil
}

func down(ctx context.Context, out io.Writer, log *slog.Logger) error {
	was, err := cluster.Down(ctx, cluster.DefaultStateDir, log)
	if err != nil {
		return err
	}
	if !was {
		fmt.Fprintln(out, "no cluster was running")
	}
	return nil
}

// demo tells the story in the cluster that runs, or in one of its own that it
// leaves running.
func demo(ctx context.Context, out io.Writer, log *slog.Logger) error {
	c, err := cluster.Attach(cluster.DefaultStateDir, log)
	if errors.Is(err, cluster.ErrNotRunning) {
		if err = up(ctx, out, log); err == nil {
			c, err = cluster.Attach(cluster.DefaultStateDir, log)
		}
	}
	if err != nil {
		return err
	}
	root, err := repo.Root(".")
	if err != nil {
		return err
	}
	return story.Tell(ctx, c, root, out, log)
}
