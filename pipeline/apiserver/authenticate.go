package apiserver

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
)

// How long it is believed whose a client certificate is, as long as a token by
// default, and how many are remembered.
const (
	certificateFor  = 10 * time.Second
	maxCertificates = 4096
)

// certificates remembers who a verified client certificate is, and whom the
// aggregation layer named with it. The library checks the signatures of the
// certificate with each request, against two authorities: a fifth of the work
// of a small answer. An authority that is withdrawn is believed for at most
// certificateFor longer.
type certificates struct {
	authenticator.Request
	headers *authenticatorfactory.RequestHeaderConfig // nil for none
	known   *believed[*authenticator.Response]
}

func newCertificates(next authenticator.Request, headers *authenticatorfactory.RequestHeaderConfig) *certificates {
	return &certificates{next, headers, newBelieved[*authenticator.Response](maxCertificates)}
}

// AuthenticateRequest implements authenticator.Request.
func (c *certificates) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	key := string(c.key(r))
	if key == "" {
		return c.Request.AuthenticateRequest(r)
	}
	response, again, ok := c.known.get(key)
	if !ok {
		return c.verify(key, r)
	}
	if again { // with headers of its own: those of a request are changed on its way
		go c.verify(key, r.Clone(context.WithoutCancel(r.Context()))) //nolint:errcheck // it is forgotten then
	}
	return response, true, nil
}

func (c *certificates) verify(key string, r *http.Request) (*authenticator.Response, bool, error) {
	now := time.Now()
	response, ok, err := c.Request.AuthenticateRequest(r)
	if err != nil || !ok {
		c.known.forget(key)
		return response, ok, err
	}
	d := certificateFor
	for _, cert := range r.TLS.PeerCertificates {
		d = min(d, cert.NotAfter.Sub(now))
	}
	c.known.put(key, response, d)
	return response, true, nil
}

// key is all that the answer depends on: the certificates, and the headers in
// which the aggregation layer names a user. It is nil for a request that shows
// something else, too.
func (c *certificates) key(r *http.Request) []byte {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 ||
		r.Header.Get("Authorization") != "" || r.Header.Get("Sec-WebSocket-Protocol") != "" {
		return nil
	}
	size := 0
	for _, cert := range r.TLS.PeerCertificates {
		size += len(cert.Raw)
	}
	key := make([]byte, 0, size+256)
	for _, cert := range r.TLS.PeerCertificates {
		key = append(key, cert.Raw...) // it says its own length
	}
	if c.headers == nil {
		return key
	}
	var names []string
	for name := range r.Header {
		if c.says(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		key = append(append(key, name...), 0)
		for _, value := range r.Header[name] {
			key = append(append(key, value...), 0) // no header has this byte
		}
		key = append(key, 0)
	}
	return key
}

// says tells whether a header is one of those that name a user.
func (c *certificates) says(header string) bool {
	for _, from := range []interface{ Value() []string }{c.headers.UsernameHeaders, c.headers.UIDHeaders, c.headers.GroupHeaders} {
		if from != nil && slices.ContainsFunc(from.Value(), func(h string) bool { return strings.EqualFold(h, header) }) {
			return true
		}
	}
	if c.headers.ExtraHeaderPrefixes == nil {
		return false
	}
	return slices.ContainsFunc(c.headers.ExtraHeaderPrefixes.Value(), func(p string) bool {
		return len(header) >= len(p) && strings.EqualFold(header[:len(p)], p)
	})
}
