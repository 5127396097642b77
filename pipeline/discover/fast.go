package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	autoscalinginformers "k8s.io/client-go/informers/autoscaling/v2"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Defaults of FastOptions.
const (
	DefaultFastInterval = 5 * time.Second
	// DefaultFastBudget is how many more scrapes a second are made at most.
	DefaultFastBudget = 100.0
)

// FastOptions say which targets are scraped more often than their job says.
type FastOptions struct {
	// Client reads the HPAs. RBAC: list and watch on horizontalpodautoscalers.
	Client kubernetes.Interface
	// Interval is how often they are scraped while the budget allows it; 0 is
	// DefaultFastInterval.
	Interval time.Duration
	// Budget is how many scrapes a second more than the jobs' own are made at
	// most; the interval grows when there are too many targets. 0 is
	// DefaultFastBudget.
	Budget float64

	// Logger is told what it costs, when that changes; nil discards.
	Logger *slog.Logger
	// Registry receives the metrics strata_fast_*; nil registers none.
	Registry prometheus.Registerer
}

// Fast has the pods behind HorizontalPodAutoscalers scraped more often, and only
// those: an autoscaler sees a burst as soon as a scrape has, while a short
// interval for all targets would multiply the cost of the store.
//
// A pod is behind an HPA when its controller is what the HPA scales (for a
// Deployment, a ReplicaSet of it) and the HPA has a metric of type Pods, Object
// or External: cpu and memory do not come from these scrapes.
type Fast struct {
	o        FastOptions
	informer cache.SharedIndexInformer
	changed  chan struct{}

	targets  prometheus.Gauge
	interval prometheus.Gauge
	extra    prometheus.Gauge

	mu    sync.Mutex // guards scale and said
	scale map[workload]int
	said  string
}

// workload is what an HPA scales. Kind is "" where pods name a ReplicaSet only.
type workload struct{ namespace, kind, name string }

// NewFast makes one; it knows of HPAs once Run runs.
func NewFast(o FastOptions) (*Fast, error) {
	if o.Client == nil {
		return nil, errors.New("FastOptions.Client is missing")
	}
	if o.Interval == 0 {
		o.Interval = DefaultFastInterval
	}
	if o.Interval < time.Second {
		return nil, fmt.Errorf("an interval of %s is below 1s", o.Interval)
	}
	if o.Budget == 0 {
		o.Budget = DefaultFastBudget
	}
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	f := &Fast{o: o, changed: make(chan struct{}, 1), scale: map[workload]int{}}
	r := promauto.With(o.Registry)
	f.targets = r.NewGauge(prometheus.GaugeOpts{Name: "strata_fast_targets", Help: "Targets behind autoscalers that are scraped more often than their job says."})
	f.interval = r.NewGauge(prometheus.GaugeOpts{Name: "strata_fast_interval_seconds", Help: "How often these targets are scraped."})
	f.extra = r.NewGauge(prometheus.GaugeOpts{Name: "strata_fast_extra_scrapes_per_second", Help: "Scrapes that are made beyond what the jobs say."})
	f.informer = autoscalinginformers.NewHorizontalPodAutoscalerInformer(o.Client, metav1.NamespaceAll, 0, cache.Indexers{})
	_, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { f.count(obj, 1) },
		UpdateFunc: func(old, obj any) { f.replace(old, obj) },
		DeleteFunc: func(obj any) {
			if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = d.Obj
			}
			f.count(obj, -1)
		},
	})
	return f, errors.Join(err, f.informer.SetTransform(trimHPA))
}

// trimHPA keeps what is looked at.
func trimHPA(obj any) (any, error) {
	h, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return obj, nil
	}
	kept := &autoscalingv2.HorizontalPodAutoscaler{}
	kept.Namespace, kept.Name, kept.ResourceVersion, kept.Spec = h.Namespace, h.Name, h.ResourceVersion, h.Spec
	return kept, nil
}

// workloadOf is what an HPA scales by metrics that are scraped.
func workloadOf(obj any) (workload, bool) {
	h, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return workload{}, false
	}
	for _, m := range h.Spec.Metrics {
		if m.Pods != nil || m.Object != nil || m.External != nil {
			return workload{h.Namespace, h.Spec.ScaleTargetRef.Kind, h.Spec.ScaleTargetRef.Name}, true
		}
	}
	return workload{}, false
}

func (f *Fast) count(obj any, n int) {
	if w, ok := workloadOf(obj); ok {
		f.mu.Lock()
		if f.scale[w] += n; f.scale[w] <= 0 {
			delete(f.scale, w)
		}
		f.mu.Unlock()
		f.wake()
	}
}

func (f *Fast) replace(old, obj any) {
	before, was := workloadOf(old)
	after, is := workloadOf(obj)
	if before == after && was == is {
		return // its status changes all the time
	}
	f.count(old, -1)
	f.count(obj, 1)
}

func (f *Fast) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Run follows the HPAs until ctx ends.
func (f *Fast) Run(ctx context.Context) error {
	f.informer.RunWithContext(ctx)
	return nil
}

// Targets passes groups of targets on, with the interval of those behind an HPA
// changed, whenever a group or the HPAs change, until ctx ends. conf is the
// configuration that the groups' jobs belong to.
func (f *Fast) Targets(ctx context.Context, in <-chan map[string][]*targetgroup.Group, conf func() *config.Config) <-chan map[string][]*targetgroup.Group {
	out := make(chan map[string][]*targetgroup.Group)
	go func() {
		var last map[string][]*targetgroup.Group
		for {
			select {
			case <-ctx.Done():
				return
			case groups, ok := <-in:
				if !ok {
					return
				}
				last = groups
			case <-f.changed:
				if last == nil {
					continue
				}
			}
			select {
			case out <- f.apply(last, conf()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// pace is how often the targets of a job are scraped.
type pace struct{ interval, timeout time.Duration }

// apply gives the groups with the changed intervals. What is changed is copied.
func (f *Fast) apply(groups map[string][]*targetgroup.Group, conf *config.Config) map[string][]*targetgroup.Group {
	paces := map[string]pace{}
	for _, c := range conf.ScrapeConfigs {
		paces[c.JobName] = pace{time.Duration(c.ScrapeInterval), time.Duration(c.ScrapeTimeout)}
	}
	f.mu.Lock()
	scale := maps.Clone(f.scale)
	f.mu.Unlock()
	counts := map[string]int{}
	for job, gs := range groups {
		for _, g := range gs {
			for _, t := range g.Targets {
				if behind(scale, g.Labels, t) {
					counts[job]++
				}
			}
		}
	}
	interval := f.afford(counts, paces)
	f.tell(interval, counts, paces, len(scale))
	out := make(map[string][]*targetgroup.Group, len(groups))
	for job, gs := range groups {
		p := paces[job]
		if counts[job] == 0 || p.interval <= interval {
			out[job] = gs
			continue
		}
		for _, g := range gs {
			out[job] = append(out[job], hasten(g, scale, interval, min(p.timeout, interval)))
		}
	}
	return out
}

// hasten copies a group with the targets behind HPAs scraped at an interval.
func hasten(g *targetgroup.Group, scale map[workload]int, interval, timeout time.Duration) *targetgroup.Group {
	kept := &targetgroup.Group{Labels: g.Labels, Source: g.Source, Targets: make([]model.LabelSet, len(g.Targets))}
	for i, t := range g.Targets {
		if behind(scale, g.Labels, t) {
			t = t.Clone()
			t[model.ScrapeIntervalLabel] = model.LabelValue(model.Duration(interval).String())
			t[model.ScrapeTimeoutLabel] = model.LabelValue(model.Duration(timeout).String())
		}
		kept.Targets[i] = t
	}
	return kept
}

// Labels of Prometheus' discovery of pods.
const (
	metaNamespace      = "__meta_kubernetes_namespace"
	metaControllerKind = "__meta_kubernetes_pod_controller_kind"
	metaControllerName = "__meta_kubernetes_pod_controller_name"
)

// behind tells whether a target is a pod that an HPA scales.
func behind(scale map[workload]int, group, target model.LabelSet) bool {
	get := func(name model.LabelName) string {
		if v, ok := target[name]; ok {
			return string(v)
		}
		return string(group[name])
	}
	w := workload{get(metaNamespace), get(metaControllerKind), get(metaControllerName)}
	if w.kind == "" {
		return false
	}
	if scale[w] > 0 {
		return true
	}
	// A Deployment (or another that works by ReplicaSets) names these after
	// itself and a hash.
	at := strings.LastIndexByte(w.name, '-')
	if w.kind != "ReplicaSet" || at < 0 {
		return false
	}
	for _, kind := range []string{"Deployment", "Rollout"} {
		if scale[workload{w.namespace, kind, w.name[:at]}] > 0 {
			return true
		}
	}
	return false
}

// afford is the shortest interval, from the wanted one up, that keeps to the
// budget. Steps of a half keep it from changing with every pod, since each
// change begins a target's scraping anew.
func (f *Fast) afford(counts map[string]int, paces map[string]pace) time.Duration {
	for interval := f.o.Interval; ; interval += f.o.Interval / 2 {
		if extra(interval, counts, paces) <= f.o.Budget {
			return interval
		}
	}
}

// extra is how many more scrapes a second an interval makes.
func extra(interval time.Duration, counts map[string]int, paces map[string]pace) float64 {
	sum := 0.0
	for job, n := range counts {
		if own := paces[job].interval; own > interval {
			sum += float64(n) * (1/interval.Seconds() - 1/own.Seconds())
		}
	}
	return sum
}

// tell says what it costs, when that changes.
func (f *Fast) tell(interval time.Duration, counts map[string]int, paces map[string]pace, hpas int) {
	n := 0
	for job, c := range counts {
		if paces[job].interval > interval {
			n += c
		}
	}
	cost := extra(interval, counts, paces)
	f.targets.Set(float64(n))
	f.interval.Set(interval.Seconds())
	f.extra.Set(cost)
	said := fmt.Sprint(interval, n, hpas)
	f.mu.Lock()
	defer f.mu.Unlock()
	if said != f.said && (n > 0 || f.said != "") {
		f.said = said
		f.o.Logger.Info("Targets behind autoscalers are scraped more often", "autoscaled", hpas, "targets", n, "interval", interval,
			"more_scrapes_per_second", fmt.Sprintf("%.2f", cost))
	}
}
