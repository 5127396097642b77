package kubestate

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// bindAll binds a kind with everything switched on.
func bindAll(k kind) *bound {
	all := Allowlist{"*": {"*"}}.of("any")
	return k.bind(settings{
		show:   func(declaration) bool { return true },
		labels: all, annotations: all, logger: slog.New(slog.DiscardHandler),
	})
}

// bodyOf is what a scrape shows of objects of one kind.
func bodyOf(t testing.TB, b *bound, objects ...runtime.Object) string {
	t.Helper()
	var kept []*rendered
	for _, o := range objects {
		r, err := b.render(o)
		require.NoError(t, err)
		kept = append(kept, r)
	}
	var body []byte
	for i, f := range b.families {
		body = f.AppendHead(body)
		for _, r := range kept {
			body = append(body, r.family(i)...)
		}
	}
	return string(body)
}

// FuzzRender holds that whatever an object says, the body is one that
// Prometheus takes, and that labels are read back as they were.
func FuzzRender(f *testing.F) {
	f.Add("app", "shop", "App", "x", "node.kubernetes.io/x", "10.0.0.1", "example.org/a")
	f.Add("a-b", "\"\\\n", "a_b", "\xff\xfe", "a_b_conflict1", "::1", "cpu")
	f.Add("a.b", "\r\x00", "a.b_conflict1", "{}=,", "a..b", "::ffff:1.2.3.4", "hugepages-1Gi")
	f.Add("", "", "=", "", "]", "", "")
	pods, nodes := bindAll(pods()), bindAll(nodes())
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, ip, resource string) {
		labels := map[string]string{k1: v1, k2: v2, k3: ip}
		list := corev1.ResourceList{corev1.ResourceName(resource): {}, corev1.ResourceName(k1): {}, corev1.ResourceName(k2): {}}
		container := corev1.Container{Name: v1, Image: v2, Resources: corev1.ResourceRequirements{Requests: list, Limits: list}}
		status := corev1.ContainerStatus{Name: v1, Image: k3, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: k1}}}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: k1, Name: v1, UID: "u", Labels: labels, Annotations: labels},
			Spec: corev1.PodSpec{
				NodeSelector: labels, Overhead: list, NodeName: v2,
				Containers: []corev1.Container{container, container}, InitContainers: []corev1.Container{container},
				Tolerations: []corev1.Toleration{{Key: k1, Value: v1}, {Key: k2, Value: v2}},
			},
			Status: corev1.PodStatus{
				Phase: corev1.PodPhase(k1), QOSClass: corev1.PodQOSClass(v1), Reason: k2, PodIPs: []corev1.PodIP{{IP: ip}, {IP: k1}},
				Conditions:        []corev1.PodCondition{{Type: "Ready", Status: corev1.ConditionStatus(v1)}, {Type: "Ready", Reason: k1}},
				ContainerStatuses: []corev1.ContainerStatus{status, status}, InitContainerStatuses: []corev1.ContainerStatus{status},
			},
		}
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: v2, Labels: labels, Annotations: labels},
			Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: k1}, {Key: k2}, {Key: k1}}, PodCIDRs: []string{v1, v2, ip}},
			Status: corev1.NodeStatus{
				Capacity: list, Allocatable: list,
				Addresses:  []corev1.NodeAddress{{Type: "InternalIP", Address: ip}, {Type: corev1.NodeAddressType(k1), Address: v1}},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeConditionType(k1)}, {Type: corev1.NodeConditionType(k2)}},
			},
		}
		families := checkBody(t, bodyOf(t, pods, pod)+bodyOf(t, nodes, node))
		got := make(map[string]int)
		for _, l := range families["kube_node_labels"].Metric[0].Label {
			if l.GetName() != "node" {
				got[l.GetValue()]++
			}
		}
		want := make(map[string]int)
		for _, v := range labels {
			want[string([]rune(v))]++ // wrong bytes become U+FFFD
		}
		require.Equal(t, want, got)
		require.Len(t, families["kube_pod_container_status_waiting"].Metric, 1, "two containers of one name")
	})
}

func TestLabelNames(t *testing.T) {
	t.Parallel()
	f := func(want string, keys ...string) {
		t.Helper()
		slices.Sort(keys)
		require.Equal(t, want, strings.Join(labelNames("label", keys), " "))
	}
	f("")
	f("label_app label_app_kubernetes_io_name", "app", "app.kubernetes.io/name")
	f("label_gpu label_app_version label_http_server2_go", "GPU", "appVersion", "httpServer2Go")
	f("label_a_b_conflict1 label_a_b_conflict2 label_a_b_conflict3", "a-b", "a.b", "a_b")
	f("label_a_b_conflict1 label_a_b_conflict2 label_c", "a-b", "aB", "c")
	// A name that is taken by then is passed over; one that comes later meets
	// the number and is numbered itself.
	f("label_a_b_conflict1 label_a_b_conflict2 label_a_b_conflict1_x", "a-b", "a.b", "a.b_conflict1-x")
	f("label_a_b_conflict2 label_a_b_conflict1_conflict1 label_a_b_conflict3 label_a_b_conflict1_conflict2",
		"a-b", "a-b-conflict1", "a.b", "a_b_conflict1")
	f("label_0 label__", "é"[:1], "0")
}

func TestParseAllowlist(t *testing.T) {
	t.Parallel()
	f := func(s string, want Allowlist) {
		t.Helper()
		got, err := ParseAllowlist(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("", Allowlist{})
	f("pods=[]", Allowlist{"pods": nil})
	f("*=[*]", Allowlist{"*": {"*"}})
	f("pods=[app, example.org/*],nodes=[*]", Allowlist{"pods": {"app", "example.org/*"}, "nodes": {"*"}})
	f(" pods=[a],pods=[b]", Allowlist{"pods": {"a", "b"}})

	bad := func(s, want string) {
		t.Helper()
		_, err := ParseAllowlist(s)
		require.ErrorIs(t, err, ErrUsage)
		require.ErrorContains(t, err, want)
	}
	bad("pods", "=[ expected")
	bad("=[a]", "resource")
	bad("pods=a", "=[ expected")
	bad("pods=[a", "] of pods is missing")
	bad("pods=[a,]", "empty name")
	bad("pods=[a],", "resource")
	bad("pods=[a]nodes=[b]", "comma expected")
	bad("pods=[*a*]", "more than one *")
	bad("pods=[[a]]", "] of pods")
}

func FuzzParseAllowlist(f *testing.F) {
	for _, s := range []string{"", "*=[*]", "pods=[app,example.org/*],nodes=[*]", "pods=[", "a=[b]]", ",=[,]", "a=[b],a=[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseAllowlist(s)
		if err != nil {
			require.ErrorIs(t, err, ErrUsage)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		var parts []string
		for resource, names := range list {
			parts = append(parts, resource+"=["+strings.Join(names, ",")+"]")
			list.of(resource)
		}
		again, err := ParseAllowlist(strings.Join(parts, ","))
		require.NoError(t, err)
		require.Equal(t, list, again)
	})
}

func TestAllowlistPatterns(t *testing.T) {
	t.Parallel()
	f := func(want bool, name string, patterns ...string) {
		t.Helper()
		list := Allowlist{"pods": patterns}.of("pods")
		require.Equal(t, want, slices.ContainsFunc(list, func(p pattern) bool { return p.match(name) }))
	}
	f(true, "app", "app")
	f(false, "app2", "app")
	f(true, "example.org/x", "example.org/*")
	f(true, "my-name", "*-name")
	f(true, "a-b", "a*b")
	f(false, "a", "a*a")
	f(false, "x", "app", "*") // all must be the first
	f(true, "x", "*", "app")
	require.Nil(t, Allowlist{"pods": {"a"}}.of("nodes"))
	require.Len(t, Allowlist{"pods": {"a", "b"}, "*": {"c"}}.of("pods"), 1, "all resources take precedence")
	merged := Allowlist{"pods": {"a"}}
	merged.Merge(Allowlist{"pods": {"b"}, "nodes": {"c"}})
	require.Equal(t, Allowlist{"pods": {"a", "b"}, "nodes": {"c"}}, merged)
}

// TestPanicOfAFamily holds that an object that one family cannot bear costs
// that family's lines of it and nothing else.
func TestPanicOfAFamily(t *testing.T) {
	t.Parallel()
	node := func(name string, render func(*corev1.Node, *Lines), labels ...string) Family[*corev1.Node] {
		return Family[*corev1.Node]{Name: name, Help: "Help.", Type: metric.Gauge, Labels: labels, Render: render}
	}
	book := &logBook{}
	b := (&Resource[*corev1.Node]{
		Version: "v1", Plural: "nodes", Labels: []string{"node"},
		Key: func(n *corev1.Node) []string { return []string{n.Name} },
		Families: []Family[*corev1.Node]{
			node("before", func(_ *corev1.Node, l *Lines) { l.Add(1) }),
			node("bad", func(n *corev1.Node, l *Lines) {
				l.Add(2)
				if n.Name == "odd" {
					panic("odd node")
				}
			}),
			node("few", func(_ *corev1.Node, l *Lines) { l.Add(1) }, "missing"),
			node("after", func(_ *corev1.Node, l *Lines) { l.Add(3) }),
		},
	}).bind(settings{show: func(declaration) bool { return true }, logger: book.logger()})
	body := bodyOf(t, b, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "odd"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "fine"}})
	checkBody(t, body)
	var lines []string
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	require.Equal(t, []string{
		`before{node="odd"} 1`, `before{node="fine"} 1`, `bad{node="fine"} 2`, `after{node="odd"} 3`, `after{node="fine"} 3`,
	}, lines)
	require.Equal(t, 1, book.count("level=ERROR"), book.String())
	require.Contains(t, book.String(), "odd node")
	_, err := b.render(&corev1.Pod{})
	require.ErrorContains(t, err, "*v1.Pod among the nodes")
}

// family gives the lines of the kind's i-th family.
func (r *rendered) family(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.text(nil)[start:r.ends[i]]
}

// contentOf is the text of a family.
func contentOf(segments [][]metric.Piece, family int) string {
	var out []byte
	for _, pieces := range segments {
		if family < len(pieces) {
			out = metric.NewPacker().Unpack(out, &pieces[family])
		}
	}
	return string(out)
}

func TestStore(t *testing.T) {
	t.Parallel()
	object := func(name, text string) *rendered {
		return newRendered(key{"a", name}, "", []byte(text), []uint32{uint32(len(text))}, nil)
	}
	replaced := 0
	s := &store{replaced: func(n int) { replaced = n }}
	show := func() string {
		return contentOf(s.appendPieces(nil), 0)
	}
	require.NoError(t, s.Add(object("x", "x1 ")))
	require.NoError(t, s.Add(object("y", "y1 ")))
	require.NoError(t, s.Update(object("z", "z1 ")))
	require.NoError(t, s.Update(object("x", "x2 ")))
	require.Equal(t, "x2 y1 z1 ", show())
	before := s.appendPieces(nil)
	require.NoError(t, s.Delete(object("x", "")))
	require.NoError(t, s.Delete(object("x", "")))
	require.Equal(t, "y1 z1 ", show())
	require.NoError(t, s.Add(object("y", "y2 ")))
	require.NoError(t, s.Delete(object("z", "")))
	require.NoError(t, s.Delete(object("y", "")))
	require.Empty(t, show())
	require.Equal(t, "x2 y1 z1 ", contentOf(before, 0), "a scrape under way keeps its state")
	require.NoError(t, s.Replace([]any{object("c", "c "), object("b", "b1 "), object("b", "b2 ")}, "7"))
	require.Equal(t, 2, replaced)
	require.Equal(t, "b1 c ", show())
	require.NoError(t, s.Resync())
	for _, do := range []func(any) error{s.Add, s.Delete, func(o any) error { return s.Replace([]any{o}, "") }} {
		require.Error(t, do(&corev1.Pod{}))
	}
}

func TestSnakeCase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "GPU": "gpu", "aB": "a_b", "A1B": "a1_b", "aBCd": "a_bcd", "_X": "_x"} {
		require.Equal(t, want, snakeCase(in))
	}
	require.True(t, utf8.ValidString(fmt.Sprint(labelNames("x", []string{"\xff"}))))
}
