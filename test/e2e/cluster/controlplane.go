package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ControlPlane is etcd and an API server without nodes and controllers, for
// tests of what talks to the API server alone. It changes nothing of the
// machine outside its state directory.
type ControlPlane struct {
	c     *Cluster
	parts []*component
}

// StartControlPlane starts etcd and the API server on o.NodeIP, which the
// machine has already. Of the programs in o.Binaries only these two are needed.
// The arguments are given to the API server after those of a whole cluster.
// They are no daemons: who may be killed before Stop runs this in a namespace
// of processes of its own.
func StartControlPlane(ctx context.Context, o Options, arguments ...string) (*ControlPlane, error) {
	o = o.withDefaults()
	if err := o.checkStateDir(); err != nil {
		return nil, err
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if o.Binaries[name] == "" {
			return nil, fmt.Errorf("%w: no program %s", ErrOptions, name)
		}
	}
	if err := os.MkdirAll(o.LogDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of logs: %w", err)
	}
	if err := writePKI(o.path("pki"), o); err != nil {
		return nil, err
	}
	p := &ControlPlane{c: &Cluster{o: o}}
	if err := p.start(ctx, arguments); err != nil {
		return nil, errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func (p *ControlPlane) start(ctx context.Context, arguments []string) error {
	if err := p.c.connect(); err != nil {
		return err
	}
	apiserver := apiserverCommand(p.c.o)
	apiserver.argv = append(apiserver.argv, arguments...)
	for _, part := range []struct {
		command
		ready func(context.Context) error
	}{
		{etcdCommand(p.c.o), dials(p.c.o.addr(p.c.o.Ports.EtcdClient))},
		{apiserver, func(ctx context.Context) error {
			return p.c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		}},
	} {
		running, err := p.c.launch(part.command)
		if err != nil {
			return err
		}
		p.parts = append(p.parts, running)
		if err := running.ready(ctx, startLimit, part.ready); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends both and waits until they have ended; the API server goes first.
func (p *ControlPlane) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for i := len(p.parts) - 1; i >= 0; i-- {
		part := p.parts[i]
		part.signal(syscall.SIGTERM)
		select {
		case <-part.exited:
		case <-ctx.Done():
			part.signal(syscall.SIGKILL)
			<-part.exited
		}
	}
	return nil
}

// Client is a client with all rights.
func (p *ControlPlane) Client() kubernetes.Interface { return p.c.client }

// RESTConfig is the configuration of a client with all rights; the caller owns it.
func (p *ControlPlane) RESTConfig() *rest.Config { return p.c.RESTConfig() }

// Kubeconfig is the path of a kubeconfig with all rights.
func (p *ControlPlane) Kubeconfig() string { return p.c.Kubeconfig() }

// Authority is the path of the authority of the API server and of its clients.
func (p *ControlPlane) Authority() string { return p.c.o.path("pki", "ca.crt") }

// Administrator gives the paths of a client certificate of system:masters and
// of its key.
func (p *ControlPlane) Administrator() (cert, key string) {
	return p.c.o.path("pki", "apiserver-kubelet-client.crt"), p.c.o.path("pki", "apiserver-kubelet-client.key")
}
