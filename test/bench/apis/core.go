package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/strata-metrics/strata/test/bench/fakecluster"
	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/load"
	"github.com/strata-metrics/strata/test/bench/process"
)

// The cluster of the core: 1,000 nodes with 150 pods each, in Deployments of
// 50 pods, 30 of them in each namespace.
const (
	coreNodes      = 1000
	coreWorkloads  = 3000
	coreReplicas   = 50
	coreNamespaces = 100
	coreRounds     = 2
	coreReadRate   = 50 // reads a second
	coreTime       = 31 * time.Second
	resolution     = 15 * time.Second
)

func coreWorkload(i int) fakecluster.Workload {
	return fakecluster.Workload{Namespace: fmt.Sprintf("team-%02d", i%coreNamespaces), Name: fmt.Sprintf("app-%04d", i), Pods: coreReplicas}
}

func coreCluster() fakecluster.Options {
	o := fakecluster.Options{Nodes: coreNodes, Users: []fakecluster.User{{File: hpaUser, Name: hpaUser}}}
	for i := range coreWorkloads {
		o.Workloads = append(o.Workloads, coreWorkload(i))
	}
	return o
}

// coreRun is what one program did.
type coreRun struct {
	rss, anonymous float64 // means, bytes
	peak           float64 // bytes
	cpu            float64 // cores
	reads          *load.Result
}

// core measures strata core beside metrics-server, one after the other, each
// against the same objects and kubelets.
func (b *bench) core(ctx context.Context) error {
	cluster, info, err := b.startFake(ctx, "nodes", coreCluster())
	if err != nil {
		return err
	}
	defer cluster.Stop()
	b.report.Note("core: %d nodes, %d pods, read every %s; both programs on the same fake API server and kubelets", coreNodes, info.Pods, resolution)
	var ours, peer []coreRun
	for range coreRounds {
		r, err := b.coreProgram(ctx, "strata-core", b.strata, "core")
		if err != nil {
			return err
		}
		ours = append(ours, r)
		if b.peer == "" {
			continue
		}
		if r, err = b.coreProgram(ctx, "metrics-server", b.peer,
			"--authentication-kubeconfig="+b.kubeconfig(), "--authorization-kubeconfig="+b.kubeconfig(), "--cert-dir=certificates"); err != nil {
			return err
		}
		peer = append(peer, r)
	}
	b.coreFigures(ours, peer)
	return nil
}

func (b *bench) kubeconfig() string { return filepath.Join(b.dir, "nodes", fakecluster.KubeconfigFile) }

func (b *bench) coreFigures(ours, peer []coreRun) {
	add := func(name, unit string, bound figure.Bound, goal float64, value func(coreRun) float64) {
		b.report.Add(figure.Figure{Name: name, Ours: mean(ours, value), Peer: mean(peer, value), Goal: goal, Bound: bound, Unit: unit})
	}
	bound := figure.RatioAtMost
	if len(peer) == 0 {
		bound = figure.Report
	}
	add("core_rss", "MB", bound, 0.5, func(r coreRun) float64 { return r.rss / 1e6 })
	add("core_rss_anonymous", "MB", figure.Report, 0, func(r coreRun) float64 { return r.anonymous / 1e6 })
	add("core_rss_peak", "MB", figure.Report, 0, func(r coreRun) float64 { return r.peak / 1e6 })
	add("core_cpu", "cores", figure.Report, 0, func(r coreRun) float64 { return r.cpu })
	add("core_hpa_read_p50", "ms", figure.Report, 0, func(r coreRun) float64 { return r.reads.Quantile(0.5) })
	add("core_hpa_read_p99", "ms", figure.Report, 0, func(r coreRun) float64 { return r.reads.Quantile(0.99) })
	add("core_hpa_read_max", "ms", figure.Report, 0, func(r coreRun) float64 { return r.reads.Max() })
}

func mean(runs []coreRun, value func(coreRun) float64) float64 {
	var sum float64
	for _, r := range runs {
		sum += value(r)
	}
	return sum / float64(len(runs))
}

// coreProgram runs one program until it knows all pods, and measures it.
func (b *bench) coreProgram(ctx context.Context, name, program string, args ...string) (coreRun, error) {
	dir, err := b.clean(name)
	if err != nil {
		return coreRun{}, err
	}
	free, err := process.FreeAddress()
	if err != nil {
		return coreRun{}, err
	}
	p, err := process.Start(dir, name, program, append(args, "--kubeconfig="+b.kubeconfig(), "--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(free.Port), "--metric-resolution="+resolution.String(),
		"--kubelet-insecure-tls", "--kubelet-use-node-status-port", "--kubelet-preferred-address-types=InternalIP")...)
	if err != nil {
		return coreRun{}, err
	}
	defer p.Stop()
	c, err := b.coreClient("https://" + free.String())
	if err != nil {
		return coreRun{}, err
	}
	defer c.Close()
	// Every Deployment in turn: when 100 in a row are complete, all nodes have
	// been read twice, since each Deployment has pods on 50 of them.
	err = p.Await(ctx, 2*time.Minute, func(ctx context.Context) error {
		var body []byte
		for range 100 {
			var err error
			if body, err = c.Get(ctx, body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return coreRun{}, err
	}
	r, err := watchCore(ctx, p, c)
	if err == nil && r.reads.Failed > 0 {
		err = fmt.Errorf("%s: %d of %d reads failed: %w", name, r.reads.Failed, r.reads.Sent, r.reads.Err)
	}
	b.report.Note("%s: %.0f MB, %.0f of them anonymous, peak %.0f; %.2f cores; HPA's read of 50 pods p50 %.1f p99 %.1f max %.1f ms",
		name, r.rss/1e6, r.anonymous/1e6, r.peak/1e6, r.cpu, r.reads.Quantile(0.5), r.reads.Quantile(0.99), r.reads.Max())
	return r, err
}

// watchCore asks as autoscalers do while it looks at the program's memory.
func watchCore(ctx context.Context, p *process.Process, c *load.Client) (coreRun, error) {
	var r coreRun
	begin := time.Now()
	before, err := p.CPU()
	if err != nil {
		return r, err
	}
	read := make(chan error, 1)
	go func() {
		var err error
		r.reads, err = load.Fixed(ctx, c, coreReadRate, coreTime)
		read <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 1.0; ; n++ {
		m, err := p.Memory()
		if err != nil {
			return r, errors.Join(err, <-read)
		}
		r.rss += (float64(m.RSS) - r.rss) / n
		r.anonymous += (float64(m.Anonymous) - r.anonymous) / n
		r.peak = float64(m.Peak)
		select {
		case <-tick.C:
			continue
		case err := <-read:
			if err != nil {
				return r, err
			}
		}
		after, err := p.CPU()
		r.cpu = (after - before).Seconds() / time.Since(begin).Seconds()
		return r, err
	}
}

// coreClient asks for the pods of all Deployments in turn, and holds that what
// it gets is what they use.
func (b *bench) coreClient(base string) (*load.Client, error) {
	conf, err := fakecluster.Client(filepath.Join(b.dir, "nodes"), hpaUser)
	if err != nil {
		return nil, err
	}
	var urls []string
	for i := range coreWorkloads {
		// A stride without a common factor goes through all namespaces.
		w := coreWorkload(i * 7 % coreWorkloads)
		urls = append(urls, fmt.Sprintf("%s/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods?labelSelector=%s", base, w.Namespace, url.QueryEscape("app="+w.Name)))
	}
	return load.NewClient(conf, coreTruth, urls...)
}

// coreTruth holds that all pods of a Deployment are there and use what they do.
func coreTruth(status int, body []byte) error {
	if status != 200 {
		return fmt.Errorf("status %d", status)
	}
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			Containers []struct{ Usage struct{ CPU string } }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	if len(list.Items) != coreReplicas {
		return fmt.Errorf("%d of %d pods", len(list.Items), coreReplicas)
	}
	for _, item := range list.Items {
		name := item.Metadata.Name
		i, err := strconv.ParseInt(name[len(name)-5:], 16, 64)
		if err != nil || len(item.Containers) != 1 {
			return fmt.Errorf("pod %s has %d containers: %w", name, len(item.Containers), err)
		}
		text := item.Containers[0].Usage.CPU
		nano, err := nanoValue(text)
		if err != nil {
			return fmt.Errorf("pod %s uses %q: %w", name, text, err)
		}
		if want := float64(fakecluster.MilliCores(int(i))) * 1e6; math.Abs(nano-want) > 0.02*want {
			return fmt.Errorf("pod %s uses %s, not %vn", name, text, want)
		}
	}
	return nil
}

// nanoValue reads the text of a small quantity.
func nanoValue(s string) (float64, error) {
	for unit, factor := range map[string]float64{"n": 1, "u": 1e3, "m": 1e6} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseFloat(number, 64)
			return v * factor, err
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	return v * 1e9, err
}
