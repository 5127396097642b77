// Package fakecluster stands in for a cluster of any size: one process with an
// API server that answers what Strata and its peers ask of one (nodes, the
// metadata of pods, reviews of tokens and of access), kubelets that each have a
// port of their own, and a target to scrape. What pods use is known, so that
// answers can be checked. Nothing in it changes while it runs.
package fakecluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Workload is a Deployment's worth of pods.
type Workload struct {
	Namespace, Name string
	Pods            int
}

// User gets a client certificate in the files Name.crt and Name.key.
type User struct {
	File   string
	Name   string
	Groups []string
}

// Options say what a Cluster has.
type Options struct {
	// Dir is where certificates and the kubeconfig are written.
	Dir string
	// Nodes is the number of kubelets. Pods are spread over them in turn.
	Nodes     int
	Workloads []Workload
	Users     []User
}

// Files of a cluster's directory.
const (
	KubeconfigFile = "kubeconfig"
	CAFile         = "ca.crt"
)

// Info is where a Cluster is found.
type Info struct {
	// APIServer is an https URL, Target the host and port of /metrics, without TLS.
	APIServer, Target string
	Pods              int
}

// Cluster is a cluster that is none.
type Cluster struct {
	o         Options
	authority *Authority
	began     time.Time // all pods have run since
	pods      []pod
	byNode    [][]int // pods of a node
	ports     []int   // of the kubelets
	api       *api
	info      Info
	servers   []server
}

type pod struct {
	workload *Workload
	name     string
	node     int
	labels   string // container, namespace and pod, as the kubelet writes them
}

type server struct {
	http      *http.Server
	listeners []net.Listener
}

// MilliCores is what the i-th pod of a cluster uses, Requests how many requests
// a second it answers.
func MilliCores(i int) int { return i%200 + 1 }

// Requests is how many requests a second the i-th pod answers.
func Requests(i int) int { return i%50 + 1 }

// age of all pods when the cluster starts.
const age = time.Hour

// New makes a cluster and listens; Run answers.
func New(o Options) (*Cluster, error) {
	c := &Cluster{o: o, began: time.Now().Add(-age)}
	c.makePods()
	var err error
	if c.authority, err = NewAuthority(); err != nil {
		return nil, err
	}
	if err := c.listen(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.info.Pods = len(c.pods)
	return c, c.write()
}

func (c *Cluster) makePods() {
	c.byNode = make([][]int, c.o.Nodes)
	for w := range c.o.Workloads {
		workload := &c.o.Workloads[w]
		for range workload.Pods {
			i := len(c.pods)
			p := pod{workload: workload, name: fmt.Sprintf("%s-%08x-%05x", workload.Name, hash(w), i)}
			p.labels = fmt.Sprintf(`{container="app",namespace=%q,pod=%q} `, workload.Namespace, p.name)
			if c.o.Nodes > 0 {
				p.node = i % c.o.Nodes
				c.byNode[p.node] = append(c.byNode[p.node], i)
			}
			c.pods = append(c.pods, p)
		}
	}
}

// hash makes numbers that look like those in the names of pods.
func hash(i int) uint32 { return uint32(i+1) * 2654435761 }

// listen binds all ports, on loopback.
func (c *Cluster) listen() error {
	secure, err := c.authority.server("127.0.0.1")
	if err != nil {
		return err
	}
	c.api = newAPI(c)
	apiConf := secure.Clone()
	apiConf.NextProtos = []string{"h2", "http/1.1"}
	l, err := c.serve(c.api, apiConf, 1)
	if err != nil {
		return err
	}
	c.info.APIServer = "https://" + l[0].Addr().String()
	if l, err = c.serve(http.HandlerFunc(c.target), nil, 1); err != nil {
		return err
	}
	c.info.Target = l[0].Addr().String()
	nodes := map[int]int{}
	l, err = c.serve(c.kubelets(nodes), secure, c.o.Nodes)
	for node, one := range l {
		port := one.Addr().(*net.TCPAddr).Port
		c.ports = append(c.ports, port)
		nodes[port] = node
	}
	return err
}

// serve listens n times for a handler, with TLS unless conf is nil.
func (c *Cluster) serve(h http.Handler, conf *tls.Config, n int) ([]net.Listener, error) {
	s := server{http: &http.Server{Handler: h, TLSConfig: conf, ReadHeaderTimeout: 10 * time.Second}}
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	c.servers = append(c.servers, s)
	return s.listeners, nil
}

func (c *Cluster) write() error {
	if err := os.WriteFile(filepath.Join(c.o.Dir, CAFile), c.authority.PEM(), 0o600); err != nil {
		return fmt.Errorf("write the authority: %w", err)
	}
	for _, u := range c.o.Users {
		cert, key, err := c.authority.Issue(u.Name, u.Groups)
		if err != nil {
			return err
		}
		base := filepath.Join(c.o.Dir, u.File)
		if err := errors.Join(os.WriteFile(base+".crt", cert, 0o600), os.WriteFile(base+".key", key, 0o600)); err != nil {
			return fmt.Errorf("write the certificate of %s: %w", u.Name, err)
		}
	}
	return c.authority.Kubeconfig(filepath.Join(c.o.Dir, KubeconfigFile), c.info.APIServer, "strata")
}

// Client is the TLS with which a User of a directory asks servers, whose
// certificates it takes as they are: those that are measured make their own.
func Client(dir, file string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key"))
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", file, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, nil
}

// Info says where the cluster is.
func (c *Cluster) Info() Info { return c.info }

// Run answers until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, s := range c.servers {
		for _, l := range s.listeners {
			all.Go(func() {
				if s.http.TLSConfig == nil {
					_ = s.http.Serve(l)
				} else {
					_ = s.http.ServeTLS(l, "", "")
				}
			})
		}
	}
	<-ctx.Done()
	err := c.close()
	all.Wait()
	return err
}

func (c *Cluster) close() error {
	var errs []error
	for _, s := range c.servers {
		errs = append(errs, s.http.Close())
		for _, l := range s.listeners {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func nodeName(i int) string { return fmt.Sprintf("node-%04d", i) }

func (c *Cluster) node(i int) *corev1.Node {
	return &corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{
			Name: nodeName(i), UID: types.UID(fmt.Sprintf("00000000-0000-0000-0001-%012d", i)), ResourceVersion: version,
			CreationTimestamp: metav1.NewTime(c.began),
			Labels: map[string]string{
				"kubernetes.io/hostname": nodeName(i), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3), "node.kubernetes.io/instance-type": "m16",
			},
		},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(c.ports[i])}},
			Capacity:        corev1.ResourceList{},
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// pod gives the metadata of a pod as an API server has it: labels, owner, a few
// annotations.
func (c *Cluster) pod(i int) *metav1.PartialObjectMetadata {
	p := &c.pods[i]
	replicas := p.name[:len(p.name)-6]
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.workload.Namespace, Name: p.name, GenerateName: replicas + "-",
			UID: types.UID(fmt.Sprintf("00000000-0000-0000-0002-%012d", i)), ResourceVersion: version,
			CreationTimestamp: metav1.NewTime(c.began),
			Labels: map[string]string{
				"app": p.workload.Name, "pod-template-hash": replicas[len(p.workload.Name)+1:],
				"app.kubernetes.io/part-of": p.workload.Namespace, "app.kubernetes.io/managed-by": "Helm",
			},
			Annotations: map[string]string{
				"prometheus.io/scrape": "true", "prometheus.io/port": "8080",
				"checksum/config": fmt.Sprintf("%064x", hash(i)),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicas, UID: "00000000-0000-0000-0003-000000000000",
			}},
		},
	}
}
