package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	askEvery = 100 * time.Millisecond
	askLimit = 5 * time.Second
	// known is how old a value may be that is believed to be an API's last.
	known = 2 * time.Second
)

// source is an API that is asked about all pods at once.
type source struct {
	name string
	get  func(context.Context) ([]byte, error)
	read func(body []byte) (map[string]float64, error) // by pod
	rest float64                                       // at rest a pod is below
	step float64                                       // a burst is above, or it does not show
}

// watcher asks a source all the time and keeps what it says of the pods with a
// burst under way.
type watcher struct {
	source

	mu     sync.Mutex
	values map[string]float64 // the last answer
	at     time.Time          // and its time
	err    error              // why there is none since
	curves map[string]*curve
}

// curve is what is said of a pod from the beginning of its burst on.
type curve struct {
	begin  time.Time
	points []point
}

func watch(s source) *watcher {
	return &watcher{source: s, curves: map[string]*curve{}}
}

// run asks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		w.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *watcher) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	body, err := w.get(ctx)
	var values map[string]float64
	if err == nil {
		values, err = w.read(body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err != nil {
		return // a pod that is not known now is not known to have less
	}
	w.values, w.at = values, time.Now()
	for pod, c := range w.curves {
		if v, ok := values[pod]; ok {
			c.points = append(c.points, point{w.at.Sub(c.begin), v})
		}
	}
}

// rests holds that nothing of a pod's burst before is in the answers.
func (w *watcher) rests(pod string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.values[pod]
	switch {
	case time.Since(w.at) > known:
		return fmt.Errorf("%s does not answer: %w", w.name, w.err)
	case !ok:
		return fmt.Errorf("%s does not know %s", w.name, pod)
	case v > w.rest:
		return fmt.Errorf("%s says %.3f of %s", w.name, v, pod)
	}
	return nil
}

func (w *watcher) begin(pod string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.curves[pod] = &curve{begin: at}
}

func (w *watcher) end(pod string) []point {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.curves[pod]
	delete(w.curves, pod)
	return c.points
}

// cores reads a PodMetricsList.
func cores(body []byte) (map[string]float64, error) {
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			Containers []struct{ Usage map[string]resource.Quantity }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, pod := range list.Items {
		for _, c := range pod.Containers {
			q := c.Usage["cpu"]
			out[pod.Metadata.Name] += q.AsApproximateFloat64()
		}
	}
	return out, nil
}

// rates reads a MetricValueList of pods.
func rates(body []byte) (map[string]float64, error) {
	var list struct {
		Items []struct {
			DescribedObject struct{ Name string }
			Value           resource.Quantity
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, i := range list.Items {
		out[i.DescribedObject.Name] = i.Value.AsApproximateFloat64()
	}
	return out, nil
}
