package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"sigs.k8s.io/yaml"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// writeConfigs writes the files of containerd, CNI and the kubelet.
func writeConfigs(o Options) error {
	for _, dir := range []string{o.path("containerd"), o.path("cni"), o.path("kubelet"), o.path("static"), o.path("bin"), o.path("home"), o.LogDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the cluster's directories: %w", err)
		}
	}
	plugins, err := pluginDir()
	if err != nil {
		return err
	}
	snap, err := snapshotter(o.StateDir)
	if err != nil {
		return err
	}
	cni, err := cniConfig(o)
	if err != nil {
		return err
	}
	kubelet, err := kubeletConfig(o)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"containerd.toml":        containerdConfig(o, plugins, snap),
		"cni/10-bridge.conflist": cni,
		"kubelet.yaml":           kubelet,
		"resolv.conf":            []byte("nameserver " + o.dnsIP() + "\n"),
	} {
		if err := os.WriteFile(o.path(name), data, 0o644); err != nil {
			return fmt.Errorf("writing a configuration: %w", err)
		}
	}
	return nil
}

// containerdConfig keeps network namespaces and all else under the state
// directory. restrict_oom_score_adj is for machines without CAP_SYS_RESOURCE.
func containerdConfig(o Options, plugins, snapshotter string) []byte {
	return fmt.Appendf(nil, `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = %q
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = %q
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = %q
`, o.path("containerd", "root"), o.path("containerd", "state"), o.socket(), o.path("containerd", "opt"),
		o.PauseName, snapshotter, o.path("runc"), plugins, o.path("cni"))
}

func cniConfig(o Options) ([]byte, error) {
	type object = map[string]any
	data, err := json.Marshal(object{
		"cniVersion": "1.0.0",
		"name":       "strata-e2e",
		"plugins": []object{
			{
				"type": "bridge", "bridge": o.Bridge, "isGateway": true, "hairpinMode": true,
				"ipam": object{
					"type": "host-local", "dataDir": o.path("ipam"),
					"ranges": [][]object{{{"subnet": o.PodSubnet}}},
					"routes": []object{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the CNI configuration: %w", err)
	}
	return data, nil
}

// kubeletConfig evicts nothing and collects no image: there is no registry to
// get it back from. What tests kill again and again is started again at once.
func kubeletConfig(o Options) ([]byte, error) {
	type object = map[string]any
	data, err := yaml.Marshal(object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"address":    o.NodeIP,
		"port":       o.Ports.Kubelet,
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": o.path("pki", "ca.crt")},
		},
		"authorization":               object{"mode": "Webhook"},
		"cgroupDriver":                "cgroupfs",
		"clusterDNS":                  []string{o.dnsIP()},
		"clusterDomain":               "cluster.local",
		"crashLoopBackOff":            object{"maxContainerRestartPeriod": "1s"},
		"containerRuntimeEndpoint":    "unix://" + o.socket(),
		"evictionHard":                object{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
		"failCgroupV1":                false,
		"failSwapOn":                  false,
		"healthzBindAddress":          o.NodeIP,
		"healthzPort":                 o.Ports.KubeletHealth,
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"makeIPTablesUtilChains":      false,
		"podLogsDir":                  o.PodLogsDir,
		"resolvConf":                  o.path("resolv.conf"),
		"staticPodPath":               o.path("static"),
		"tlsCertFile":                 o.path("pki", "kubelet.crt"),
		"tlsPrivateKeyFile":           o.path("pki", "kubelet.key"),
		"volumePluginDir":             o.path("kubelet", "plugins"),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the kubelet's configuration: %w", err)
	}
	return data, nil
}

// command is the name of a component with its arguments, program first.
type command struct {
	name string
	argv []string
}

func etcdCommand(o Options) command {
	client, peer := "https://"+o.addr(o.Ports.EtcdClient), "http://"+o.addr(o.Ports.EtcdPeer)
	return command{"etcd", []string{
		o.Binaries["etcd"], "--name", "strata-e2e", "--data-dir", o.path("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "strata-e2e=" + peer,
		"--client-cert-auth", "--trusted-ca-file", o.path("pki", "ca.crt"),
		"--cert-file", o.path("pki", "etcd.crt"), "--key-file", o.path("pki", "etcd.key"),
	}}
}

func apiserverCommand(o Options) command {
	pki := func(file string) string { return o.path("pki", file) }
	return command{"kube-apiserver", []string{
		o.Binaries["kube-apiserver"],
		"--bind-address", o.NodeIP, "--advertise-address", o.NodeIP, "--secure-port", fmt.Sprint(o.Ports.APIServer),
		"--etcd-servers", "https://" + o.addr(o.Ports.EtcdClient), "--etcd-cafile", pki("ca.crt"),
		"--etcd-certfile", pki("etcd-client.crt"), "--etcd-keyfile", pki("etcd-client.key"),
		"--service-cluster-ip-range", o.ServiceSubnet, "--allow-privileged=true",
		"--authorization-mode", "Node,RBAC", "--client-ca-file", pki("ca.crt"),
		"--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", pki("sa.pub"), "--service-account-signing-key-file", pki("sa.key"),
		"--kubelet-certificate-authority", pki("ca.crt"),
		"--kubelet-client-certificate", pki("apiserver-kubelet-client.crt"), "--kubelet-client-key", pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types", "InternalIP",
		"--requestheader-client-ca-file", pki("front-proxy-ca.crt"), "--requestheader-allowed-names", "front-proxy-client",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-username-headers", "X-Remote-User",
		"--proxy-client-cert-file", pki("front-proxy-client.crt"), "--proxy-client-key-file", pki("front-proxy-client.key"),
		"--enable-aggregator-routing=true",
	}}
}

func controllerManagerCommand(o Options) command {
	conf := o.path("pki", "kube-controller-manager.conf")
	return command{"kube-controller-manager", []string{
		o.Binaries["kube-controller-manager"], "--kubeconfig", conf,
		"--authentication-kubeconfig", conf, "--authorization-kubeconfig", conf, "--use-service-account-credentials",
		"--bind-address", o.NodeIP, "--secure-port", fmt.Sprint(o.Ports.ControllerManager), "--leader-elect=false",
		"--tls-cert-file", o.path("pki", "controller-manager.crt"), "--tls-private-key-file", o.path("pki", "controller-manager.key"),
		"--service-account-private-key-file", o.path("pki", "sa.key"), "--root-ca-file", o.path("pki", "ca.crt"),
		"--cluster-signing-cert-file", o.path("pki", "ca.crt"), "--cluster-signing-key-file", o.path("pki", "ca.key"),
		"--horizontal-pod-autoscaler-sync-period", o.HPA.Sync.String(),
		"--horizontal-pod-autoscaler-initial-readiness-delay", o.HPA.InitialReadiness.String(),
		"--horizontal-pod-autoscaler-cpu-initialization-period", o.HPA.CPUInitialization.String(),
		"--horizontal-pod-autoscaler-downscale-stabilization", o.HPA.DownscaleStabilization.String(),
	}}
}

func schedulerCommand(o Options) command {
	conf := o.path("pki", "kube-scheduler.conf")
	return command{"kube-scheduler", []string{
		o.Binaries["kube-scheduler"], "--kubeconfig", conf,
		"--authentication-kubeconfig", conf, "--authorization-kubeconfig", conf,
		"--bind-address", o.NodeIP, "--secure-port", fmt.Sprint(o.Ports.Scheduler), "--leader-elect=false",
		"--tls-cert-file", o.path("pki", "scheduler.crt"), "--tls-private-key-file", o.path("pki", "scheduler.key"),
	}}
}

// proxyCommand leaves conntrack's limits alone: they are read-only in many
// containers and virtual machines.
func proxyCommand(o Options) command {
	return command{"kube-proxy", []string{
		o.Binaries["kube-proxy"], "--kubeconfig", o.path("pki", "kube-proxy.conf"),
		"--proxy-mode", o.KubeProxyMode, "--hostname-override", o.NodeName, "--cluster-cidr", o.PodSubnet,
		"--metrics-bind-address", o.addr(o.Ports.ProxyMetrics), "--healthz-bind-address", o.addr(o.Ports.ProxyHealth),
		"--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0", "--conntrack-tcp-timeout-close-wait", "0",
	}}
}

func containerdCommand(o Options) command {
	return command{"containerd", []string{"containerd", "--config", o.path("containerd.toml")}}
}

func kubeletCommand(o Options) command {
	return command{"kubelet", []string{
		o.Binaries["kubelet"], "--config", o.path("kubelet.yaml"), "--kubeconfig", o.path("pki", "kubelet.conf"),
		"--root-dir", o.path("kubelet"), "--cert-dir", o.path("kubelet", "pki"),
		"--node-ip", o.NodeIP, "--hostname-override", o.NodeName,
	}}
}
