package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testCertificates)
}

func testCertificates(t *testing.T) {
	began := time.Now()
	var asked atomic.Int64
	var fail error
	c := newCertificates(authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		asked.Add(1)
		if name := r.Header.Get("X-Remote-User"); name != "" {
			return &authenticator.Response{User: &user.DefaultInfo{Name: name, Groups: r.Header["X-Remote-Group"]}}, true, nil
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: "cert"}}, fail == nil, fail
	}), &authenticatorfactory.RequestHeaderConfig{
		UsernameHeaders:     headerrequest.StaticStringSlice{"X-Remote-User"},
		GroupHeaders:        headerrequest.StaticStringSlice{"X-Remote-Group"},
		UIDHeaders:          headerrequest.StaticStringSlice{"X-Remote-Uid"},
		ExtraHeaderPrefixes: headerrequest.StaticStringSlice{"X-Remote-Extra-"},
	})

	// ask makes a request and tells whether it was passed on, at once or after.
	ask := func(raw string, headers ...string) (name string, passedOn bool) {
		r := &http.Request{Header: http.Header{}}
		if raw != "" {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(raw), NotAfter: began.Add(28 * time.Second)}}}
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		before := asked.Load()
		resp, ok, err := c.AuthenticateRequest(r)
		clear(r.Header) // as those do to whom it goes on
		synctest.Wait()
		if err != nil || !ok {
			return "", asked.Load() > before
		}
		return resp.User.GetName(), asked.Load() > before
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

	// In the first half of its time it is believed, in the second also asked for
	// again, once.
	time.Sleep(certificateFor / 2)
	f("cert", true, "A")
	f("cert", false, "A")
	time.Sleep(certificateFor/2 - time.Second)
	f("cert", false, "A")
	f("cert", true, "B")
	time.Sleep(certificateFor + 2*time.Second) // at 21 s, both are over
	f("cert", true, "A")
	f("cert", false, "A")
	time.Sleep(7*time.Second + 1) // it has expired, though certificateFor is not over
	fail = errors.New("expired")
	f("", true, "A")
	fail = nil
	f("cert", true, "A") // a failure is not remembered
	f("cert", true, "A")
}

// TestCertificateWithdrawn holds that who was known is not any more once it was
// asked again in vain.
func TestCertificateWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		known := true
		c := newCertificates(authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "cert"}}, known, nil
		}), nil)
		ask := func() bool {
			r := &http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("A"), NotAfter: time.Now().Add(time.Hour)}}}}
			_, ok, err := c.AuthenticateRequest(r)
			require.NoError(t, err)
			synctest.Wait()
			return ok
		}
		require.True(t, ask())
		known = false
		require.True(t, ask())
		time.Sleep(certificateFor / 2)
		require.True(t, ask(), "the request with which it is asked again")
		require.False(t, ask())
	})
}
