package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strata-metrics/strata/test/bench/fakecluster"
	"github.com/strata-metrics/strata/test/bench/figure"
	"github.com/strata-metrics/strata/test/bench/load"
	"github.com/strata-metrics/strata/test/bench/process"
)

// prometheus-adapter 0.12 with Prometheus 3 on a machine like this one, where
// it was built from source. It is no Go module, so it is not run here.
const (
	adapterP50of100  = 200.0 // ms
	adapterP50of1500 = 545.0 // ms
	adapterRSS       = 227.0 // MB, of both programs
)

// How the APIs are asked.
const (
	latencyRate = 50          // requests a second
	latencyTime = time.Minute // at 10 a second, six are the slowest hundredth
	closedTime  = 10 * time.Second
	settleTime  = 80 * time.Second // the rule's window is a minute
	hpaUser     = "hpa"
	floodUser   = "dashboard"
	metricName  = "http_requests_per_second"
)

const prometheusYAML = `global: {scrape_interval: 5s}
scrape_configs:
- job_name: apps
  honor_labels: true
  static_configs: [{targets: [%q]}]
`

const adapterYAML = `rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
`

// app is a Deployment of some pods, in a namespace of its own with as many
// pods of others again.
func app(pods int) string { return "bench-" + strconv.Itoa(pods) }

func serverCluster() fakecluster.Options {
	o := fakecluster.Options{Users: []fakecluster.User{
		{File: hpaUser, Name: "system:serviceaccount:kube-system:horizontal-pod-autoscaler", Groups: []string{"system:serviceaccounts"}},
		{File: floodUser, Name: floodUser},
	}}
	for _, n := range []int{10, 100, 1500} {
		o.Workloads = append(o.Workloads,
			fakecluster.Workload{Namespace: app(n), Name: "web", Pods: n},
			fakecluster.Workload{Namespace: app(n), Name: "other", Pods: n})
	}
	return o
}

// stack is strata server on a fake cluster.
type stack struct {
	server *process.Process
	dir    string // of the cluster
	base   string // of the APIs
}

func (b *bench) startStack(ctx context.Context) (*stack, func(), error) {
	cluster, info, err := b.startFake(ctx, "apps", serverCluster())
	if err != nil {
		return nil, nil, err
	}
	s := &stack{dir: filepath.Join(b.dir, "apps")}
	dir, err := b.clean("server")
	if err == nil {
		err = s.start(b.strata, dir, info)
	}
	if err != nil {
		cluster.Stop()
		return nil, nil, err
	}
	stop := func() {
		s.server.Stop()
		cluster.Stop()
	}
	if err := s.ready(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

func (s *stack) start(strata, dir string, info fakecluster.Info) error {
	err := writeAll(dir, map[string]string{"prometheus.yml": fmt.Sprintf(prometheusYAML, info.Target), "adapter.yml": adapterYAML})
	if err != nil {
		return err
	}
	free, err := process.FreeAddress()
	if err != nil {
		return err
	}
	s.base = "https://" + free.String()
	s.server, err = process.Start(dir, "server", strata, "server", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address=127.0.0.1:0", "--adapter.config=adapter.yml", "--kubeconfig="+filepath.Join(s.dir, fakecluster.KubeconfigFile),
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(free.Port), "--profiling")
	return err
}

// question is what an autoscaler on requests per second asks for a Deployment.
func (s *stack) question(pods int) string {
	return s.base + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + app(pods) + "/pods/*/" + metricName + "?labelSelector=" + url.QueryEscape("app=web")
}

// object is the question about one object, a namespace.
func (s *stack) object() string {
	return s.base + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + app(10) + "/metrics/" + metricName
}

// client asks questions of one size as a user, and counts an answer that has
// not all pods as failed.
func (s *stack) client(user string, pods int, urls ...string) (*load.Client, error) {
	conf, err := fakecluster.Client(s.dir, user)
	if err != nil {
		return nil, err
	}
	return newClient(conf, pods, urls...)
}

func newClient(conf *tls.Config, pods int, urls ...string) (*load.Client, error) {
	return load.NewClient(conf, func(status int, body []byte) error {
		if status != http.StatusOK {
			return fmt.Errorf("status %d", status)
		}
		if n := bytes.Count(body, []byte(`"describedObject"`)); n != pods {
			return fmt.Errorf("%d of %d pods", n, pods)
		}
		return nil
	}, urls...)
}

// ready waits until every pod has a rate and holds that all are right.
func (s *stack) ready(ctx context.Context) error {
	base := 0
	for _, pods := range []int{10, 100, 1500} {
		c, err := s.client(hpaUser, pods, s.question(pods))
		if err != nil {
			return err
		}
		defer c.Close()
		err = s.server.Await(ctx, time.Minute, func(ctx context.Context) error {
			body, err := c.Get(ctx, nil)
			if err != nil {
				return err
			}
			return truth(body, base)
		})
		if err != nil {
			return err
		}
		base += 2 * pods
	}
	return nil
}

// settle asks what will be asked as an autoscaler does, for longer than the
// rule's window: that is the state in which a server answers nearly all
// questions of its life.
func (s *stack) settle(ctx context.Context) error {
	var all errgroup.Group
	for objects, url := range map[int]string{1: s.object(), 10: s.question(10), 100: s.question(100), 1500: s.question(1500)} {
		all.Go(func() error {
			c, err := s.client(hpaUser, objects, url)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = fixed(ctx, c, objects, 0.2, settleTime)
			return err
		})
	}
	return all.Wait()
}

// truth holds that the rates are those of the pods, of which base is the first.
func truth(body []byte, base int) error {
	var list struct {
		Items []struct {
			DescribedObject struct{ Name string }
			Value           string
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	for _, item := range list.Items {
		name := item.DescribedObject.Name
		i, err := strconv.ParseInt(name[strings.LastIndexByte(name, '-')+1:], 16, 64)
		if err != nil {
			return err
		}
		milli, err := milliValue(item.Value)
		if err != nil {
			return err
		}
		// Counters are whole: over 10 s and more, a tenth of 1/s can be lost.
		if want := float64(fakecluster.Requests(int(i))); int(i) < base || milli < 1000*(0.97*want-0.15) || milli > 1000*(1.03*want+0.15) {
			return fmt.Errorf("%s has %s requests a second, not %v", name, item.Value, want)
		}
	}
	return nil
}

func milliValue(s string) (float64, error) {
	if t, ok := strings.CutSuffix(s, "m"); ok {
		return strconv.ParseFloat(t, 64)
	}
	v, err := strconv.ParseFloat(s, 64)
	return v * 1000, err
}

// server measures strata server directly.
func (b *bench) server(ctx context.Context) error {
	s, stop, err := b.startStack(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := b.latencies(ctx, s); err != nil {
		return err
	}
	if err := b.throughput(ctx, s); err != nil {
		return err
	}
	if err := b.flood(ctx, s); err != nil {
		return err
	}
	m, err := s.server.Memory()
	if err != nil {
		return err
	}
	b.report.Add(figure.Figure{Name: "custom_server_rss", Ours: mega(m.RSS), Peer: adapterRSS, Unit: "MB"})
	b.report.Add(figure.Figure{Name: "custom_server_rss_anonymous", Ours: mega(m.Anonymous), Peer: figure.Unknown(), Unit: "MB"})
	return nil
}

func mega(bytes uint64) float64 { return float64(bytes) / 1e6 }

func (b *bench) latencies(ctx context.Context, s *stack) error {
	b.report.Note("peer of custom_pods_*: prometheus-adapter 0.12 with Prometheus 3, measured elsewhere (p50 of pods/*, RSS of both); it is no Go module")
	for _, c := range []struct {
		name, url  string
		objects    int
		rate, goal float64 // goal of p99 in ms; 0 for none
		peer       float64
	}{
		{"custom_object_", s.object(), 1, latencyRate, 0, figure.Unknown()},
		{"custom_pods_100_", s.question(100), 100, latencyRate, 2, adapterP50of100},
		{"custom_pods_1500_", s.question(1500), 1500, latencyRate / 5, 10, adapterP50of1500},
	} {
		profiled := b.profile(ctx, s, c.name+"latency")
		r, err := s.ask(ctx, hpaUser, c.objects, c.url, c.rate)
		if err := errors.Join(err, <-profiled); err != nil {
			return err
		}
		b.report.Note("%d values at %g a second: %d bytes, a tenth within %.2f ms, max %.1f ms; load average %s", c.objects, c.rate, r.Bytes, r.Quantile(0.1), r.Max(), loadAverage())
		b.report.Add(figure.Figure{Name: c.name + "p50", Ours: r.Quantile(0.5), Peer: c.peer, Unit: "ms"})
		f := figure.Figure{Name: c.name + "p99", Ours: r.Quantile(0.99), Peer: figure.Unknown(), Goal: c.goal, Unit: "ms"}
		if c.goal > 0 {
			f.Bound = figure.AtMost
		}
		b.report.Add(f)
	}
	return nil
}

// ask asks at a rate. A failed answer fails the run: a wrong answer is not a
// fast one.
func (s *stack) ask(ctx context.Context, user string, objects int, url string, rate float64) (*load.Result, error) {
	c, err := s.client(user, objects, url)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := load.Fixed(ctx, c, rate, 2*time.Second); err != nil { // connection, caches
		return nil, err
	}
	return fixed(ctx, c, objects, rate, latencyTime)
}

// fixed asks at a rate for a time, and fails where an answer does.
func fixed(ctx context.Context, c *load.Client, objects int, rate float64, d time.Duration) (*load.Result, error) {
	r, err := load.Fixed(ctx, c, rate, d)
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d of %d answers of %d objects failed: %w", r.Failed, r.Sent, objects, r.Err)
	}
	return r, err
}

// throughput asks as fast as it goes, over two connections.
func (b *bench) throughput(ctx context.Context, s *stack) error {
	for _, pods := range []int{10, 100, 1500} {
		if err := b.closed(ctx, s, fmt.Sprintf("custom_pods_%d_rate", pods), pods, s.question(pods), 0); err != nil {
			return err
		}
	}
	return b.closed(ctx, s, "custom_object_rate", 1, s.object(), 5000)
}

func (b *bench) closed(ctx context.Context, s *stack, name string, objects int, url string, goal float64) error {
	var clients []*load.Client
	for range 2 {
		c, err := s.client(hpaUser, objects, url)
		if err != nil {
			return err
		}
		defer c.Close()
		clients = append(clients, c)
	}
	before, err := cpus(s.server)
	if err != nil {
		return err
	}
	profiled := b.profile(ctx, s, name)
	r, err := load.Closed(ctx, clients, 8, closedTime)
	if err := errors.Join(err, <-profiled); err != nil {
		return err
	}
	if r.Failed > 0 {
		return fmt.Errorf("%s: %d of %d answers failed: %w", name, r.Failed, r.Sent, r.Err)
	}
	after, err := cpus(s.server)
	if err != nil {
		return err
	}
	seconds := r.Elapsed.Seconds()
	b.report.Note("%s: 16 open requests, %d bytes an answer, p99 %.1f ms; of the cores %.2f the generator's, %.2f the server's",
		name, r.Bytes, r.Quantile(0.99), (after[0]-before[0]).Seconds()/seconds, (after[1]-before[1]).Seconds()/seconds)
	f := figure.Figure{Name: name, Ours: r.Rate(), Peer: figure.Unknown(), Goal: goal, Unit: "1/s"}
	if goal > 0 {
		f.Bound = figure.AtLeast
	}
	b.report.Add(f)
	return nil
}

// cpus are the times used by this process and by a server.
func cpus(p *process.Process) ([2]time.Duration, error) {
	own, err := process.Self()
	if err != nil {
		return [2]time.Duration{}, err
	}
	its, err := p.CPU()
	return [2]time.Duration{own, its}, err
}

// profile writes the server's profiles of cpu and allocations during a load
// into files, where that is wanted, and tells when it has.
func (b *bench) profile(ctx context.Context, s *stack, name string) <-chan error {
	done := make(chan error, 1)
	if !b.profiles {
		done <- nil
		return done
	}
	var both errgroup.Group
	for kind, page := range map[string]string{"cpu": "profile", "allocs": "allocs"} {
		both.Go(func() error {
			conf, err := fakecluster.Client(s.dir, hpaUser)
			if err != nil {
				return err
			}
			c, err := load.NewClient(conf, nil, fmt.Sprintf("%s/debug/pprof/%s?seconds=%d", s.base, page, int(closedTime.Seconds())-2))
			if err != nil {
				return err
			}
			defer c.Close()
			body, err := c.Get(ctx, nil)
			if err != nil {
				return fmt.Errorf("profile: %w", err)
			}
			return os.WriteFile(filepath.Join(b.dir, name+"."+kind+".pprof"), body, 0o600)
		})
	}
	go func() { done <- both.Wait() }()
	return done
}
