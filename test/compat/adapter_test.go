package compat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// servedAdapter is a server that runs with one configuration of rules.
type servedAdapter struct {
	*running
	name string
	base string // of the APIs
	web  string // of the HTTP API
}

// startAdapter starts `strata server` that scrapes as config says and serves
// the rules. Ports are the base and the one above it.
func startAdapter(t *testing.T, name, config, rules string, port int, arguments ...string) *servedAdapter {
	t.Helper()
	s := &servedAdapter{name: name, base: fmt.Sprintf("https://127.0.0.1:%d", port), web: fmt.Sprintf("http://127.0.0.1:%d", port+1)}
	s.running = start(t, "server-"+name, append([]string{shared.Programs["strata"], "server",
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(shared.Dir, "data", name),
		"--web.listen-address=" + strings.TrimPrefix(s.web, "http://"),
		"--adapter.config=" + rules, "--secure-port=" + strconv.Itoa(port),
		"--kubeconfig=" + shared.control.Kubeconfig()}, arguments...)...)
	return s
}

// rulesAlone are the arguments that leave only the metrics of the
// configuration, for programs that offer others without one.
func rulesAlone(t *testing.T) []string {
	t.Helper()
	help, _ := command(t, "", nil, shared.Programs["strata"], "server", "--help")
	if strings.Contains(help, "adapter.builtin") {
		return []string{"--no-adapter.builtin"}
	}
	return nil
}

// scraped is the condition that a query of the store has an answer.
func (s *servedAdapter) scraped(t *testing.T, query string) func() error {
	return func() error {
		a, err := ask(t.Context(), http.DefaultClient, http.MethodGet, s.web+"/api/v1/query?query="+url.QueryEscape(query), nil)
		if err != nil {
			return err
		}
		var r struct{ Data struct{ Result []any } }
		if err := json.Unmarshal([]byte(a.body), &r); err != nil || len(r.Data.Result) == 0 {
			return fmt.Errorf("%s: no series yet (%v)", query, err)
		}
		return nil
	}
}

// recordedRequest is one that prometheus-adapter was asked.
type recordedRequest struct {
	ID, Method, Path string
	Headers          map[string]string
	Auth             string
}

// TestAdapter replays the requests that prometheus-adapter was asked, with each
// of its configurations, by the reference data's own script.
func TestAdapter(t *testing.T) {
	dir := reference(t, "adapter")
	out, code := command(t, dir, nil, "bash", "objects/load.sh", "kubectl", shared.control.Kubeconfig())
	require.Zero(t, code, out)
	t.Cleanup(func() { // kubectl top would list them
		_, err := kubectl(t, "delete", "nodes", "--all")
		require.NoError(t, err)
	})
	start(t, "target", "python3", filepath.Join(dir, "inputs", "target.py"), "19701")
	files, err := filepath.Glob(filepath.Join(dir, "configs", "c*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	alone := rulesAlone(t)
	var servers []*servedAdapter
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		servers = append(servers, startAdapter(t, name, filepath.Join(dir, "inputs", "prometheus.yml"), file, 21000+2*i, alone...))
	}
	listed := adapterDifferences(t)
	total := &tally{what: "adapter", seen: map[string]bool{}}
	for _, s := range servers {
		// Rates are over a minute: more than that of samples, one each 5 s.
		s.until(t, s.scraped(t, `count_over_time(up{job="app"}[75s]) >= 15`))
		s.until(t, answers(t.Context(), client(t), s.base+"/readyz"))
		replayAdapter(t, dir, s, listed, total)
		s.stop()
	}
	total.report(t, listed.keys())
}

var (
	missLine  = regexp.MustCompile(`(?m)^MISS(?:\(upstream bug\))? (\S+) .*$`)
	rightLine = regexp.MustCompile(`(?m)^compat adapter right=(\d+) of=(\d+)$`)
)

// replayAdapter runs the script against one server. What differs must be
// listed, and differ as it is listed.
func replayAdapter(t *testing.T, dir string, s *servedAdapter, listed adapterTable, total *tally) {
	t.Helper()
	cert, key := shared.control.Administrator()
	expected := filepath.Join("expected", s.name+".json")
	out, _ := command(t, dir, nil, "python3", "compare.py", s.base, expected, "--cert", cert, "--key", key, "--messages")
	m := rightLine.FindStringSubmatch(out)
	require.NotNil(t, m, "%s: %s", s.name, out)
	total.count(t, m[1], m[2])
	var recorded struct{ Requests []recordedRequest }
	readJSON(t, filepath.Join(dir, expected), &recorded)
	byID := map[string]recordedRequest{}
	for _, r := range recorded.Requests {
		byID[r.ID] = r
	}
	admin := administrator(t)
	for _, miss := range missLine.FindAllStringSubmatch(out, -1) {
		d, ok := listed[miss[1]]
		if !ok {
			total.wrong = append(total.wrong, miss[0])
			continue
		}
		total.seen[miss[1]] = true
		r := byID[miss[1]]
		a, err := ask(t.Context(), admin, r.Method, s.base+r.Path, r.Headers)
		if err != nil || a.status != d.Status || !strings.Contains(a.body, d.Contains) {
			total.wrong = append(total.wrong, fmt.Sprintf("%s: %v, status %d, want %d and %s (%s): %.300s", miss[0], err, a.status, d.Status, d.Contains, d.Why, a.body))
		}
	}
}

// TestAdapterRefuses starts the server with the configurations that
// prometheus-adapter refuses: it says so in one line and ends.
func TestAdapterRefuses(t *testing.T) {
	dir := reference(t, "adapter")
	var cases []struct {
		Config string
		Exit   *int
	}
	readJSON(t, filepath.Join(dir, "expected", "fatal.json"), &cases)
	require.NotEmpty(t, cases)
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(config, []byte("scrape_configs: []\n"), 0o600))
	alone := rulesAlone(t)
	for _, c := range cases {
		s := startAdapter(t, strings.TrimSuffix(c.Config, ".yaml"), config, filepath.Join(dir, "configs", "fatal", c.Config), 21100, alone...)
		if c.Exit == nil {
			s.until(t, answers(t.Context(), client(t), s.base+"/readyz"))
			s.stop()
			continue
		}
		<-s.ended
		require.Error(t, s.err, "%s: %s", c.Config, s.tail())
		t.Log(s.tail())
	}
}
