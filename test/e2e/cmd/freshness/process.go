package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strata-metrics/strata/test/bench/process"
	"github.com/strata-metrics/strata/test/e2e/cluster"
)

// peerShortest is the shortest interval that metrics-server takes.
const peerShortest = 10 * time.Second

// server is a process on this machine that answers metrics.k8s.io for the
// cluster. One process, and not the two replicas of an installation, so that it
// is known whose readings an answer is of.
type server struct {
	name   string
	client rest.Interface
	cmd    *exec.Cmd
	ended  chan error
}

// servers starts strata core on the container exporter and on the kubelet, and
// metrics-server on the kubelet where it can have such an interval.
func servers(ctx context.Context, c *cluster.Cluster, root, dir string, interval time.Duration) ([]*server, error) {
	strata := filepath.Join(root, "bin", "strata")
	exporter := []string{"core", "--source=exporter", "--kubelet-port=9101"}
	kubelet := []string{"--kubelet-insecure-tls", "--kubelet-port=" + strconv.Itoa(c.Options().Ports.Kubelet)}
	var all []*server
	for _, p := range []struct {
		name, program string
		args          []string
	}{
		{"cpu_exporter", strata, exporter},
		{"cpu_kubelet", strata, append([]string{"core"}, kubelet...)},
		{"cpu_peer", filepath.Join(root, "bin", "bench", "metrics-server"), append([]string{"--cert-dir=" + dir}, kubelet...)},
	} {
		if p.name == "cpu_peer" && interval < peerShortest {
			continue
		}
		s, err := start(ctx, c, p.name, p.program, append(p.args, "--metric-resolution="+interval.String())...)
		if err != nil {
			stop(all)
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func start(ctx context.Context, c *cluster.Cluster, name, program string, args ...string) (*server, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	args = append(args, "--kubeconfig="+c.Kubeconfig(), "--authentication-kubeconfig="+c.Kubeconfig(), "--authorization-kubeconfig="+c.Kubeconfig(),
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(address.Port), "--kubelet-preferred-address-types=InternalIP")
	s := &server{name: name, cmd: exec.CommandContext(ctx, program, args...), ended: make(chan error, 1)}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	config := c.RESTConfig()
	config.Host, config.Insecure, config.CAFile, config.CAData, config.QPS = "https://"+address.String(), true, "", nil, -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	s.client = clients.Discovery().RESTClient()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s (make bench-freshness builds it): %w", program, err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return s, nil
}

// stop ends servers and waits for them.
func stop(all []*server) {
	for _, s := range all {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-s.ended
	}
}

// source asks a server about the cpu of all pods.
func (s *server) source() source {
	return source{name: s.name, read: cores, rest: restCores, step: stepCores, get: func(ctx context.Context) ([]byte, error) {
		return s.client.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + namespace + "/pods").MaxRetries(0).DoRaw(ctx)
	}}
}

// ticks is the unit of the cpu times in /proc on every Linux that Go runs on.
const ticks = 100

// cpu is how much a server has used, in seconds.
func (s *server) cpu() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", s.name, err)
	}
	// After the name, which can hold anything: state is field 3, utime 14, stime 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	sum := 0.0
	for _, f := range fields[11:13] {
		v, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", s.cmd.Process.Pid, err)
		}
		sum += v / ticks
	}
	return sum, nil
}
