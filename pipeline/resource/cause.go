package resource

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
)

// cause is why a node did not answer, without the method and URL that net/http
// puts before it, and with what mends it.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if cure := cure(err); cure != "" {
		return fmt.Errorf("%w (%s)", err, cure)
	}
	return err
}

// cure is what an SRE does about an error of a connection, "" where the error
// says enough.
func cure(err error) string {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var hostname x509.HostnameError
	var name *net.DNSError
	switch {
	case errors.As(err, &authority):
		return "give the authority of the kubelets' certificates with --kubelet-certificate-authority, or let them get certificates of the cluster " +
			"(serverTLSBootstrap); --kubelet-insecure-tls trusts any"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the kubelet's serving certificate, with serverTLSBootstrap by approving its request (kubectl get csr); compare the clocks"
	case errors.As(err, &hostname):
		return "let --kubelet-preferred-address-types choose an address that the certificate is for"
	case errors.As(err, &name):
		return "put InternalIP first in --kubelet-preferred-address-types where node names are not in DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: does it run, and is --kubelet-port right?"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time: is it reachable from here? --kubelet-request-timeout sets how long is waited"
	}
	return ""
}
