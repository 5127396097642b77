package apiserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	// certificateLife is that of the serving certificate and of its authority:
	// the authority's key is forgotten when it has signed this one certificate,
	// so it has no use for longer.
	certificateLife = 365 * 24 * time.Hour
	// renewBefore the end, a new certificate takes its place.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how wrong a client's clock may be.
	clockSkew = 5 * time.Minute
)

// pair is a serving certificate with its key, and the authorities that clients
// are to trust: its own and, after a renewal, the one before. All in PEM.
type pair struct{ cert, key, ca []byte }

func (p *pair) equal(o *pair) bool {
	return o != nil && bytes.Equal(p.cert, o.cert) && bytes.Equal(p.key, o.key) && bytes.Equal(p.ca, o.ca)
}

// check gives the reason why p cannot be used, for these names, from now until
// the time of its renewal.
func (p *pair) check(names []string, now time.Time) error {
	both, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.ca) {
		return errors.New("no authority in it")
	}
	if both.Leaf.NotAfter.Before(now.Add(renewBefore)) {
		return fmt.Errorf("it ends on %s", both.Leaf.NotAfter.Format(time.DateOnly))
	}
	for _, name := range names {
		options := x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}
		if _, err := both.Leaf.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

// newPair makes an authority and a certificate of it for names (DNS names and
// addresses). Authorities in before that are still valid stay trusted.
func newPair(names []string, before []byte, now time.Time) (*pair, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca, err := template("strata-ca", now)
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	leaf, err := template(names[0], now)
	if err != nil {
		return nil, err
	}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
		ca:   append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), valid(before, now)...),
	}, nil
}

func template(name string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// The serial in the name tells authorities apart that follow one another.
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, SerialNumber: serial.Text(36)},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(certificateLife),
	}, nil
}

// valid gives those certificates of a PEM bundle that have not ended.
func valid(bundle []byte, now time.Time) []byte {
	var kept []byte
	for {
		var block *pem.Block
		block, bundle = pem.Decode(bundle)
		if block == nil {
			return kept
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA && now.Before(c.NotAfter) {
			kept = append(kept, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
		}
	}
}
