package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// maxName is what the kernel keeps of the name of a process.
const maxName = 15

// Crash ends a component, such as kubelet, as kill -9 does, and starts it again
// as the supervisor of a distribution would. It returns when the component
// answers again; nothing of it is asked to end kindly.
func (c *Cluster) Crash(ctx context.Context, component string) error {
	var cmd command
	var page string
	var port int
	switch component {
	case "kubelet":
		cmd, port, page = kubeletCommand(c.o), c.o.Ports.Kubelet, "/api/v1/nodes/"+c.o.NodeName+"/proxy/healthz"
	case "kube-apiserver":
		cmd, port, page = apiserverCommand(c.o), c.o.Ports.APIServer, "/readyz"
	default:
		return fmt.Errorf("cannot crash %s: it is neither kubelet nor kube-apiserver", component)
	}
	found := false
	running := func() (left []process) {
		for _, p := range clusterProcesses(c.o.StateDir) {
			if p.Name == component[:min(len(component), maxName)] {
				left, found = append(left, p), true
			}
		}
		return left
	}
	err := await(ctx, func() error {
		left := running()
		for _, p := range left {
			p.signal(syscall.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("%s does not end", component)
		}
		// The first thread can have ended while others still hold its port.
		free, err := net.Listen("tcp", c.o.addr(port))
		if err != nil {
			return fmt.Errorf("%s has not let go of its port: %w", component, err)
		}
		return free.Close()
	})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("cannot crash %s: it does not run", component)
	}
	started, err := c.launch(cmd)
	if err != nil {
		return err
	}
	return started.ready(ctx, startLimit, func(ctx context.Context) error {
		_, err := c.Raw(ctx, page)
		return err
	})
}

// Isolate drops what a pod sends to an address, and with it every connection to
// there, until the function that it returns is called; a later call of that does
// nothing. tcpPorts are the ports that are cut; none means all.
func (c *Cluster) Isolate(ctx context.Context, pod corev1.Pod, address string, tcpPorts ...int) (restore func() error, err error) {
	pid, err := c.taskPID(ctx, pod)
	if err != nil {
		return nil, err
	}
	// Open, the network is found also when its process has ended.
	network, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		return nil, fmt.Errorf("finding the network of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	rule := []string{"OUTPUT", "--destination", address}
	if len(tcpPorts) > 0 {
		ports := strings.Trim(strings.ReplaceAll(fmt.Sprint(tcpPorts), " ", ","), "[]")
		rule = append(rule, "--protocol", "tcp", "--match", "multiport", "--destination-ports", ports)
	}
	rule = append(rule, "--jump", "DROP")
	inPod := func(ctx context.Context, action string) error {
		enter := []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), network.Fd()), "iptables", "--wait", action}
		_, err := run(ctx, "", append(enter, rule...)...)
		return err
	}
	if err := inPod(ctx, "--insert"); err != nil {
		return nil, errors.Join(fmt.Errorf("cutting the network of %s/%s: %w", pod.Namespace, pod.Name, err), network.Close())
	}
	return sync.OnceValue(func() error {
		defer network.Close()
		if err := inPod(context.WithoutCancel(ctx), "--delete"); err != nil {
			return fmt.Errorf("joining the network of %s/%s again: %w", pod.Namespace, pod.Name, err)
		}
		return nil
	}), nil
}

// taskPID is a process in a pod's network.
func (c *Cluster) taskPID(ctx context.Context, pod corev1.Pod) (string, error) {
	out, err := runWith(ctx, []string{c.mark()}, "", "ctr", "--address", c.o.socket(), "--namespace", "k8s.io", "tasks", "list")
	if err != nil {
		return "", err
	}
	running := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" {
			running[f[0]] = f[1]
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if pid, ok := running[strings.TrimPrefix(status.ContainerID, "containerd://")]; ok {
			return pid, nil
		}
	}
	return "", errors.Join(fmt.Errorf("no container of %s/%s runs", pod.Namespace, pod.Name), ctx.Err())
}
