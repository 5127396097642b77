package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	cmserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// floor is how many recorded requests are answered as recorded. It only rises.
const floor = 419

// oracleRequest is one recorded request with its answer.
type oracleRequest struct {
	ID, Method, Path string
	Headers          map[string]string
	Auth             string
	Tolerance        float64
	Compare          string
	UpstreamBug      string
	Status           int
	Body             map[string]any
}

// TestCompatAdapter replays what prometheus-adapter was asked, through the
// handlers of custom-metrics-apiserver, over the same series and objects.
func TestCompatAdapter(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	st := newStore(t)
	loadOracle(t, st, dir)
	q := local(t, st)
	lister := oracleObjects(t)

	files, err := filepath.Glob(filepath.Join(dir, "configs", "c*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var right, of, differs, outside int
	listed := deliberate(t)
	asked := map[string]bool{}
	for _, file := range files {
		a := newAdapter(t, Options{Querier: q, Lister: lister}, "")
		require.NoError(t, a.LoadFile(file))
		h := apiHandler(t, a.Adapter)
		for _, r := range oracleRequests(t, dir, file) {
			if why := outOfScope(&r); why != "" {
				outside++
				continue
			}
			of++
			status, body := replay(t, h, &r)
			miss := compare(&r, status, body)
			d, other := listed[r.ID]
			other = other && !d.live
			asked[r.ID] = true
			switch {
			case miss == "" && !other:
				right++
			case miss == "" && other:
				t.Errorf("%s is listed as different and is not", r.ID)
			case other:
				differs++
				if status != d.status {
					t.Errorf("%s %s: status %d, want %d (%s): %s", r.ID, r.Path, status, d.status, d.why, body)
				}
				if !strings.Contains(body, d.body) {
					t.Errorf("%s %s: no %s (%s) in %s", r.ID, r.Path, d.body, d.why, body)
				}
			default:
				t.Errorf("MISS %s %s %s: %s (bug flag %q)", r.ID, r.Method, r.Path, miss, r.UpstreamBug)
			}
		}
	}
	for id, d := range listed {
		require.True(t, d.live || asked[id], "%s is listed as different and was never asked", id)
	}
	t.Logf("deliberately different=%d, served by the API server's own code and left out=%d", differs, outside)
	t.Logf("compat adapter right=%d of=%d", right, of)
	require.GreaterOrEqual(t, right, floor)
}

// outOfScope says why a request is none of this package's.
func outOfScope(r *oracleRequest) string {
	switch {
	case strings.HasPrefix(r.Path, "/openapi/"):
		return "OpenAPI documents are made by the API server"
	case r.Path == "/healthz", r.Path == "/readyz", r.Path == "/livez":
		return "the API server's health, which needs it to listen"
	case strings.Contains(r.Headers["Accept"], "as=APIGroupDiscoveryList"):
		return "aggregated discovery is made by the API server"
	}
	return ""
}

func oracleRequests(t *testing.T, dir, config string) []oracleRequest {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(config), ".yaml")
	data, err := os.ReadFile(filepath.Join(dir, "expected", name+".json"))
	require.NoError(t, err)
	var doc struct{ Requests []oracleRequest }
	require.NoError(t, json.Unmarshal(data, &doc))
	require.NotEmpty(t, doc.Requests)
	return doc.Requests
}

// loadOracle scrapes the reference series every 5 s for 80 s.
func loadOracle(t *testing.T, st storage.Appendable, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "inputs", "series.json"))
	require.NoError(t, err)
	var specs []struct {
		Name, Type, Value string
		Labels            map[string]string
		Rate              float64
	}
	require.NoError(t, json.Unmarshal(data, &specs))
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for back := 80 * time.Second; back >= 0; back -= 5 * time.Second {
		at := testTime().Add(-back - time.Second)
		var samples []sample
		for _, s := range specs {
			b := labels.NewBuilder(labels.FromMap(s.Labels))
			b.Set("__name__", s.Name).Set("job", "app").Set("instance", "127.0.0.1:19701")
			v := s.Rate * at.Sub(epoch).Seconds()
			if s.Type == "gauge" {
				v, err = strconv.ParseFloat(s.Value, 64)
				require.NoError(t, err)
			}
			samples = append(samples, sample{b.Labels(), at, v})
		}
		load(t, st, samples...)
	}
}

// apiHandler is the aggregated API server of the library, without the network:
// who brings a token may all, others see the health.
func apiHandler(t *testing.T, a *Adapter) http.Handler {
	t.Helper()
	conf := genericapiserver.NewConfig(cmserver.Codecs)
	conf.ExternalAddress = "127.0.0.1:443"
	conf.PublicAddress = net.IPv4(127, 0, 0, 1)
	conf.LoopbackClientConfig = &rest.Config{}
	conf.Authentication.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		u := &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}
		if r.Header.Get("Authorization") != "" {
			u = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
		}
		return &authenticator.Response{User: u}, true, nil
	})
	conf.Authorization.Authorizer = authorizer.AuthorizerFunc(func(_ context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
		if at.GetUser().GetName() == "admin" || slices.Contains([]string{"/healthz", "/readyz", "/livez"}, at.GetPath()) {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	})
	var cm provider.CustomMetricsProvider
	var em provider.ExternalMetricsProvider
	custom, external := a.Serves()
	if custom {
		cm = a
	}
	if external {
		em = a
	}
	server, err := (&cmserver.Config{GenericConfig: conf}).Complete(nil).New("test", cm, em)
	require.NoError(t, err)
	t.Cleanup(server.GenericAPIServer.Destroy)
	prepared := server.GenericAPIServer.PrepareRun()
	return prepared.Handler
}

func replay(t *testing.T, h http.Handler, r *oracleRequest) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), r.Method, "http://127.0.0.1"+r.Path, nil)
	req.Header.Set("Accept", "application/json")
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	if r.Auth != "none" {
		req.Header.Set("Authorization", "Bearer test")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// compare tells how an answer differs from the recorded one, "" for not.
func compare(r *oracleRequest, status int, text string) string {
	if status != r.Status {
		return fmt.Sprintf("status %d, want %d: %.200s", status, r.Status, text)
	}
	kind, _ := r.Body["kind"].(string)
	if r.Compare == "status" || r.Method == http.MethodHead || kind == "" {
		return ""
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return "no JSON: " + err.Error()
	}
	if body["kind"] != kind {
		return fmt.Sprintf("kind %v, want %s", body["kind"], kind)
	}
	switch {
	case kind == "Status":
		for _, field := range []string{"reason", "code", "message"} {
			if !reflect.DeepEqual(body[field], r.Body[field]) {
				return fmt.Sprintf("%s %q, want %q", field, body[field], r.Body[field])
			}
		}
		return ""
	case strings.HasSuffix(kind, "ValueList"):
		return compareValues(r, body)
	default:
		want, got := normal(r.Body), normal(body)
		if want != got {
			return fmt.Sprintf("got %s, want %s", got, want)
		}
		return ""
	}
}

// normal is discovery in a form where order and addresses do not count.
func normal(body map[string]any) string {
	var lines []string
	for _, key := range []string{"resources", "groups"} {
		list, _ := body[key].([]any)
		for _, e := range list {
			m := e.(map[string]any)
			delete(m, "serverAddressByClientCIDRs")
			text, _ := json.Marshal(m)
			lines = append(lines, string(text))
		}
	}
	sort.Strings(lines)
	rest, _ := json.Marshal([]any{body["kind"], body["groupVersion"], body["name"], body["versions"], body["preferredVersion"], body["items"]})
	return string(rest) + "\n" + strings.Join(lines, "\n")
}

func compareValues(r *oracleRequest, body map[string]any) string {
	if body["apiVersion"] != r.Body["apiVersion"] {
		return fmt.Sprintf("apiVersion %v", body["apiVersion"])
	}
	want, got := valueItems(r.Body), valueItems(body)
	for k, w := range want {
		if len(got[k]) != len(w) {
			return fmt.Sprintf("%s: %d items, want %d", k, len(got[k]), len(w))
		}
		for i := range w {
			if !sameQuantity(w[i], got[k][i], r.Tolerance) {
				return fmt.Sprintf("%s: value %s, want %s", k, got[k][i], w[i])
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			return "extra item " + k
		}
	}
	return ""
}

// valueItems are the values of a list by everything else, the time aside.
func valueItems(body map[string]any) map[string][]string {
	out := map[string][]string{}
	items, _ := body["items"].([]any)
	for _, e := range items {
		m := e.(map[string]any)
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(m["timestamp"])); err != nil && m["timestamp"] != "TIME" {
			out["bad timestamp"] = append(out["bad timestamp"], err.Error())
		}
		v := fmt.Sprint(m["value"])
		delete(m, "value")
		delete(m, "timestamp")
		key, _ := json.Marshal(m)
		out[string(key)] = append(out[string(key)], v)
	}
	return out
}

func sameQuantity(want, got string, tolerance float64) bool {
	if want == got {
		return true
	}
	if tolerance == 0 {
		return false
	}
	w, err := apiresource.ParseQuantity(want)
	if err != nil {
		return false
	}
	g, err := apiresource.ParseQuantity(got)
	if err != nil {
		return false
	}
	a, b := w.AsApproximateFloat64(), g.AsApproximateFloat64()
	return math.Abs(a-b) <= math.Abs(a)*tolerance+0.003
}

// TestCompatAdapterBroken loads the configurations that prometheus-adapter
// refuses.
func TestCompatAdapterBroken(t *testing.T) {
	t.Parallel()
	dir := oracleDir(t)
	data, err := os.ReadFile(filepath.Join(dir, "expected", "fatal.json"))
	require.NoError(t, err)
	var cases []struct {
		Config string
		Exit   *int
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		a := newAdapter(t, Options{Querier: local(t, newStore(t))}, "")
		err := a.LoadFile(filepath.Join(dir, "configs", "fatal", c.Config))
		if c.Exit == nil {
			require.NoError(t, err, c.Config)
			custom, external := a.Serves()
			require.False(t, custom || external, c.Config)
			continue
		}
		require.Error(t, err, c.Config)
		var ce *ConfigError
		require.ErrorAs(t, err, &ce, c.Config)
		require.Positive(t, ce.Line, "%v", err)
		require.NotEmpty(t, ce.Repair)
		require.NotContains(t, err.Error(), "\n")
		t.Log(strings.TrimPrefix(err.Error(), dir))
	}
	t.Logf("compat adapter-broken right=%d of=%d", len(cases), len(cases))
}
