// Package cluster runs a real one-node Kubernetes on this machine: etcd, the
// control plane with the aggregation layer, containerd, kube-proxy and a
// kubelet that runs real pods.
//
// Everything a cluster makes is written down in its state directory before it
// is made, so that any later process can undo it: Stop, the guard process that
// outlives a killed owner, and the Start after both were killed share one
// teardown that works from that directory alone.
//
// All components listen on one address of our own on the loopback device, so
// nothing is reachable from outside this machine.
package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/strata-metrics/strata/test/e2e/binaries"
)

// DefaultStateDir is where a cluster lives when Options do not say. It must be
// on a file system that overlayfs can use.
const DefaultStateDir = "/var/lib/strata-e2e"

// ErrOptions says that Options cannot make a cluster.
var ErrOptions = errors.New("bad cluster options")

// Options is all that can differ between clusters. The zero value of a field
// means its default.
type Options struct {
	// StateDir holds all state; it is removed at the end.
	StateDir string
	// LogDir gets a file for each component, and outlives the cluster when it is
	// outside StateDir. Default: StateDir/log.
	LogDir string
	// NodeName is the node's name; default "strata-e2e".
	NodeName string
	// NodeIP is the address everything listens on, added to the loopback device.
	// It must not be in 127.0.0.0/8, which EndpointSlices refuse. Default 10.200.0.1.
	NodeIP string
	// PodSubnet is where pods get their addresses; default 10.88.0.0/16.
	PodSubnet string
	// ServiceSubnet is where Services get theirs; default 10.96.0.0/16.
	ServiceSubnet string
	// Bridge is the network device that pods hang on; default "strata0".
	Bridge string
	// Ports are the components' ports on NodeIP.
	Ports Ports
	// HPA are the timings of the horizontal pod autoscaler.
	HPA HPA
	// KubeProxyMode is "nftables" (default) or "iptables" for kernels before 5.13.
	KubeProxyMode string
	// PodLogsDir is where the kubelet keeps logs; default /var/log/pods, as on
	// real nodes.
	PodLogsDir string
	// Binaries are the programs, as binaries.Ensure returns them.
	Binaries binaries.Set
	// PauseImage is the archive of the image that holds a pod's namespaces, and
	// PauseName its reference.
	PauseImage, PauseName string
	// Images are archives that the node has from the start.
	Images []string
	// Keep leaves the cluster running when its owner ends; Down ends it.
	Keep bool
	// Guard is the command of a process that must call Guard and that tears the
	// cluster down when its owner dies without Stop. Empty: no guard; then what
	// is left after a kill is cleaned by the next Start.
	Guard []string
	// Log tells the steps; nil is silent.
	Log *slog.Logger `json:"-"`
}

// Ports are TCP ports on NodeIP.
type Ports struct {
	APIServer, EtcdClient, EtcdPeer, ControllerManager, Scheduler int
	Kubelet, KubeletHealth, ProxyMetrics, ProxyHealth             int
}

// HPA are the controller's timings, far shorter than its defaults so that tests
// see it act.
type HPA struct {
	// Sync is the time between evaluations; default 5 s.
	Sync time.Duration
	// InitialReadiness is how long a new pod's unreadiness is not believed; default 5 s.
	InitialReadiness time.Duration
	// CPUInitialization is how long a new pod's cpu is not believed; default 15 s.
	CPUInitialization time.Duration
	// DownscaleStabilization is how long a high recommendation is held; default 15 s.
	DownscaleStabilization time.Duration
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (o Options) withDefaults() Options {
	setDefault(&o.StateDir, DefaultStateDir)
	setDefault(&o.LogDir, filepath.Join(o.StateDir, "log"))
	setDefault(&o.NodeName, "strata-e2e")
	setDefault(&o.NodeIP, "10.200.0.1")
	setDefault(&o.PodSubnet, "10.88.0.0/16")
	setDefault(&o.ServiceSubnet, "10.96.0.0/16")
	setDefault(&o.Bridge, "strata0")
	setDefault(&o.KubeProxyMode, "nftables")
	setDefault(&o.PodLogsDir, "/var/log/pods")
	setDefault(&o.Ports.APIServer, 6443)
	setDefault(&o.Ports.EtcdClient, 2379)
	setDefault(&o.Ports.EtcdPeer, 2380)
	setDefault(&o.Ports.ControllerManager, 10257)
	setDefault(&o.Ports.Scheduler, 10259)
	setDefault(&o.Ports.Kubelet, 10250)
	setDefault(&o.Ports.KubeletHealth, 10248)
	setDefault(&o.Ports.ProxyMetrics, 10249)
	setDefault(&o.Ports.ProxyHealth, 10256)
	setDefault(&o.HPA.Sync, 5*time.Second)
	setDefault(&o.HPA.InitialReadiness, 5*time.Second)
	setDefault(&o.HPA.CPUInitialization, 15*time.Second)
	setDefault(&o.HPA.DownscaleStabilization, 15*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) check() error {
	ip, err := netip.ParseAddr(o.NodeIP)
	if err != nil || ip.IsLoopback() {
		return fmt.Errorf("%w: NodeIP %q must be an address outside 127.0.0.0/8", ErrOptions, o.NodeIP)
	}
	for name, subnet := range map[string]string{"PodSubnet": o.PodSubnet, "ServiceSubnet": o.ServiceSubnet} {
		p, err := netip.ParsePrefix(subnet)
		if err != nil || p.Contains(ip) {
			return fmt.Errorf("%w: %s %q must be a subnet without NodeIP", ErrOptions, name, subnet)
		}
	}
	if len(o.Bridge) > 15 {
		return fmt.Errorf("%w: Bridge %q is longer than 15 bytes", ErrOptions, o.Bridge)
	}
	if err := o.checkStateDir(); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"} {
		if o.Binaries[name] == "" {
			return fmt.Errorf("%w: no program %s", ErrOptions, name)
		}
	}
	if o.PauseImage == "" || o.PauseName == "" {
		return fmt.Errorf("%w: no pause image", ErrOptions)
	}
	return nil
}

// checkStateDir keeps a teardown, which removes and unmounts all below, from
// reaching further than a directory of ours.
func (o Options) checkStateDir() error {
	if !filepath.IsAbs(o.StateDir) || filepath.Clean(o.StateDir) != o.StateDir || filepath.Dir(o.StateDir) == "/" {
		return fmt.Errorf("%w: StateDir %q must be an absolute, clean path of a directory that is not at the root", ErrOptions, o.StateDir)
	}
	return nil
}

// path is a file in the state directory.
func (o Options) path(elem ...string) string {
	return filepath.Join(append([]string{o.StateDir}, elem...)...)
}

// addr is a port on the node's address.
func (o Options) addr(port int) string { return net.JoinHostPort(o.NodeIP, strconv.Itoa(port)) }

func (o Options) server() string { return "https://" + o.addr(o.Ports.APIServer) }

func (o Options) socket() string { return o.path("containerd", "containerd.sock") }

// serviceIP is the API server's address among the Services, the first one.
func (o Options) serviceIP() string {
	return netip.MustParsePrefix(o.ServiceSubnet).Masked().Addr().Next().String()
}

// dnsIP is the tenth address of the Services, as is the custom. Nothing answers
// there; it keeps pods from asking the host's resolver.
func (o Options) dnsIP() string {
	ip := netip.MustParsePrefix(o.ServiceSubnet).Masked().Addr()
	for range 10 {
		ip = ip.Next()
	}
	return ip.String()
}

func (o Options) ports() []int {
	p := o.Ports
	return []int{p.APIServer, p.EtcdClient, p.EtcdPeer, p.ControllerManager, p.Scheduler, p.Kubelet, p.KubeletHealth, p.ProxyMetrics, p.ProxyHealth}
}
