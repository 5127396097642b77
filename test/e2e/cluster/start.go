package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	startLimit = time.Minute      // for each component: slow machines need far more than the usual second
	stopLimit  = 30 * time.Second // for a whole teardown
)

// Cluster is a running cluster. Its methods may be called concurrently.
type Cluster struct {
	o       Options
	config  *rest.Config
	client  kubernetes.Interface
	ledger  *ledger
	lock    net.Listener // nil for a cluster that was attached to
	release func()       // lets the guard go; nil without one
	stop    sync.Once
	stopErr error
}

// Start brings a cluster up and returns when its node is Ready. What an earlier
// run left behind in the same state directory is cleaned first. On failure
// everything is torn down again, and the error holds the end of the log of the
// component that failed. The error is ErrMachine when something must be
// installed or ended first, ErrRunning when a cluster is already there.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := CheckMachine(); err != nil {
		return nil, err
	}
	l, err := lock(ctx)
	if err != nil {
		return nil, err
	}
	if err := clearStale(ctx, o); err != nil {
		l.Close()
		return nil, err
	}
	c := &Cluster{o: o, lock: l, ledger: &ledger{dir: o.StateDir}}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	begin := time.Now()
	c.o.Log.Info("starting the cluster", "dir", c.o.StateDir, "logs", c.o.LogDir)
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error { return c.startControlPlane(bothCtx) })
	both.Go(func() error { return c.startContainerd(bothCtx) })
	if err := both.Wait(); err != nil {
		return err
	}
	if err := c.startNode(ctx); err != nil {
		return err
	}
	c.o.Log.Info("the node is Ready", "elapsed", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// prepare writes down what will have to be undone, then makes all that the
// components need.
func (c *Cluster) prepare(ctx context.Context) error {
	had, err := c.takeStock()
	if err != nil {
		return err
	}
	if c.release, err = startGuard(c.o, c.ledger.state.RunID); err != nil {
		return err
	}
	if !had {
		if _, err := run(ctx, "", "ip", "addr", "add", c.o.NodeIP+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	if err := checkPorts(c.o); err != nil {
		return err
	}
	if err := writePKI(c.o.path("pki"), c.o); err != nil {
		return err
	}
	if err := writeConfigs(c.o); err != nil {
		return err
	}
	if err := c.linkBinaries(); err != nil {
		return err
	}
	return c.connect()
}

// takeStock records how the machine was before, and tells whether it already
// had the node's address.
func (c *Cluster) takeStock() (hadIP bool, err error) {
	if hadIP, err = hasAddress(c.o.NodeIP); err != nil {
		return false, err
	}
	cgroups, err := podCgroups()
	if err != nil {
		return false, err
	}
	if err := checkCgroups(cgroups); err != nil {
		return false, err
	}
	if err := os.MkdirAll(c.o.StateDir, 0o755); err != nil {
		return false, fmt.Errorf("making the state directory: %w", err)
	}
	return hadIP, c.ledger.record(func(s *state) {
		*s = state{Options: c.o, RunID: rand.Text(), AddedIP: !hadIP, Sysctls: readSysctls(), Cgroups: cgroups}
		for _, dir := range hostDirs(c.o) {
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				s.Made = append(s.Made, dir)
			}
		}
	})
}

// linkBinaries makes one directory for a person's PATH.
func (c *Cluster) linkBinaries() error {
	for name, file := range c.o.Binaries {
		if err := os.Symlink(file, c.o.path("bin", name)); err != nil {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return nil
}

// connect makes the clients; nothing is sent yet.
func (c *Cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	c.config, c.client = config, client
	return nil
}

func (c *Cluster) launch(cmd command) (*component, error) {
	return launch(cmd.name, c.o.StateDir, filepath.Join(c.o.LogDir, cmd.name+".log"), cmd.argv)
}

func (c *Cluster) startControlPlane(ctx context.Context) error {
	etcd, err := c.launch(etcdCommand(c.o))
	if err != nil {
		return err
	}
	if err := etcd.ready(ctx, startLimit, dials(c.o.addr(c.o.Ports.EtcdClient))); err != nil {
		return err
	}
	apiserver, err := c.launch(apiserverCommand(c.o))
	if err != nil {
		return err
	}
	err = apiserver.ready(ctx, startLimit, func(ctx context.Context) error {
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return err
	}
	for _, cmd := range []command{controllerManagerCommand(c.o), schedulerCommand(c.o)} {
		if _, err := c.launch(cmd); err != nil {
			return err
		}
	}
	return nil
}

// dials is the condition that a TCP port takes connections.
func dials(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

func (c *Cluster) startContainerd(ctx context.Context) error {
	// With its state elsewhere, containerd leaves this one to the shims, which make
	// it so that nobody without capabilities finds a socket in it.
	if err := os.MkdirAll(shimDir, 0o711); err != nil {
		return fmt.Errorf("making containerd's directory: %w", err)
	}
	if err := linkRuntime(kubeletRuntime, c.o.socket()); err != nil {
		return err
	}
	containerd, err := c.launch(containerdCommand(c.o))
	if err != nil {
		return err
	}
	err = containerd.ready(ctx, startLimit, func(ctx context.Context) error { return c.ctr(ctx, "version") })
	if err != nil {
		return err
	}
	for _, archive := range append([]string{c.o.PauseImage}, c.o.Images...) {
		if err := c.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// startNode starts what needs both the API server and containerd, and waits
// until the node takes pods.
func (c *Cluster) startNode(ctx context.Context) error {
	if _, err := c.launch(proxyCommand(c.o)); err != nil {
		return err
	}
	kubelet, err := c.launch(kubeletCommand(c.o))
	if err != nil {
		return err
	}
	if err := kubelet.ready(ctx, startLimit, c.nodeReady); err != nil {
		return err
	}
	return await(ctx, func() error { // without it pods are refused
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (c *Cluster) nodeReady(ctx context.Context) error {
	node, err := c.client.CoreV1().Nodes().Get(ctx, c.o.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0 {
			return nil
		}
	}
	return fmt.Errorf("node %s is not Ready: taints %v, conditions %v", c.o.NodeName, node.Spec.Taints, node.Status.Conditions)
}

// Stop ends all components and pods and undoes every change to the machine. It
// returns what could not be undone. Later calls return the same.
func (c *Cluster) Stop(ctx context.Context) error {
	c.stop.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, stopLimit)
		defer cancel()
		if c.ledger.state.RunID != "" { // or else nothing was made yet
			c.stopErr = teardown(ctx, c.ledger.state, c.o.Log)
		}
		if c.lock != nil {
			c.lock.Close() // before the guard, which may have to try again
		}
		if c.release != nil {
			c.release()
		}
	})
	return c.stopErr
}
