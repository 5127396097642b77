package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// teardown undoes a cluster from its state alone; it is safe to do again after
// it was cut short. Nothing is asked to end kindly: the state is thrown away.
func teardown(ctx context.Context, s state, log *slog.Logger) error {
	if err := s.Options.checkStateDir(); err != nil {
		return err
	}
	begin := time.Now()
	var errs []error
	step := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	step("ending processes", killAll(ctx, s))
	step("removing shims' sockets", removeShimSockets(s.Options))
	step("removing the link to containerd", unlinkRuntime(kubeletRuntime, s.Options.socket()))
	step("unmounting", unmountAll(s.Options.StateDir))
	step("removing the network", removeNetwork(ctx, s))
	step("removing cgroups", removeCgroups(ctx, s.Cgroups))
	step("restoring sysctls", restoreSysctls(s.Sysctls))
	step("removing pods' logs", removePodLogs(s.Options))
	step("removing directories", removeMade(s.Made))
	if len(errs) > 0 { // the state stays, so that the next try knows what to undo
		return fmt.Errorf("tearing down the cluster in %s: %w", s.Options.StateDir, errors.Join(errs...))
	}
	if err := removeState(s.Options.StateDir); err != nil {
		return fmt.Errorf("removing the cluster's state: %w", err)
	}
	log.Info("the cluster is gone", "elapsed", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// removeState removes the state file last: as long as it is there, a next Start
// goes on where this one was cut short.
func removeState(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == stateFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// killAll kills until nothing of the cluster is left.
func killAll(ctx context.Context, s state) error {
	return await(ctx, func() error {
		left := freeze(func() []process { return s.processes() })
		if len(left) == 0 {
			return nil
		}
		names := map[string]bool{}
		for _, p := range left {
			p.signal(unix.SIGKILL)
			names[p.Name] = true
		}
		return fmt.Errorf("%d processes do not end: %s", len(left), strings.Join(sortedKeys(names), ", "))
	})
}

// freeze stops processes until a look finds no new one: what is stopped cannot
// fork, so no child can lose its parent, and with it its mark, while we kill.
func freeze(find func() []process) []process {
	seen := map[process]bool{}
	for {
		found, fresh := find(), 0
		for _, p := range found {
			if !seen[p] {
				seen[p] = true
				fresh++
				p.signal(unix.SIGSTOP)
			}
		}
		if fresh == 0 {
			return found
		}
	}
}

// removeShimSockets removes the sockets that killed shims leave behind outside
// the state directory.
func removeShimSockets(o Options) error {
	files, err := filepath.Glob(o.path("containerd", "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	if err != nil {
		return err
	}
	for _, f := range files {
		addr, err := os.ReadFile(f)
		if err != nil {
			continue // the task was being removed
		}
		socket, ok := strings.CutPrefix(strings.TrimSpace(string(addr)), "unix://")
		if !ok {
			continue
		}
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// unmountAll unmounts all below dir, the last mounted first.
func unmountAll(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	points := mountsBelow(string(data), dir)
	slices.Reverse(points)
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// mountsBelow lists the mount points below dir in the order of mountinfo.
func mountsBelow(mountinfo, dir string) []string {
	var out []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if p := unescape(fields[4]); strings.HasPrefix(p, dir+"/") {
			out = append(out, p)
		}
	}
	return out
}

// unescape decodes the \040 of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func removeNetwork(ctx context.Context, s state) error {
	var errs []error
	if _, err := os.Stat("/sys/class/net/" + s.Options.Bridge); err == nil {
		_, err := run(ctx, "", "ip", "link", "delete", s.Options.Bridge)
		errs = append(errs, err)
	}
	errs = append(errs, removeProxyRules(ctx, s.Options))
	errs = append(errs, removePortRules(ctx))
	if has, err := hasAddress(s.Options.NodeIP); err == nil && has && s.AddedIP {
		_, err := run(ctx, "", "ip", "addr", "delete", s.Options.NodeIP+"/32", "dev", "lo")
		errs = append(errs, err)
	}
	return errors.Join(append(errs, removeCNIResults(s.Options, "/var/lib/cni/results"))...)
}

// removeCNIResults removes what the CNI library remembers of our pods' networks,
// by the ids of their sandboxes.
func removeCNIResults(o Options, dir string) error {
	ids, err := os.ReadDir(o.path("containerd", "root", "io.containerd.grpc.v1.cri", "sandboxes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, id := range ids {
		files, err := filepath.Glob(filepath.Join(dir, "*-"+id.Name()+"-*"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeProxyRules drops the tables of kube-proxy.
func removeProxyRules(ctx context.Context, o Options) error {
	if o.KubeProxyMode != "nftables" {
		_, err := run(ctx, "", o.Binaries["kube-proxy"], "--cleanup", "--proxy-mode", o.KubeProxyMode)
		return err
	}
	tables, err := run(ctx, "", "nft", "list", "tables")
	if err != nil {
		return err
	}
	for _, family := range []string{"ip", "ip6"} {
		if !strings.Contains(tables, "table "+family+" kube-proxy\n") {
			continue
		}
		if _, err := run(ctx, "", "nft", "delete", "table", family, "kube-proxy"); err != nil {
			return err
		}
	}
	return nil
}

// removePortRules drops the rules that the portmap plugin made for host ports.
// Pods are killed, so the plugin is never asked to.
func removePortRules(ctx context.Context) error {
	for _, family := range []string{"iptables", "ip6tables"} {
		if _, err := exec.LookPath(family + "-save"); err != nil {
			continue
		}
		rules, err := run(ctx, "", family+"-save", "-t", "nat")
		if err != nil {
			continue // a kernel without this family has no rules of it either
		}
		kept, dropped := withoutPortRules(rules)
		if !dropped {
			continue
		}
		if _, err := run(ctx, kept, family+"-restore", "-T", "nat"); err != nil {
			return err
		}
	}
	return nil
}

// withoutPortRules filters the output of iptables-save.
func withoutPortRules(rules string) (kept string, dropped bool) {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		if strings.Contains(line, "CNI-HOSTPORT-") || strings.Contains(line, "CNI-DN-") || strings.Contains(line, "CNI-SN-") {
			dropped = true
			continue
		}
		b.WriteString(line)
	}
	return b.String(), dropped
}

// removeMade removes the directories that were not there before the cluster, as
// far as they are empty: another containerd may have come to share them.
func removeMade(made []string) error {
	for _, dir := range made {
		if dir == kubeletDir {
			if err := os.RemoveAll(filepath.Join(dir, "device-plugins")); err != nil {
				return err
			}
		}
		if err := removeEmpty(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeEmpty removes the empty directories of a tree, and the tree with them
// when nothing else is in it.
func removeEmpty(root string) error {
	for _, dir := range slices.Backward(directories(root)) {
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

func restoreSysctls(before map[string]string) error {
	now := readSysctls()
	for name, value := range before {
		if now[name] == value {
			continue
		}
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removePodLogs removes the logs of the pods that were there at the end; the
// kubelet has removed those of earlier ones.
func removePodLogs(o Options) error {
	uids, err := os.ReadDir(o.path("kubelet", "pods"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, uid := range uids {
		dirs, err := filepath.Glob(filepath.Join(o.PodLogsDir, "*_"+uid.Name()))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return err
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, o.PodLogsDir+"/") {
			continue
		}
		if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(link); err != nil {
			return err
		}
	}
	return nil
}
