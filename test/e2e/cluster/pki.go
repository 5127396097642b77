package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// validity is far more than any cluster of ours lives.
const validity = 30 * 24 * time.Hour

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// request is what a certificate is to say.
type request struct {
	name  string
	org   string
	hosts []string // server names and addresses; none makes a client certificate alone
}

// pair is a certificate and its key, PEM.
type pair struct{ cert, key []byte }

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", name, err)
	}
	t := template(request{name: name})
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign
	t.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", name, err)
	}
	return &authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}, nil
}

func template(r request) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetInt64(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: r.name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks inside and outside may differ
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if r.org != "" {
		t.Subject.Organization = []string{r.org}
	}
	if len(r.hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range r.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

func (a *authority) issue(r request) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making a key for %s: %w", r.name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template(r), a.cert, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, fmt.Errorf("signing %s: %w", r.name, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{cert: encode("CERTIFICATE", der), key: keyPEM}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return encode("EC PRIVATE KEY", der), nil
}

// writePKI makes all certificates and kubeconfigs of a cluster in dir.
func writePKI(dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of certificates: %w", err)
	}
	ca, err := newAuthority("strata-e2e-ca")
	if err != nil {
		return err
	}
	front, err := newAuthority("strata-e2e-front-proxy-ca")
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.crt": ca.pem, "front-proxy-ca.crt": front.pem}
	if files["ca.key"], err = encodeKey(ca.key); err != nil {
		return err
	}
	if err := serviceAccountKeys(files); err != nil {
		return err
	}
	if err := componentCertificates(files, ca, front, o); err != nil {
		return err
	}
	if err := kubeconfigs(files, ca, o); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("writing a certificate: %w", err)
		}
	}
	return nil
}

func serviceAccountKeys(files map[string][]byte) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the service accounts' key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("encoding the service accounts' key: %w", err)
	}
	files["sa.pub"] = encode("PUBLIC KEY", public)
	files["sa.key"], err = encodeKey(key)
	return err
}

func componentCertificates(files map[string][]byte, ca, front *authority, o Options) error {
	local := []string{"localhost", "127.0.0.1", o.NodeIP}
	apiserver := append([]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", o.serviceIP()}, local...)
	for file, c := range map[string]struct {
		by *authority
		request
	}{
		"etcd":                     {ca, request{name: "etcd", hosts: local}},
		"etcd-client":              {ca, request{name: "kube-apiserver-etcd-client"}},
		"apiserver":                {ca, request{name: "kube-apiserver", hosts: apiserver}},
		"apiserver-kubelet-client": {ca, request{name: "kube-apiserver-kubelet-client", org: "system:masters"}},
		"front-proxy-client":       {front, request{name: "front-proxy-client"}},
		"kubelet":                  {ca, request{name: "system:node:" + o.NodeName, org: "system:nodes", hosts: append([]string{o.NodeName}, local...)}},
		"controller-manager":       {ca, request{name: "kube-controller-manager", hosts: local}},
		"scheduler":                {ca, request{name: "kube-scheduler", hosts: local}},
	} {
		p, err := c.by.issue(c.request)
		if err != nil {
			return err
		}
		files[file+".crt"], files[file+".key"] = p.cert, p.key
	}
	return nil
}

// kubeconfigs writes one file for each user of the API server, with the
// certificates inside, so that a file can be carried elsewhere.
func kubeconfigs(files map[string][]byte, ca *authority, o Options) error {
	for file, r := range map[string]request{
		"admin":                   {name: "admin", org: "system:masters"},
		"kube-controller-manager": {name: "system:kube-controller-manager"},
		"kube-scheduler":          {name: "system:kube-scheduler"},
		"kube-proxy":              {name: "system:kube-proxy"},
		"kubelet":                 {name: "system:node:" + o.NodeName, org: "system:nodes"},
	} {
		p, err := ca.issue(r)
		if err != nil {
			return err
		}
		config := clientcmdapi.NewConfig()
		config.Clusters["strata-e2e"] = &clientcmdapi.Cluster{Server: o.server(), CertificateAuthorityData: ca.pem}
		config.AuthInfos[file] = &clientcmdapi.AuthInfo{ClientCertificateData: p.cert, ClientKeyData: p.key}
		config.Contexts["strata-e2e"] = &clientcmdapi.Context{Cluster: "strata-e2e", AuthInfo: file}
		config.CurrentContext = "strata-e2e"
		data, err := clientcmd.Write(*config)
		if err != nil {
			return fmt.Errorf("encoding the kubeconfig of %s: %w", file, err)
		}
		files[file+".conf"] = data
	}
	return nil
}
