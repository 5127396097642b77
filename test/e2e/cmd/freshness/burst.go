package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

const (
	namespace = "freshness"
	askEvery  = 50 * time.Millisecond
	// A burst: 0.3 core in one pod, 40 requests a second to another.
	workRate, workMillis = 10, 30
	requestRate          = 40
	// At rest both are below.
	restCores, restRequests = 0.03, 2
	readyWithin             = 2 * time.Minute
	// kubeletAge is how old the kubelet's own readings get.
	kubeletAge = 15 * time.Second
)

const worker = `
---
apiVersion: v1
kind: Pod
metadata: {name: worker, labels: {app: worker}}
spec:
  terminationGracePeriodSeconds: 2
  containers: [{name: worker, image: "strata.test/demo:e2e", resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {memory: 64Mi}}}]
`

// api is one question whose answer is a number.
type api struct {
	path  string
	value func(body []byte) (float64, error)
}

// bench loads two pods and asks for what they use.
type bench struct {
	c              *cluster.Cluster
	cpu, requests  api
	work, requestT string // what is asked in the bursts
}

func newBench(ctx context.Context, c *cluster.Cluster) (*bench, error) {
	if _, err := c.Kubectl(ctx, "delete", "namespace", namespace, "--ignore-not-found"); err != nil {
		return nil, err
	}
	if err := c.CreateNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, namespace, story.Shop()+worker); err != nil {
		return nil, err
	}
	b := &bench{c: c,
		cpu:      api{"/apis/metrics.k8s.io/v1beta1/namespaces/" + namespace + "/pods/worker", cores},
		requests: api{"/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/http_requests_per_second", rate},
	}
	err := until(ctx, func() error {
		pods := map[string]string{}
		for _, app := range []string{"worker", "shop"} {
			ready, err := c.ReadyPods(ctx, namespace, map[string]string{"app": app})
			if err != nil {
				return err
			}
			if len(ready) != 1 {
				return fmt.Errorf("%d pods of %s are ready", len(ready), app)
			}
			pods[app] = ready[0].Status.PodIP
		}
		b.work = load.URL(pods["worker"], 8080, fmt.Sprintf("/work?ms=%d", workMillis))
		b.requestT = load.URL(pods["shop"], story.ProxyPort, "/")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, b.send(ctx, b.requestT, 1, time.Second) // or there is no series yet
}

// until repeats a condition until it holds.
func until(ctx context.Context, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not within %s: %w", readyWithin, err)
		}
		pause(ctx, askEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (b *bench) send(ctx context.Context, url string, perSecond float64, d time.Duration) error {
	result, err := load.Run(ctx, load.Options{
		Targets: func(context.Context) ([]string, error) { return []string{url}, nil }, Rate: perSecond, Duration: d,
	})
	if err == nil && result.Failed+result.Shed > result.Sent/10 {
		err = fmt.Errorf("%d of %d requests failed, the last by: %v", result.Failed+result.Shed, result.Sent, result.Err)
	}
	return err
}

// errNoItem says that an answer is empty.
var errNoItem = errors.New("the answer has no item")

// cores reads a PodMetrics.
func cores(body []byte) (float64, error) {
	var pod struct {
		Containers []struct{ Usage map[string]resource.Quantity }
	}
	if err := json.Unmarshal(body, &pod); err != nil {
		return 0, err
	}
	if len(pod.Containers) == 0 {
		return 0, errNoItem
	}
	sum := 0.0
	for _, c := range pod.Containers {
		q := c.Usage["cpu"]
		sum += q.AsApproximateFloat64()
	}
	return sum, nil
}

// rate reads a MetricValueList.
func rate(body []byte) (float64, error) {
	var list struct {
		Items []struct{ Value resource.Quantity }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, errNoItem
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}

func (b *bench) ask(ctx context.Context, a api) (float64, error) {
	body, err := b.c.Raw(ctx, a.path)
	if err != nil {
		return 0, err
	}
	return a.value(body)
}

// measured are the times of all bursts.
type measured struct{ cpu, requests times }

func (b *bench) measure(ctx context.Context, interval time.Duration, source string, bursts int) (measured, error) {
	var m measured
	// Long enough for a whole window at the end of which the load is known.
	length := 3*interval + 3*time.Second
	if source == "kubelet" {
		length += kubeletAge
	}
	for range bursts {
		if err := until(ctx, func() error { return b.rests(ctx) }); err != nil {
			return m, fmt.Errorf("waiting for rest: %w", err)
		}
		pause(ctx, rand.N(interval)) // or every burst would begin just after a reading
		if err := b.burst(ctx, length, &m); err != nil {
			return m, err
		}
	}
	return m, nil
}

// rests holds that nothing of the burst before is in the answers.
func (b *bench) rests(ctx context.Context) error {
	cpu, err := b.ask(ctx, b.cpu)
	if err != nil {
		return err
	}
	requests, err := b.ask(ctx, b.requests)
	if err == nil && (cpu > restCores || requests > restRequests) {
		err = fmt.Errorf("%.3f cores and %.3f requests a second", cpu, requests)
	}
	return err
}

func (b *bench) burst(ctx context.Context, length time.Duration, m *measured) error {
	begin := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return b.send(ctx, b.work, workRate, length) })
	all.Go(func() error { return b.send(ctx, b.requestT, requestRate, length) })
	for a, t := range map[*api]*times{&b.cpu: &m.cpu, &b.requests: &m.requests} {
		all.Go(func() error {
			var curve []point
			for time.Since(begin) < length {
				v, err := b.ask(ctx, *a)
				switch {
				case err == nil:
					curve = append(curve, point{time.Since(begin), v})
				case !apierrors.IsNotFound(err) && !errors.Is(err, errNoItem):
					return err
				}
				pause(ctx, askEvery)
			}
			half, most, err := rise(curve)
			if err != nil {
				return fmt.Errorf("%s: %w", strings.TrimPrefix(a.path, "/apis/"), err)
			}
			t.half, t.most = append(t.half, half), append(t.most, most)
			return nil
		})
	}
	return all.Wait()
}
