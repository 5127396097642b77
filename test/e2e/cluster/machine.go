package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrMachine says that this machine cannot run a cluster yet.
var ErrMachine = errors.New("this machine cannot run the cluster")

// packages holds Debian's package for each program that is needed.
var packages = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "containerd-shim-runc-v2": "containerd",
	"runc": "runc", "ip": "iproute2", "nft": "nftables", "iptables": "iptables", "mount": "mount", "nsenter": "util-linux",
}

// pluginDirs are where distributions put the CNI plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// sysctls are the settings that the kubelet and the CNI plugins change.
var sysctls = []string{
	"net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet",
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// kubeletDir is where a kubelet makes its socket for device plugins, whatever
// its --root-dir says.
const kubeletDir = "/var/lib/kubelet"

// shimDir is where containerd's shims have their sockets, whatever its
// configuration says.
const shimDir = "/run/containerd"

// hostDirs are directories that components make outside the state directory,
// with no flag to move them.
func hostDirs(o Options) []string {
	return []string{
		kubeletDir, "/var/lib/cni", "/var/log/containers", shimDir, "/opt/containerd",
		"/usr/libexec/kubernetes", "/opt/cni", o.PodLogsDir,
	}
}

// CheckMachine says in one line all that this machine lacks. It is quick, so it
// can be asked before anything is built.
func CheckMachine() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it runs %s, and pods need Linux", ErrMachine, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root for containerd and the kubelet: run it with sudo", ErrMachine)
	}
	missing := map[string]bool{}
	for program, pkg := range packages {
		if _, err := exec.LookPath(program); err != nil {
			missing[pkg] = true
		}
	}
	if _, err := pluginDir(); err != nil {
		missing["containernetworking-plugins"] = true
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: programs are missing: apt-get install -y %s", ErrMachine, strings.Join(sortedKeys(missing), " "))
}

// pluginDir is where the CNI plugins are.
func pluginDir() (string, error) {
	for _, dir := range pluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: no CNI plugin bridge in %s", ErrMachine, strings.Join(pluginDirs, ", "))
}

// snapshotter is overlayfs, but where the state directory is itself on an
// overlay, as in a container, which the kernel refuses to stack.
func snapshotter(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native", nil
	}
	return "overlayfs", nil
}

// checkPorts fails when another program listens where a component shall.
func checkPorts(o Options) error {
	for _, port := range o.ports() {
		l, err := net.Listen("tcp", o.addr(port))
		if err != nil {
			return fmt.Errorf("%w: %w (ss -ltnp 'sport = :%d' shows by whom; is another Kubernetes running?)", ErrMachine, err, port)
		}
		l.Close()
	}
	return nil
}

// hasAddress tells whether this machine already has an address.
func hasAddress(ip string) (bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(net.ParseIP(ip)) {
			return true, nil
		}
	}
	return false, nil
}

func readSysctls() map[string]string {
	out := map[string]string{}
	for _, name := range sysctls {
		if data, err := os.ReadFile("/proc/sys/" + name); err == nil { // not every kernel has all
			out[name] = string(bytes.TrimSpace(data))
		}
	}
	return out
}

// run runs a short command to its end; the error holds what it printed.
func run(ctx context.Context, stdin string, argv ...string) (string, error) {
	return runWith(ctx, nil, stdin, argv...)
}

// runWith is run with more environment.
func runWith(ctx context.Context, env []string, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(argv[0]), strings.Join(argv[1:], " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
