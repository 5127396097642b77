package kubestate

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// TestAuthFilter holds whom the filter lets through, and that answers are kept.
func TestAuthFilter(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var broken atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if broken.Load() {
			reply(w, http.StatusForbidden, status(http.StatusForbidden, "Forbidden"))
			return
		}
		if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
			var review authenticationv1.TokenReview
			_ = json.NewDecoder(r.Body).Decode(&review)
			name, ok := strings.CutPrefix(review.Spec.Token, "token-")
			review.Status.Authenticated = ok
			review.Status.User = authenticationv1.UserInfo{Username: name, Extra: map[string]authenticationv1.ExtraValue{"a": {"b"}}}
			reply(w, http.StatusCreated, review)
			return
		}
		var review authorizationv1.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		what := review.Spec.NonResourceAttributes
		review.Status.Allowed = review.Spec.User == "prometheus" && review.Spec.Extra["a"] != nil && what.Verb == "get" && what.Path == "/metrics"
		reply(w, http.StatusCreated, review)
	}))
	defer api.Close()
	book := &logBook{}
	filter, err := AuthFilter(&rest.Config{Host: api.URL}, book.logger())
	require.NoError(t, err)
	handler := filter(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("inside")) }))
	f := func(want int, authorization, path string, questions int32) {
		t.Helper()
		before := asked.Load()
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", authorization)
		handler.ServeHTTP(w, r)
		require.Equal(t, want, w.Code)
		require.Equal(t, want == 200, w.Body.String() == "inside")
		require.Equal(t, questions, asked.Load()-before)
	}
	f(401, "", "/metrics", 0)
	f(401, "Basic token-prometheus", "/metrics", 0)
	f(401, "Bearer forged", "/metrics", 1)
	f(401, "Bearer forged", "/metrics", 0)
	f(403, "Bearer token-guest", "/metrics", 2)
	f(403, "Bearer token-guest", "/metrics", 0)
	f(200, "Bearer token-prometheus", "/metrics", 2)
	f(200, "Bearer token-prometheus", "/metrics", 0)
	f(403, "Bearer token-prometheus", "/debug/pprof/", 2)
	broken.Store(true)
	f(503, "Bearer token-other", "/metrics", 1)
	f(200, "Bearer token-prometheus", "/metrics", 0)
	require.Equal(t, 1, book.count("tokenreviews and subjectaccessreviews"), book.String())
}
