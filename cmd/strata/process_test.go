package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// asStrata makes this test binary be strata: so a process can be killed.
const asStrata = "STRATA_TEST_AS_STRATA"

func TestMain(m *testing.M) {
	if os.Getenv(asStrata) != "" {
		os.Exit(serve.Main("strata", os.Args[1:], os.Stderr, run))
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests; none waits for it to pass.
const patience = 60 * time.Second

// process is a strata that runs.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{}
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// launch starts strata in a directory.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Stdout = dir, p, p
	p.cmd.Env = append(os.Environ(), asStrata+"=1")
	require.NoError(t, p.cmd.Start())
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
	return p
}

// ends waits for the end and gives the exit status and what was printed.
func (p *process) ends() (int, string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("it runs on: %s", p.logged())
	}
	return p.cmd.ProcessState.ExitCode(), p.logged()
}

var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// server starts `strata server` on a free port and waits until it is ready.
func server(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, append([]string{"server", "--web.listen-address=127.0.0.1:0"}, args...)...)
	p.wait("the address", func() error {
		if m := listening.FindStringSubmatch(p.logged()); m != nil {
			p.url = m[1]
			return nil
		}
		return errors.New(p.logged())
	})
	p.wait("ready", func() error { _, err := p.get("/-/ready"); return err })
	return p
}

func (p *process) wait(what string, ok func() error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("%s: %v\n%s", what, err, p.logged())
		case <-p.done:
			p.t.Fatalf("%s: it ended: %s", what, p.logged())
		case <-tick.C:
		}
	}
}

func (p *process) get(path string) (string, error) {
	resp, err := http.Get(p.url + path)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return string(body), nil
}

// samples asks for every (series, time) with its value.
func (p *process) samples() (map[string]string, error) {
	body, err := p.get("/api/v1/query?" + url.Values{"query": {`{__name__=~".+"}[1h]`}}.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric json.RawMessage
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range answer.Data.Result {
		for _, v := range s.Values {
			out[fmt.Sprintf("%s@%v", s.Metric, v[0])] = fmt.Sprint(v[1])
		}
	}
	return out, nil
}

// write puts a file into a directory and gives its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// oneLine is what a program should say before it ends with a mistake.
func oneLine(t *testing.T, out string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "level=INFO") {
			lines = append(lines, line)
		}
	}
	require.Len(t, lines, 1, out)
	return lines[0]
}
