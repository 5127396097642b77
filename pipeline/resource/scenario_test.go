package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// reference is where the recorded answers of metrics-server are, beside the
// repository. Without them these tests are skipped.
const reference = "../../../shared/oracle/metricsserver"

// deliberate gives the pods that metrics-server answers about and we do not,
// with why, by scenario and checkpoint.
func deliberate(t *testing.T) map[string]map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "test", "compat", "differences.yaml"))
	require.NoError(t, err)
	var list struct {
		MetricsServer []struct {
			Why, At string
			Pods    []string
		} `yaml:"metricsserver"`
	}
	require.NoError(t, yaml.Unmarshal(data, &list))
	absent := map[string]map[string]string{}
	for _, d := range list.MetricsServer {
		for _, pod := range d.Pods {
			if absent[d.At] == nil {
				absent[d.At] = map[string]string{}
			}
			absent[d.At][pod] = d.Why
		}
	}
	require.NotEmpty(t, absent)
	return absent
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(reference, "scenarios", "*.json"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no reference data in", reference)
	}
	absent := deliberate(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sc scenario
			readJSON(t, file, &sc)
			o := scenarioObjects(t, name)
			var expected map[string]map[string]expectedAnswer
			if path := filepath.Join(reference, "expected", name+".json"); name != "crash" {
				readJSON(t, path, &expected)
			}
			synctest.Test(t, func(t *testing.T) { replay(t, &sc, o, expected, absent) })
		})
	}
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, to), path)
}

// scenarioObjects are the nodes of a scenario and its running pods.
func scenarioObjects(t *testing.T, name string) *objects {
	t.Helper()
	var raw []json.RawMessage
	readJSON(t, filepath.Join(reference, "objects", name+".json"), &raw)
	o := newObjects()
	for _, r := range raw {
		var pod corev1.Pod
		require.NoError(t, json.Unmarshal(r, &pod))
		switch pod.Kind {
		case "Node":
			var node corev1.Node
			require.NoError(t, json.Unmarshal(r, &node))
			kept, err := trimNode(&node)
			require.NoError(t, err)
			require.NoError(t, o.nodes.Add(kept))
		case "Pod":
			if pod.Status.Phase == corev1.PodRunning {
				require.NoError(t, o.pods.Add(&metav1.PartialObjectMetadata{ObjectMeta: pod.ObjectMeta}))
			}
		}
	}
	return o
}

// expectedAnswer is one recorded answer; times and windows are said in words.
type expectedAnswer struct {
	Code int             `json:"code"`
	Body json.RawMessage `json:"body"`
}

type expectedItem struct {
	Meta       struct{ Name, Namespace string } `json:"metadata"`
	Timestamp  string                           `json:"timestamp"`
	Window     string                           `json:"window"`
	Usage      map[string]string                `json:"usage"`
	Containers []struct {
		Name  string            `json:"name"`
		Usage map[string]string `json:"usage"`
	} `json:"containers"`
}

// replay runs the scenario in made time and compares the two lists, and
// readiness, at each checkpoint.
func replay(t *testing.T, sc *scenario, o *objects, expected map[string]map[string]expectedAnswer, absent map[string]map[string]string) {
	network := map[string]*pipes{}
	for _, n := range sc.Nodes {
		if n.NoListen {
			continue
		}
		p := newPipes()
		network[fmt.Sprint(n.Port)] = p
		s := &http.Server{Handler: n, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = s.Serve(p) }()
		defer func() { _ = s.Close() }()
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if p := network[port]; err == nil && p != nil {
			return p.dial(ctx)
		}
		return nil, fmt.Errorf("connection refused: %s", address)
	}}
	defer tr.CloseIdleConnections()
	source, err := NewHTTPSource(HTTPOptions{Client: client(tr), Scheme: "http", PortFromStatus: true, AddressTypes: []corev1.NodeAddressType{corev1.NodeInternalIP}})
	require.NoError(t, err)
	resolution := time.Duration(sc.Resolution * float64(time.Second))
	c, err := NewCollector(Options{Nodes: o.nodeLister(), Source: source, Resolution: resolution, Timeout: 3 * time.Second})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
		time.Sleep(time.Minute) // the slow ones end
	}()
	for _, cp := range sc.Checkpoints {
		time.Sleep(time.Until(began.Add(time.Duration(cp-1)*resolution + resolution/2)))
		synctest.Wait()
		compareWith(t, sc, cp, o, c, expected[fmt.Sprint(cp)], absent[fmt.Sprintf("%s/%d", sc.Name, cp)])
	}
}

func compareWith(t *testing.T, sc *scenario, cp int, o *objects, c *Collector, expected map[string]expectedAnswer, absent map[string]string) {
	t.Helper()
	nodes, err := NewNodes(o.nodeLister(), c).List(t.Context(), nil)
	require.NoError(t, err)
	pods, err := NewPods(o.podLister(), c).List(t.Context(), nil)
	require.NoError(t, err)
	if expected == nil { // metrics-server died of it
		require.NotEmpty(t, nodes.(*metrics.NodeMetricsList).Items)
		return
	}
	require.Equal(t, expected["GET /readyz"].Code == http.StatusOK, c.Ready() == nil, "ready at checkpoint %d", cp)
	items := wanted(t, expected["GET /apis/metrics.k8s.io/v1beta1/nodes?labelSelector=scenario%3D"+sc.Name], nil)
	got := nodes.(*metrics.NodeMetricsList).Items
	require.Len(t, got, len(items), "nodes at checkpoint %d", cp)
	for i, want := range items {
		require.Equal(t, want.Meta.Name, got[i].Name)
		sc.sameUsage(t, want.Meta.Name, want.Usage, got[i].Usage)
		sc.sameTime(t, want, func(node, key string) bool { return node == want.Meta.Name && key == "node" }, got[i].Timestamp, got[i].Window)
	}
	items = wanted(t, expected["GET /apis/metrics.k8s.io/v1beta1/pods"], absent)
	gotPods := pods.(*metrics.PodMetricsList).Items
	require.Len(t, gotPods, len(items), "pods at checkpoint %d", cp)
	for i, want := range items {
		name := want.Meta.Namespace + "/" + want.Meta.Name
		require.Equal(t, name, gotPods[i].Namespace+"/"+gotPods[i].Name)
		require.Len(t, gotPods[i].Containers, len(want.Containers), name)
		for j, container := range want.Containers {
			require.Equal(t, container.Name, gotPods[i].Containers[j].Name, name)
			sc.sameUsage(t, name, container.Usage, gotPods[i].Containers[j].Usage)
		}
		sc.sameTime(t, want, func(_, key string) bool { return strings.HasPrefix(key, name+"/") }, gotPods[i].Timestamp, gotPods[i].Window)
	}
}

// wanted gives the recorded items without those that we know better.
func wanted(t *testing.T, a expectedAnswer, without map[string]string) []expectedItem {
	t.Helper()
	var list struct{ Items []expectedItem }
	require.NoError(t, json.Unmarshal(a.Body, &list))
	var kept []expectedItem
	left := len(without)
	for _, i := range list.Items {
		if _, ok := without[i.Meta.Name]; ok {
			left--
			continue
		}
		kept = append(kept, i)
	}
	require.Zero(t, left, "an exception that is none")
	return kept
}

func (sc *scenario) sameUsage(t *testing.T, name string, want map[string]string, got corev1.ResourceList) {
	t.Helper()
	memory := got[corev1.ResourceMemory]
	require.Equal(t, want["memory"], memory.String(), name)
	cpu := got[corev1.ResourceCPU]
	if sc.Tolerance == 0 && sc.Relative == 0 {
		require.Equal(t, want["cpu"], cpu.String(), name)
		return
	}
	w := resource.MustParse(want["cpu"])
	most := sc.Tolerance*1e-9 + sc.Relative*w.AsApproximateFloat64()
	require.InDelta(t, w.AsApproximateFloat64(), cpu.AsApproximateFloat64(), most+1e-12, name)
}

// sameTime compares time and window with what the kubelets said, as in
// TIME(sample 0) and WINDOW(from sample -2).
func (sc *scenario) sameTime(t *testing.T, want expectedItem, mine func(node, key string) bool, at metav1.Time, window metav1.Duration) {
	t.Helper()
	if sc.WindowFree || strings.Contains(want.Window, "any container") {
		return
	}
	var back, from int
	_, err := fmt.Sscanf(want.Timestamp, "TIME(sample %d)", &back)
	require.NoError(t, err)
	_, startErr := fmt.Sscanf(want.Window, "WINDOW(from sample %d)", &from)
	for _, n := range sc.Nodes {
		n.mu.Lock()
		defer n.mu.Unlock()
		last := len(n.log) - 1
		for key, p := range answerAt(n.log, last+back) {
			begin := answerAt(n.log, last+from)[key].time
			if startErr != nil {
				begin = p.start
			}
			off := window.Duration - time.Duration(p.time-begin)*time.Millisecond
			if mine(n.Name, key) && at.UnixMilli()/1000 == p.time/1000 && math.Abs(float64(off)) <= float64(time.Microsecond) {
				return
			}
		}
	}
	require.Failf(t, "time or window", "%s: %s and %s, got %s and %s", want.Meta.Name, want.Timestamp, want.Window, at, window.Duration)
}

func answerAt(log []map[string]point, i int) map[string]point {
	if i < 0 || i >= len(log) {
		return nil
	}
	return log[i]
}
