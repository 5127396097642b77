package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/strata-metrics/strata/test/e2e/binaries"
)

func testOptions(t *testing.T) Options {
	t.Helper()
	programs := binaries.Set{}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"} {
		programs[name] = "/programs/" + name
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return Options{StateDir: dir, Binaries: programs, PauseImage: "/pause.tar", PauseName: "strata.test/pause:e2e"}.withDefaults()
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	require.NoError(t, testOptions(t).check())
	f := func(want string, change func(*Options)) {
		t.Helper()
		o := testOptions(t)
		change(&o)
		err := o.check()
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, want)
	}
	f("NodeIP", func(o *Options) { o.NodeIP = "127.0.0.2" })
	f("NodeIP", func(o *Options) { o.NodeIP = "node" })
	f("PodSubnet", func(o *Options) { o.PodSubnet = "10.200.0.0/16" })
	f("ServiceSubnet", func(o *Options) { o.ServiceSubnet = "10.96.0.0" })
	f("Bridge", func(o *Options) { o.Bridge = "a-name-that-is-too-long" })
	f("StateDir", func(o *Options) { o.StateDir = "relative" })
	f("StateDir", func(o *Options) { o.StateDir = "/" })
	f("StateDir", func(o *Options) { o.StateDir = "/var" })
	f("StateDir", func(o *Options) { o.StateDir = "/var/lib/x/.." })
	f("no program kubelet", func(o *Options) { delete(o.Binaries, "kubelet") })
	f("no pause image", func(o *Options) { o.PauseImage = "" })
}

func TestServiceAddresses(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	require.Equal(t, "10.96.0.1", o.serviceIP())
	require.Equal(t, "10.96.0.10", o.dnsIP())
	require.Equal(t, "https://10.200.0.1:6443", o.server())
}

// TestPKI lets the API server's certificate and the admin's kubeconfig meet.
func TestPKI(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	require.NoError(t, writePKI(o.path("pki"), o))
	config, err := clientcmd.BuildConfigFromFlags("", o.path("pki", "admin.conf"))
	require.NoError(t, err)
	require.Equal(t, "https://10.200.0.1:6443", config.Host)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(config.CAData))

	server, err := tls.LoadX509KeyPair(o.path("pki", "apiserver.crt"), o.path("pki", "apiserver.key"))
	require.NoError(t, err)
	for _, host := range []string{"10.96.0.1", "10.200.0.1", "kubernetes.default.svc"} {
		_, err = server.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		require.NoError(t, err, host)
	}
	_, err = server.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "example.com"})
	require.Error(t, err)

	client, err := tls.X509KeyPair(config.CertData, config.KeyData)
	require.NoError(t, err)
	require.Equal(t, []string{"system:masters"}, client.Leaf.Subject.Organization)
	_, err = client.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	_, err = client.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	require.Error(t, err, "a client's certificate is no server's")

	front, err := tls.LoadX509KeyPair(o.path("pki", "front-proxy-client.crt"), o.path("pki", "front-proxy-client.key"))
	require.NoError(t, err)
	_, err = front.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.Error(t, err, "the front proxy has an authority of its own")
}

func TestConfigsParse(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	data, err := kubeletConfig(o)
	require.NoError(t, err)
	var kubelet map[string]any
	require.NoError(t, yaml.Unmarshal(data, &kubelet))
	require.Equal(t, "unix://"+o.socket(), kubelet["containerRuntimeEndpoint"])
	data, err = cniConfig(o)
	require.NoError(t, err)
	require.True(t, json.Valid(data))
	require.Contains(t, string(data), `"subnet":"10.88.0.0/16"`)
	require.Contains(t, string(containerdConfig(o, "/usr/lib/cni", "native")), `snapshotter = "native"`)
}

// TestNothingListensOutside keeps every component on the node's own address.
func TestNothingListensOutside(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	for _, c := range []command{etcdCommand(o), apiserverCommand(o), controllerManagerCommand(o), schedulerCommand(o), proxyCommand(o)} {
		args := strings.Join(c.argv, " ")
		require.Contains(t, args, o.NodeIP, c.name)
		require.NotContains(t, args, "0.0.0.0", c.name)
	}
	require.Contains(t, strings.Join(controllerManagerCommand(o).argv, " "), "--horizontal-pod-autoscaler-downscale-stabilization 15s")
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	fields := strings.Repeat(" 0", 17)
	s, err := parseStat([]byte("7 (a) b (c)) S 42" + fields + " 12345 0 0\n"))
	require.NoError(t, err)
	require.Equal(t, stat{state: 'S', parent: 42, start: 12345}, s)
	for _, bad := range []string{"", "7 (a) S", "7 (a) S x" + fields + " 1", "7 (a) S 1" + fields + " x"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) b (c)) S 42" + strings.Repeat(" 0", 17) + " 12345 0 0\n"))
	f.Add([]byte("7 (a"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseStat(data); err == nil && s.state == ' ' {
			t.Fatalf("a blank is no state: %q", data)
		}
	})
}

func TestMountsBelow(t *testing.T) {
	t.Parallel()
	const info = `1 0 0:1 / / rw - ext4 /dev/a rw
2 1 0:2 / /state rw - tmpfs t rw
3 1 0:3 / /state/a\040b rw - tmpfs t rw
4 1 0:4 / /state-of-others/x rw - tmpfs t rw
5 3 0:5 / /state/a\040b/c rw shared:1 - overlay o rw
short
6 1 0:6 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
7 1 0:7 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	require.Equal(t, []string{"/state/a b", "/state/a b/c"}, mountsBelow(info, "/state"))
	require.Equal(t, []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}, cgroupMounts(info))
}

func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{`a\040b`, `\`, `\04`, `\999`, `\777`, `plain`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := unescape(s)
		if len(got) > len(s) || !strings.Contains(s, `\`) && got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func TestWithoutPortRules(t *testing.T) {
	t.Parallel()
	const others = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j OTHER\nCOMMIT\n"
	kept, dropped := withoutPortRules(others)
	require.False(t, dropped)
	require.Equal(t, others, kept)
	kept, dropped = withoutPortRules("*nat\n:PREROUTING ACCEPT [0:0]\n:CNI-HOSTPORT-DNAT - [0:0]\n:CNI-DN-1 - [0:0]\n" +
		"-A PREROUTING -j OTHER\n-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-A CNI-HOSTPORT-DNAT -j CNI-DN-1\nCOMMIT\n")
	require.True(t, dropped)
	require.Equal(t, others, kept)
}

func TestRemoveMadeLeavesWhatOthersPutThere(t *testing.T) {
	t.Parallel()
	empty, shared := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "shared")
	for _, dir := range []string{empty + "/a/b", shared + "/a/b", shared + "/c"} {
		require.NoError(t, os.MkdirAll(dir, 0o750))
	}
	require.NoError(t, os.WriteFile(shared+"/c/file", nil, 0o600))
	require.NoError(t, removeMade([]string{empty, shared, filepath.Join(t.TempDir(), "absent")}))
	require.NoDirExists(t, empty)
	require.NoDirExists(t, shared+"/a")
	require.FileExists(t, shared+"/c/file")
}

func TestLinkToContainerdLeavesThatOfOthers(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "containerd.sock")
	require.NoError(t, linkRuntime(link, "/ours"))
	require.NoError(t, linkRuntime(link, "/others"))
	require.True(t, linksTo(link, "/ours"))
	require.NoError(t, unlinkRuntime(link, "/others"))
	require.True(t, linksTo(link, "/ours"))
	require.NoError(t, unlinkRuntime(link, "/ours"))
	require.NoFileExists(t, link)
	require.NoError(t, unlinkRuntime(link, "/ours"))
}

func TestRemoveCNIResultsOfOurSandboxes(t *testing.T) {
	t.Parallel()
	o, dir := testOptions(t), t.TempDir()
	require.NoError(t, os.MkdirAll(o.path("containerd", "root", "io.containerd.grpc.v1.cri", "sandboxes", "ours"), 0o750))
	for _, name := range []string{"cni-loopback-ours-lo", "strata-e2e-ours-eth0", "cni-loopback-theirs-lo"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, removeCNIResults(o, dir))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "cni-loopback-theirs-lo")}, left)
}

func TestStateIsWrittenAndBelongsToItsDirectory(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	_, err := readState(o.StateDir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	l := ledger{dir: o.StateDir}
	require.NoError(t, l.record(func(s *state) { *s = state{Options: o, RunID: "a"} }))
	require.NoError(t, l.record(func(s *state) { s.Made = append(s.Made, "/x") }))
	got, err := readState(o.StateDir)
	require.NoError(t, err)
	require.Equal(t, "a", got.RunID)
	require.Equal(t, []string{"/x"}, got.Made)
	require.Equal(t, o.Ports, got.Options.Ports)

	moved := t.TempDir()
	require.NoError(t, os.Rename(filepath.Join(o.StateDir, stateFile), filepath.Join(moved, stateFile)))
	_, err = readState(moved)
	require.ErrorContains(t, err, "was the directory moved?")
	require.NoError(t, os.WriteFile(filepath.Join(moved, stateFile), []byte("{"), 0o600))
	_, err = readState(moved)
	require.ErrorContains(t, err, "parsing")
}

func TestTeardownRefusesADirectoryThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, teardown(t.Context(), state{}, nil), ErrOptions)
	require.ErrorIs(t, teardown(t.Context(), state{Options: Options{StateDir: "/var"}}, nil), ErrOptions)
}

// TestMarkedProcessesEnd shows that children without the mark end with their
// parent, and that a process without it lives on.
func TestMarkedProcessesEnd(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	stranger := exec.Command("sleep", "60")
	require.NoError(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })

	log := filepath.Join(o.StateDir, "sh.log")
	c, err := launch("sh", o.StateDir, log, []string{"sh", "-c", "env -i sleep 60 & wait"})
	require.NoError(t, err)
	s := state{Options: o}
	Eventually(t, 10*time.Second, func() error {
		if n := len(s.processes()); n != 2 {
			return errors.New("the shell has no child yet")
		}
		return nil
	})
	require.NoError(t, killAll(t.Context(), s))
	<-c.exited
	require.Empty(t, s.processes())
	require.False(t, c.alive())
	require.NoError(t, stranger.Process.Signal(syscall.Signal(0)))
}

// TestReadySaysWhyAComponentEnded is what a person sees of a bad flag.
func TestReadySaysWhyAComponentEnded(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	c, err := launch("etcd", o.StateDir, filepath.Join(o.StateDir, "etcd.log"), []string{"sh", "-c", "echo unknown flag; exit 3"})
	require.NoError(t, err)
	err = c.ready(t.Context(), time.Minute, func(context.Context) error { return errors.New("refused") })
	require.ErrorContains(t, err, "etcd: it ended: exit status 3")
	require.ErrorContains(t, err, "unknown flag")
}

func TestLaunchNamesAProgramThatIsAbsent(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	_, err := launch("etcd", o.StateDir, filepath.Join(o.StateDir, "log"), []string{filepath.Join(o.StateDir, "absent")})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "starting etcd")
}

func TestTail(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(file, []byte("1\n2\n3\n"), 0o600))
	require.Equal(t, "2\n3", tail(file, 2))
	require.Equal(t, "1\n2\n3", tail(file, 9))
}

func TestAttachWithoutACluster(t *testing.T) {
	t.Parallel()
	_, err := Attach(t.TempDir(), nil)
	require.ErrorIs(t, err, ErrNotRunning)
}
