package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	asked := 0
	now := time.Unix(1000, 0)
	var fail error
	c := newCertificates(authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		asked++
		if name := r.Header.Get("X-Remote-User"); name != "" {
			return &authenticator.Response{User: &user.DefaultInfo{Name: name, Groups: r.Header["X-Remote-Group"]}}, true, nil
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: "cert"}}, fail == nil, fail
	}), &authenticatorfactory.RequestHeaderConfig{
		UsernameHeaders:     headerrequest.StaticStringSlice{"X-Remote-User"},
		GroupHeaders:        headerrequest.StaticStringSlice{"X-Remote-Group"},
		UIDHeaders:          headerrequest.StaticStringSlice{"X-Remote-Uid"},
		ExtraHeaderPrefixes: headerrequest.StaticStringSlice{"X-Remote-Extra-"},
	}, func() time.Time { return now })

	// ask makes a request and tells whether it was passed on.
	ask := func(raw string, headers ...string) (name string, passedOn bool) {
		r := &http.Request{Header: http.Header{}}
		if raw != "" {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(raw), NotAfter: time.Unix(1025, 0)}}}
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		before := asked
		resp, ok, err := c.AuthenticateRequest(r)
		if err != nil || !ok {
			return "", asked > before
		}
		return resp.User.GetName(), asked > before
	}
	f := func(wantName string, wantPassedOn bool, raw string, headers ...string) {
		t.Helper()
		name, passedOn := ask(raw, headers...)
		require.Equal(t, wantName, name)
		require.Equal(t, wantPassedOn, passedOn)
	}
	f("cert", true, "A")
	f("cert", false, "A", "User-Agent", "x")
	f("cert", true, "B")
	f("anna", true, "A", "X-Remote-User", "anna")
	f("anna", false, "A", "X-Remote-User", "anna")
	f("anna", true, "A", "X-Remote-User", "anna", "X-Remote-Group", "g")
	f("anna", true, "A", "X-Remote-User", "anna", "X-Remote-Extra-Scopes", "g")
	f("anna", true, "A", "X-Remote-User", "anna", "X-Remote-Extra-Scopes", "h")
	f("anna", true, "A", "X-Remote-User", "anna", "X-Remote-Group", "g", "X-Remote-Group", "h")
	f("bob", true, "A", "X-Remote-User", "bob")
	f("anna", false, "A", "X-Remote-User", "anna")
	// Tokens have a cache of their own, and who has nothing is asked each time.
	f("cert", true, "A", "Authorization", "Bearer x")
	f("cert", true, "A", "Authorization", "Bearer x")
	f("cert", true, "")
	f("cert", true, "")

	now = now.Add(certificateFor)
	f("cert", true, "A")
	now = now.Add(certificateFor - time.Second)
	f("cert", false, "A")
	now = time.Unix(1021, 0)
	f("cert", true, "A")
	now = time.Unix(1025, 0) // it has expired, though certificateFor is not over
	fail = errors.New("expired")
	f("", true, "A")
	fail = nil
	f("cert", true, "A") // a failure is not remembered
}
