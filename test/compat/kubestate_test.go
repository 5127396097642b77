package compat

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKubestate gives the objects of the reference data to the API server and
// compares what strata-kubestate says of them, under each set of flags, with
// what kube-state-metrics said.
func TestKubestate(t *testing.T) {
	set := reference(t, "kubestate")
	program := filepath.Join(shared.Root, "bin", "strata-kubestate")
	_, err := os.Stat(program)
	require.NoError(t, err, "run make build")
	l := newLoader(t, set)
	l.load()
	l.step()
	l.finishNamespaces()

	runs, err := filepath.Glob(filepath.Join(set, "expected", "run*.prom"))
	require.NoError(t, err)
	require.NotEmpty(t, runs)
	for _, file := range runs {
		base := strings.TrimSuffix(file, ".prom")
		flags, err := os.ReadFile(base + ".flags")
		require.NoError(t, err)
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, order := range []string{"--no-lines-by-object", "--lines-by-object"} {
			name := filepath.Base(base) + order
			t.Run(name, func(t *testing.T) {
				compareBodies(t, name, l.body(string(want)), l.body(bodyUnder(t, program, append(strings.Fields(string(flags)), order))))
			})
		}
	}
}

// bodyUnder is what the program shows with some flags.
func bodyUnder(t *testing.T, program string, flags []string) string {
	t.Helper()
	r := start(t, "kubestate", append([]string{
		"env", "TZ=UTC", program, "--kubeconfig=" + shared.control.Kubeconfig(),
		"--host=127.0.0.1", "--port=9103", "--telemetry-host=127.0.0.1", "--telemetry-port=9104",
	}, flags...)...)
	c := client(t)
	r.until(t, answers(t.Context(), c, "http://127.0.0.1:9103/readyz"))
	got, err := ask(t.Context(), c, http.MethodGet, "http://127.0.0.1:9103/metrics", map[string]string{"Accept": "text/plain"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.status)
	return got.body
}

// compareBodies prints how many of the series and TYPE lines are right. A
// series that kube-state-metrics repeated must be there once, with either value.
func compareBodies(t *testing.T, name string, want, got map[string][]string) {
	t.Helper()
	right := 0
	for id, values := range want {
		switch mine := got[id]; {
		case len(mine) == 0:
			t.Errorf("missing: %s %v", id, values)
		case len(mine) > 1:
			t.Errorf("twice: %s", id)
		case !slices.Contains(values, mine[0]):
			t.Errorf("%s is %v, not %v", id, mine[0], values)
		default:
			right++
		}
	}
	added := 0
	for id, values := range got {
		if want[id] == nil {
			added++
			t.Errorf("too much: %s %v", id, values)
		}
	}
	require.NotEmpty(t, want)
	fmt.Printf("kubestate %s: %d of %d series and types right, %d too many\n", name, right, len(want), added)
}

// place is where the API server has a kind.
type place struct{ apiVersion, plural string }

// loader puts the objects of a set of reference data into the API server.
type loader struct {
	t          *testing.T
	client     *http.Client
	server     string
	set        string
	objects    []map[string]any
	kinds      map[string]place
	namespaces map[string]bool // of the objects
}

func newLoader(t *testing.T, set string) *loader {
	t.Helper()
	l := &loader{
		t: t, set: set, client: administrator(t), server: shared.control.RESTConfig().Host,
		kinds: make(map[string]place), namespaces: make(map[string]bool),
	}
	files, err := filepath.Glob(filepath.Join(set, "objects", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		var list struct{ Items []map[string]any }
		readJSON(t, file, &list)
		_, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "-")
		for _, o := range list.Items {
			kind := o["kind"].(string)
			l.kinds[kind] = place{o["apiVersion"].(string), plural}
			namespace, name := names(o)
			if kind == "Namespace" {
				namespace = name
			}
			l.namespaces[namespace] = true
			l.objects = append(l.objects, o)
		}
	}
	delete(l.namespaces, "")
	return l
}

func names(o map[string]any) (namespace, name string) {
	meta := o["metadata"].(map[string]any)
	namespace, _ = meta["namespace"].(string)
	return namespace, meta["name"].(string)
}

func (l *loader) collection(kind, namespace string) string {
	r := l.kinds[kind]
	path := "/apis/" + r.apiVersion
	if !strings.Contains(r.apiVersion, "/") {
		path = "/api/" + r.apiVersion
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + r.plural
}

// send gives a body to a path of the API server, which must take it.
func (l *loader) send(method, path, contentType string, body any) map[string]any {
	l.t.Helper()
	status, answer := l.post(l.client, method, l.server+path, contentType, body)
	require.Less(l.t, status, 300, "%s %s: %v", method, path, answer["message"])
	return answer
}

func (l *loader) post(c *http.Client, method, address, contentType string, body any) (int, map[string]any) {
	l.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(l.t, err)
	req, err := http.NewRequestWithContext(l.t.Context(), method, address, bytes.NewReader(data))
	require.NoError(l.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	resp, err := c.Do(req)
	require.NoError(l.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	answer := map[string]any{"message": string(text)}
	_ = json.Unmarshal(text, &answer)
	return resp.StatusCode, answer
}

const asJSON = "application/json"

// load makes each object, then gives it its status.
func (l *loader) load() {
	l.t.Helper()
	for _, o := range l.objects {
		kind := o["kind"].(string)
		namespace, name := names(o)
		status, _ := o["status"].(map[string]any)
		body := make(map[string]any)
		for k, v := range o {
			if k != "status" {
				body[k] = v
			}
		}
		path := l.collection(kind, namespace)
		current := l.send(http.MethodPost, path, asJSON, body)
		if len(status) == 0 || kind == "Namespace" && status["phase"] == "Terminating" {
			continue
		}
		path += "/" + url.PathEscape(name)
		if kind == "CertificateSigningRequest" {
			current, status = l.approve(path, current, status)
		}
		if before, ok := current["status"].(map[string]any); ok && kind == "Pod" {
			status["qosClass"] = before["qosClass"]
		}
		current["status"] = status
		l.send(http.MethodPut, path+"/status", asJSON, current)
	}
}

// approve writes the conditions that only an approver may; the rest is status.
func (l *loader) approve(path string, current, status map[string]any) (map[string]any, map[string]any) {
	l.t.Helper()
	var approval, rest []any
	wanted, _ := status["conditions"].([]any)
	for _, c := range wanted {
		if c.(map[string]any)["type"] == "Failed" {
			rest = append(rest, c)
		} else {
			approval = append(approval, c)
		}
	}
	if len(approval) > 0 {
		current["status"] = map[string]any{"conditions": approval}
		current = l.send(http.MethodPut, path+"/approval", asJSON, current)
	}
	if before, ok := current["status"].(map[string]any); ok {
		approval, _ = before["conditions"].([]any)
	}
	status["conditions"] = append(approval, rest...)
	return current, status
}

// step does what a plain create cannot.
func (l *loader) step() {
	l.t.Helper()
	var steps []struct {
		Op, Kind, Namespace, Name, Key string
		Body, Object                   map[string]any
		GracePeriodSeconds             *int
	}
	readJSON(l.t, filepath.Join(l.set, "steps.json"), &steps)
	for _, s := range steps {
		path := l.collection(s.Kind, s.Namespace) + "/" + url.PathEscape(s.Name)
		switch s.Op {
		case "patch":
			l.send(http.MethodPatch, path, "application/merge-patch+json", s.Body)
		case "delete":
			options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions"}
			if s.GracePeriodSeconds != nil {
				options["gracePeriodSeconds"] = *s.GracePeriodSeconds
			}
			l.send(http.MethodDelete, path, asJSON, options)
		case "etcdput":
			l.store(s.Key, s.Object)
		default:
			require.Fail(l.t, "a step that this test does not know", s.Op)
		}
	}
}

// store writes an object that the API server would refuse.
func (l *loader) store(key string, object map[string]any) {
	l.t.Helper()
	pki := filepath.Dir(shared.control.Authority())
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "etcd-client.crt"), filepath.Join(pki, "etcd-client.key"))
	require.NoError(l.t, err)
	value, err := json.Marshal(object)
	require.NoError(l.t, err)
	status, answer := l.post(client(l.t, cert), http.MethodPost, "https://"+nodeIP+":2379/v3/kv/put", asJSON, map[string]string{
		"key": base64.StdEncoding.EncodeToString([]byte(key)), "value": base64.StdEncoding.EncodeToString(value),
	})
	require.Equal(l.t, http.StatusOK, status, "%v", answer)
}

// finishNamespaces gives namespaces that are being deleted their conditions.
func (l *loader) finishNamespaces() {
	l.t.Helper()
	for _, o := range l.objects {
		status, _ := o["status"].(map[string]any)
		if o["kind"] != "Namespace" || status["phase"] != "Terminating" {
			continue
		}
		_, name := names(o)
		path := l.collection("Namespace", "") + "/" + name
		current := l.send(http.MethodGet, path, asJSON, nil)
		current["status"] = status
		l.send(http.MethodPut, path+"/status", asJSON, current)
	}
}
