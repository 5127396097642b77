package apiserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// caKey is where the Secret holds the authorities; certificate and key are
// where a Secret of type kubernetes.io/tls holds them.
const caKey = "ca.crt"

// apiServices is the resource of the aggregation layer.
var apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// errLost is the error of a replica that wrote the Secret second.
var errLost = errors.New("another replica wrote the certificate first")

// CertificateOptions say where a certificate is kept and who is to trust it.
type CertificateOptions struct {
	// Names are the DNS names and addresses of the certificate: those of the
	// Service. localhost and 127.0.0.1 are always in it.
	Names []string

	// Client reads and writes the Secret Namespace/Secret, which exists already,
	// empty. RBAC: get and update on that name. All replicas share what is in
	// it. Without a Secret the certificate is in memory, good for one replica.
	Client            kubernetes.Interface
	Namespace, Secret string

	// Dynamic puts the authorities into the caBundle of APIServices, by name.
	// RBAC: get and patch on those names.
	Dynamic     dynamic.Interface
	APIServices []string

	// Interval is how often Secret and APIServices are looked at; default a minute.
	Interval time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Certificates makes, shares, renews and announces a serving certificate.
//
// Replicas need no leader: who finds the Secret empty, or its certificate near
// its end, makes one and writes it; of two writers the second is refused (the
// resourceVersion is old) and takes what the first wrote. A renewed certificate
// is served only after the APIServices trust its authority, beside the one
// before.
//
// It is a CertKeyContentProvider: what it serves may change at any time.
type Certificates struct {
	o       CertificateOptions
	current atomic.Pointer[pair]

	mu        sync.Mutex
	listeners []dynamiccertificates.Listener

	said map[string]string // last error per subject; used by one goroutine at a time
}

var _ dynamiccertificates.CertKeyContentProvider = (*Certificates)(nil)

// NewCertificates checks the options. Start makes the first certificate.
func NewCertificates(o CertificateOptions) (*Certificates, error) {
	switch {
	case o.Secret != "" && (o.Client == nil || o.Namespace == ""):
		return nil, errors.New("a Secret for the certificate needs a client and a namespace")
	case len(o.APIServices) > 0 && o.Dynamic == nil:
		return nil, errors.New("APIServices need a client")
	}
	o.Names = append(append([]string{}, o.Names...), "localhost", "127.0.0.1")
	if o.Interval <= 0 {
		o.Interval = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Certificates{o: o, said: map[string]string{}}, nil
}

// Name implements dynamiccertificates.CertKeyContentProvider.
func (c *Certificates) Name() string { return "strata-serving-cert" }

// CurrentCertKeyContent implements dynamiccertificates.CertKeyContentProvider.
func (c *Certificates) CurrentCertKeyContent() (cert, key []byte) {
	if p := c.current.Load(); p != nil {
		return p.cert, p.key
	}
	return nil, nil
}

// AddListener implements dynamiccertificates.Notifier.
func (c *Certificates) AddListener(l dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, l)
}

// CABundle is what clients are to trust, in PEM; nil before Start has ended.
func (c *Certificates) CABundle() []byte {
	if p := c.current.Load(); p != nil {
		return p.ca
	}
	return nil
}

// Start returns with the first certificate. Errors are logged and tried again
// until ctx ends.
func (c *Certificates) Start(ctx context.Context) error {
	backoff := newBackoff()
	for {
		p, err := c.obtain(ctx)
		if c.say("certificate", err) == nil {
			c.serve(p)
			return nil
		}
		if errors.Is(err, errLost) {
			continue // what the other wrote is there to be read
		}
		select {
		case <-time.After(backoff.Step()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run keeps the APIServices and the certificate current until ctx ends.
func (c *Certificates) Run(ctx context.Context) {
	backoff := newBackoff()
	for {
		pause := c.o.Interval
		if err := c.keep(ctx); err != nil {
			pause = backoff.Step()
		} else {
			backoff = newBackoff()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Cap: 30 * time.Second, Steps: 1 << 30}
}

// keep looks at everything once.
func (c *Certificates) keep(ctx context.Context) error {
	p, err := c.obtain(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err = c.say("certificate", err); err != nil {
		p = c.current.Load()
	}
	errs := []error{err}
	for _, name := range c.o.APIServices {
		err := c.announce(ctx, name, p.ca)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, c.say("APIService "+name, err))
	}
	err = errors.Join(errs...)
	if err == nil && !p.equal(c.current.Load()) {
		c.o.Logger.Info("Serving a new certificate")
		c.serve(p)
	}
	return err
}

// say logs an error of a subject once, and once that it is over.
func (c *Certificates) say(subject string, err error) error {
	switch before := c.said[subject]; {
	case err == nil && before != "":
		c.o.Logger.Info("Well again: " + subject)
		delete(c.said, subject)
	case err != nil && before != err.Error() && !errors.Is(err, errLost):
		c.o.Logger.Error("Cannot keep "+subject+"; trying again", "err", err)
		c.said[subject] = err.Error()
	}
	return err
}

func (c *Certificates) serve(p *pair) {
	c.current.Store(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.listeners {
		l.Enqueue()
	}
}

// obtain gives the certificate that is to be used: the one there is, or a new one.
func (c *Certificates) obtain(ctx context.Context) (*pair, error) {
	if c.o.Secret != "" {
		return c.fromSecret(ctx)
	}
	var before []byte
	if p := c.current.Load(); p != nil {
		if p.check(c.o.Names, time.Now()) == nil {
			return p, nil
		}
		before = p.ca
	}
	return newPair(c.o.Names, before, time.Now())
}

func (c *Certificates) fromSecret(ctx context.Context) (*pair, error) {
	secrets := c.o.Client.CoreV1().Secrets(c.o.Namespace)
	name := c.o.Namespace + "/" + c.o.Secret
	secret, err := secrets.Get(ctx, c.o.Secret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("secret %s does not exist: create it empty, so that its name can be in the Role: %w", name, err)
	case err != nil:
		return nil, fmt.Errorf("read secret %s: %w", name, err)
	}
	found := &pair{cert: secret.Data[corev1.TLSCertKey], key: secret.Data[corev1.TLSPrivateKeyKey], ca: secret.Data[caKey]}
	reason := found.check(c.o.Names, time.Now())
	if reason == nil {
		return found, nil
	}
	made, err := newPair(c.o.Names, found.ca, time.Now())
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if len(found.cert) > 0 {
		c.o.Logger.Info("Renewing the certificate", "secret", name, "reason", reason)
	}
	secret = secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], secret.Data[caKey] = made.cert, made.key, made.ca
	if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{}); apierrors.IsConflict(err) {
		return nil, errLost
	} else if err != nil {
		return nil, fmt.Errorf("write secret %s: %w", name, err)
	}
	return made, nil
}

// announce puts the authorities into one APIService, if they are not there.
func (c *Certificates) announce(ctx context.Context, name string, ca []byte) error {
	client := c.o.Dynamic.Resource(apiServices)
	current, err := client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("it does not exist, so nobody reaches this API through the API server: apply it (the chart does): %w", err)
	}
	if err != nil {
		return err
	}
	text, _, err := unstructured.NestedString(current.Object, "spec", "caBundle")
	if err != nil {
		return err
	}
	if was, err := base64.StdEncoding.DecodeString(text); err == nil && bytes.Equal(was, ca) {
		return nil
	}
	// Only caBundle: everything else belongs to who made the object.
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"caBundle": ca}})
	if err != nil {
		return err
	}
	if _, err := client.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("set caBundle (insecureSkipTLSVerify must not be set beside it): %w", err)
	}
	c.o.Logger.Info("Put the certificate's authority into the APIService", "name", name)
	return nil
}
