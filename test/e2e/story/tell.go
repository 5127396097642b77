package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
)

// teller says what it does and shows what kubectl answers.
type teller struct {
	c   *cluster.Cluster
	out io.Writer
}

func (t teller) say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "\n"+format+"\n", args...)
}

// kubectl shows a command and its answer.
func (t teller) kubectl(ctx context.Context, args ...string) error {
	_, _ = fmt.Fprintf(t.out, "  $ kubectl %s\n", strings.Join(args, " "))
	out, err := t.c.Kubectl(ctx, args...)
	for line := range strings.Lines(out) {
		_, _ = fmt.Fprint(t.out, "    "+line)
	}
	return err
}

// Tell installs Strata and tells the story to out: one pod, load, more pods,
// no load, one pod. It takes about five minutes.
func Tell(ctx context.Context, c *cluster.Cluster, root string, out io.Writer, log *slog.Logger) error {
	t := teller{c, out}
	t.say("1. Strata is installed by its Helm chart: exporters, core (metrics.k8s.io) and server.")
	if err := Install(ctx, c, root, log); err != nil {
		return err
	}
	if err := t.kubectl(ctx, "-n", Namespace, "get", "pods"); err != nil {
		return err
	}
	t.say("2. kubectl top is answered by core, from two readings of the container exporter.")
	if err := t.await(ctx, "top", "nodes"); err != nil {
		return err
	}
	t.say("3. A shop with Strata's sidecar, and an HPA that wants %d requests a second in each pod.", PerPod)
	if err := c.CreateNamespace(ctx, "shop"); err != nil {
		return err
	}
	if err := c.Apply(ctx, "shop", Shop()+"---"+HPA("shop", RequestsMetric)); err != nil {
		return err
	}
	if err := t.await(ctx, "-n", "shop", "wait", "--for=condition=Available", "deployment/shop", "--timeout=1s"); err != nil {
		return err
	}
	if err := t.load(ctx); err != nil {
		return err
	}
	t.say("6. Without load the HPA goes back to one pod.")
	if err := t.watch(ctx, func(n int) bool { return n == 1 }); err != nil {
		return err
	}
	server, err := ServerURL(ctx, c)
	if err != nil {
		return err
	}
	t.say("The page with all of it is at %s/", server)
	return nil
}

// load sends requests until the HPA has made four pods.
func (t teller) load(ctx context.Context) error {
	t.say("4. 60 requests a second go to the shop, 2 minutes long.")
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := load.Run(loadCtx, load.Options{
			Targets: URLs(t.c, "shop", map[string]string{"app": "shop"}, ProxyPort, "/"), Rate: 60, Duration: 2 * time.Minute,
		})
		ended <- err
	}()
	if err := t.watch(ctx, func(n int) bool { return n >= 4 }); err != nil {
		return err
	}
	t.say("5. What the HPA was told, and how fast each pod is asked:")
	err := t.kubectl(ctx, "get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/http_requests_per_second")
	stop()
	return errors.Join(err, <-ended)
}

// await repeats a command until it succeeds, and shows its last answer.
func (t teller) await(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, err := t.c.Kubectl(ctx, args...)
		if err == nil {
			return t.kubectl(ctx, args...)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// watch shows the HPA's line whenever it changes, until the number of ready
// pods is as wanted.
func (t teller) watch(ctx context.Context, done func(pods int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	last := ""
	for {
		pods, err := t.c.ReadyPods(ctx, "shop", map[string]string{"app": "shop"})
		if err != nil {
			return err
		}
		line, err := t.c.Kubectl(ctx, "-n", "shop", "get", "hpa", "shop", "--no-headers",
			"-o", "jsonpath={.status.currentMetrics[0].pods.current.averageValue} requests/s in each pod, {.status.desiredReplicas} pods wanted")
		if err != nil {
			return err
		}
		if line = fmt.Sprintf("%s, %d ready", line, len(pods)); line != last {
			_, _ = fmt.Fprintln(t.out, "    "+line)
			last = line
		}
		if done(len(pods)) {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("the HPA did not get there in time: %w", ctx.Err())
		}
	}
}
