package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// roundsEnv says how often each thing is broken.
const roundsEnv = "STRATA_CHAOS_ROUNDS"

const (
	askEvery   = 200 * time.Millisecond
	askLimit   = 5 * time.Second // one question
	mendWithin = 2 * time.Minute // until all answers again: far more than it takes
	// Time stamps are cut to the second in the APIs' answers.
	cut = time.Second
)

// resourceMaxAge is how old a reading can get in metrics.k8s.io: of two
// resolutions one until the next reading begins and one for a late round, and
// that reading can take until core's timeout.
func resourceMaxAge(by story.Tuning) time.Duration { return 2*by.Interval + 10*time.Second }

// TestChaos breaks one thing after the other while a reader asks what an HPA
// asks. It holds that no answer carries a reading that is too old, and that
// all answers come again by themselves, from readings made since.
func TestChaos(t *testing.T) {
	strata(t)
	rounds, tuning := chaosPlan(t)
	ns := namespace(t)
	require.NoError(t, shared.cluster.Apply(t.Context(), ns, story.Shop()))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	_, err := get(t.Context(), fmt.Sprintf("http://%s:%d/", pod.Status.PodIP, story.ProxyPort))
	require.NoError(t, err)
	for _, broken := range []struct {
		kind string
		// once breaks it and gives the time from which on it could be whole.
		once func(*testing.T, *hpaReader) time.Time
	}{
		{"kill_core", killComponent("core")},
		{"kill_server", killComponent("server")},
		{"kill_apiserver", crash("kube-apiserver")},
		{"kill_kubelet", crash("kubelet")},
		{"cut_server_pods", func(t *testing.T, r *hpaReader) time.Time {
			return isolate(t, r, "server", []string{"custom", "external"}, pod.Status.PodIP)
		}},
		{"cut_core_node", func(t *testing.T, r *hpaReader) time.Time {
			o := shared.cluster.Options()
			return isolate(t, r, "core", []string{"pods"}, o.NodeIP, o.Ports.Kubelet, exporterPort)
		}},
	} {
		t.Run(broken.kind, func(t *testing.T) {
			r := readAsHPA(t, ns, tuning)
			var took []time.Duration
			cluster.Eventually(t, mendWithin, func() error { return r.whole(time.Time{}) })
			r.count()
			for range rounds {
				from := broken.once(t, r)
				cluster.Eventually(t, mendWithin, func() error { return r.whole(from) })
				took = append(took, time.Since(from).Round(10*time.Millisecond))
			}
			r.stop()
			slices.Sort(took)
			fmt.Printf("chaos %s rounds=%d answers=%d errors=%d oldest=%s recovered_p50=%s recovered_max=%s\n", broken.kind, rounds,
				r.answers, r.errors, r.oldest.Round(10*time.Millisecond), took[len(took)/2], took[len(took)-1])
			require.Positive(t, r.answers)
			require.Empty(t, r.tooOld)
		})
	}
}

// chaosPlan is how often each thing is broken, and in what installation. For
// many rounds, all times of it are shorter, so that each round is.
func chaosPlan(t *testing.T) (rounds int, tuning story.Tuning) {
	t.Helper()
	text := os.Getenv(roundsEnv)
	if text == "" {
		return 1, story.Installed()
	}
	rounds, err := strconv.Atoi(text)
	require.NoError(t, err, roundsEnv)
	require.Positive(t, rounds, roundsEnv)
	tuning = story.Tuning{Interval: 2 * time.Second, Window: 10 * time.Second, MaxAge: 8 * time.Second}
	require.NoError(t, story.Tune(t.Context(), shared.cluster, shared.root, tuning))
	t.Cleanup(func() {
		require.NoError(t, story.Tune(context.Background(), shared.cluster, shared.root, story.Installed()))
	})
	return rounds, tuning
}

// exporterPort is that of the container exporter, which core reads.
const exporterPort = 9101

// components are the pods of a component of the installation, each ready.
func components(t *testing.T, component string) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	cluster.Eventually(t, time.Minute, func() error {
		var err error
		match := map[string]string{"app.kubernetes.io/name": "strata", "app.kubernetes.io/component": component}
		if ready, err = shared.cluster.ReadyPods(t.Context(), story.Namespace, match); err != nil {
			return err
		}
		all, err := shared.cluster.Client().CoreV1().Pods(story.Namespace).List(t.Context(), metav1.ListOptions{
			LabelSelector: labels.SelectorFromSet(match).String(),
		})
		if err == nil && (len(ready) == 0 || len(ready) < len(all.Items)) {
			err = fmt.Errorf("%d of %d pods of %s are ready", len(ready), len(all.Items), component)
		}
		return err
	})
	return ready
}

// killComponent kills the process of every replica of a component, and waits
// until the kubelet has started each again.
func killComponent(component string) func(*testing.T, *hpaReader) time.Time {
	return func(t *testing.T, _ *hpaReader) time.Time {
		all := components(t, component)
		from := time.Now()
		for _, pod := range all {
			require.NoError(t, shared.cluster.Kill(t.Context(), pod, component))
		}
		for _, pod := range all {
			cluster.Eventually(t, mendWithin, func() error {
				now, err := shared.cluster.Client().CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
				if err == nil && restarts(now) == restarts(&pod) {
					err = errNotRestarted
				}
				return err
			})
		}
		return from
	}
}

// crash kills a part of the cluster, which is then started again.
func crash(part string) func(*testing.T, *hpaReader) time.Time {
	return func(t *testing.T, _ *hpaReader) time.Time {
		from := time.Now()
		require.NoError(t, shared.cluster.Crash(t.Context(), part))
		return from
	}
}

// isolate cuts every replica of a component from an address, until the APIs
// that live by it have nothing more to say, and mends it.
func isolate(t *testing.T, r *hpaReader, component string, apis []string, address string, ports ...int) time.Time {
	t.Helper()
	var mends []func() error
	for _, pod := range components(t, component) {
		mend, err := shared.cluster.Isolate(t.Context(), pod, address, ports...)
		require.NoError(t, err)
		mends = append(mends, mend)
		t.Cleanup(func() {
			if err := mend(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, api := range apis {
		cluster.Eventually(t, mendWithin, func() error { return r.silent(api) })
	}
	from := time.Now()
	for _, mend := range mends {
		require.NoError(t, mend())
	}
	return from
}

// hpaReader asks what an HPA asks, with the rights of the controller, again and
// again. Its counts may be read after stop.
type hpaReader struct {
	client rest.Interface
	stop   func()

	mu              sync.Mutex
	answers, errors int
	oldest          time.Duration
	tooOld          []string
	last            map[string]reading // of each API
}

// reading is the last answer of an API: the oldest time stamp in it, or why
// there is none.
type reading struct {
	time time.Time
	err  error
}

// question is what is asked of one API, and how old its answer may be.
type question struct {
	name, path string
	maxAge     time.Duration
}

func readAsHPA(t *testing.T, ns string, by story.Tuning) *hpaReader {
	t.Helper()
	config := shared.cluster.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:horizontal-pod-autoscaler"}
	config.QPS = -1
	clients, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r := &hpaReader{client: clients.Discovery().RESTClient(), last: map[string]reading{}}
	var running sync.WaitGroup
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	const metric = "/http_requests_per_second"
	for _, q := range []question{
		{"custom", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*" + metric, by.MaxAge},
		{"external", "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + ns + metric, by.MaxAge},
		{"pods", "/apis/metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods", resourceMaxAge(by)},
	} {
		r.last[q.name] = reading{err: errors.New("not asked yet")}
		running.Go(func() { r.run(ctx, q) })
	}
	return r
}

func (r *hpaReader) run(ctx context.Context, q question) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		begin := time.Now()
		stamps, err := r.ask(ctx, q.path)
		if ctx.Err() != nil {
			return // what was cut off says nothing
		}
		r.note(q, begin, stamps, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// errEmpty says that an answer has no item.
var errEmpty = errors.New("the answer is empty")

// ask gives the time stamps of an answer's items.
func (r *hpaReader) ask(ctx context.Context, path string) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	body, err := r.client.Get().AbsPath(path).MaxRetries(0).DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct{ Timestamp time.Time }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	var stamps []time.Time
	for _, item := range list.Items {
		stamps = append(stamps, item.Timestamp)
	}
	if len(stamps) == 0 {
		err = errEmpty
	}
	return stamps, err
}

// note judges the age at the time of the question: what passes after it is not
// the age of what was read.
func (r *hpaReader) note(q question, begin time.Time, stamps []time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errors++
		r.last[q.name] = reading{err: err}
		return
	}
	r.answers++
	oldest := stamps[0]
	for _, stamp := range stamps {
		if stamp.Before(oldest) {
			oldest = stamp
		}
	}
	r.last[q.name] = reading{time: oldest}
	age := begin.Sub(oldest)
	r.oldest = max(r.oldest, age)
	if age > q.maxAge+cut {
		r.tooOld = append(r.tooOld, fmt.Sprintf("%s at %s: %s old, more than %s", q.name, begin.Format(time.TimeOnly), age, q.maxAge))
	}
}

// count counts from now on, since before the first answer nothing was broken.
// What was too old stays.
func (r *hpaReader) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers, r.errors, r.oldest = 0, 0, 0
}

// whole holds that the last answer of each API is of readings after a time.
func (r *hpaReader) whole(from time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, last := range r.last {
		if last.err != nil {
			return fmt.Errorf("%s: %w", name, last.err)
		}
		if last.time.Before(from) {
			return fmt.Errorf("%s: the reading of %s is from before %s", name, last.time, from)
		}
	}
	return nil
}

// silent holds that an API had nothing to say last, by itself: a question that
// it left without an answer does not count.
func (r *hpaReader) silent(api string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last[api]
	if last.err == nil {
		return fmt.Errorf("%s still answers, with a reading of %s", api, last.time)
	}
	if errors.Is(last.err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", api, last.err)
	}
	return nil
}
