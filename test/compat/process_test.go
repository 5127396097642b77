package compat

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit is how long a condition is waited for. Machines that do much else are slow.
const limit = 3 * time.Minute

// reference copies one set of reference data, since its scripts write beside
// themselves. Without the data the test is skipped.
func reference(t *testing.T, set string) string {
	t.Helper()
	from := filepath.Join(shared.Root, "..", "shared", "oracle", set)
	if _, err := os.Stat(from); err != nil {
		t.Skipf("no reference data in %s", from)
	}
	to := filepath.Join(t.TempDir(), set)
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// running is a program that was started.
type running struct {
	name   string
	log    string
	ended  chan struct{}
	err    error // after ended
	cancel context.CancelFunc
}

// start runs a program until the test ends; what it says goes to a log that
// stays when the test fails.
func start(t *testing.T, name string, argv ...string) *running {
	t.Helper()
	r := &running{name: name, log: filepath.Join(shared.LogDir, name+".log"), ended: make(chan struct{})}
	f, err := os.Create(r.log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	require.NoError(t, cmd.Start())
	go func() {
		defer close(r.ended)
		r.err = cmd.Wait()
		f.Close()
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the program and waits until it has.
func (r *running) stop() {
	r.cancel()
	<-r.ended
}

// until waits for a condition; that the program ends meanwhile is its failure.
func (r *running) until(t *testing.T, condition func() error) {
	t.Helper()
	deadline, tick := time.After(limit), time.NewTicker(200*time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-r.ended:
			require.FailNow(t, r.name+" ended", "%v; %s", r.err, r.tail())
		case <-deadline:
			require.FailNow(t, r.name, "%v; %s", err, r.tail())
		case <-tick.C:
		}
	}
}

func (r *running) tail() string {
	data, _ := os.ReadFile(r.log)
	return string(data[max(0, len(data)-2000):])
}

// command runs a program to its end and gives what it wrote to both outputs.
func command(t *testing.T, dir string, env []string, argv ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit) // cleanups call it, too
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if exit, ok := err.(*exec.ExitError); ok {
		return b.String(), exit.ExitCode()
	}
	require.NoError(t, err, "%s: %s", strings.Join(argv, " "), b.String())
	return b.String(), 0
}

// administrator is an HTTP client with all rights at any of the servers. Their
// certificates are not verified, as the recorded requests did not.
func administrator(t *testing.T) *http.Client {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(shared.control.Administrator())
	require.NoError(t, err)
	return client(t, cert)
}

func client(t *testing.T, certs ...tls.Certificate) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}} //nolint:gosec // see above
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; the error is that of the connection.
func ask(ctx context.Context, c *http.Client, method, url string, headers map[string]string) (answer, error) {
	var body io.Reader
	if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		body = strings.NewReader("{}")
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

// answers is the condition that a URL is answered 200.
func answers(ctx context.Context, c *http.Client, url string) func() error {
	return func() error {
		a, err := ask(ctx, c, http.MethodGet, url, nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s: %d %s", url, a.status, a.body)
		}
		return err
	}
}

func readJSON(t *testing.T, file string, to any) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, to), file)
}
