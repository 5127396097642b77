package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// freePorts are the flags that let several `strata up` run on one host, but
// for a layer that is to have another address.
func freePorts(dir, layer, address string) []string {
	args := []string{"up", "--storage.tsdb.path=" + dir + "/data", "--scrape.interval=1s"}
	for _, what := range []string{"web", "node", "container", "app", "kubestate"} {
		if what != layer {
			args = append(args, "--"+what+".listen-address=127.0.0.1:0")
		}
	}
	if layer != "" {
		args = append(args, "--"+layer+".listen-address="+address)
	}
	return args
}

var pageLine = regexp.MustCompile(`(?m)^  page +(http://\S+)/ *$`)

// Without configuration the layers of this host are scraped, their series can
// be queried, and one signal ends it all.
func TestUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launch(t, dir, freePorts(dir, "", "")...)
	p.wait("the page's address", func() error {
		if m := pageLine.FindStringSubmatch(p.logged()); m != nil {
			p.url = m[1]
			return nil
		}
		return errors.New("not printed yet")
	})
	for _, query := range []string{`node_load1`, `node_cpu_seconds_total`, `http_requests_total{code="200"}`, `up{job="strata"} == 1`, `up{job="kubelet"} == 1`} {
		p.wait(query, func() error {
			body, err := p.get("/api/v1/query?query=" + strings.NewReplacer(" ", "%20", "=", "%3D").Replace(query))
			if err == nil && !strings.Contains(string(body), `"value"`) {
				err = errors.New(string(body))
			}
			return err
		})
	}
	for path, want := range map[string]string{
		"/": "<title>", "/api/v1/rules": `"file":"builtin/node.yaml"`, "/api/strata/v1/dashboards": `"strata-node"`,
	} {
		body, err := p.get(path)
		require.NoError(t, err)
		require.Contains(t, string(body), want)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	status, out := p.ends()
	require.Zero(t, status, out)
}

// With a cluster its metrics APIs are served, too; one whose API server does not
// answer takes nothing away from the host.
func TestUpCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "kubeconfig", deadCluster)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	require.NoError(t, free.Close())
	p := launch(t, dir, append(freePorts(dir, "", ""), "--kubeconfig=kubeconfig", "--secure-port="+port)...)
	p.wait("the page's address", func() error {
		if m := pageLine.FindStringSubmatch(p.logged()); m != nil {
			p.url = m[1]
			return nil
		}
		return errors.New("not printed yet")
	})
	p.wait("the address of the APIs", func() error {
		if !strings.Contains(p.logged(), "https://127.0.0.1:"+port+"/apis") {
			return errors.New("not printed yet")
		}
		return nil
	})
	for path, want := range map[string]string{"/api/v1/query?query=node_load1": `"value"`, "/api/strata/v1/answers": `"data":[]`} {
		p.wait(path, func() error {
			body, err := p.get(path)
			if err == nil && !strings.Contains(string(body), want) {
				err = errors.New(string(body))
			}
			return err
		})
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	status, out := p.ends()
	require.Zero(t, status, out)
}

// Each layer says who holds its port and which flag chooses another.
func TestUpPortInUse(t *testing.T) {
	t.Parallel()
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, holder.Close()) }()
	for _, what := range []string{"web", "node", "container", "app"} {
		dir := t.TempDir()
		status, out := launch(t, dir, freePorts(dir, what, holder.Addr().String())...).ends()
		require.Equal(t, 1, status, out)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Contains(t, lines[len(lines)-1], fmt.Sprintf("%s is in use by strata.test (pid %d); choose another address with --%s.listen-address", holder.Addr(), os.Getpid(), what))
	}
}

// A mistake is one line that names the flag or the file.
func TestUpRefuses(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, "broken.yml", "global:\n  scrape_interval: soon\n")
		status, out := launch(t, dir, append(freePorts(dir, "", ""), args...)...).ends()
		require.NotZero(t, status)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Contains(t, lines[len(lines)-1], want)
	}
	f("unknown long flag '--no-such-flag'", "--no-such-flag")
	f("broken.yml:2", "--config.file=broken.yml")
	f("--kubeconfig", "--kubeconfig=absent")
	f("--app.address", "--app.address=https://x")
}
